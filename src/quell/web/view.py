"""An incident as its page tells it, in the page's order: state, what is asked of you, evidence, decisions, acts, proof.

Pure: an incident, its events and its Plan in, plain rows out. Never does: HTML, I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from quell.incident.action import Asks, whose_yes
from quell.incident.event import Event, EventKind
from quell.incident.finding import WORST_FIRST, Health
from quell.incident.incident import ENDED, Incident
from quell.runbook.plan import Act, Approve, Plan
from quell.web.words import State, alert_name, event_tone, listed, node_of, signal_name, span, state_of, told

_K = EventKind
EVIDENCE_CHARS = 800
"""Of all findings together: the page stays small however much was seen; the API has the whole."""
TIMELINE_ROWS = 14
TIMELINE_CHARS = 140
TARGET_ROWS = 12
ALERT_NAMES = 3
_ALERTS = (_K.OPENED, _K.ALERT_JOINED, _K.ALERT_RESOLVED)
HASH_SIGNS = 8


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a verification, or of the users' impact now."""

    name: str
    now: str
    before: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A finding that a decision read, with its age."""

    name: str
    status: str
    message: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Ask:
    """An approval card. ``request`` is the event's payload: call, targets, before, after, undo, risk, people."""

    id: str
    hash: str
    title: str
    request: dict[str, Any]
    clauses: tuple[str, ...]
    read: tuple[Seen, ...]
    expires_at: datetime | None
    asks: Asks
    said_yes: tuple[str, ...]
    only: str


@dataclass(slots=True)
class Deed:
    """An action from intent to outcome, or the refusal of one."""

    title: str
    action: str
    call: str
    at: datetime
    targets: tuple[str, ...] = ()
    before: str = ""
    after: str = ""
    result: str = "running"
    summary: str = ""
    took: str = ""
    postcondition: str = ""
    rule: str = ""
    value: Any = None
    limit: Any = None


@dataclass(slots=True)
class Proof:
    """One verification."""

    at: datetime
    limits: str
    verdict: str = "running"
    reason: str = ""
    took: str = ""
    signals: list[Signal] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the timeline; ``offset`` since the incident opened."""

    at: datetime
    offset: str
    text: str
    tone: str
    actor: str


@dataclass(frozen=True, slots=True)
class ToDo:
    """A step of the decision for whoever has the incident; ``result``: what was recorded of it by hand."""

    id: str
    name: str
    result: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A change that is kept for now."""

    id: str
    what: str
    owner: str
    due: datetime | None


@dataclass(frozen=True, slots=True)
class View:
    incident: Incident
    plan: Plan | None
    state: State
    impact: list[Signal]
    asks: list[Ask]
    findings: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    deeds: list[Deed]
    proofs: list[Proof]
    timeline: list[Row]
    earlier: int
    ended: bool
    todo: list[ToDo]
    kept: list[Kept]


def view_of(incident: Incident, events: Sequence[Event], plan: Plan | None, *, everything: bool = False) -> View:
    """``everything``: the whole timeline, not its newest part."""
    rows = [_row(incident, event) for event in events]
    cut = 0 if everything else max(0, len(rows) - TIMELINE_ROWS)
    return View(
        incident=incident, plan=plan, state=state_of(incident, events, plan),
        impact=list(_impact(incident, events, plan)),
        asks=[_ask(incident, event, events, plan) for event in _open_requests(incident, events)],
        findings=_findings(incident, plan), decisions=[_decision(e, plan) for e in events if e.kind is _K.DECIDED],
        deeds=_deeds(events, plan), proofs=_proofs(events, plan), timeline=rows[cut:][::-1], earlier=cut,
        ended=incident.status in ENDED, todo=list(_todo(incident, plan)), kept=list(_kept(incident, events)),
    )  # fmt: skip


def _todo(incident: Incident, plan: Plan | None) -> Iterator[ToDo]:
    """What the runbook would do next, as a list to tick off by hand."""
    if plan is None or incident.assignee is None or incident.decision is None:
        return
    recommended = set(incident.decision["recommended"])
    steps = dict.fromkeys(step for one in plan.decisions if one.id in recommended for step in one.then)
    by_hand = {one.step: one.result for one in incident.steps}
    for step in steps:
        node = plan.by_id.get(step)
        if isinstance(node, Act | Approve):
            yield ToDo(step, node.name or step, by_hand.get(step, ""))


def _kept(incident: Incident, events: Sequence[Event]) -> Iterator[Kept]:
    for event in events:
        payload = event.payload
        if event.kind is _K.OBLIGATION_MADE and payload["obligation"] in incident.obligations:
            due = payload.get("revert_at")
            yield Kept(
                payload["obligation"], payload["what"], payload.get("owner", ""),
                datetime.fromisoformat(due) if due else None,
            )  # fmt: skip


