"""The whole loop through a real App: what each verdict leads to, and that nothing is done without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.app import VERIFY, do, house, runbook

from quell.incident.event import EventKind
from quell.incident.incident import Status

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
ONE = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """An empty database: SQLite in the test's folder, or a fresh one of a real PostgreSQL."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def test_an_alert_is_diagnosed_fixed_verified_and_resolved(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, runbook(FIX, ONE), database=database) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.status, now.outcome, now.verdict) == (Status.RESOLVED, "resolved", "recovered")
        assert home.effects == ["fix"]
        kinds = [event.kind for event in await home.events(incident)]
        assert kinds == [
            EventKind.OPENED, EventKind.RUN_STARTED, EventKind.CHECK_FINISHED, EventKind.DECIDED,
            EventKind.ACTION_INTENDED, EventKind.ACTION_FINISHED, EventKind.VERIFICATION_STARTED,
            EventKind.VERIFICATION_FINISHED, EventKind.RESOLVED, EventKind.RUN_ENDED,
        ]  # fmt: skip
        assert [event.seq for event in home.told] == list(range(1, len(kinds) + 1))


async def test_what_changes_nothing_is_followed_by_the_next_decision(tmp_path: Path, database: str) -> None:
    book = runbook(
        "- {condition: state.critical, then: [wrong]}\n- {condition: state.value > 20, then: [right]}",
        f"- {{id: wrong, type: automated, action: {do('wrong', 50)}}}\n- {{id: right, type: automated, action: {do('right', 0)}}}",
    )
    async with house(tmp_path, book, database=database) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("resolved", ["wrong", "right"])
        verdicts = [told["verdict"] for told in await home.told_of(incident, EventKind.VERIFICATION_FINISHED)]
        assert verdicts == ["unchanged", "recovered"]
        first = (await home.told_of(incident, EventKind.DECIDED))[0]
        assert (first["recommended"], first["chosen"]) == (["d1", "d2"], ["d1"])
