"""What people do is done in somebody's name: without one nothing happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.errors import InvalidInput
from quell.incident.incident import Status
from tests.app import house, runbook
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
