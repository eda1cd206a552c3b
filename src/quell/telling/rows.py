"""An incident as it goes, told event by event: what was seen, why it was decided, what was done, whether it helped.

Pure: an event and what came before it give rows. Never does: fetch events, lay them out, decide anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from quell.incident.alert import called
from quell.incident.event import Event, EventKind
from quell.runbook.quantities import spoken
from quell.telling.card import card, change
from quell.telling.lines import Row, under

STATUS = {
    "healthy": ("✓", "green"), "warning": ("!", "yellow"), "critical": ("✗", "red"), "no_data": ("?", "yellow"),
    "error": ("✗", "red"),
}  # fmt: skip
RESULT = {
    "done": ("✓", "green"), "failed": ("✗", "red"), "unknown": ("?", "red"), "refused": ("✗", "yellow"),
    "skipped": ("·", "dim"), "dry_run": ("·", "cyan"),
}  # fmt: skip
VERDICT = {
    "recovered": ("✓", "green"), "improved": ("!", "yellow"), "unchanged": ("✗", "red"), "worse": ("✗", "red"),
    "cannot_tell": ("?", "yellow"),
}  # fmt: skip
OUTCOME = {
    "resolved": ("✓", "green"), "healthy": ("✓", "green"), "mitigated": ("!", "yellow"), "escalated": ("!", "red"),
    "stopped": ("!", "yellow"), "dry_run": ("·", "cyan"),
}  # fmt: skip
_ANSWERS = frozenset({"denied", "expired", "withdrawn"})
"""Rules that say no more than the answer above them did."""
HOLDS = {True: ("✓", "green"), False: ("✗", "dim"), None: ("?", "yellow")}
MOST_TARGETS = 5


@dataclass(slots=True)
class Known:
    """What the events so far have told, as far as later rows need it."""

    began: datetime | None = None
    findings: dict[str, dict[str, Any]] = field(default_factory=dict)


def node_of(event: Event) -> str:
    """The name of the node an event is about: the second part of ``<run>/<node>/<visit>/<target>``."""
    run, node, *_ = [*event.node.split("/", 3), ""]
    return node if run.startswith("run:") else ""


def label_of(event: Event, otherwise: str) -> str:
    """The node, and the target when the node has several."""
    target = event.node.split("/", 3)[3] if event.node.count("/") >= 3 else ""
    return " ".join(part for part in (node_of(event) or otherwise, target) if part)


def rows_of(event: Event, known: Known) -> list[Row]:
    """What to show for an event; nothing for an event that says nothing new to a person."""
    if known.began is None:
        known.began = event.at
    if event.kind is EventKind.CHECK_FINISHED:
        known.findings[event.payload["finding"]["check"]] = event.payload["finding"]
    told = _TOLD.get(event.kind)
    return told(event, known) if told else [Row(str(event.kind), style="dim")]


def finding_row(finding: Mapping[str, Any], *, aged: str = "") -> Row:
    """A finding: its status, the clause that decided with its values, what was seen, the targets that are not well."""
    mark, style = STATUS.get(finding["status"], ("?", "yellow"))
    clause, said = str(finding.get("clause") or ""), str(finding.get("message") or "")
    seen = "; ".join(part for part in said.split("; ") if part not in clause)
    status = finding["status"].replace("_", " ") + (
        f" ({finding['error_class']})" if finding.get("error_class") else ""
    )
    took = f"{float(finding.get('duration_ms') or 0):.0f} ms"
    text = f"{status:<9} " + ", ".join(part for part in (clause, seen, took + (f", {aged}" if aged else "")) if part)
    ill = [one for one in finding.get("targets") or () if one["status"] != "healthy"]
    more = [Row(f"{one['target']}: {one.get('message') or one['status']}", mark=STATUS[one["status"]][0],
                style=STATUS[one["status"]][1]) for one in ill[:MOST_TARGETS]]  # fmt: skip
    if len(ill) > MOST_TARGETS:
        more.append(Row(f"and {len(ill) - MOST_TARGETS} more", style="dim"))
    return Row(text, str(finding["check"]), mark, style, more=tuple(more))


def decision_row(payload: Mapping[str, Any]) -> Row:
    """What was chosen and why, and below it every branch with its clauses."""
    branches = list(payload.get("explanations") or ())
    chosen = set(payload["chosen"])
    steps = [step for one in branches if one["decision"] in chosen for step in one["then"]]
    more = []
    for one in branches:
        mark, style = ("→", "cyan") if one["decision"] in chosen else HOLDS[one["holds"]]
        more.append(Row(f"{' → '.join(one['then'])}: {one['clause']}", mark=mark, style=style))
    text = " → ".join(steps) if steps else f"nothing to do: {payload.get('reason', '')}"
    return Row(text, "decide", "→", "cyan", more=tuple(more))


def verdict_row(payload: Mapping[str, Any]) -> Row:
    mark, style = VERDICT.get(payload["verdict"], ("?", "yellow"))
    took = f" (after {spoken(round(payload['duration_ms'] / 1000, 1))})" if payload.get("duration_ms") else ""
    return Row(f"{payload['verdict'].replace('_', ' ')}: {payload.get('reason', '')}{took}", "verify", mark, style)


def result_row(label: str, payload: Mapping[str, Any]) -> Row:
    mark, style = RESULT.get(payload["result"], ("?", "yellow"))
    took = f" ({payload['duration_ms']:.0f} ms)" if payload.get("duration_ms") else ""
    held = f"postcondition: {payload['postcondition']}" if payload.get("postcondition") else ""
    return Row(f"{payload['result']}: {payload['summary']}{took}", label, mark, style, more=under([held]))


def _opened(event: Event, known: Known) -> list[Row]:
    told = event.payload
    facts = [told["title"], told["severity"], told.get("service") or "no service", f"incident {event.stream_id}"]
    why = told.get("runbook_why") or ("" if told.get("runbook") else "no runbook")
    return [Row(" · ".join(facts), "opened", "●", "bold", more=under([why]))]


def _run_started(event: Event, known: Known) -> list[Row]:
    told = event.payload
    mode = "" if told.get("mode") in (None, "auto") else f", {str(told['mode']).replace('_', ' ')}"
    return [Row(f"runbook {told.get('runbook')}{mode}, plan {told['plan'][:8]}", f"run {told['number']}")]


def _run_queued(event: Event, known: Known) -> list[Row]:
    told = event.payload
    return [Row(f"waits for its turn: {told['reason']}", f"run {told['number']}", "⏸", "yellow")]


def _checked(event: Event, known: Known) -> list[Row]:
    return [finding_row(event.payload["finding"])]


def _requested(event: Event, known: Known) -> list[Row]:
    return [
        Row(str(event.payload["call"]), "approve?", "⏸", "yellow", more=card(event.payload, known.findings, event.at))
    ]


def _answered(event: Event, known: Known) -> list[Row]:
    told = event.payload
    mark, style = ("✓", "green") if told["answer"] in ("approved", "done") else ("✗", "yellow")
    reason = f": {told['reason']}" if told.get("reason") else ""
    return [
        Row(f"{told['answer']} by {told.get('by') or 'somebody'}{reason}", label_of(event, "approval"), mark, style)
    ]


def _refused(event: Event, known: Known) -> list[Row]:
    told = event.payload
    bounds = [f"{name} {told[name]}" for name in ("value", "limit") if told.get(name) not in (None, "")]
    rule = "" if told["rule"] in _ANSWERS else ", ".join([f"rule {told['rule']}", *bounds])
    return [Row(f"not run: {told['reason']}", label_of(event, told["action"]), "✗", "yellow",
                more=under([str(told.get("call") or ""), rule]))]  # fmt: skip


def _intended(event: Event, known: Known) -> list[Row]:
    told = event.payload
    targets = ", ".join(told.get("targets") or ())
    return [Row(str(told["call"]), label_of(event, told["action"]), "▶", "cyan",
                more=under([f"on {targets}" if targets else "", change(told)]))]  # fmt: skip


def _finished(event: Event, known: Known) -> list[Row]:
    return [result_row(label_of(event, event.payload["action"]), event.payload)]


def _verifying(event: Event, known: Known) -> list[Row]:
    told = event.payload
    signals = ", ".join(told["signals"]) or "no signal"
    bounds = f"healthy for {spoken(told.get('stable_for_s', 0))}, within {spoken(told.get('within_s', 0))}"
    return [Row(f"asks {signals}: {bounds}", "verify", "…", "cyan")]


def _notified(event: Event, known: Known) -> list[Row]:
    told, well = event.payload, event.payload.get("delivered", True)
    detail = f": {told['detail']}" if told.get("detail") else ""
    said = f"{told['kind']} to {told['to']}" + (detail if well else f" not delivered{detail}")
    return [Row(said, "told", "»" if well else "✗", "" if well else "red")]


def _said(label: str, mark: str, style: str, *keys: str) -> Callable[[Event, Known], list[Row]]:
    """A row that tells some of the payload's values as they are."""

    def told(event: Event, known: Known) -> list[Row]:
        parts = [
            ", ".join(value) if isinstance(value := event.payload.get(key), list) else str(value or "") for key in keys
        ]
        return [Row(" · ".join(part for part in parts if part), label, mark, style)]

    return told


