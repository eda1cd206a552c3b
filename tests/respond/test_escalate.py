"""Paging: the primary, then the secondary unless somebody answers; what is not delivered is said, never swallowed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from quell.incident.event import EventKind
from quell.incident.incident import Status
from tests.app import PAGES, House, do, eventually, house, runbook
from tests.fakes.serving import Fault
from tests.fakes.sink import FakeSink

pytestmark = pytest.mark.anyio

NONE = "- {condition: state.value > 900, then: [fix]}"
FIX = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"


def book(escalation: str) -> str:
    return runbook(NONE, FIX).replace(PAGES, f"escalation: {escalation}\n")


BOTH = "{primary: 'log:first', secondary: 'log:second', escalate_after_minutes: 0.01}"


async def test_the_secondary_is_paged_when_nobody_answers(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, book(BOTH), database=database) as home:
        incident = await home.fire()
        now = await home.until(incident, lambda now: len(now.escalated_to) == 2, "the secondary")
        assert now.escalated_to == ("log:first", "log:second")
        assert [one["level"] for one in await home.told_of(incident, EventKind.ESCALATED)] == [1, 2]
        told = await home.told_of(incident, EventKind.NOTIFIED)
        assert [(one["to"], one["delivered"]) for one in told][:1] == [("log:first", True)]


async def test_whoever_acknowledges_keeps_the_secondary_asleep(tmp_path: Path) -> None:
    async with house(tmp_path, book(BOTH.replace("0.01", "0.02"))) as home:
        incident = await home.fire()
        await home.escalated(incident)
        now = await home.app.acknowledge(incident, "anna")
        assert now.acknowledged_by == "anna"
        await home.app.take(incident, "anna")  # from now on nobody forgets it
        await ended(home, incident)
        assert (await home.app.incident(incident)).escalated_to == ("log:first",)


async def ended(home: House, incident: str) -> None:
    async def over() -> bool:
        return await home.app.durable.status(f"page:{incident}.1") == "SUCCESS"

    await eventually(over, "the end of the page")


FORGETFUL = BOTH.replace("0.01", "5").replace("}", ", repage_after_minutes: 0.01}")


async def test_an_acknowledgement_that_is_forgotten_pages_everybody_again(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, book(FORGETFUL), database=database) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.acknowledge(incident, "anna")
        now = await home.until(incident, lambda now: len(now.escalated_to) == 2, "the second page")
        assert (now.escalated_to, now.acknowledged_by) == (("log:first", "log:first"), None)
        (told,) = await home.told_of(incident, EventKind.UNACKNOWLEDGED)
        assert (told["by"], told["reason"]) == ("anna", "nothing was heard for 600ms")
        await home.app.acknowledge(incident, "ben")  # which counts again, and is forgotten again
        await home.until(incident, lambda now: len(now.escalated_to) == 3, "the third page")


async def test_it_is_paged_again_after_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path, book(FORGETFUL.replace("minutes: 5", "minutes: 0.03"))) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.acknowledge(incident, "anna")
    async with house(tmp_path, []) as home:
        await home.until(incident, lambda now: len(now.escalated_to) == 2, "the second page")


@pytest.mark.parametrize("deed", ["take", "resolve"])
async def test_what_somebody_has_in_hand_is_not_paged_again(tmp_path: Path, deed: str) -> None:
    async with house(tmp_path, book(FORGETFUL)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.acknowledge(incident, "anna")
        await getattr(home.app, deed)(incident, "anna")
        await ended(home, incident)
        now = await home.app.incident(incident)
        assert (now.escalated_to, now.acknowledged_by) == (("log:first",), "anna")


async def test_an_acknowledgement_after_everybody_was_paged_may_be_forgotten_too(tmp_path: Path) -> None:
    late = BOTH.replace("}", ", repage_after_minutes: 0.01}")
    async with house(tmp_path, book(late)) as home:
        incident = await home.fire()
        await home.until(incident, lambda now: len(now.escalated_to) == 2, "everybody")
        last = (await home.events(incident, EventKind.ESCALATED))[-1].at

        async def late() -> bool:
            return home.app.world.clock() - last > timedelta(seconds=0.8)

        await eventually(late, "the end of the last wait")
        await home.app.acknowledge(incident, "anna")
        await home.until(incident, lambda now: len(now.escalated_to) > 2, "the page after it")


async def test_several_are_paged_one_after_the_other(tmp_path: Path) -> None:
    chain = "{primary: 'log:first', secondary: ['log:second', 'log:third'], escalate_after_minutes: 0.01}"
    async with house(tmp_path, book(chain)) as home:
        incident = await home.fire()
        now = await home.until(incident, lambda now: len(now.escalated_to) == 3, "the third")
        assert now.escalated_to == ("log:first", "log:second", "log:third")


async def test_an_incident_that_ended_pages_nobody_more(tmp_path: Path) -> None:
    async with house(tmp_path, book(BOTH)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.calm()
        await ended(home, incident)
        now = await home.app.incident(incident)
        assert (now.status, now.escalated_to) == (Status.RESOLVED, ("log:first",))


async def test_a_page_carries_the_evidence(tmp_path: Path) -> None:
    with FakeSink() as sink:
        more = f"connections: {{ops: {{type: webhook, url: '{sink.url}/hook'}}}}\n"
        async with house(tmp_path, book("{primary: 'webhook:ops'}"), more=more) as home:
            incident = await home.fire()
            await home.escalated(incident)
            await home.until(incident, lambda now: sink.received)
            sent = sink.received[0].json()
            assert sent["incident"] == incident
            assert (sent["severity"], sent["service"], sent["text"]) == ("P2", "shop", "no decision holds")
            assert sent["findings"][0] == {
                "check": "state",
                "name": "state",
                "status": "critical",
                "message": "exit 0: 50",
            }


async def test_what_cannot_be_delivered_is_recorded_and_told_to_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeSink() as sink:
        sink.inject(Fault.refuse(403, times=0))
        more = f"connections: {{ops: {{type: webhook, url: '{sink.url}/hook'}}}}\n"
        async with house(tmp_path, book("{primary: 'webhook:ops'}"), more=more) as home:
            incident = await home.fire()
            await home.escalated(incident)

            async def told() -> list[object]:
                return await home.told_of(incident, EventKind.NOTIFIED)

            await eventually(told, "the record")
            record = (await home.told_of(incident, EventKind.NOTIFIED))[0]
            assert (record["to"], record["delivered"]) == ("webhook:ops", False)
            assert "403" in record["detail"]
    out = capsys.readouterr()
    assert incident in out.out + out.err + caplog.text


async def test_a_name_that_leads_nowhere_is_recorded_too(tmp_path: Path) -> None:
    async with house(tmp_path, book("{primary: nobody-there}")) as home:
        incident = await home.fire()
        await home.escalated(incident)

        async def told() -> list[object]:
            return await home.told_of(incident, EventKind.NOTIFIED)

        await eventually(told, "the record")
        assert (await home.told_of(incident, EventKind.NOTIFIED))[0]["delivered"] is False


async def test_a_notifier_that_is_away_for_a_moment_is_asked_again(tmp_path: Path) -> None:
    with FakeSink() as sink:
        sink.inject(Fault.refuse(503, times=1))
        more = f"connections: {{ops: {{type: webhook, url: '{sink.url}/hook'}}}}\n"
        async with house(tmp_path, book("{primary: 'webhook:ops'}"), more=more) as home:
            incident = await home.fire()
            await home.until(incident, lambda now: sink.received)
            assert len(sink.received) == 1


async def test_without_a_runbook_somebody_is_paged_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(NONE, FIX), more="escalation: 'log:everybody'\n") as home:
        incident = await home.fire("Unheard")
        now = await home.until(incident, lambda now: now.escalated_to)
        assert (now.status, now.runbook, now.escalated_to) == (Status.ESCALATED, None, ("log:everybody",))
        assert "no runbook has a trigger for 'Unheard'" in now.reason


async def test_paged_immediately_and_again_with_the_reason_when_nothing_helped(tmp_path: Path) -> None:
    async with house(tmp_path, book("{primary: 'log:first', page: immediately}")) as home:
        incident = await home.fire()
        await home.over(incident)
        await home.until(incident, lambda now: len(now.escalated_to) == 2, "the second page")
        reasons = [one["reason"] for one in await home.told_of(incident, EventKind.ESCALATED)]
        assert reasons == ["P2: paged immediately", "no decision holds"]


async def test_a_step_may_name_whom_to_page(tmp_path: Path) -> None:
    text = runbook(
        "- {condition: state.critical, then: [page]}",
        "- {id: page, type: escalate, to: 'log:dba', description: ask the DBA}",
    )
    async with house(tmp_path, text) as home:
        now = await home.escalated(await home.fire())
        assert now.escalated_to == ("log:dba", "log:primary")
        assert now.reason == "ask the DBA"


async def test_of_two_pages_of_one_run_only_the_later_comes_again(tmp_path: Path) -> None:
    again = FORGETFUL.replace("}", ", page: immediately}")
    async with house(tmp_path, book(again)) as home:
        incident = await home.fire()
        await home.until(incident, lambda now: len(now.escalated_to) == 2, "at once, and at the end")
        await home.app.acknowledge(incident, "anna")
        await home.until(incident, lambda now: len(now.escalated_to) == 3, "the page after it")
        await ended(home, incident)  # the first one
        assert len(await home.told_of(incident, EventKind.UNACKNOWLEDGED)) == 1
        assert len((await home.app.incident(incident)).escalated_to) == 3