def _row(incident: Incident, event: Event) -> Row:
    offset = event.at - (incident.opened_at or event.at)
    text = told(event)
    actor = "" if event.actor in ("quell", "") or f"by {event.actor}" in text else event.actor  # once is enough
    return Row(event.at, "+" + span(offset / timedelta(seconds=1)), _short(text), event_tone(event), actor)


def _short(text: str) -> str:
    return text if len(text) <= TIMELINE_CHARS else text[: TIMELINE_CHARS - 1] + "…"


def _impact(incident: Incident, events: Sequence[Event], plan: Plan | None) -> Iterator[Signal]:
    """What the users feel, as far as the signals tell: the alert, and the checks that verification watches."""
    alerts = incident.firing or incident.resolved_alerts
    if alerts and not incident.merged_into:  # the other one tells it now
        status = "firing" if incident.firing else "resolved"
        late = " (not reported as resolved yet)" if incident.firing and incident.status in ENDED else ""
        yield Signal("Alert", status, message=_named(alerts, events) + late)
    newest: dict[str, Any] = next(
        (e.payload["signals"] for e in reversed(events) if e.kind is _K.VERIFICATION_FINISHED), {}
    )
    for name in plan.verify.signals if plan else ():
        finding = incident.findings.get(name)
        if name in newest:
            yield Signal(signal_name(name, plan), newest[name]["now"], "", newest[name].get("message", ""))
        elif finding is not None:
            yield Signal(signal_name(name, plan), finding["status"], "", finding["message"])


def _named(alerts: Sequence[str], events: Sequence[Event]) -> str:
    """A few alerts one by one, many by their name and number: ``28 × PoolFull and Slow``."""
    told = {e.payload["alert"]: e.payload for e in events if e.kind in _ALERTS and e.payload.get("name")}
    known = [told[alert] for alert in alerts if alert in told]
    if len(known) <= ALERT_NAMES:
        return listed(alert_name(one) for one in known)
    counts = Counter(one["name"] for one in known).most_common()
    names = [f"{count} × {name}" if count > 1 else name for name, count in counts[:ALERT_NAMES]]
    more = sum(count for _, count in counts[ALERT_NAMES:])
    return listed([*names, f"{more} more" if more else ""])


# What is asked of people.


def _open_requests(incident: Incident, events: Sequence[Event]) -> list[Event]:
    waiting = {approval.approval for approval in incident.waiting}
    found = {e.payload["approval"]: e for e in events if e.kind is _K.APPROVAL_REQUESTED}
    return [event for name, event in found.items() if name in waiting]


def _ask(incident: Incident, event: Event, events: Sequence[Event], plan: Plan | None) -> Ask:
    request, expires = event.payload, event.payload.get("expires_at")
    node = plan.by_id.get(node_of(request["node"])) if plan else None
    name = request["approval"]
    yes = [e.payload.get("by", "") for e in events if e.kind is _K.NOTED and f" {name};" in e.payload["text"]]
    return Ask(
        id=name, hash=request.get("hash", name)[:HASH_SIGNS], title=(node.name if node else "") or request["call"],
        request={"targets": [], "before": "", "after": "", "undo": None, "people": 1, "risk": "", "instructions": "",
                 "on_no_answer": "page", "impact": None, "history": None, **request},
        clauses=tuple(part for part in request.get("why", "").split("; ") if part),
        read=tuple(_read(incident, plan)), expires_at=datetime.fromisoformat(expires) if expires else None,
        asks=Asks(request.get("asks", Asks.APPROVAL)), said_yes=tuple(yes), only=whose_yes(request),
    )  # fmt: skip


def _read(incident: Incident, plan: Plan | None) -> Iterator[Seen]:
    """The findings that the chosen decision looked at."""
    chosen = set(incident.decision["chosen"]) if incident.decision else set()
    names = [name for d in (plan.decisions if plan else ()) if d.id in chosen for name in d.reads]
    for name in dict.fromkeys(names):
        if finding := incident.findings.get(name):
            yield Seen(finding["name"] or name, finding["status"], finding["message"], _time(finding))


def _time(finding: dict[str, Any]) -> datetime | None:
    at = finding.get("observed_at") or finding.get("looked_at")
    return datetime.fromisoformat(at) if at else None


# Evidence and decisions.


