"""What an incident consists of, as its log tells it: a newer version may say more than an older one reads."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from quell.incident.parts import Approval, Deed, Override, Shadowed, Step

LEAST: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (Approval, {"approval": "a", "node": "n", "call": "restart shop"}),
    (Deed, {"key": "k", "action": "restart"}),
    (Override, {"by": "anna", "reason": "now", "until": "2026-01-01T01:00:00+00:00"}),
    (Step, {"step": "s", "result": "done", "by": "anna"}),
    (Shadowed, {"node": "n", "action": "restart", "call": "restart shop"}),
]


@pytest.mark.parametrize(("kind", "least"), LEAST)
def test_more_than_it_knows_is_left_out_and_less_than_it_needs_refused(
    kind: type[BaseModel], least: dict[str, Any]
) -> None:
    assert kind.model_validate({**least, "something_new": 1}) == kind.model_validate(least)
    for name in least:
        with pytest.raises(ValidationError):
            kind.model_validate({key: value for key, value in least.items() if key != name})


def test_an_approval_that_nobody_has_answered() -> None:
    waits = Approval(approval="a", node="n", call="c")
    assert (waits.answer, waits.agreed, waits.people, waits.on_no_answer) == (None, (), 1, "page")
