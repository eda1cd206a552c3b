"""What happened, in sentences: times, spans, events, and the one sentence that tells the state of an incident.

Pure. Never does: HTML, I/O, read a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quell.incident.action import Asks
from quell.incident.alert import called
from quell.incident.event import Event, EventKind
from quell.incident.incident import ENDED, Incident, Status
from quell.incident.parts import Approval, Deed
from quell.runbook.plan import Plan

YOU, OTHERS = "Waiting for you", "Waiting for an approver"
"""How what is asked is told to whoever may answer, and to whoever may only look on."""
SHORT = 48
"""Signs that one deed may take in the sentence."""
_K = EventKind
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def span(seconds: float) -> str:
    """``0.3 s``, ``6 s``, ``4 min 12 s``, ``2 h 5 min``, ``3 d``."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return _two(seconds, _MINUTE, "min", 1, "s")
    if seconds < _DAY:
        return _two(seconds, _HOUR, "h", _MINUTE, "min")
    return _two(seconds, _DAY, "d", _HOUR, "h")


def _two(seconds: float, big: int, big_name: str, small: int, small_name: str) -> str:
    first, rest = divmod(int(seconds), big)
    second = rest // small
    return f"{first} {big_name}" + (f" {second} {small_name}" if second else "")


def clock(seconds: float) -> str:
    """``4:12``: what is left of something that is counted down."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def listed(words: Iterable[str], last: str = "and") -> str:
    """``a, b and c``."""
    names = [word for word in words if word]
    return f" {last} ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def node_of(key: str) -> str:
    """The node in ``<run>/<node>/<visit>/<target>``, without the mark of an undo."""
    parts = key.split("/")
    return parts[1].removesuffix(".undo") if len(parts) > 1 else key


def signal_name(name: str, plan: Plan | None) -> str:
    """What a signal is called in a sentence."""
    if name == "trigger":
        return "the alert"
    node = plan.by_id.get(name) if plan else None
    return (node.name if node else "") or name


# Events.


def receivers(names: Iterable[str]) -> str:
    """Who was told; ``log:`` alone, which is the server's log, without its colon."""
    return listed(dict.fromkeys(name.removesuffix(":") for name in names))


def told(event: Event) -> str:
    """One event as one line."""
    teller = _TOLD.get(event.kind)
    return teller(event.payload) if teller else event.kind.value


def _why(text: str, reason: Any) -> str:
    return f"{text}: {reason}" if reason else text


def _opened(p: Mapping[str, Any]) -> str:
    return f"Opened: {p['title']}" + (f" · runbook {p['runbook']}" if p.get("runbook") else "")


def alert_name(p: Mapping[str, Any], otherwise: str = "") -> str:
    """The alert that an event is about, as people call it. Its id means nothing to them."""
    return called(p["name"], p.get("labels") or {}) if p.get("name") else otherwise


def labels_of(alert: Mapping[str, Any]) -> str:
    """What a stored alert carries besides its name, severity and service."""
    labels = {
        name: value for name, value in alert["labels"].items() if name not in ("alertname", "severity", "service")
    }
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _checked(p: Mapping[str, Any]) -> str:
    finding = p["finding"]
    return _why(f"{finding['name'] or finding['check']} {finding['status'].replace('_', ' ')}", finding["message"])


def chosen_words(decided: Mapping[str, Any]) -> str:
    """The decisions that were chosen, by what the runbook says of them."""
    said = {one["decision"]: one.get("description") for one in decided.get("explanations", ())}
    return listed(said.get(name) or name for name in decided["chosen"])


def _decided(p: Mapping[str, Any]) -> str:
    return _why(f"Decided “{chosen_words(p)}”" if p["chosen"] else "Nothing to do", p.get("reason"))


def _answered(p: Mapping[str, Any]) -> str:
    said = {"expired": "Approval expired", "withdrawn": "Approval withdrawn"}.get(p["answer"])
    return _why(said or f"{p['answer'].capitalize()} by {p.get('by') or 'somebody'}", p.get("reason"))


def _refused(p: Mapping[str, Any]) -> str:
    return f"Did not {p['action']}: {p['reason']} [{p['rule']}]"


