"""Why, as it is told from what was recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from quell.incident.event import Event, EventKind, Stream
from quell.incident.incident import Incident
from quell.incident.tried import Tried
from quell.telling.why import guarded, told_to, why_alert

AT = datetime(2026, 1, 1, tzinfo=UTC)
ROW: dict[str, Any] = {
    "id": "default.am.prod..f", "name": "Down", "source": "am", "status": "firing", "reason": "a new one",
    "incident": "i", "held": "", "changes": "[]", "schema_version": 1,
    "alert": {"labels": {"a": "b"}, "annotations": {}, "received_at": AT.isoformat()},
}  # fmt: skip


def event(kind: EventKind, /, **payload: Any) -> Event:
    return Event(
        tenant="default", stream=Stream.ALERT, stream_id="x", seq=1, at=AT, kind=kind, actor="quell", payload=payload
    )  # fmt: skip


def routed(outcome: str, *tried: Tried, **more: Any) -> Event:
    steps = [one.stored for one in tried]
    return event(EventKind.ALERT_ROUTED, outcome=outcome, reason="r", steps=steps, **more)


def test_the_last_word_is_explained_and_the_others_are_its_history() -> None:
    log = [
        event(EventKind.ALERT_RECEIVED, alert={}, signature="bearer token"), routed("held"),
        routed("opened", Tried("runbook pool", True, "its trigger matches"), runbook="pool", group_key="prod//shop"),
    ]  # fmt: skip
    why = why_alert(ROW, log, Incident(id="i", tenant="default", title="Down"), [])
    assert (why.outcome, why.reason, why.signature, why.runbook) == ("opened", "a new one", "bearer token", "pool")
    assert (why.dedup_key, why.group_key) == (ROW["id"], "prod//shop")
    assert why.tried == (Tried("runbook pool", True, "its trigger matches"),)
    assert [one["outcome"] for one in why.history] == ["held", "opened"]
    assert why.incident is not None
    assert why.as_json["alert"]["labels"] == {"a": "b"}
    assert "changes" not in why.as_json["alert"]


def test_an_alert_from_which_nothing_followed() -> None:
    why = why_alert({**ROW, "incident": None, "reason": ""}, [], None, [])
    assert (why.outcome, why.tried, why.incident, why.guard, why.told) == ("", (), None, (), ())


def test_what_the_guards_said_and_who_was_told() -> None:
    timeline = [
        event(EventKind.ACTION_REFUSED, action="restart", rule="rate", reason="too often", value=3, limit=2),
        event(EventKind.APPROVAL_REQUESTED, approval="a", node="n", call="restart shop", targets=[], why="it is slow"),
        event(EventKind.ACTION_INTENDED, action="restart", call="restart shop", key="k"),
        event(EventKind.NOTIFIED, to="slack:#ops", kind="page", delivered=False, detail="503"),
        event(EventKind.NOTED, text="hm"),
    ]
    assert [(one["verdict"], one["reason"]) for one in guarded(timeline)] == [
        ("refused", "too often"), ("asked", "it is slow"), ("allowed", ""),
    ]  # fmt: skip
    assert [(one["to"], one["delivered"], one["detail"]) for one in told_to(timeline)] == [("slack:#ops", False, "503")]