def _alert(mark: str, style: str) -> Callable[[Event, Known], list[Row]]:
    """A row that names an alert as people call it: its id means nothing to them."""

    def told(event: Event, known: Known) -> list[Row]:
        p = event.payload
        name = called(p["name"], p.get("labels") or {}) if p.get("name") else "an alert"
        return [Row(" · ".join(part for part in (name, p.get("why")) if part), "alert", mark, style)]

    return told


def _left(event: Event, known: Known) -> list[Row]:
    told = event.payload
    return [Row(f"{told.get('name') or 'an alert'} goes on in incident {told['to']}", "left", "→", "yellow",
                more=under([str(told.get("why") or "")]))]  # fmt: skip


def _cause(event: Event, known: Known) -> list[Row]:
    told = event.payload
    follows = f"runbook {told['runbook']} is for it" if told.get("runbook") else ""
    return [Row(f"it comes from {told['service']}: {told.get('name') or 'an alert'}", "cause", "●", "yellow",
                more=under([str(told["why"]), follows]))]  # fmt: skip


def _merged(event: Event, known: Known) -> list[Row]:
    told = event.payload
    return [Row(f"it goes on in incident {told['into']}, by {told.get('by') or 'quell'}", "merged", "→", "yellow",
                more=under([str(told.get("reason") or "")]))]  # fmt: skip


