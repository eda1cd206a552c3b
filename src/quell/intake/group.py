"""Which alerts may be one incident: what they have in common, and how near they are. Pure.

Never does: look anything up, decide (correlation does).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import quote

from quell.incident.alert import Alert
from quell.incident.incident import Incident
from quell.incident.service import Service, needs

MOST_CHANGED = 2
"""Labels that may have changed on an alert that is the same for people."""


@dataclass(frozen=True, slots=True)
class Near:
    """An open incident that may have the same cause. ``causes``: the alert is what it comes from."""

    incident: Incident
    why: str
    causes: bool = False


def group_key(by: Sequence[str], alert: Alert, service: str | None, runbook: str | None) -> str:
    """Alerts with the same key belong together: the same in everything that is asked for, in one place.

    One that lacks any of it is a group of its own.
    """
    said = {**alert.labels, "alertname": alert.name, "service": service or "", "runbook": runbook or ""}
    values = [said.get(name, "") for name in by]
    # A slash in a value must not make it look like two.
    what = "/".join(quote(value, safe="") for value in values) if all(values) else f"alert/{alert.fingerprint}"
    return f"{alert.environment}/{alert.region}/{what}"


def related(services: Mapping[str, Service], service: str) -> tuple[dict[str, int], dict[str, int]]:
    """What it needs, and what needs it, directly or by way of others → over how many steps."""
    needed_by: dict[str, int] = {}
    for name in services:
        steps = needs(services, name).get(service)
        if steps is not None:
            needed_by[name] = steps
    return needs(services, service), needed_by


def near_by_service(
    service: str, needed: Mapping[str, int], needed_by: Mapping[str, int], open_incidents: Iterable[Incident],
    since: datetime,
) -> list[Near]:  # fmt: skip
    """Of the open incidents those of services that it needs or that need it, with an alert since then.

    The one whose service it needs comes first, for the deepest cause is the one to act on; then the fewest steps, then
    the oldest.
    """
    found: list[tuple[tuple[bool, int, str], Near]] = []
    for incident in open_incidents:
        other, last = incident.service or "", incident.last_alert_at
        if last is None or last < since:
            continue
        if other in needed:
            why = f"{service} needs {other}, of which incident {incident.id} is open"
            found.append(((False, needed[other], incident.id), Near(incident, why)))
        elif other in needed_by:
            why = f"{other} needs {service}, so incident {incident.id} may come from it"
            found.append(((True, needed_by[other], incident.id), Near(incident, why, causes=True)))
    return [near for _, near in sorted(found, key=lambda one: one[0])]


def renamed(alert: Alert, others: Iterable[tuple[Alert, Incident]]) -> list[Near]:
    """The incidents of alerts that resolved just now and are the same for people: one name, all labels but a few."""
    found: list[tuple[int, str, Near]] = []
    for other, incident in others:
        changed = differing(alert, other)
        if changed and len(changed) <= MOST_CHANGED:
            told = ", ".join(f"{name} {was!r} → {now!r}" for name, (was, now) in changed.items())
            why = f"{other.name!r} of incident {incident.id} goes on under other labels: {told}"
            found.append((len(changed), incident.id, Near(incident, why)))
    return [near for _, _, near in sorted(found, key=lambda one: one[:2])]


def differing(alert: Alert, other: Alert) -> dict[str, tuple[str, str]]:
    """The labels in which they differ → (the other's, its own). Empty as well when they are not the same kind of alert,
    or have less in common than sets them apart."""
    place = (alert.source, alert.name, alert.environment, alert.region, alert.service)
    if place != (other.source, other.name, other.environment, other.region, other.service):
        return {}
    names = alert.labels.keys() | other.labels.keys()
    pairs = {name: (other.labels.get(name, ""), alert.labels.get(name, "")) for name in sorted(names)}
    changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    same = len(pairs) - len(changed) - ("alertname" in pairs)
    return changed if same > len(changed) else {}


def since(now: datetime, window_s: float) -> datetime:
    return now - timedelta(seconds=window_s)


def raised(severity: str, services: int, raise_at: int) -> str:
    """One step more severe when so many services are affected; P1 stays what it is."""
    if not raise_at or services < raise_at or severity not in ("P2", "P3", "P4"):
        return severity
    return f"P{int(severity[1]) - 1}"
