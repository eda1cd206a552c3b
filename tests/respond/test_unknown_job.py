"""A job of another system whose answer got lost: the postcondition asks that system, and nobody else has to."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.incident.event import EventKind
from tests.app import house, runbook
from tests.fakes.jobs import FakeJobs
from tests.fakes.serving import Fault

pytestmark = pytest.mark.anyio
DECIDE = "- {condition: state.critical, then: [fence]}"


def fence(find: str) -> str:
    return (
        f"- {{id: fence, type: automated, action: {{type: job, config: {{job: 'jobs:fence', poll: 20ms{find}}}}}, "
        "postcondition: {check: succeeded, within: 1s}}\n"
    )


@pytest.mark.parametrize(
    ("find", "result"), [(", find: '/jobs?key={key}'", "done"), ("", "unknown")], ids=["by key", "not by key"]
)
async def test_a_lost_answer_is_settled_by_who_knows(tmp_path: Path, find: str, result: str) -> None:
    with FakeJobs(tmp_path / "jobs") as fake:
        fake.poll_after_s = None
        fake.inject(Fault.cut(acts=True, method="POST"))
        more = f"connections: {{jobs: {{type: http, url: '{fake.url}'}}}}\n"
        async with house(tmp_path, runbook(DECIDE, fence(find)), more=more) as home:
            incident = await home.fire()
            if result == "done":
                await home.over(incident)
            else:
                await home.asked(incident)
            told = await home.told_of(incident, EventKind.ACTION_FINISHED)
        assert fake.effects.count() == 1
    assert [one["result"] for one in told] == [result]
