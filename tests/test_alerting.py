"""Silences, merges, splits, late causes and second fires, through a real App on both databases."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quell import inflow
from quell.alerting import chosen
from quell.delivery import Delivery
from quell.errors import Conflict, InvalidInput, NotFound
from quell.incident.alert import Alert, AlertStatus
from quell.incident.event import EventKind
from quell.incident.incident import ENDED, Status
from quell.incident.matcher import parse_matchers
from quell.incident.silence import Silence
from quell.intake.silencing import Wanted
from tests.app import House, alert, do, eventually, house, runbook

pytestmark = pytest.mark.anyio

BOOK = runbook(
    "- {condition: state.value > 900, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
)
DB = BOOK.replace("id: down", "id: db-down").replace("service: shop", "service: db").replace(
    "alert_name: Down", "alert_name: DbDown"
)  # fmt: skip
SERVICES = "{shop: {depends_on: [db]}, web: {depends_on: [shop]}, db: {}, mail: {}}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


async def silence(at: House, matchers: str = "alertname=Down", *, for_s: float = 3600.0, **more: Any) -> Silence:
    now = datetime.now(UTC)
    wanted = Wanted(
        matchers=parse_matchers(matchers), starts_at=now, ends_at=now + timedelta(seconds=for_s), by="anna",
        comment="the disks are being changed", **more,
    )  # fmt: skip
    return await at.app.alerting.silence(wanted)


async def row(at: House, name: str = "Down") -> dict[str, Any]:
    return next(one for one in await at.app.alerts() if one["name"] == name)


# Silences.


async def test_what_is_silenced_is_recorded_and_opens_nothing(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        made = await silence(at)
        receipt = await at.post(alert())
        assert (receipt.accepted, receipt.incidents) == (1, ())
        assert await at.app.incidents() == []
        held = await row(at)
        assert (held["held"], held["status"], held["incident"]) == (f"silence {made.id}", "firing", None)
        assert "silenced until" in held["reason"]
        why = await at.app.alerting.why("Down")
        assert why.outcome == "held"
        assert [one.held for one in why.tried if one.rule == f"silence {made.id}"] == [True]


async def test_a_silence_that_ends_lets_through_what_it_held_once(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        made = await silence(at)
        await at.post(alert())
        await at.post(alert())
        ended = await at.app.alerting.unsilence(made.id[:8], "bob")
        assert ended.id == made.id
        await eventually(at.app.incidents, "the incident that it held")
        (found,) = await at.app.incidents()
        assert found.firing == ((await row(at))["id"],)
        await asyncio.gather(*(at.app.alerting.look_again() for _ in range(3)))
        assert len(await at.app.incidents()) == 1
        why = await at.app.alerting.why("Down")
        assert [one["outcome"] for one in why.history] == ["held", "opened"]
        with pytest.raises(Conflict, match="ended at"):
            await at.app.alerting.unsilence(made.id, "bob")


async def test_a_silence_ends_by_itself(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        await silence(at, for_s=0.5)
        await at.post(alert())
        await eventually(at.app.incidents, "the incident that it held")


async def test_what_resolves_while_it_is_silenced_never_was(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        made = await silence(at)
        await at.post(alert())
        await at.calm()
        assert (await row(at))["held"] == ""
        await at.app.alerting.unsilence(made.id, "bob")
        await at.app.alerting.look_again()
        assert await at.app.incidents() == []


async def test_a_silence_is_changed_in_its_place_and_by_other_matchers_replaced(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        made = await silence(at)
        longer = await silence(at, for_s=7200, id=made.id)
        assert (longer.id, longer.starts_at) == (made.id, made.starts_at)
        assert longer.ends_at > made.ends_at
        other = await silence(at, "alertname=Up", id=made.id)
        assert other.id != made.id
        assert [one.id for one in await at.app.alerting.silences()] == [other.id]
        assert {one.id for one in await at.app.alerting.silences(ended=True)} == {made.id, other.id}


async def test_what_no_silence_may_be(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        now = datetime.now(UTC)
        wrong = Wanted(matchers=parse_matchers("a="), starts_at=now, ends_at=now, by=" ", comment="")
        with pytest.raises(InvalidInput) as caught:
            await at.app.alerting.silence(wrong)
        assert [one.path for one in caught.value.problems] == ["matchers", "endsAt", "createdBy", "comment"]
        with pytest.raises(NotFound):
            await silence(at, id="gone")
        assert await at.app.alerting.silences(ended=True) == []


async def test_a_silence_for_a_time_begins_and_ends_by_the_clock_of_the_database(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        made = await at.app.alerting.silence_for(parse_matchers("alertname=Down"), 3600, "anna", "disks")
        assert made.ends_at - made.starts_at == timedelta(hours=1)
        assert made.starts_at == made.updated_at
        await at.post(alert(), alert(pod="2"), alert("Other"))
        assert await at.app.alerting.held() == {made.held_as: 2}
        assert await at.app.alerting.held("another") == {}


async def test_of_two_who_end_a_silence_at_once_one_is_told(tmp_path: Path, database: str) -> None:
    """Whoever is second neither ends it again nor lets anything through again."""
    async with house(tmp_path, BOOK, database=database) as at:
        made = await silence(at)
        await at.post(alert())
        told = await asyncio.gather(
            *(at.app.alerting.unsilence(made.id, by) for by in ("anna", "bob", "eve")), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in told) == ["Conflict", "Conflict", "Silence"]
        await eventually(at.app.incidents, "the incident that it held")
        ended = [event for event in at.told if event.kind is EventKind.SILENCE_ENDED]
        assert [event.payload["silence"] for event in ended] == [made.id]
        with pytest.raises(InvalidInput, match="say who you are"):
            await at.app.alerting.unsilence(made.id, " ")


async def test_a_silence_outlives_a_restart_and_ends_by_itself_or_by_hand(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        made, short = await silence(at), await silence(at, "alertname=Short", for_s=0.5)
        await at.post(alert(), alert("Short", service="mail"))
    async with house(tmp_path, BOOK, database=database) as at:
        await eventually(at.app.incidents, "what the short one held, whose time was over meanwhile")
        assert [one.id for one in await at.app.alerting.silences()] == [made.id]
        assert (await row(at))["held"] == made.held_as
        await at.app.alerting.unsilence(made.id, "bob")
    async with house(tmp_path, BOOK, database=database) as at:
        await eventually(lambda: _incidents(at, 2), "what the other one held")
        await asyncio.gather(*(at.app.alerting.look_again() for _ in range(3)))
        assert len(await at.app.incidents()) == 2
        assert {one.id for one in await at.app.alerting.silences(ended=True)} == {made.id, short.id}


async def _incidents(at: House, number: int) -> bool:
    return len(await at.app.incidents()) == number


async def test_matchers_of_an_alert_fit_it_and_what_has_its_labels(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        await at.fire("Odd", service="mail", pod="1")
        matchers = await at.app.alerting.matchers_of("Odd")
        assert [str(one) for one in matchers] == ['alertname="Odd"', 'pod="1"', 'service="mail"']
        await at.calm("Odd", service="mail", pod="1")
        await at.app.alerting.silence_for(matchers, 60, "anna", "known")
        assert (await at.post(alert("Odd", service="mail", pod="1"))).incidents == ()
        assert len((await at.post(alert("Odd", service="mail", pod="2"))).incidents) == 1
        with pytest.raises(NotFound):
            await at.app.alerting.matchers_of("Odd", "another")


async def test_maintenance_is_told_with_where_it_stands(tmp_path: Path) -> None:
    more = "maintenance: [{name: move, matchers: a=b, from: 2020-01-01, until: 2120-01-01}]\n"
    async with house(tmp_path, BOOK, more=more) as at:
        (one,) = await at.app.alerting.maintenance()
        assert (one.name, one.on, one.until, one.next) == ("move", True, datetime(2120, 1, 1, tzinfo=UTC), None)


async def test_the_alerts_of_an_incident_are_those_that_belong_to_it_now(tmp_path: Path) -> None:
    async with house(tmp_path, [BOOK, DB], services=SERVICES) as at:
        cause = await at.fire("DbDown", service="db")
        await at.fire("Down", service="shop")
        assert [one["name"] for one in await at.app.alerting.alerts_in(cause, 10)] == ["Down", "DbDown"]
        assert [one["name"] for one in await at.app.alerting.alerts_in(cause, 1)] == ["Down"]
        new = await at.app.alerting.split(cause, ["Down"], "anna")
        assert [one["name"] for one in await at.app.alerting.alerts_in(cause, 10)] == ["DbDown"]
        assert [one["name"] for one in await at.app.alerting.alerts_in(new.id, 10)] == ["Down"]
        with pytest.raises(NotFound):
            await at.app.alerting.alerts_in(cause, 10, "another")


# Maintenance and inhibition.


async def test_maintenance_and_inhibition_hold_too(tmp_path: Path, database: str) -> None:
    more = """
