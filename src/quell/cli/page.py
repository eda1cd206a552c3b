"""One incident as a page for the terminal: where it stands first, then what waits, what was seen, decided and done.

Pure: events in, rows out. Never does: fetch, decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from quell.incident.event import Event, EventKind
from quell.incident.incident import Incident, Status, fold
from quell.telling.card import card, change, clock, time_left
from quell.telling.lines import Row, under
from quell.telling.rows import decision_row, finding_row, result_row, verdict_row


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its rows; without rows it is not shown."""

    title: str
    rows: tuple[Row, ...]


def page(events: Sequence[Event], now: datetime) -> tuple[str, str, list[Section]]:
    """The sentence of its state, the line of its facts, and the sections. Raises ``ValueError`` without events."""
    incident = fold(events)
    decided, verified = _all(events, EventKind.DECIDED), _all(events, EventKind.VERIFICATION_FINISHED)
    sections = [
        Section("Waiting for an answer", _waiting(events, incident, now)),
        Section("Findings", tuple(finding_row(one, aged=_aged(one, now)) for one in incident.findings.values())),
        Section("Decision", tuple(decision_row(one.payload) for one in decided)),
        Section("Actions", tuple(_actions(events))),
        Section("Verification", tuple(verdict_row(one.payload) for one in verified)),
        Section("Told", tuple(_told(events))),
        Section("More", _more(incident)),
    ]
    return sentence(incident, events, now), _facts(incident, now), [one for one in sections if one.rows]


def sentence(incident: Incident, events: Sequence[Event], now: datetime) -> str:
    """Where it stands, in one sentence, said for the person who has to do something or need not."""
    if incident.waiting:
        request = next(one.payload for one in reversed(_all(events, EventKind.APPROVAL_REQUESTED))
                       if one.payload["approval"] == incident.waiting[0].approval)  # fmt: skip
        return f"Waiting for you: {time_left(request, now)}."
    if incident.status in (Status.RESOLVED, Status.CLOSED):
        took = (incident.ended_at or now) - (incident.opened_at or now)
        return f"{incident.status.value.capitalize()} after {clock(took.total_seconds())}: {incident.reason}"
    if incident.assignee:
        return f"{incident.assignee} has it: nothing more is done by itself."
    if incident.status is Status.ESCALATED:
        seen = f", acknowledged by {incident.acknowledged_by}" if incident.acknowledged_by else ""
        return f"Escalated to {', '.join(dict.fromkeys(incident.escalated_to)) or 'nobody'}{seen}: {incident.reason}"
    if incident.status is Status.MITIGATED:
        return f"Mitigated, not over: {incident.reason}"
    return f"{_DOING.get(incident.status, incident.status.value)}."


_DOING = {
    Status.OPEN: "Open: nothing has started yet", Status.DIAGNOSING: "Diagnosing: the checks run",
    Status.ACTING: "Acting on the decision", Status.VERIFYING: "Verifying that it helped",
    Status.WAITING: "Waiting for an answer",
}  # fmt: skip


def ago(moment: datetime | None, now: datetime) -> str:
    return f"{clock(max(0.0, (now - moment).total_seconds()))} ago" if moment else ""


def _facts(incident: Incident, now: datetime) -> str:
    facts = [incident.title, incident.severity, incident.service or "no service", incident.runbook or "no runbook",
             f"incident {incident.id}", f"opened {ago(incident.opened_at, now)}"]  # fmt: skip
    return " · ".join(facts)


def _all(events: Iterable[Event], *kinds: EventKind) -> list[Event]:
    return [event for event in events if event.kind in kinds]


def _waiting(events: Sequence[Event], incident: Incident, now: datetime) -> tuple[Row, ...]:
    waiting = {one.approval for one in incident.waiting}
    return tuple(
        Row(str(one.payload["call"]), "approve?", "⏸", "yellow", more=card(one.payload, incident.findings, now))
        for one in _all(events, EventKind.APPROVAL_REQUESTED)
        if one.payload["approval"] in waiting
    )


def _aged(finding: dict[str, object], now: datetime) -> str:
    seen = finding.get("observed_at") or finding.get("looked_at")
    return ago(datetime.fromisoformat(str(seen)), now) if seen else ""


def _actions(events: Sequence[Event]) -> Iterable[Row]:
    """Each intent with its outcome, and what was refused, in order."""
    outcomes = {one.payload.get("key") or one.node: one for one in _all(events, EventKind.ACTION_FINISHED)}
    for event in _all(events, EventKind.ACTION_INTENDED, EventKind.ACTION_REFUSED):
        told = event.payload
        if event.kind is EventKind.ACTION_REFUSED:
            yield Row(
                f"not run: {told['reason']}", told["action"], "✗", "yellow", more=under([str(told.get("call") or "")])
            )
            continue
        below = [f"on {', '.join(told.get('targets') or ())}", change(told)]
        outcome = outcomes.get(told["key"])
        if outcome is None:
            yield Row(f"running: {told['call']}", told["action"], "▶", "cyan", more=under(below))
            continue
        result = result_row(told["action"], outcome.payload)
        ended = Row(result.text, mark=result.mark, style=result.style)
        more = (*under(below), ended, *result.more)
        yield Row(str(told["call"]), result.label, result.mark, result.style, more=more)


def _told(events: Sequence[Event]) -> Iterable[Row]:
    for event in _all(events, EventKind.NOTIFIED):
        told, well = event.payload, event.payload.get("delivered", True)
        yield Row(f"{told['to']}: {'' if well else 'not delivered: '}{told.get('detail') or 'delivered'}",
                  told["kind"], "✓" if well else "✗", "green" if well else "red")  # fmt: skip


def _more(incident: Incident) -> tuple[Row, ...]:
    waits = [
        f"quell approve {one.approval}    quell deny {one.approval}    quell take {incident.id}"
        for one in incident.waiting
    ]
    ended = incident.status in (Status.RESOLVED, Status.CLOSED)
    by_hand = [] if waits or ended else [f"quell take {incident.id}    quell resolve {incident.id}"]
    follow = f"quell incidents timeline {incident.id}" + ("" if ended else " --follow")
    return tuple(Row(text) for text in (*waits, *by_hand, follow))