def _shadowed(p: Mapping[str, Any]) -> str:
    no = f"; the guardrails would have said no [{p['rule']}]" if p.get("rule") else ""
    return f"Would have: {p['call']}" + (no or ("; somebody would have been asked" if p.get("ask") else ""))


def _watching(p: Mapping[str, Any]) -> str:
    limits = f"stable for {span(p['stable_for_s'])}, within {span(p['within_s'])}" if "within_s" in p else ""
    return _why(f"Verifying {listed(p['signals'])}", limits)


def _notified(p: Mapping[str, Any]) -> str:
    delivered = p.get("delivered", True)
    return _why(
        f"{'Told' if delivered else 'Could not tell'} {receivers([p['to']])}", "" if delivered else p.get("detail")
    )


def _silenced(p: Mapping[str, Any]) -> str:
    return "{" + ", ".join(p.get("matchers", ())) + "}"


def _minute(at: str) -> str:
    return f"{at[:16].replace('T', ' ')} UTC"


SHADOW_WORDS = {"same": "the same", "other": "something else", "cannot_tell": "what cannot be told"}

_TOLD: dict[EventKind, Callable[[Mapping[str, Any]], str]] = {
    _K.OPENED: _opened,
    _K.ALERT_JOINED: lambda p: _why(f"{alert_name(p, 'Another alert')} joined", p.get("why")),
    _K.ALERT_RESOLVED: lambda p: _why(f"{alert_name(p, 'An alert')} resolved", p.get("why")),
    _K.ALERT_LEFT: lambda p: _why(f"{alert_name(p, 'An alert')} goes on in incident {p['to']}", p.get("why")),
    _K.CAUSE_FOUND: lambda p: _why(f"It comes from {p['service']}: {alert_name(p, 'an alert')}", p["why"]),
    _K.MERGED: lambda p: _why(f"Merged into incident {p['into']} by {p.get('by') or 'quell'}", p.get("reason")),
    _K.SILENCE_MADE: lambda p: f"{_silenced(p)} silenced until {_minute(p['ends_at'])} by {p['by']}: {p['comment']}",
    _K.SILENCE_ENDED: lambda p: f"{_silenced(p)} not silenced any more: ended by {p['by']}",
    _K.RUN_QUEUED: lambda p: _why(f"Run {p['number']} waits for its turn", p.get("reason")),
    _K.RUN_STARTED: lambda p: _why(f"Run {p['number']} started", p.get("reason")),
    _K.RUN_ENDED: lambda p: _why(f"Run {p['number']} ended {p['outcome']}", p.get("reason")),
    _K.CHECK_FINISHED: _checked,
    _K.DECIDED: _decided,
    _K.APPROVAL_REQUESTED: lambda p: f"Approval asked for: {p['call']}",
    _K.APPROVAL_ANSWERED: _answered,
    _K.ACTION_SHADOWED: _shadowed,
    _K.ACTION_REFUSED: _refused,
    _K.ACTION_INTENDED: lambda p: f"Started {p['call']}",
    _K.ACTION_FINISHED: lambda p: _why(f"{p['action']} {p['result']}", p["summary"]),
    _K.VERIFICATION_STARTED: _watching,
    _K.VERIFICATION_FINISHED: lambda p: _why(f"Verified: {p['verdict'].replace('_', ' ')}", p.get("reason")),
    _K.NOTIFIED: _notified,
    _K.ESCALATED: lambda p: _why(f"Escalated to {receivers(p.get('to', ())) or 'nobody'}", p["reason"]),
    _K.ACKNOWLEDGED: lambda p: f"Acknowledged by {p['by']}",
    _K.UNACKNOWLEDGED: lambda p: _why(f"{p['by']} acknowledged it, and it is paged again", p["reason"]),
    _K.TAKEN: lambda p: _why(f"Taken over by {p['by']}", p.get("reason")),
    _K.HANDED_OVER: lambda p: _why(f"{p['by']} hands over to {p['to']}", p.get("note")),
    _K.OVERRIDDEN: lambda p: f"Break-glass by {p['by']} until {p['until'][11:16]} UTC: {p['reason']}",
    _K.STEP_RECORDED: lambda p: _why(f"{p['by']}, by hand: {p.get('name') or p['step']} {p['result']}", p.get("note")),
    _K.SHADOW_COMPARED: lambda p: _why(
        f"Shadow: people did {SHADOW_WORDS.get(p['verdict'], p['verdict'])}", p.get("reason")
    ),
    _K.RETURNED: lambda p: _why(f"Given back by {p['by']}", p.get("reason")),
    _K.MITIGATED: lambda p: f"Mitigated: {p['reason']}",
    _K.RESOLVED: lambda p: f"Resolved: {p['reason']}",
    _K.REOPENED: lambda p: f"Opened again: {p['reason']}",
    _K.CLOSED: lambda p: f"Closed: {p['reason']}",
    _K.OBLIGATION_MADE: lambda p: f"Left to do: {p['what']}",
    _K.OBLIGATION_ENDED: lambda p: _why("Done with what was left to do", p.get("how")),
    _K.NOTED: lambda p: str(p["text"]),
}