maintenance: [{name: move, matchers: "alertname=Down", from: 2020-01-01, until: 2120-01-01}]
inhibit_rules: [{source_matchers: "alertname=Root", target_matchers: "alertname=Leaf"}]
"""
    async with house(tmp_path, BOOK, database=database, more=more) as at:
        assert (await at.post(alert())).incidents == ()
        assert (await row(at))["held"] == "maintenance move"
        (root,) = (await at.post(alert("Root"))).incidents
        assert (await at.post(alert("Leaf"))).incidents == ()
        assert "'Root' fires" in (await row(at, "Leaf"))["reason"]
        await at.calm("Root")
        assert (await at.app.incident(root)).status in ENDED
        assert len((await at.post(alert("Leaf"))).incidents) == 1


# Again.


async def test_what_fires_again_a_moment_after_its_end_opens_it_again(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        first = await at.fire()
        await at.over(first)
        await at.calm()
        await at.until(first, lambda now: now.status in ENDED)
        assert await at.fire() == first
        again = await at.until(first, lambda now: now.run == 2)
        assert (again.reopened, again.status in ENDED) == (1, False)
        told = await at.told_of(first, EventKind.REOPENED)
        assert "fires again" in told[0]["reason"]


async def test_without_a_runbook_whoever_was_paged_is_paged_again(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        first = await at.fire("Unknown")
        await at.until(first, lambda now: now.escalated_to)
        await at.calm("Unknown")
        await at.until(first, lambda now: now.status in ENDED)
        assert await at.fire("Unknown") == first
        await at.until(first, lambda now: len(now.escalated_to) == 2)


async def test_where_nothing_is_opened_again_it_is_a_new_one(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK, more="correlation: {reopen: 0}\n") as at:
        first = await at.fire()
        await at.over(first)
        await at.calm()
        await at.until(first, lambda now: now.status in ENDED)
        assert await at.fire() != first


async def test_an_alert_that_comes_and_goes_does_not_end_its_incident(tmp_path: Path, database: str) -> None:
    more = "correlation: {flapping: {changes: 3, within: 1m, quiet: 1s}}\n"
    async with house(tmp_path, BOOK, database=database, more=more) as at:
        incident = await at.fire("Unknown", service="mail")
        for _ in range(2):
            await at.calm("Unknown", service="mail")
            await at.post(alert("Unknown", service="mail"))
        await at.calm("Unknown", service="mail")
        assert (await row(at, "Unknown"))["held"] == "flapping"
        assert (await at.app.incident(incident)).status not in ENDED
        await at.until(incident, lambda now: now.status in ENDED)
        assert (await row(at, "Unknown"))["held"] == ""
        assert len(await at.app.incidents()) == 1


# What fires.


async def test_what_fires_is_listed_with_what_holds_it(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        made = await silence(at, "alertname=Hushed")
        await at.post(alert())
        await at.post(alert("Hushed"))
        await at.post(alert("Over"))
        await at.post(alert("Over", status="resolved"))
        found = {one.alert.name: one for one in await at.app.alerting.firing()}
        assert set(found) == {"Down", "Hushed"}
        assert (found["Hushed"].held, found["Hushed"].incident) == (f"silence {made.id}", None)
        down = found["Down"]
        assert (down.held, down.incident, down.unseen) == ("", (await row(at))["incident"], False)
        assert down.labels["alertname"] == "Down"
        assert down.labels["source"] == down.alert.source
        assert down.began_at <= down.said_at <= datetime.now(UTC)
        assert await at.app.alerting.firing("acme") == []


async def test_what_was_to_fire_until_a_moment_ago_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anybody has looked at it again: its row still says that it fires."""
    monkeypatch.setattr("tests.app.POLL_S", 600)
    async with house(tmp_path, BOOK) as at:
        until = datetime.now(UTC) + timedelta(seconds=1)
        told = {"labels": {"alertname": "Fades"}, "endsAt": until.isoformat()}
        await at.app.receive("alertmanager_api", {}, json.dumps([told]).encode())
        assert [one.alert.ends_at for one in await at.app.alerting.firing()] == [until]

        async def gone() -> bool:
            return not await at.app.alerting.firing()

        await eventually(gone, "its end")
        assert (await row(at, "Fades"))["status"] == "firing"


