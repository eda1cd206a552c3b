"""What is kept for now: somebody is asked about it in time, whatever has become of the incident."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quell.incident.action import Asks
from quell.incident.event import EventKind
from quell.incident.incident import Status
from tests.app import House, do, eventually, house, runbook

pytestmark = pytest.mark.anyio

FLAG = "- {id: flag, type: automated, action: {type: set_flag, config: {flag: a, value: 1, file: @/flags.json}}, revert: {after: 0.3s, ask: owner}%s}\n"
FIX = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}\n"
BOTH = "- {condition: state.critical, then: [flag, fix]}"


def flags(folder: Path) -> Any:
    return json.loads((folder / "flags.json").read_text())


async def due(home: House) -> str:
    """The incident is over, and what it left behind is asked about."""
    incident = await home.fire()
    await home.over(incident)
    now = await home.until(incident, lambda now: now.waiting, "it is due")
    assert [one.asks for one in now.waiting] == [Asks.REVERT]
    assert now.status is Status.RESOLVED
    assert now.obligations
    return incident


@pytest.mark.parametrize(("said", "value", "how"), [("approved", 0, "reverted"), ("denied", 1, "kept")])
async def test_somebody_says_whether_it_is_taken_back(
    tmp_path: Path, database: str, said: str, value: int, how: str
) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    async with house(tmp_path, runbook(BOTH, FLAG % "" + FIX), database=database) as home:
        incident = await due(home)
        await home.app.answer(incident, said, "anna")
        now = await home.until(incident, lambda now: not now.obligations, "it is over")
        assert (flags(tmp_path), now.status) == ({"a": value}, Status.RESOLVED)
        told = await home.told_of(incident, EventKind.OBLIGATION_ENDED)
        assert [(one["how"], one["by"]) for one in told] == [(how, "anna")]


async def test_it_is_still_asked_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    book = runbook(BOTH, FLAG.replace("0.3s", "2s") % "" + FIX)
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        await home.over(incident)
    async with house(tmp_path, book) as home:
        await home.until(incident, lambda now: now.waiting, "it is due")
        await home.app.answer(incident, "approved", "anna")
        await home.until(incident, lambda now: not now.obligations, "it is over")
        assert flags(tmp_path) == {"a": 0}


async def test_what_was_undone_is_not_asked_about(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    book = runbook(BOTH, FLAG.replace("0.3s", "30s") % ", undo: {on: worse}" + FIX.replace('"0"', '"500"'))
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (flags(tmp_path), now.verdict, now.obligations) == ({"a": 0}, "worse", ())

        async def ended() -> object:
            return await home.told_of(incident, EventKind.OBLIGATION_ENDED)

        await eventually(ended, "the obligation has ended")