_TONES = {
    _K.RESOLVED: "good", _K.ALERT_RESOLVED: "good", _K.MITIGATED: "warn", _K.ESCALATED: "bad",
    _K.APPROVAL_REQUESTED: "warn", _K.ACTION_REFUSED: "bad", _K.REOPENED: "bad",
    _K.UNACKNOWLEDGED: "bad", _K.OVERRIDDEN: "bad", _K.HANDED_OVER: "warn", _K.ACTION_SHADOWED: "warn",
    _K.ACTION_INTENDED: "busy",
}  # fmt: skip
_STATUS_TONES = {
    "healthy": "good", "recovered": "good", "done": "good", "resolved": "good", "approved": "good",
    "warning": "warn", "improved": "warn", "no_data": "warn", "unknown": "warn", "mitigated": "warn",
    "critical": "bad", "error": "bad", "failed": "bad", "worse": "bad", "denied": "bad", "escalated": "bad",
    "ok": "good", "warnings": "warn", "problems": "bad", "broken": "bad", "alive": "good", "silent": "warn",
    "valid": "good", "expired": "warn", "paused": "bad", "asks a person": "warn", "acts by itself": "good",
    "refused": "bad", "unchanged": "warn", "cannot_tell": "warn", "waiting_approval": "warn", "waiting": "warn",
    "on": "warn", "silenced": "warn", "held": "warn", "late": "bad", "due": "warn", "never heard": "warn",
    "firing": "bad", "diagnosing": "busy", "acting": "busy", "verifying": "busy", "open": "busy", "running": "busy",
}  # fmt: skip


def tone(status: str) -> str:
    """``good``, ``warn``, ``bad``, ``busy`` or ``idle``: the colour of a status."""
    return _STATUS_TONES.get(status, "idle")


def event_tone(event: Event) -> str:
    """The colour of an event in the timeline."""
    payload = event.payload
    status = payload.get("result") or payload.get("verdict") or payload.get("answer")
    if event.kind is _K.CHECK_FINISHED:
        status = payload["finding"]["status"]
    return _TONES.get(event.kind) or tone(status or "")


# The state of an incident.


@dataclass(frozen=True, slots=True)
class State:
    """The sentence, its tone, and until when it holds: shown counting down. ``asked``: what somebody has to answer."""

    text: str
    tone: str
    until: datetime | None = None
    asked: str = ""

    def read_by(self, answers: bool) -> str:
        """The sentence for whoever may answer, or for whoever may not."""
        return self.text if answers or not self.asked else f"{OTHERS}: {self.asked}"