def test_a_pattern_that_cannot_be_used_is_told() -> None:
    with pytest.raises(ValueError, match="a"):
        chosen(parse_matchers('a=~"("'))
    fits = chosen(parse_matchers('a=~"b|c", d!=e'))
    assert [fits(one) for one in ({"a": "b"}, {"a": "b", "d": "e"}, {})] == [True, False, False]


# Silences.


async def test_symptoms_join_their_cause(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, [BOOK, DB], database=database, services=SERVICES) as at:
        cause = await at.fire("DbDown", service="db")
        assert await at.fire("Down", service="shop") == cause
        assert await at.fire("Slow", service="web") == cause
        assert await at.fire("Slow", service="mail") != cause
        now = await at.app.incident(cause)
        assert (now.service, len(now.firing), now.runbook) == ("db", 3, "db-down")


async def test_a_late_cause_takes_over_until_something_was_done(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, [BOOK, DB], database=database, services=SERVICES) as at:
        symptom = await at.fire("Down", service="shop")
        assert await at.fire("DbDown", service="db") == symptom
        now = await at.until(symptom, lambda now: now.run == 2)
        assert (now.service, now.runbook) == ("db", "db-down")
        assert now.cause == (await row(at, "DbDown"))["id"]
        ended = await at.told_of(symptom, EventKind.RUN_ENDED)
        assert ended[0]["outcome"] in ("superseded", "escalated")
        over = await at.until(symptom, lambda now: now.run == 2 and now.outcome is not None)
        assert over.outcome == "escalated"