def _silenced(event: Event, known: Known) -> list[Row]:
    told = event.payload
    what, until = ", ".join(told["matchers"]), str(told["ends_at"])[:16].replace("T", " ")
    return [Row(f"{what} until {until} UTC", "silenced", "·", "yellow",
                more=under([f"by {told['by']}: {told['comment']}"]))]  # fmt: skip


def _escalated(event: Event, known: Known) -> list[Row]:
    told = event.payload
    return [Row(f"{told['reason']} → {', '.join(told.get('to') or ()) or 'nobody'}", "escalated", "!", "red")]


def _ended(event: Event, known: Known) -> list[Row]:
    told = event.payload
    mark, style = OUTCOME.get(told["outcome"], ("·", "dim"))
    took = (event.at - known.began).total_seconds() if known.began else 0.0
    return [Row(f"{told['outcome'].replace('_', ' ')} after {spoken(round(took, 1))}: {told.get('reason') or ''}",
                "ended", mark, style)]  # fmt: skip


_TOLD: dict[EventKind, Callable[[Event, Known], list[Row]]] = {
    EventKind.OPENED: _opened,
    EventKind.ALERT_JOINED: _alert("●", "yellow"),
    EventKind.ALERT_RESOLVED: _alert("✓", "green"),
    EventKind.ALERT_LEFT: _left,
    EventKind.CAUSE_FOUND: _cause,
    EventKind.MERGED: _merged,
    EventKind.SILENCE_MADE: _silenced,
    EventKind.SILENCE_ENDED: _said("silence over", "●", "yellow", "matchers", "by"),
    EventKind.RUN_QUEUED: _run_queued,
    EventKind.RUN_STARTED: _run_started,
    EventKind.RUN_ENDED: _ended,
    EventKind.CHECK_FINISHED: _checked,
    EventKind.DECIDED: lambda event, known: [decision_row(event.payload)],
    EventKind.APPROVAL_REQUESTED: _requested,
    EventKind.APPROVAL_ANSWERED: _answered,
    EventKind.ACTION_REFUSED: _refused,
    EventKind.ACTION_INTENDED: _intended,
    EventKind.ACTION_FINISHED: _finished,
    EventKind.VERIFICATION_STARTED: _verifying,
    EventKind.VERIFICATION_FINISHED: lambda event, known: [verdict_row(event.payload)],
    EventKind.NOTIFIED: _notified,
    EventKind.ESCALATED: _escalated,
    EventKind.ACKNOWLEDGED: _said("seen", "✓", "green", "by"),
    EventKind.UNACKNOWLEDGED: _said("forgotten", "!", "red", "by", "reason"),
    EventKind.HANDED_OVER: _said("hands over", "●", "yellow", "by", "to", "note", "tried", "pending", "left"),
    EventKind.OVERRIDDEN: _said("break-glass", "!", "red", "by", "reason", "until"),
    EventKind.STEP_RECORDED: _said("by hand", "●", "", "step", "result", "by", "note"),
    EventKind.ACTION_SHADOWED: _said("would have", "·", "cyan", "call", "rule", "reason"),
    EventKind.SHADOW_COMPARED: _said("shadow", "·", "cyan", "verdict", "reason"),
    EventKind.TAKEN: _said("taken", "●", "yellow", "by", "reason"),
    EventKind.RETURNED: _said("given back", "●", "", "by", "reason"),
    EventKind.MITIGATED: _said("mitigated", "!", "yellow", "reason"),
    EventKind.RESOLVED: _said("resolved", "✓", "green", "reason", "by"),
    EventKind.REOPENED: _said("reopened", "●", "yellow", "reason", "by"),
    EventKind.CLOSED: _said("closed", "·", "dim", "reason", "by"),
    EventKind.OBLIGATION_MADE: _said("left behind", "!", "yellow", "what", "owner", "revert_at"),
    EventKind.OBLIGATION_ENDED: _said("taken back", "✓", "green", "obligation", "how", "by"),
    EventKind.NOTED: _said("note", "·", "", "text", "by"),
    EventKind.PRUNED: _said("pruned", "·", "dim", "by", "before"),
}  # fmt: skip
