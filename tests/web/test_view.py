"""An incident as its page tells it: what people recognise, not what we number."""

from datetime import UTC, datetime
from typing import Any

from quell.incident.event import Event, EventKind, Stream
from quell.incident.incident import fold
from quell.registry import Registry
from quell.runbook.compile import compile_text
from quell.vocabulary_of import vocabulary_of
from quell.web.view import view_of
from tests.web.house import House

RUNBOOK = """
id: shop
triggers: [{type: alert, alert_name: ShopErrors}]
diagnostics: [{id: look, type: shell_command, config: {command: [ls]}, interpret: {critical: exit_code != 0}}]
decision_tree: [{otherwise: true, then: [page]}]
remediations: [{id: page, type: escalate}]
escalation: {primary: 'log:shop'}
"""


def text(house: House, incident: str) -> str:
    return house.http.get(f"/incidents/{incident}").text


def test_alerts_have_their_names(house: House) -> None:
    incident = house.alert("ShopAsk", pod="a", region="eu")
    assert house.alert("ShopAsk", pod="b", region="eu") == incident
    house.until(incident, "waiting_approval")
    page = text(house, incident)
    assert "ShopAsk pod=b joined: " in page
    assert "<small>ShopAsk and ShopAsk pod=b</small>" in page
    house.alert("ShopAsk", status="resolved", pod="a", region="eu")
    page = text(house, incident)
    assert "ShopAsk pod=a resolved: " in page
    assert "<small>ShopAsk pod=b</small>" in page
    numbers = house.incident(incident)["firing"] + house.incident(incident)["resolved_alerts"]
    assert len(numbers) == 2
    assert not [number for number in numbers if number in page]


def test_a_storm_is_a_few_names_and_a_number(house: House) -> None:
    house.runbook("storm", alert="Storm", approval="approval: {expires: 10m}")
    house.http.post("/api/v1/reload")
    incident = house.alert("Storm", pod="0")
    for number in range(1, 9):
        assert house.alert("Storm", pod=str(number)) == incident
    assert "<small>9 × Storm</small>" in text(house, incident)


def test_alerts_of_one_name_are_told_apart_in_their_list(house: House) -> None:
    house.alert("Twin", pod="left")
    house.alert("Twin", pod="right")
    page = house.http.get("/alerts").text
    assert "<code>pod=left</code>" in page
    assert "<code>pod=right</code>" in page


def test_an_alert_that_outlives_its_incident_is_explained(house: House) -> None:
    house.set(errors="12.4")
    incident = house.alert("ShopErrors", pod="late")
    house.until(incident, "resolved")
    assert "<small>ShopErrors (not reported as resolved yet)</small>" in text(house, incident)


def test_a_check_runs_only_while_its_run_does() -> None:
    """Not while the run waits for its turn, nor after it has ended without a place."""

    def event(seq: int, kind: EventKind, /, **payload: Any) -> Event:
        return Event(
            tenant="default", stream=Stream.INCIDENT, stream_id="i", seq=seq, at=datetime(2026, 1, 1, tzinfo=UTC),
            kind=kind, actor="quell", payload=payload,
        )  # fmt: skip

    (compiled,) = compile_text(RUNBOOK, "shop.yaml", vocabulary_of(Registry()))
    opened = event(1, EventKind.OPENED, title="Errors", severity="P1", runbook="shop")
    queued = event(2, EventKind.RUN_QUEUED, number=1, plan="h", reason="1 incident of runbook shop is worked on")
    begun = event(3, EventKind.RUN_STARTED, number=1, plan="h")
    ended = event(3, EventKind.RUN_ENDED, number=1, outcome="escalated", reason="the queue is full")
    paged = event(4, EventKind.ESCALATED, reason="the queue is full", to=["log:shop"])

    def running(*events: Event) -> list[str]:
        found = view_of(fold(events), events, compiled.plan).findings
        return [one["check"] for one in found if one["status"] == "running"]

    assert running(opened, queued, begun) == ["look"]
    assert running(opened, queued) == running(opened, queued, ended, paged) == []


def test_who_did_it_is_told_once() -> None:
    def event(seq: int, kind: EventKind, actor: str, /, **payload: Any) -> Event:
        return Event(
            tenant="default", stream=Stream.INCIDENT, stream_id="i", seq=seq, at=datetime(2026, 1, 1, tzinfo=UTC),
            kind=kind, actor=actor, payload=payload,
        )  # fmt: skip

    events = [
        event(1, EventKind.OPENED, "quell", title="Errors", severity="P1"),
        event(2, EventKind.TAKEN, "anna", by="anna", reason=""),
        event(3, EventKind.NOTED, "anna", text="seen before"),
    ]
    noted, taken, _ = view_of(fold(events), events, None).timeline
    assert (taken.text, taken.actor) == ("Taken over by anna", "")
    assert noted.actor == "anna"