async def test_a_run_that_waits_for_a_yes_is_superseded_and_its_question_withdrawn(
    tmp_path: Path, database: str
) -> None:
    asks = runbook(
        "- {condition: state.value > 9, then: [fix]}",
        f"- {{id: fix, type: automated, requires_approval: true, action: {do('fix', 0)}}}",
    )
    async with house(tmp_path, [asks, DB], database=database, services=SERVICES) as at:
        symptom = await at.fire("Down", service="shop")
        asked = await at.asked(symptom)
        assert await at.fire("DbDown", service="db") == symptom
        await at.until(symptom, lambda now: now.run == 2 and now.outcome is not None)
        with pytest.raises(Conflict):
            await at.app.answer(asked.approval, "approved", "anna")
        assert at.effects == []
        outcomes = [one["outcome"] for one in await at.told_of(symptom, EventKind.RUN_ENDED)]
        assert outcomes == ["superseded", "escalated"]


async def test_after_an_action_a_late_cause_is_noted_and_the_run_goes_on(tmp_path: Path) -> None:
    acts = runbook(
        "- {condition: state.value > 9, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 50)}}}"
    )
    async with house(tmp_path, [acts, DB], services=SERVICES) as at:
        symptom = await at.fire("Down", service="shop")
        await at.until(symptom, lambda now: now.acted)
        assert await at.fire("DbDown", service="db") == symptom
        now = await at.over(symptom)
        assert (now.run, now.service) == (1, "db")
        assert any("something was done already" in one["text"] for one in await at.told_of(symptom, EventKind.NOTED))


async def test_an_alert_goes_on_under_other_labels(tmp_path: Path, database: str) -> None:
    """Its old self resolves and the new one fires, in one body or one after the other."""
    async with house(tmp_path, BOOK, database=database) as at:
        same = {"service": "mail", "instance": "a:1", "zone": "x"}
        first = await at.fire("Odd", **same, version="1")
        gone, new = alert("Odd", status="resolved", **same, version="1"), alert("Odd", **same, version="2")
        receipt = await at.post(gone, new)
        assert receipt.incidents == (first,)
        await at.calm("Odd", **same, version="2")
        assert await at.fire("Odd", **same, version="3") == first


# By hand.


async def test_merged_by_hand_one_goes_on_in_the_other(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database, services=SERVICES) as at:
        one, other = await at.fire("Odd", service="mail"), await at.fire("Down", service="shop")
        stays = await at.app.alerting.merge(one, other, "anna", "the same network")
        assert (stays.id, len(stays.firing)) == (other, 2)
        gone = await at.app.incident(one)
        assert (gone.status, gone.merged_into) == (Status.RESOLVED, other)
        assert "merged into" in gone.reason
        assert (await row(at, "Odd"))["incident"] == other
        # Its alert is the other's, and so is whatever comes of its group.
        assert await at.fire("Odd", service="mail", pod="2") != one
        await at.calm("Odd", service="mail")
        assert (await row(at, "Odd"))["status"] in ("resolved", "firing")
        with pytest.raises(Conflict, match="is over"):
            await at.app.alerting.merge(one, other, "anna")
        with pytest.raises(InvalidInput):
            await at.app.alerting.merge(other, other, "anna")


