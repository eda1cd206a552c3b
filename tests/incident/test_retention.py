"""What may be pruned, for any history that can happen: only what has ended, is quiet and owes nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.event import Event, EventKind, Stream
from quell.incident.incident import ENDED, STAYS, TRANSITIONS, Incident, Status, UndeclaredTransition, apply
from quell.incident.retention import Spared, Ties, spared

START = datetime(2026, 1, 1, tzinfo=UTC)
PAYLOADS = {
    EventKind.ALERT_JOINED: {"alert": "a"}, EventKind.RUN_STARTED: {"number": 1, "plan": "p", "reason": "r"},
    EventKind.RUN_ENDED: {"number": 1, "outcome": "resolved"},
    EventKind.APPROVAL_REQUESTED: {"approval": "q", "node": "n", "call": "c", "targets": []},
    EventKind.APPROVAL_ANSWERED: {"approval": "q", "answer": "approved", "by": "ann"},
    EventKind.ACTION_INTENDED: {"action": "x", "call": "c", "key": "k"},
    EventKind.ACTION_FINISHED: {"action": "x", "result": "done", "summary": "s", "key": "k"},
    EventKind.ESCALATED: {"reason": "r"}, EventKind.MITIGATED: {"reason": "r"}, EventKind.RESOLVED: {"reason": "r"},
    EventKind.REOPENED: {"reason": "r"}, EventKind.CLOSED: {"reason": "r"},
    EventKind.OBLIGATION_MADE: {"obligation": "o", "what": "w"}, EventKind.OBLIGATION_ENDED: {"obligation": "o"},
    EventKind.NOTED: {"text": "t"},
}  # fmt: skip
ASKED_AFTERWARDS = (EventKind.APPROVAL_REQUESTED, {**PAYLOADS[EventKind.APPROVAL_REQUESTED], "asks": "revert"})
UNKNOWN = (EventKind.ACTION_FINISHED, {**PAYLOADS[EventKind.ACTION_FINISHED], "result": "unknown"})
STEPS = st.tuples(
    st.sampled_from([*PAYLOADS.items(), ASKED_AFTERWARDS, UNKNOWN, *[(EventKind.RESOLVED, {"reason": "r"})] * 4]),
    st.integers(0, 10),
)


def told(steps: list[tuple[tuple[EventKind, dict[str, object]], int]]) -> Incident:
    """An incident of which this happened, each so many days after the one before; what cannot happen has not."""
    at, kind, payload = START, EventKind.OPENED, {"title": "t", "severity": "P1"}
    event = Event(
        actor="quell", tenant="t", stream=Stream.INCIDENT, stream_id="i", seq=1, at=at, kind=kind, payload=payload
    )
    incident = apply(None, event)
    for (kind, payload), days in steps:
        at += timedelta(days=days)
        try:
            incident = apply(
                incident, event.model_copy(update={"kind": kind, "payload": payload, "at": at, "seq": incident.seq + 1})
            )
        except UndeclaredTransition:
            continue
    return incident


@given(st.lists(STEPS, max_size=12), st.integers(-5, 150), st.builds(Ties, *[st.booleans()] * 4))
def test_only_what_is_over_quiet_and_settled_may_go(steps: list[object], days: int, ties: Ties) -> None:
    incident, before = told(steps), START + timedelta(days=days)  # type: ignore[arg-type]
    why = spared(incident, before, ties)
    open_ends = [
        incident.status not in ENDED,
        incident.ended_at is None or incident.ended_at >= before,
        incident.updated_at is None or incident.updated_at >= before,
        bool(incident.waiting),
        bool(incident.obligations),
        any(deed.result in (None, "unknown") for deed in incident.deeds.values()),
        ties != Ties(),
    ]
    assert (why is None) is not any(open_ends)
    if why is None:
        # What may go may be told to have gone, and later it may go as well.
        assert EventKind.PRUNED in STAYS[incident.status]
        assert spared(incident, before + timedelta(days=1), ties) is None


@pytest.mark.parametrize(
    ("steps", "ties", "why"),
    [
        ([], Ties(), Spared.OPEN),
        ([EventKind.MITIGATED], Ties(), Spared.OPEN),
        ([EventKind.RESOLVED], Ties(), None),
        ([EventKind.RESOLVED, EventKind.CLOSED], Ties(), None),
        ([EventKind.RESOLVED, EventKind.REOPENED], Ties(), Spared.OPEN),
        ([EventKind.OBLIGATION_MADE, EventKind.RESOLVED], Ties(), Spared.OWES),
        ([EventKind.OBLIGATION_MADE, EventKind.RESOLVED, EventKind.OBLIGATION_ENDED], Ties(), None),
        ([EventKind.ACTION_INTENDED, EventKind.RESOLVED], Ties(), Spared.UNSETTLED),
        ([EventKind.ACTION_INTENDED, EventKind.RESOLVED, EventKind.ACTION_FINISHED], Ties(), None),
        ([EventKind.APPROVAL_REQUESTED, EventKind.RESOLVED], Ties(), None),
        ([EventKind.RESOLVED], Ties(asked=True), Spared.WAITS),
        ([EventKind.RESOLVED], Ties(owed=True), Spared.OWES),
        ([EventKind.RESOLVED], Ties(unsettled=True), Spared.UNSETTLED),
        ([EventKind.RESOLVED], Ties(running=True), Spared.RUNS),
    ],
)
def test_why_it_is_kept(steps: list[EventKind], ties: Ties, why: Spared | None) -> None:
    incident = told([((kind, PAYLOADS[kind]), 1) for kind in steps])
    assert spared(incident, START + timedelta(days=30), ties) is why
    if why is None:
        assert incident.updated_at is not None
        assert spared(incident, incident.updated_at, ties) is Spared.YOUNG, "the moment itself is not before it"


def test_what_was_asked_afterwards_waits() -> None:
    incident = told([((EventKind.RESOLVED, {"reason": "r"}), 1), (ASKED_AFTERWARDS, 1)])
    assert spared(incident, START + timedelta(days=30), Ties()) is Spared.WAITS


@pytest.mark.parametrize("status", Status)
def test_only_of_what_has_ended_it_can_be_told(status: Status) -> None:
    """The table of transitions stands behind the rule."""
    declared = EventKind.PRUNED in STAYS[status] or EventKind.PRUNED in TRANSITIONS[status]
    assert declared is (status in ENDED)
