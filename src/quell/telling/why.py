"""Why something happened with an alert, or did not: each rule that was tried with the clause that decided, what the
guards said, and who was told. Pure, made from what was recorded then; nothing is judged anew.

Never does: fetch, print.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from quell.incident.event import Event, EventKind
from quell.incident.incident import Incident
from quell.incident.tried import Tried

_GUARD = {
    EventKind.ACTION_REFUSED: "refused", EventKind.ACTION_INTENDED: "allowed", EventKind.ACTION_SHADOWED: "shadowed",
    EventKind.APPROVAL_REQUESTED: "asked",
}  # fmt: skip
_CAME = {
    EventKind.OPENED: "runbook_why", EventKind.ALERT_JOINED: "why", EventKind.ALERT_RESOLVED: "why",
    EventKind.ALERT_LEFT: "why", EventKind.CAUSE_FOUND: "why",
}  # fmt: skip
"""Events that say something of one alert of an incident, and where they say why."""
MOST_HISTORY = 20
MOST_ALERTS = 50
"""Alerts of an incident that are told, those that fire first."""


@dataclass(frozen=True, slots=True)
class Why:
    """``tried``: in the order in which they were held against it. ``history``: what followed from it each time that it
    came, the newest last. ``guard``: what was allowed, asked, or refused of what its incident would have done."""

    alert: Mapping[str, Any]
    outcome: str
    reason: str
    signature: str
    runbook: str | None
    dedup_key: str
    group_key: str
    tried: tuple[Tried, ...]
    history: tuple[Mapping[str, Any], ...] = ()
    incident: Mapping[str, Any] | None = None
    guard: tuple[Mapping[str, Any], ...] = ()
    told: tuple[Mapping[str, Any], ...] = ()

    @property
    def as_json(self) -> dict[str, Any]:
        return {
            "alert": dict(self.alert), "outcome": self.outcome, "reason": self.reason, "signature": self.signature,
            "runbook": self.runbook, "dedup_key": self.dedup_key, "group_key": self.group_key,
            "tried": [one.stored for one in self.tried], "history": [dict(one) for one in self.history],
            "incident": dict(self.incident) if self.incident else None, "guard": [dict(one) for one in self.guard],
            "told": [dict(one) for one in self.told],
        }  # fmt: skip


def why_alert(
    row: Mapping[str, Any], log: Sequence[Event], incident: Incident | None, timeline: Sequence[Event]
) -> Why:  # fmt: skip
    """``row``: as it is stored; ``log``: of the alert; ``timeline``: of its incident."""
    routed = [one for one in log if one.kind is EventKind.ALERT_ROUTED]
    last = routed[-1].payload if routed else {}
    received = [one.payload for one in log if one.kind is EventKind.ALERT_RECEIVED]
    return Why(
        alert=_alert(row), outcome=str(last.get("outcome", "")), reason=str(row.get("reason") or ""),
        signature=str(received[-1].get("signature", "")) if received else "", runbook=last.get("runbook"),
        dedup_key=str(row["id"]), group_key=str(last.get("group_key", "")),
        tried=tuple(Tried.of(one) for one in last.get("steps") or ()),
        history=tuple(_history(routed)), incident=brief(incident) if incident else None,
        guard=tuple(guarded(timeline)), told=tuple(told_to(timeline)),
    )  # fmt: skip


def _alert(row: Mapping[str, Any]) -> dict[str, Any]:
    stored = row["alert"]
    alert: dict[str, Any] = orjson.loads(stored) if isinstance(stored, str | bytes) else dict(stored)
    kept = ("labels", "annotations", "starts_at", "ends_at", "received_at", "url", "details")
    own = {name: value for name, value in row.items() if name not in ("alert", "changes", "schema_version", "reason")}
    return {**own, **{name: alert.get(name) for name in kept}}


def _history(routed: Sequence[Event]) -> Iterable[dict[str, Any]]:
    for event in routed[-MOST_HISTORY:]:
        said = {name: event.payload.get(name) for name in ("outcome", "reason", "incident", "runbook")}
        yield {"at": event.at.isoformat(), **said}


def brief(incident: Incident) -> dict[str, Any]:
    """An incident in a few words."""
    return {
        "id": incident.id, "title": incident.title, "status": incident.status.value, "severity": incident.severity,
        "service": incident.service, "runbook": incident.runbook, "reason": incident.reason,
        "cause": incident.cause, "alerts": len(incident.firing) + len(incident.resolved_alerts),
    }  # fmt: skip


def guarded(timeline: Sequence[Event]) -> Iterable[dict[str, Any]]:
    """What the guards said about each thing that an incident would have done."""
    for event in timeline:
        if (verdict := _GUARD.get(event.kind)) is not None:
            said = {name: event.payload.get(name) for name in ("action", "call", "rule", "reason", "value", "limit")}
            reason = said["reason"] or event.payload.get("why") or ""
            yield {"at": event.at.isoformat(), "verdict": verdict, **said, "reason": reason}


def told_to(timeline: Sequence[Event]) -> Iterable[dict[str, Any]]:
    """Who was told, of what kind, and whether it got there."""
    for event in timeline:
        if event.kind is EventKind.NOTIFIED:
            payload = event.payload
            yield {
                "at": event.at.isoformat(), "to": payload["to"], "kind": payload["kind"],
                "delivered": payload.get("delivered", True), "detail": payload.get("detail", ""),
            }  # fmt: skip


@dataclass(frozen=True, slots=True)
class WhyIncident:
    """``alerts``: those that fire first, each with why it is part of it; ``more``: how many others there are."""

    incident: Mapping[str, Any]
    service_why: str
    runbook: str | None
    runbook_why: str
    alerts: tuple[Mapping[str, Any], ...]
    more: int
    guard: tuple[Mapping[str, Any], ...]
    told: tuple[Mapping[str, Any], ...]

    @property
    def as_json(self) -> dict[str, Any]:
        return {
            "incident": dict(self.incident), "service_why": self.service_why, "runbook": self.runbook,
            "runbook_why": self.runbook_why, "alerts": [dict(one) for one in self.alerts], "more": self.more,
            "guard": [dict(one) for one in self.guard], "told": [dict(one) for one in self.told],
        }  # fmt: skip


def why_incident(incident: Incident, timeline: Sequence[Event], rows: Mapping[str, Mapping[str, Any]]) -> WhyIncident:
    """``rows``: its alerts as they are stored, by id; one that is not there any more is told from the log alone."""
    names = alerts_of(incident)
    opened = next((one.payload for one in timeline if one.kind is EventKind.OPENED), {})
    came = {name: _came(name, timeline) for name in names[:MOST_ALERTS]}
    return WhyIncident(
        incident=brief(incident), service_why=str(opened.get("service_why") or ""), runbook=incident.runbook,
        runbook_why=_runbook_why(timeline), more=max(len(names) - MOST_ALERTS, 0),
        alerts=tuple({**_part(name, rows.get(name), name in incident.firing), **came[name]} for name in came),
        guard=tuple(guarded(timeline)), told=tuple(told_to(timeline)),
    )  # fmt: skip


def alerts_of(incident: Incident) -> list[str]:
    """Those that fire first."""
    return [*incident.firing, *incident.resolved_alerts]


def _part(name: str, row: Mapping[str, Any] | None, fires: bool) -> dict[str, Any]:
    told = {one: row.get(one) if row else None for one in ("name", "source", "fingerprint", "service", "severity")}
    return {"id": name, **told, "status": "firing" if fires else "resolved"}


def _came(name: str, timeline: Sequence[Event]) -> dict[str, Any]:
    """When and why an alert became part of it; the last time counts. ``since``: the last thing that it did."""
    mine = [one for one in timeline if one.kind in _CAME and one.payload.get("alert") == name]
    first = next((one for one in reversed(mine) if one.kind in (EventKind.OPENED, EventKind.ALERT_JOINED)), None)
    if first is None:
        return {"at": None, "why": "", "since": ""}
    why = "the incident began with it" if first.kind is EventKind.OPENED else str(first.payload.get("why") or "")
    last = mine[-1]
    since = str(last.payload.get(_CAME[last.kind]) or "") if last is not first else ""
    said: dict[str, Any] = {"at": first.at.isoformat(), "why": why, "since": since}
    return said | ({"name": first.payload["name"]} if first.payload.get("name") else {})


_BEGUN = (EventKind.RUN_QUEUED, EventKind.RUN_STARTED)


def _runbook_why(timeline: Sequence[Event]) -> str:
    """Why the runbook that looks after it now does: another run of the same one needs no other reason."""
    runbook, why = None, ""
    for event in timeline:
        told = event.payload
        if event.kind is EventKind.OPENED:
            runbook, why = told.get("runbook"), str(told.get("runbook_why") or "")
        elif event.kind in _BEGUN and told.get("runbook") not in (None, runbook):
            runbook, why = told["runbook"], str(told["reason"])
    return why
