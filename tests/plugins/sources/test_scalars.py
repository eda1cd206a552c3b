"""Single values of loose templates: texts, numbers as texts, moments, yes and no."""

import contextlib
from typing import Any

import pytest
from hypothesis import given

from quell.errors import InvalidInput
from quell.plugins.sources._body import json_of
from quell.plugins.sources._fields import MAX_VALUE, Bad
from quell.plugins.sources._scalars import moment, prose, text, truth
from tests.plugins.sources.bodies import sent, values


@pytest.mark.parametrize(
    ("value", "found"), [(None, ""), (" a ", "a"), (5, "5"), (2.0, "2"), (2.5, "2.5"), (True, "true"), (10**30, "1" + "0" * 30)]
)  # fmt: skip
def test_a_scalar_is_a_text(value: Any, found: str) -> None:
    assert text("x", value) == found


@pytest.mark.parametrize(
    ("value", "fault"),
    [([], "x: list, not a text"), ({}, "x: object, not a text"), ("a\0", "x: has a NUL in it"),
     ("é" * 2049, "x: 4098 bytes, more than 4096")],
)  # fmt: skip
def test_what_is_no_text_is_told(value: Any, fault: str) -> None:
    with pytest.raises(Bad) as caught:
        text("x", value)
    assert str(caught.value) == fault


@pytest.mark.parametrize(
    ("value", "found"),
    [(1790504100, "2026-09-27T10:15:00+00:00"), (1790504100000, "2026-09-27T10:15:00+00:00"),
     ("1790504100.5", "2026-09-27T10:15:00.500000+00:00"), ("2026-09-27T12:15:00+02:00", "2026-09-27T10:15:00+00:00")],
)  # fmt: skip
def test_a_moment_in_every_spelling(value: Any, found: str) -> None:
    known = moment("x", value)
    assert known is not None
    assert known.isoformat() == found


@pytest.mark.parametrize("value", [None, "", 0, "0", "0001-01-01T00:00:00Z"])
def test_no_moment(value: Any) -> None:
    assert moment("x", value) is None


@pytest.mark.parametrize("value", [-1, 1e14, float("inf"), float("nan"), True, "soon", "1" * 16, [], {}])
def test_what_is_no_moment_is_told(value: Any) -> None:
    with pytest.raises(Bad, match=r"^x: "):
        moment("x", value)


def test_prose_is_cut_not_refused() -> None:
    assert (prose(None), prose(5), prose("a\0b ")) == ("", "5", "ab")
    assert len(prose("é" * 9000).encode()) <= MAX_VALUE
    assert prose("é" * 9000).endswith("…")


def test_yes_and_no() -> None:
    assert [truth(value) for value in (True, "TRUE", False, "false", "yes", 1, None, [])] == [
        True, True, False, False, None, None, None, None,
    ]  # fmt: skip


@given(values)
def test_nothing_that_a_body_may_hold_raises_anything_but_bad(value: Any) -> None:
    try:
        found = json_of(sent({"x": value}))["x"]
    except InvalidInput:
        return
    for read in (text, moment):
        with contextlib.suppress(Bad):
            read("x", found)
    assert isinstance(prose(found), str)
    assert truth(found) in (True, False, None)
