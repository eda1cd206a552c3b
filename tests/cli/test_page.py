"""An incident as a page for the terminal: where it stands comes first."""

from datetime import UTC, datetime
from typing import Any

from quell.cli.page import page
from quell.incident.event import Event, EventKind, Stream

AT = datetime(2026, 1, 1, tzinfo=UTC)


def event(seq: int, kind: EventKind, /, **payload: Any) -> Event:
    return Event(
        tenant="default", stream=Stream.INCIDENT, stream_id="i", seq=seq, at=AT, kind=kind, actor="quell",
        payload=payload,
    )  # fmt: skip


def test_an_incident_that_waits_for_its_turn_says_what_holds_it_up() -> None:
    events = [
        event(1, EventKind.OPENED, title="Errors", severity="P1"),
        event(2, EventKind.RUN_QUEUED, number=1, plan="h", reason="1 incident of runbook shop is worked on"),
    ]
    assert page(events, AT)[0] == "Waits for its turn: 1 incident of runbook shop is worked on."
    begun = event(3, EventKind.RUN_STARTED, number=1, plan="h")
    assert page([*events, begun], AT)[0] == "Diagnosing: the checks run."
