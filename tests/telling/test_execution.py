"""An execution as a report, from events alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

from quell.incident.event import Event, EventKind, Stream
from quell.telling.execution import execution

K = EventKind
FINDING = {"check": "level", "status": "critical", "duration_ms": 12.3456}
LOG: list[tuple[int, EventKind, dict[str, Any]]] = [
    (0, K.OPENED, {"title": "down\x1b[2J", "severity": "P1", "service": "shop"}),
    (5, K.RUN_STARTED, {"number": 1, "plan": "0" * 64, "reason": "alert", "runbook": "fix"}),
    (20, K.CHECK_FINISHED, {"finding": FINDING}),
    (30, K.APPROVAL_REQUESTED, {"approval": "a1", "node": "n", "call": "restart shop", "targets": ["shop"]}),
    (1030, K.APPROVAL_ANSWERED, {"approval": "a1", "answer": "approved", "by": "ann"}),
    (1040, K.ACTION_INTENDED, {"action": "restart", "call": "restart shop", "key": "k1", "targets": ["shop-1"]}),
    (1290, K.ACTION_FINISHED, {"action": "restart", "result": "done", "summary": "restarted", "key": "k1"}),
    (1300, K.VERIFICATION_STARTED, {"signals": ["level"]}),
    (1800, K.VERIFICATION_FINISHED, {"verdict": "recovered", "reason": "well"}),
    (1810, K.RESOLVED, {"reason": "well"}),
    (1820, K.RUN_ENDED, {"number": 1, "outcome": "resolved"}),
]  # fmt: skip
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def log(erased: frozenset[int] = frozenset()) -> list[Event]:
    return [
        Event(tenant="t", stream=Stream.INCIDENT, stream_id="i", seq=n, at=BEGAN + timedelta(milliseconds=ms), kind=kind,
            actor="quell", payload={} if n in erased else payload, hash=f"h{n}")
        for n, (ms, kind, payload) in enumerate(LOG, 1)
    ]  # fmt: skip


def test_each_step_says_how_long_it_took() -> None:
    told = execution(log())
    assert [step["step"] for step in told["steps"]] == list(range(1, len(LOG) + 1))
    assert {step["event"]: step["duration_ms"] for step in told["steps"] if step["duration_ms"] is not None} == {
        "check.finished": 12.346, "approval.answered": 1000.0, "action.finished": 250.0,
        "verification.finished": 500.0, "run.ended": 1815.0,
    }  # fmt: skip
    assert told["steps"][-1]["hash"] == "h11"
    assert "\x1b" not in told["steps"][0]["detail"]


def test_the_summary() -> None:
    told = execution(log())["summary"]
    assert (told["status"], told["outcome"], told["human_intervention"]) == ("resolved", "resolved", True)
    assert (told["total_ms"], told["to_resolved_ms"]) == (1820.0, 1810.0)
    assert (told["checks"], told["actions"], told["refused"], told["targets"]) == (1, 1, 0, ["shop-1"])


def test_what_was_erased_is_told_as_erased() -> None:
    told = execution(log(frozenset({1, 3, 7})))
    assert [step["detail"] for step in told["steps"] if step["step"] in (1, 3, 7)] == ["erased"] * 3
    assert (told["summary"]["erased"], told["summary"]["status"]) == (3, None)
