"""The errors of the house carry what faces need."""

from __future__ import annotations

import pytest

from quell import errors
from quell.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    Permanent,
    Problem,
    QuellError,
    Refused,
    Transient,
    Unavailable,
)


def test_all_are_of_one_tree() -> None:
    mine = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert all(issubclass(one, QuellError) for one in mine)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NotFound("runbook", "dwon", "down"), "no runbook 'dwon'; did you mean 'down'?"),
        (NotFound("runbook", "x"), "no runbook 'x'"),
        (InvalidInput([]), "invalid input"),
        (InvalidInput([Problem("bad", "r", "f", 1, 2, "a.b", "x", "y", "z")]),
         "f:1:2: error: bad [r] at a.b; found x; expected y; nearest 'z'"),
        (Conflict("late", winner="anna"), "late"),
    ],
)  # fmt: skip
def test_words(error: QuellError, says: str) -> None:
    assert str(error) == says


def test_fields() -> None:
    assert (Transient("t", retry_after=3).retry_after, Transient("t").error_class) == (3, "failed")
    assert Permanent("p", "denied").error_class == "denied"
    refused = Refused("rate", "used up", value=3, limit=2)
    assert (refused.rule, refused.value, refused.limit) == ("rate", 3, 2)
    assert Unavailable("away").retry_after > 0
    assert len(InvalidInput(iter([Problem("a"), Problem("b")])).problems) == 2