def _findings(incident: Incident, plan: Plan | None) -> list[dict[str, Any]]:
    """Worst first, then as the runbook has them; checks that still run come last."""
    share = EVIDENCE_CHARS // max(1, len(incident.findings))
    found = [
        {**finding, "name": finding["name"] or name, "at": _time(finding), "evidence": _evidence(finding, share),
         "targets": sorted(finding["targets"], key=_rank)[:TARGET_ROWS],
         "more": max(0, len(finding["targets"]) - TARGET_ROWS)}
        for name, finding in incident.findings.items()
    ]  # fmt: skip
    running: list[dict[str, Any]] = [
        {"check": check.id, "name": check.name or check.id, "status": "running", "message": "", "targets": [],
         "more": 0, "at": None, "evidence": "", "duration_ms": 0.0, "clause": ""}
        for check in (plan.checks if plan and incident.run and not _rests(incident) else ())
        if check.id not in incident.findings
    ]  # fmt: skip
    return sorted(found, key=_rank) + running


def _rests(incident: Incident) -> bool:
    """No run looks at it now."""
    return bool(incident.queued) or incident.outcome is not None or incident.status in ENDED


def _rank(finding: dict[str, Any]) -> int:
    return WORST_FIRST.index(Health(finding["status"]))


def _evidence(finding: dict[str, Any], most: int) -> str:
    """What a person needs to look again; cut, since the whole is one click away in the API."""
    known = {**finding["evidence"], **finding["facts"]}
    lines = [f"{name}: {_text(value)}" for name, value in known.items() if value not in ("", None, False, [])]
    absent: dict[str, list[str]] = {}
    for name, why in finding["missing"].items():
        absent.setdefault(why, []).append(name)
    lines += [f"not known, because {why}: {', '.join(names)}" for why, names in absent.items()]
    text = "\n".join(lines)
    return text if len(text) <= most else text[:most] + "…"


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= 400 else text[:400] + "…"


def _decision(event: Event, plan: Plan | None) -> dict[str, Any]:
    """One visit of the decision tree: every decision with its clause, and what became of it."""
    payload = event.payload
    rows = []
    for one in payload.get("explanations", ()):
        name = one["decision"]
        mark = "chosen" if name in payload["chosen"] else "tried" if name in payload.get("tried", ()) else (
            "holds" if one["holds"] else "unknown" if one["holds"] is None else "no"
        )  # fmt: skip
        then = [_name(plan, step) for step in one["then"]]
        rows.append({**one, "mark": mark, "then": then, "title": one["description"] or name})
    return {**payload, "at": event.at, "rows": rows}


def _name(plan: Plan | None, node: str) -> str:
    known = plan.by_id.get(node) if plan else None
    return (known.name if known else "") or node


# Acts and proof.


def _deeds(events: Sequence[Event], plan: Plan | None) -> list[Deed]:
    deeds: dict[str, Deed] = {}
    for event in events:
        p, key = event.payload, event.payload.get("key") or event.node
        if event.kind is _K.ACTION_INTENDED:
            deeds[key] = Deed(
                _title(event, plan), p["action"], p["call"], event.at, tuple(p.get("targets", ())),
                p.get("before", ""), p.get("after", ""),
            )  # fmt: skip
        elif event.kind is _K.ACTION_FINISHED:
            deed = deeds.setdefault(key, Deed(_title(event, plan), p["action"], p.get("call", ""), event.at))
            deed.result, deed.summary, deed.postcondition = p["result"], p["summary"], p.get("postcondition") or ""
            deed.took = span(p["duration_ms"] / 1000) if p.get("duration_ms") else ""
        elif event.kind is _K.ACTION_REFUSED:
            deeds[f"{key}/{event.seq}"] = Deed(
                _title(event, plan), p["action"], p.get("call", ""), event.at, result="refused", summary=p["reason"],
                rule=p["rule"], value=p.get("value"), limit=p.get("limit"),
            )  # fmt: skip
    return list(deeds.values())


def _title(event: Event, plan: Plan | None) -> str:
    parts = event.node.split("/")
    undone = len(parts) > 1 and parts[1].endswith(".undo")
    name = _name(plan, node_of(event.node)) or event.payload["action"]
    return f"Undo of {name}" if undone else name


def _proofs(events: Sequence[Event], plan: Plan | None) -> list[Proof]:
    proofs: list[Proof] = []
    for event in events:
        p = event.payload
        if event.kind is _K.VERIFICATION_STARTED:
            limits = f"stable for {span(p.get('stable_for_s', 0))}, within {span(p.get('within_s', 0))}"
            baseline = p.get("baseline", {})
            signals = [Signal(signal_name(name, plan), "", baseline.get(name, "")) for name in p["signals"]]
            proofs.append(Proof(event.at, limits, signals=signals))
        elif event.kind is _K.VERIFICATION_FINISHED and proofs:
            proof = proofs[-1]
            proof.verdict, proof.reason = p["verdict"], p.get("reason", "")
            proof.took = span(p["duration_ms"] / 1000) if p.get("duration_ms") else ""
            proof.signals = [
                Signal(signal_name(name, plan), one["now"], one["before"], one.get("message", ""))
                for name, one in p.get("signals", {}).items()
            ]
    return proofs