async def test_split_by_hand_an_alert_gets_an_incident_of_its_own(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, [BOOK, DB], database=database, services=SERVICES) as at:
        cause = await at.fire("DbDown", service="db")
        await at.fire("Down", service="shop")
        new = await at.app.alerting.split(cause, ["Down"], "anna", "another fault")
        assert (new.service, new.runbook, len(new.firing)) == ("shop", "down", 1)
        old = await at.app.incident(cause)
        assert len(old.firing) == 1
        assert (await row(at))["incident"] == new.id
        assert await at.fire("Down", pod="2") == new.id
        await at.over(new.id)
        with pytest.raises(NotFound):
            await at.app.alerting.split(cause, ["Down"], "anna")
        with pytest.raises(Conflict, match="nothing would stay"):
            await at.app.alerting.split(cause, ["DbDown"], "anna")


async def test_two_who_merge_two_into_each_other_at_once(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database, services=SERVICES) as at:
        one, other = await at.fire("Odd", service="mail"), await at.fire("Down", service="shop")
        told = await asyncio.gather(
            at.app.alerting.merge(one, other, "anna"), at.app.alerting.merge(other, one, "bob"), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in told) == ["Conflict", "Incident"]
        left = [known for known in await at.app.incidents() if known.status not in ENDED]
        assert [len(known.firing) for known in left] == [2]


# What is asked.


async def test_an_alert_is_found_by_its_name_its_fingerprint_or_its_beginning(tmp_path: Path) -> None:
    async with house(tmp_path, BOOK) as at:
        await at.fire("Odd", service="mail", pod="1")
        only = await row(at, "Odd")
        for name in ("Odd", only["id"], only["fingerprint"], only["fingerprint"][:6]):
            assert (await at.app.alerting.alert(name))["id"] == only["id"]
        await at.fire("Odd", service="mail", pod="2")
        with pytest.raises(Conflict, match="2 alerts are called 'Odd'"):
            await at.app.alerting.why("Odd")
        with pytest.raises(NotFound):
            await at.app.alerting.why("None")
        with pytest.raises(NotFound):
            await at.app.alerting.why("Odd", "another tenant")


async def test_an_alert_that_ends_by_itself(tmp_path: Path, database: str) -> None:
    """As Prometheus tells it: it fires until a moment, unless it is said again."""
    async with house(tmp_path, BOOK, database=database) as at:
        until = (datetime.now(UTC) + timedelta(seconds=0.6)).isoformat()
        incident = (await at.post({**alert("Unknown"), "endsAt": until})).incidents[0]
        await at.until(incident, lambda now: now.status in ENDED)
        assert (await row(at, "Unknown"))["status"] == "resolved"


# The list, and why of an incident.


@pytest.mark.parametrize("waiting", [0, 4, 9], ids=["all stored", "some in the inbox", "all in the inbox"])
async def test_page_by_page_none_is_left_out_whether_or_not_it_was_looked_at(
    tmp_path: Path, database: str, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids in both cases of letters: databases sort them differently, unless they are told not to."""
    letters = [letter + str(number) for number, letter in enumerate("aBcDeFgHi")]
    async with house(tmp_path, BOOK, database=database) as at:
        delivery = Delivery("am", [one(letter) for letter in letters])
        stored = replace(delivery, alerts=delivery.alerts[waiting:])
        await at.app._commit(lambda change: at.app.reception.take_in(change, stored, ()))
        monkeypatch.setattr(at.app.inflow, "_start_draining", lambda: None)
        monkeypatch.setattr(inflow, "AT_ONCE", 0)
        if waiting:
            await at.app.take_in(replace(delivery, alerts=delivery.alerts[:waiting]))
        seen, before = [], None
        for _ in range(9):
            found, before = await at.app.alerting.alerts(limit=2, before=before)
            seen += [row["fingerprint"] for row in found]
            if before is None:
                break
        assert seen == sorted(letters, reverse=True)
        assert await at.app.alerting.alerts(status="resolved") == ([], None)
        monkeypatch.undo()
        await at.app.inflow.look()


def one(letter: str) -> Alert:
    at = datetime(2026, 11, 29, 3, tzinfo=UTC)
    return Alert(source="am", name="Same", status=AlertStatus.FIRING, fingerprint=letter, received_at=at)


async def test_an_incident_says_why_each_alert_is_in_it_and_what_became_of_those_that_left(
    tmp_path: Path, database: str
) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        first = await at.post(alert())
        incident = first.incidents[0]
        told = (await at.app.alerting.why_incident(incident[:8])).as_json
        assert [(part["name"], part["why"]) for part in told["alerts"]] == [("Down", "the incident began with it")]
        assert (told["incident"]["id"], told["runbook"]) == (incident, "down")
        with pytest.raises(NotFound):
            await at.app.alerting.why_incident("nobody")
