"""Alerts onto disk through a real App: invalid ones aside, their siblings on, none twice, none lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from quell.errors import InvalidInput, NotFound, Refused
from quell.incident.event import EventKind, Stream
from quell.store import events, inbox, letters
from tests.app import House, alert, do, eventually, house, runbook

pytestmark = pytest.mark.anyio

BOOK = runbook(
    "- {condition: state.value > 900, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def looked_at(home: House) -> None:
    """Nothing waits in the inbox."""
    await eventually(
        lambda: home.app.database.read(lambda c: letters.is_empty(c) and inbox.is_empty(c)), "an empty inbox"
    )


async def test_the_same_alert_many_times_at_once_opens_one_incident(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as home:
        receipts = await asyncio.gather(*(home.post(alert()) for _ in range(12)))
        named = {incident for receipt in receipts for incident in receipt.incidents}
        await looked_at(home)
        (incident,) = await home.app.incidents()
        assert named <= {incident.id}, "whoever had to wait is told of none"
        rows = await home.app.alerts()
        assert [(row["count"], row["incident"]) for row in rows] == [(12, incident.id)]


async def test_replicas_at_once_join_one_incident(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as home:
        receipts = await asyncio.gather(*(home.post(alert(replica=str(n))) for n in range(8)))
        await looked_at(home)
        (incident,) = await home.app.incidents()
        assert {one for receipt in receipts for one in receipt.incidents} <= {incident.id}
        assert len(incident.firing) == 8


async def test_what_cannot_be_read_is_kept_aside_and_its_siblings_go_on(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as home:
        receipt = await home.post(alert(), {"status": "firing", "labels": "none"}, alert("Other"))
        assert (receipt.accepted, len(receipt.incidents), len(receipt.quarantined)) == (2, 2, 1)
        kept = await home.app.quarantine()
        assert "alerts[1]" in kept[0]["reason"]
        assert "none" in kept[0]["fragment"]


async def test_text_that_a_database_may_not_like(tmp_path: Path, database: str) -> None:
    odd = alert(note="ünï ∀ 🎈 '; drop table quell_alerts; -- %s :x {y}")
    odd["annotations"] = {"summary": "x" * 4000}
    async with house(tmp_path, BOOK, database=database) as home:
        receipt = await home.post(odd)
        assert len((await home.app.incident(receipt.incidents[0])).title) <= 300
        assert (await home.app.alerts())[0]["alert"]["labels"]["note"].startswith("ünï ∀ 🎈")


async def test_the_alerts_own_stream_says_what_became_of_it_and_why(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as home:
        incident = await home.fire()
        row = (await home.app.alerts())[0]
        told = await home.app.database.read(lambda c: events.read(c, "default", Stream.ALERT, row["id"]))
        assert [event.kind for event in told] == [EventKind.ALERT_RECEIVED, EventKind.ALERT_ROUTED]
        assert (told[1].payload["incident"], told[1].payload["outcome"]) == (incident, "opened")
        assert any("its trigger matches" in step["why"] for step in told[1].payload["steps"])


async def test_a_body_that_is_wrong_as_a_whole_and_a_source_that_is_not_there(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as home:
        with pytest.raises(InvalidInput):
            await home.app.receive("alertmanager", {}, b"{not json")
        with pytest.raises(NotFound, match="did you mean 'alertmanager'"):
            await home.app.receive("alertmanger", {}, b"{}")
        assert await home.app.incidents() == []


async def test_a_webhook_with_a_secret_lets_nobody_in_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "s3cret")
    async with house(tmp_path, BOOK, more="sources: {alertmanager: {token: 'env:HOOK_TOKEN'}}\n") as home:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
            with pytest.raises(Refused) as refused:
                await home.app.receive("alertmanager", headers, b"{}")
            assert refused.value.rule == "signature"
        assert home.app.guards_itself("alertmanager")
        assert await home.app.incidents() == []


# Whom an alert is about, and who hears of it.

FIX = runbook("- {condition: state.critical, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}")


@pytest.mark.parametrize(
    ("labels", "services"),
    [({"service": "checkout"}, "{shop: {}}"), ({"environment": "staging"}, "{shop: {environment: production}}")],
)
async def test_an_alert_of_another_service_or_environment_never_acts_on_the_runbooks_own(
    tmp_path: Path, labels: dict[str, str], services: str
) -> None:
    async with house(tmp_path, FIX, services=services) as home:
        now = await home.escalated(await home.fire(**labels))
        assert (now.service, home.effects) == (None, [])
        assert now.refusals[0]["rule"] == "unknown_service"


async def test_an_action_that_names_a_service_does_not_make_the_alerts_known(tmp_path: Path) -> None:
    named = FIX.replace("run_script, config: {", "run_script, config: {service: shop, ").replace(
        "service: shop\n", "", 1
    )
    async with house(tmp_path, named) as home:
        now = await home.escalated(await home.fire(service=""))
        assert (now.service, home.effects) == (None, [])


async def test_a_service_that_nobody_knows_starts_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, FIX) as home:
        with pytest.raises(NotFound, match="shop"):
            await home.app.trigger("down", service="shopp")


async def test_an_alert_that_joins_after_the_run_is_looked_at_again(tmp_path: Path) -> None:
    """Escalated, resolved by itself, and firing again; then a worse one on another replica."""
    async with house(tmp_path, BOOK) as home:
        incident = await home.fire(severity="warning")
        await home.escalated(incident)
        assert await home.fire(severity="critical", replica="2") == incident
        now = await home.until(incident, lambda now: now.run == 2 and now.outcome, "a second run")
        assert now.severity == "P1"
        await home.until(incident, lambda now: len(now.escalated_to) == 2, "a second page")


async def test_a_relabelled_alert_in_one_body_keeps_its_approval_waiting(tmp_path: Path) -> None:
    asks = FIX.replace("type: automated", "type: automated, requires_approval: true")
    async with house(tmp_path, asks) as home:
        incident = await home.fire(instance="a")
        approval = (await home.asked(incident)).approval
        await home.post(alert(instance="a", status="resolved"), alert(instance="b"))
        await home.app.answer(approval, "approved", "anna")
        assert ((await home.over(incident)).outcome, home.effects) == ("resolved", ["fix"])


async def test_an_alert_that_comes_back_after_its_question_was_withdrawn_is_asked_about_again(tmp_path: Path) -> None:
    asks = FIX.replace("type: automated", "type: automated, requires_approval: true")
    async with house(tmp_path, asks) as home:
        incident = await home.fire(instance="a")
        await home.asked(incident)
        await asyncio.gather(home.calm(instance="a"), home.fire(instance="b"))
        now = await home.until(incident, lambda now: now.waiting or now.outcome == "escalated", "somebody asked again")
        assert home.effects == []
        assert now.firing
