"""The fold: whatever comes in whatever order, an incident is in a declared status or says that it may not be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.event import Event, EventKind, Stream
from quell.incident.incident import (
    ENDED,
    STAYS,
    TRANSITIONS,
    Incident,
    Status,
    UndeclaredTransition,
    apply,
    fold,
    next_status,
)

K, S = EventKind, Status
AT = datetime(2026, 1, 1, tzinfo=UTC)
OF_INCIDENTS = [kind for kind in K if any(kind in TRANSITIONS[s] or kind in STAYS[s] for s in S)]

PAYLOADS: dict[EventKind, dict[str, Any]] = {
    K.OPENED: {"title": "Down", "severity": "P1", "alert": "a"},
    K.ALERT_JOINED: {"alert": "b"},
    K.ALERT_RESOLVED: {"alert": "a"},
    K.RUN_QUEUED: {"number": 1, "plan": "p", "reason": "3 are worked on"},
    K.RUN_STARTED: {"number": 1, "plan": "p", "reason": "it matches"},
    K.RUN_ENDED: {"number": 1, "outcome": "resolved"},
    K.CHECK_FINISHED: {"finding": {"check": "c", "status": "critical"}},
    K.DECIDED: {"recommended": ["d1"], "chosen": ["d1"]},
    K.APPROVAL_REQUESTED: {"approval": "x", "node": "n", "call": "do it", "targets": ["t"]},
    K.APPROVAL_ANSWERED: {"approval": "x", "answer": "approved", "by": "anna"},
    K.ACTION_REFUSED: {"action": "restart", "rule": "rate", "reason": "used up"},
    K.ACTION_INTENDED: {"action": "restart", "call": "restart shop", "key": "k"},
    K.ACTION_FINISHED: {"action": "restart", "result": "done", "summary": "restarted", "key": "k"},
    K.VERIFICATION_STARTED: {"signals": ["trigger"]},
    K.VERIFICATION_FINISHED: {"verdict": "recovered"},
    K.NOTIFIED: {"to": "log:", "kind": "page"},
    K.ALERT_LEFT: {"alert": "a", "to": "j"},
    K.CAUSE_FOUND: {"alert": "a", "service": "db", "why": "shop needs db"},
    K.MERGED: {"into": "j", "by": "anna"},
    K.ESCALATED: {"reason": "nothing holds", "to": ["log:"]},
    K.ACKNOWLEDGED: {"by": "anna"},
    K.UNACKNOWLEDGED: {"by": "anna", "reason": "nothing was heard"},
    K.HANDED_OVER: {"by": "anna", "to": "ben"},
    K.OVERRIDDEN: {"by": "anna", "reason": "now", "until": "2026-01-01T01:00:00+00:00"},
    K.STEP_RECORDED: {"step": "restart", "result": "done", "by": "anna"},
    K.ACTION_SHADOWED: {"action": "restart", "call": "restart shop", "targets": ["shop"], "node": "n"},
    K.SHADOW_COMPARED: {"number": 1, "verdict": "same", "would": [], "did": []},
    K.TAKEN: {"by": "anna"},
    K.RETURNED: {"by": "anna"},
    K.MITIGATED: {"reason": "for now"},
    K.RESOLVED: {"reason": "verified"},
    K.REOPENED: {"reason": "again"},
    K.CLOSED: {"reason": "done"},
    K.OBLIGATION_MADE: {"obligation": "o", "what": "two replicas more"},
    K.OBLIGATION_ENDED: {"obligation": "o"},
    K.NOTED: {"text": "hm"},
    K.PRUNED: {"by": "ann", "before": "2026-01-01T00:00:00+00:00"},
}


def event(kind: EventKind, seq: int = 1, **payload: Any) -> Event:
    return Event(
        tenant="default", stream=Stream.INCIDENT, stream_id="i", seq=seq, at=AT + timedelta(seconds=seq), kind=kind,
        actor="quell", node="n", payload={**PAYLOADS[kind], **payload},
    )  # fmt: skip


def told(*kinds: EventKind) -> Incident:
    return fold(event(kind, seq) for seq, kind in enumerate((K.OPENED, *kinds), 1))


def test_every_kind_of_an_incident_has_a_payload_here() -> None:
    assert set(OF_INCIDENTS) | {K.OPENED} == set(PAYLOADS)


@given(st.lists(st.sampled_from(OF_INCIDENTS), max_size=30))
def test_any_sequence_ends_in_a_declared_status_or_is_refused(kinds: list[EventKind]) -> None:
    incident, seq = apply(None, event(K.OPENED)), 1
    for kind in kinds:
        before, seq = incident, seq + 1
        declared = kind in TRANSITIONS[before.status] or kind in STAYS[before.status]
        try:
            incident = apply(before, event(kind, seq))
        except UndeclaredTransition:
            assert not declared
            continue
        assert declared
        assert incident.status is TRANSITIONS[before.status].get(kind, before.status)
        assert (incident.ended_at is not None) == (incident.status in ENDED)
        assert (incident.seq, incident.updated_at) == (seq, AT + timedelta(seconds=seq))
        if before.status is S.CLOSED:
            assert incident.status is S.CLOSED
        if before.status in ENDED and incident.status not in ENDED:
            assert kind is K.REOPENED


@given(st.lists(st.sampled_from(OF_INCIDENTS), max_size=20))
def test_an_incident_is_the_same_after_being_written_down_in_between(kinds: list[EventKind]) -> None:
    """The row is a cache: going through JSON after every event changes nothing."""
    live = stored = apply(None, event(K.OPENED))
    for seq, kind in enumerate(kinds, 2):
        try:
            live = apply(live, event(kind, seq))
        except UndeclaredTransition:
            continue
        stored = apply(Incident.model_validate_json(stored.model_dump_json()), event(kind, seq))
    assert Incident.model_validate_json(stored.model_dump_json()) == live


def test_a_closed_incident_takes_only_notes_and_its_end() -> None:
    assert TRANSITIONS[S.CLOSED] == {}
    assert STAYS[S.CLOSED] == {K.NOTED, K.NOTIFIED, K.STEP_RECORDED, K.SHADOW_COMPARED, K.PRUNED}


def test_no_action_begins_in_an_incident_that_is_closed() -> None:
    """In one that is resolved, the frame lets through only what takes back what was kept for now."""
    with pytest.raises(UndeclaredTransition):
        next_status(Status.CLOSED, K.ACTION_INTENDED)


def test_the_first_event_opens() -> None:
    with pytest.raises(UndeclaredTransition, match=r"note\.added before incident\.opened"):
        fold([event(K.NOTED)])
    with pytest.raises(ValueError, match="at least"):
        fold([])


def test_once_escalated_only_an_end_or_a_new_run_moves_the_status() -> None:
    moving = [kind for kind in OF_INCIDENTS if TRANSITIONS[S.ESCALATED].get(kind, S.ESCALATED) is not S.ESCALATED]
    assert set(moving) == {K.RUN_STARTED, K.MITIGATED, K.RESOLVED, K.MERGED}


def test_an_approval_waits_until_it_is_answered_or_the_incident_ends() -> None:
    asked = told(K.RUN_STARTED, K.APPROVAL_REQUESTED)
    assert (asked.status, [one.approval for one in asked.waiting]) == (S.WAITING, ["x"])
    answered = told(K.RUN_STARTED, K.APPROVAL_REQUESTED, K.APPROVAL_ANSWERED)
    assert (answered.waiting, answered.approvals["x"].answer, answered.approvals["x"].by) == ((), "approved", "anna")
    assert told(K.RUN_STARTED, K.APPROVAL_REQUESTED, K.RESOLVED).waiting == ()


def test_a_deed_goes_from_intent_to_outcome() -> None:
    intended = told(K.RUN_STARTED, K.ACTION_INTENDED)
    assert (intended.acted, intended.deeds["k"].result) == (True, None)
    done = told(K.RUN_STARTED, K.ACTION_INTENDED, K.ACTION_FINISHED)
    assert (done.deeds["k"].result, done.deeds["k"].call) == ("done", "restart shop")
    assert not told(K.RUN_STARTED, K.ACTION_REFUSED).acted


def test_alerts_fire_join_and_resolve() -> None:
    joined = told(K.ALERT_JOINED)
    assert joined.firing == ("a", "b")
    assert told(K.ALERT_JOINED, K.ALERT_RESOLVED).firing == ("b",)
    assert told(K.ALERT_JOINED, K.ALERT_RESOLVED).resolved_alerts == ("a",)
    again = fold([event(K.OPENED), event(K.ALERT_RESOLVED, 2), event(K.ALERT_JOINED, 3, alert="a")])
    assert (again.firing, again.resolved_alerts) == (("a",), ())


def test_a_new_run_forgets_the_verdict_of_the_one_before() -> None:
    before = told(K.RUN_STARTED, K.VERIFICATION_FINISHED, K.RUN_ENDED)
    assert (before.verdict, before.outcome) == ("recovered", "resolved")
    after = told(K.RUN_STARTED, K.VERIFICATION_FINISHED, K.RUN_ENDED, K.RUN_STARTED)
    assert (after.verdict, after.outcome) == (None, None)


def test_reopening_forgets_the_end() -> None:
    reopened = told(K.RESOLVED, K.REOPENED)
    assert (reopened.status, reopened.ended_at, reopened.reason) == (S.OPEN, None, "again")


def test_obligations_are_made_and_end() -> None:
    assert told(K.OBLIGATION_MADE).obligations == ("o",)
    assert told(K.OBLIGATION_MADE, K.RESOLVED, K.OBLIGATION_ENDED).obligations == ()


def test_taking_and_giving_back() -> None:
    assert told(K.TAKEN).assignee == "anna"
    assert told(K.TAKEN, K.RETURNED).assignee is None


def test_what_is_given_back_or_begun_again_is_acknowledged_by_nobody() -> None:
    assert told(K.RUN_STARTED, K.TAKEN).acknowledged_by == "anna"
    assert told(K.RUN_STARTED, K.TAKEN, K.RETURNED).acknowledged_by is None
    assert told(K.RUN_STARTED, K.ACKNOWLEDGED, K.RUN_STARTED).acknowledged_by is None
    assert told(K.RUN_STARTED, K.TAKEN, K.RUN_STARTED).acknowledged_by == "anna"


def test_a_page_that_comes_after_the_end_does_not_say_why_it_ended() -> None:
    for end, reason in ((K.RESOLVED, "verified"), (K.MERGED, "merged into incident j by anna")):
        late = told(K.RUN_STARTED, end, K.ESCALATED)
        assert (late.reason, late.escalated_to) == (reason, ("log:",))
