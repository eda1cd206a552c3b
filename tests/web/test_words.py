"""Sentences: spans, lists, and the one that tells an incident's state."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.event import SHAPES, Event, EventKind, Stream
from quell.incident.incident import fold
from quell.web.words import clock, event_tone, listed, node_of, receivers, span, state_of, told

K = EventKind
AT = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
OPENED = (K.OPENED, {"title": "Errors", "severity": "P1", "alert": "a"})
RUN = (K.RUN_STARTED, {"number": 1, "plan": "h"})
ASKED = (K.APPROVAL_REQUESTED, {"approval": "x", "node": "run:i.1/back/1/", "call": "rollback shop", "targets": ["shop"],
         "action": "rollback", "expires_at": "2026-11-21T03:10:00+00:00"})  # fmt: skip
INTENDED = (K.ACTION_INTENDED, {"action": "rollback", "call": "rollback shop", "key": "k"})
DONE = (K.ACTION_FINISHED, {"action": "rollback", "result": "done", "summary": "rolled back to v1", "key": "k"})
REFUSED = (K.ACTION_REFUSED, {"action": "rollback", "rule": "rate", "reason": "2 in 10 min, at most 2"})
WATCHED = (K.VERIFICATION_STARTED, {"signals": ["errors", "trigger"]})
PROVEN = (K.VERIFICATION_FINISHED, {"verdict": "recovered", "signals": {"errors": {}, "trigger": {}}})
RESOLVED = (K.RESOLVED, {"reason": "verified"})


def log(*kinds: tuple[EventKind, dict[str, Any]]) -> list[Event]:
    return [
        Event(tenant="t", stream=Stream.INCIDENT, stream_id="i", seq=number, at=AT + timedelta(seconds=number - 1),
              kind=kind, actor="quell", payload=payload)
        for number, (kind, payload) in enumerate(kinds, start=1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "sentence", "tone"),
    [
        ([OPENED], "Opened; nothing has started yet", "busy"),
        ([OPENED, RUN], "Diagnosing", "busy"),
        ([OPENED, RUN, ASKED], "Waiting for you: approve “rollback shop”", "warn"),
        ([OPENED, RUN, INTENDED], "Acting: rollback shop", "busy"),
        ([OPENED, RUN, WATCHED], "Verifying that it helped: watching errors and the alert", "busy"),
        ([OPENED, RUN, (K.ESCALATED, {"reason": "nothing holds", "to": ["#ops"]})], "A person is needed: nothing holds",
         "bad"),
        ([OPENED, RUN, (K.ESCALATED, {"reason": "all tried", "to": ["#ops"]}), REFUSED],
         "A person is needed; nothing ran: 2 in 10 min, at most 2", "bad"),
        ([OPENED, RUN, REFUSED, (K.ESCALATED, {"reason": "refused: 2 in 10 min, at most 2", "to": []})],
         "A person is needed: refused: 2 in 10 min, at most 2", "bad"),
        ([OPENED, RUN, INTENDED, DONE, REFUSED, (K.ESCALATED, {"reason": "all tried", "to": []})],
         "A person is needed: all tried", "bad"),
        ([OPENED, RUN, (K.TAKEN, {"by": "Ines"})], "Ines has taken over", "warn"),
        ([OPENED, RUN, (K.TAKEN, {"by": "Ines", "reason": "I know this one"}),
          (K.RUN_ENDED, {"number": 1, "outcome": "stopped", "reason": "Ines took over"})],
         "Ines has taken over: I know this one", "warn"),
        ([OPENED, RUN, (K.MITIGATED, {"reason": "drained"})], "Mitigated, not over: drained", "warn"),
        ([OPENED, RUN, INTENDED, DONE, WATCHED, PROVEN, RESOLVED],
         "Resolved in 6 s: rolled back to v1; verified on errors and the alert", "good"),
        ([OPENED, (K.RESOLVED, {"reason": "the cable", "by": "Ines"})], "Resolved in 1 s: by Ines", "good"),
        ([OPENED, RUN, INTENDED, DONE, (K.MERGED, {"into": "j", "by": "Ines", "reason": "one switch"})],
         "Merged into incident j by Ines: one switch", "idle"),
    ],
)  # fmt: skip
def test_the_state_in_one_sentence(kinds: list[Any], sentence: str, tone: str) -> None:
    events = log(*kinds)
    state = state_of(fold(events), events)
    assert (state.text, state.tone) == (sentence, tone)


def test_an_open_question_counts_down() -> None:
    events = log(OPENED, RUN, ASKED)
    assert state_of(fold(events), events).until == AT + timedelta(minutes=10)


def test_whoever_cannot_answer_is_not_told_to() -> None:
    events = log(OPENED, RUN, ASKED)
    state = state_of(fold(events), events)
    assert state.read_by(True) == state.text
    assert state.read_by(False) == "Waiting for an approver: approve “rollback shop”"
    assert state_of(fold(events[:2]), events[:2]).read_by(False) == "Diagnosing"


@pytest.mark.parametrize(
    ("kind", "payload", "line"),
    [
        (K.SILENCE_MADE, {"silence": "5f", "matchers": ['env="dev"', "a=b"], "by": "Ines", "comment": "disks",
                          "starts_at": "2026-03-01T03:00:00+00:00", "ends_at": "2026-03-01T05:00:00+00:00"},
         '{env="dev", a=b} silenced until 2026-03-01 05:00 UTC by Ines: disks'),
        (K.SILENCE_ENDED, {"silence": "5f", "matchers": ["a=b"], "by": "Omar"},
         "{a=b} not silenced any more: ended by Omar"),
        (K.CAUSE_FOUND, {"alert": "a", "service": "db", "name": "DbDown", "why": "shop needs db"},
         "It comes from db: DbDown: shop needs db"),
        (K.ALERT_LEFT, {"alert": "a", "to": "j", "name": "Slow", "why": "split by Ines"},
         "Slow goes on in incident j: split by Ines"),
        (K.MERGED, {"into": "j", "by": "Ines"}, "Merged into incident j by Ines"),
    ],
)  # fmt: skip
def test_what_people_put_right_is_told(kind: EventKind, payload: dict[str, Any], line: str) -> None:
    assert told(log((kind, payload))[0]) == line


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_every_kind_of_event_has_a_line_and_a_tone(kind: EventKind) -> None:
    finding = {"check": "c", "name": "C", "status": "critical", "message": "12"}
    values: dict[str, Any] = {"finding": finding, "chosen": ["d1"], "recommended": ["d1"], "signals": ["s"], "to": "x"}
    payload = {name: values.get(name, "word") for name in SHAPES[kind].needs}
    event = log((kind, payload))[0]
    line = told(event)
    assert line
    assert "None" not in line
    assert "\n" not in line
    assert event_tone(event) in ("good", "warn", "bad", "busy", "idle")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0421, "42 ms"), (1, "1 s"), (6.04, "6 s"), (6.3, "6.3 s"), (42, "42 s"), (60, "1 min"), (252, "4 min 12 s"),
     (7500, "2 h 5 min"), (259_200, "3 d"), (-5, "0 ms")],
)  # fmt: skip
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


@given(st.floats(min_value=0, max_value=1e9))
def test_a_span_is_short_and_has_a_unit(seconds: float) -> None:
    assert len(span(seconds)) <= 16
    assert span(seconds).split()[-1] in ("ms", "s", "min", "h", "d")


@pytest.mark.parametrize(("seconds", "text"), [(252, "4:12"), (9, "0:09"), (3723, "1:02:03"), (-1, "0:00")])
def test_clocks(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_receivers_are_told_once_and_without_an_empty_end() -> None:
    assert receivers(["log:", "slack:#ops", "log:"]) == "log and slack:#ops"
    assert told(log((K.ESCALATED, {"reason": "no runbook", "to": ["log:"]}))[0]) == "Escalated to log: no runbook"


def test_lists_and_nodes() -> None:
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"]), listed(["a", ""])] == ["", "a", "a, b and c", "a"]
    assert node_of("run:i.1/back.undo/2/shop/3") == "back"
