"""What a fault cost, told from the incident's own log and from what the users saw. Pure.

Seconds per phase: *detect* from the injection to the incident, *diagnose* until the decision's evidence was complete,
*decide* what decisions took, *wait* for people, *act* from intent to outcome, *verify* until the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from quell.incident.event import Event, EventKind

RIGHT: dict[str, tuple[str, ...]] = {
    "bad_deploy_5xx": ("rollback",),
    "bad_deploy_slow": ("restart_service", "rollback"),
    "pool_leak": ("restart_service",),
    "held_lock": ("restart_service",),
    "crash_loop": ("run_script", "restart_service"),
    "downstream_down": ("set_flag",),
}
"""The actions that repair each fault. The slow deployment is wrong-first: its restart does not help."""

GOOD_AGAIN = 0.99


@dataclass(frozen=True, slots=True)
class Users:
    """The users' success rate before, during and after, 0 to 1; None without traffic."""

    before: float | None
    during: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """One fault, handled."""

    fault: str
    runbook: str | None
    incident: str | None
    mttr_s: float | None
    detect_s: float | None
    diagnose_s: float
    decide_s: float
    wait_s: float
    act_s: float
    verify_s: float
    decisions: tuple[str, ...]
    actions: tuple[str, ...]
    outcome: str
    users: Users

    @property
    def repaired(self) -> bool:
        """By the right remediation, verified, and the users are back."""
        back = self.users.after is not None and self.users.after >= GOOD_AGAIN
        return self.outcome == "resolved" and self.actions == RIGHT[self.fault] and back


def score(fault: str, injected_at: float, events: Sequence[Event], users: Users) -> Score:
    """``injected_at``: unix seconds. ``events``: the incident's log, empty when none opened."""
    spans = _spans(events)
    opened = next((event for event in events if event.kind is EventKind.OPENED), None)
    resolved = next((event for event in reversed(events) if event.kind is EventKind.RESOLVED), None)
    ended = next((event for event in reversed(events) if event.kind is EventKind.RUN_ENDED), None)
    actions = [e.payload["action"] for e in events if e.kind is EventKind.ACTION_FINISHED]
    decisions = [name for e in events if e.kind is EventKind.DECIDED for name in e.payload["chosen"]]
    return Score(
        fault=fault, runbook=opened.payload.get("runbook") if opened else None,
        incident=opened.stream_id if opened else None,
        mttr_s=round(resolved.at.timestamp() - injected_at, 2) if resolved else None,
        detect_s=round(opened.at.timestamp() - injected_at, 2) if opened else None,
        decisions=tuple(decisions), actions=tuple(actions), users=users,
        outcome=ended.payload["outcome"] if ended else "none",
        **{f"{name}_s": round(spent, 2) for name, spent in spans.items()},
    )  # fmt: skip


def _spans(events: Sequence[Event]) -> dict[str, float]:
    """Every moment from the first event to the last belongs to the phase that the event at its end closes."""
    spans = dict.fromkeys(("diagnose", "decide", "wait", "act", "verify"), 0.0)
    steps = [event for event in events if event.kind in _CLOSES or event.kind is EventKind.OPENED]
    for before, event in pairwise(steps):
        spans[_CLOSES.get(event.kind, "diagnose")] += (event.at - before.at).total_seconds()
    return spans


_CLOSES = {
    EventKind.CHECK_FINISHED: "diagnose",
    EventKind.DECIDED: "decide",
    EventKind.APPROVAL_REQUESTED: "decide",
    EventKind.APPROVAL_ANSWERED: "wait",
    EventKind.ACTION_INTENDED: "act",
    EventKind.ACTION_FINISHED: "act",
    EventKind.VERIFICATION_STARTED: "verify",
    EventKind.VERIFICATION_FINISHED: "verify",
    EventKind.RESOLVED: "verify",
}
