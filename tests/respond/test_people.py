"""What people do is done in somebody's name: without one nothing happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quell.errors import InvalidInput
from quell.incident.incident import Status
from quell.respond import permit
from quell.respond.interpreter import Interpreter
from tests.app import do, house, runbook
from tests.respond.test_approve import FIX, asking

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["", "  \t"])
async def test_without_a_name_nothing_happens(tmp_path: Path, name: str) -> None:
    async with house(tmp_path, runbook(FIX, asking())) as home:
        incident = await home.fire()
        await home.asked(incident)
        seq = (await home.app.incident(incident)).seq
        for said in ("approved", "denied"):
            with pytest.raises(InvalidInput, match="say who you are"):
                await home.app.answer(incident, said, name)
        for deed in (home.app.take, home.app.give_back, home.app.acknowledge, home.app.resolve):
            with pytest.raises(InvalidInput, match="say who you are"):
                await deed(incident, name)
        now = await home.app.incident(incident)
        assert (now.status, now.assignee, now.acknowledged_by) == (Status.WAITING, None, None)
        told = await home.app.timeline(incident, seq)
        assert {event.kind.value for event in told} <= {"notified"}
        assert home.effects == []


async def test_given_back_before_its_run_has_stopped_somebody_is_paged(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run ends since somebody had it, and by then nobody has: it must not be lost between the two."""
    intend, refused = permit.intend, Interpreter._refused
    one = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
    async with house(tmp_path, runbook(FIX, one), database=database) as home:

        async def taken_first(means: Any, request: Any, *more: Any, **named: Any) -> Any:
            await home.app.take(request.context.incident, "anna")
            return await intend(means, request, *more, **named)

        async def given_back(self: Interpreter, run: Any, said: Any) -> Any:
            await home.app.give_back(run.context.incident, "anna")
            return await refused(self, run, said)

        monkeypatch.setattr(permit, "intend", taken_first)
        monkeypatch.setattr(Interpreter, "_refused", given_back)
        now = await home.escalated(await home.fire())
        assert (now.assignee, now.outcome, home.effects) == (None, "escalated", [])
        assert "then it was given back" in now.reason