def state_of(incident: Incident, events: Sequence[Event] = (), plan: Plan | None = None) -> State:
    """One sentence: who has to do what, or what is being done, or how it ended."""
    if incident.merged_into and incident.status in ENDED:
        # It is over only here: nothing that was done is told as what ended it.
        merged = next((event for event in reversed(events) if event.kind is _K.MERGED), None)
        return State(told(merged) if merged else f"Merged into incident {incident.merged_into}", "idle")
    if incident.status in ENDED:
        return State(_ended(incident, events, plan), "good" if incident.status is Status.RESOLVED else "idle")
    if incident.waiting:
        return _waiting(incident.waiting, plan)
    if incident.assignee:
        why = next((event.payload.get("reason") for event in reversed(events) if event.kind is _K.TAKEN), "")
        text = _why(f"{incident.assignee} has taken over", why)
        if incident.handed_to:
            text = f"{incident.assignee} hands over to {incident.handed_to}, who has not taken it yet"
        return State(text, "warn")
    match incident.status:
        case Status.DIAGNOSING:
            return State(_diagnosing(incident, plan), "busy")
        case Status.ACTING:
            doing = [deed for deed in incident.deeds.values() if deed.result is None]
            return State(_why("Acting", doing[-1].call or doing[-1].action if doing else ""), "busy")
        case Status.VERIFYING:
            return _verifying(events, plan)
        case Status.MITIGATED:
            return State(_why("Mitigated, not over", incident.reason), "warn")
        case Status.ESCALATED:
            return State(_escalated(incident), "bad")
    return State("Opened; nothing has started yet", "busy")


_VERBS = {
    Asks.APPROVAL: "approve",
    Asks.STEP: "do",
    Asks.HAPPENED: "say whether it happened:",
    Asks.REVERT: "take it back, or keep it:",
}


def _waiting(waiting: Sequence[Approval], plan: Plan | None) -> State:
    first = min(waiting, key=lambda one: one.expires_at or "~")
    node = plan.by_id.get(node_of(first.node)) if plan else None
    verb = _VERBS[first.asks]
    what = (node.name if node and node.name else "") or first.call
    more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
    where = f" on {listed(first.targets[:3])}" if first.targets and what != first.call else ""
    until = datetime.fromisoformat(first.expires_at) if first.expires_at else None
    asked = f"{verb} “{what}”{where}{more}"
    return State(f"{YOU}: {asked}", "warn", until, asked)


def _diagnosing(incident: Incident, plan: Plan | None) -> str:
    if incident.decision is not None and incident.run:
        return _why("Decided", chosen_words(incident.decision) or incident.decision.get("reason"))
    total = sum(1 for _ in plan.checks) if plan else 0
    return f"Diagnosing: {len(incident.findings)} of {total} checks are in" if total else "Diagnosing"


def _verifying(events: Sequence[Event], plan: Plan | None) -> State:
    begun = next((event for event in reversed(events) if event.kind is _K.VERIFICATION_STARTED), None)
    if begun is None:
        return State("Verifying that it helped", "busy")
    names = listed(signal_name(name, plan) for name in begun.payload["signals"])
    return State(f"Verifying that it helped: watching {names or 'nothing'}", "busy")


def _escalated(incident: Incident) -> str:
    who = f"{incident.acknowledged_by} is on it" if incident.acknowledged_by else "A person is needed"
    refused = str(incident.refusals[-1]["reason"]) if incident.refusals and not incident.deeds else ""
    if refused and refused not in incident.reason:  # "all has been tried" hides that nothing was done
        return f"{who}; nothing ran: {refused}"
    return _why(who, incident.reason)


def _did(deed: Deed, plan: Plan | None) -> str:
    """Short: what the action says of itself, or what the runbook calls it."""
    said, node = deed.summary or deed.call, plan.by_id.get(node_of(deed.node)) if plan else None
    return node.name if node and node.name and len(said) > SHORT else said


def _ended(incident: Incident, events: Sequence[Event], plan: Plan | None) -> str:
    took = ""
    if incident.opened_at and incident.ended_at:
        took = f" in {span((incident.ended_at - incident.opened_at).total_seconds())}"
    parts = [_did(deed, plan) for deed in incident.deeds.values() if deed.result == "done"]
    if incident.verdict == "recovered":
        names = next((e.payload.get("signals", ()) for e in reversed(events) if e.kind is _K.VERIFICATION_FINISHED), ())
        signals = [signal_name(name, plan) for name in names]
        parts.append(f"verified on {listed(signals)}" if signals else "verified")
    by = next((e.payload.get("by") for e in reversed(events) if e.kind in (_K.RESOLVED, _K.CLOSED)), None)
    if by and by != "quell":
        parts.append(f"by {by}")
    word = "Resolved" if incident.status is Status.RESOLVED else "Closed"
    return _why(f"{word}{took}", "; ".join(parts) or incident.reason)
