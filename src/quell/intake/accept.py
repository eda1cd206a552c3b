"""Alerts onto disk: each one's row, what it means next to what is known, and the record of both.

Never does: open an incident or talk to a run (the caller does, in the same transaction).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from quell.errors import NotFound
from quell.incident.alert import ALERT_SCHEMA, Alert, AlertStatus
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.incident import Incident
from quell.incident.service import Service, names_of, resolve_service
from quell.intake.correlate import (
    Acknowledge,
    Join,
    Known,
    Meaning,
    Nothing,
    Open,
    Resolve,
    alert_id,
    correlate,
    group_key,
)
from quell.intake.route import Route, route
from quell.runbook.plan import Plan
from quell.store import events, queries
from quell.store.database import now_us
from quell.store.events import dumps, to_us
from quell.store.schema import alerts, quarantine

# Made once, as those of the event log are.
_SELECT_ALERT = sa.select(alerts).where(alerts.c.id == sa.bindparam("id"))
_INSERT_ALERT = sa.insert(alerts)
_UPDATE_ALERT = sa.update(alerts).where(alerts.c.id == sa.bindparam("known"))
_ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")

_OUTCOMES = {
    Open: "opened", Join: "joined", Resolve: "resolved", Acknowledge: "acknowledged", Nothing: "nothing",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placed:
    """An alert with its service, its runbook and what follows from it. ``row``: as it was stored before, if it was."""

    id: str
    alert: Alert
    service: str | None
    service_why: str
    route: Route
    group_key: str
    meaning: Meaning
    row: dict[str, Any] | None


def in_turn(connection: sa.Connection, tenant: str) -> None:
    """Take alerts in one after the other: of two that arrive at once, the second must find what the first opened."""
    if connection.dialect.name == "postgresql":
        connection.execute(_ONE_AT_A_TIME, {"name": f"intake/{tenant}"})


def place(connection: sa.Connection, alert: Alert, services: Sequence[Service], plans: Iterable[Plan]) -> Placed:
    """Find out what an alert means. It is stored by ``belongs``, once its incident is known."""
    name = alert_id(alert)
    row = connection.execute(_SELECT_ALERT, {"id": name}).mappings().first()
    if row is not None and not alert.labels:
        alert = _as_known(alert, row["alert"])
    service, service_why = resolve_service(services, alert.labels, alert.service, alert.environment)
    routed = route(alert, plans, names_of(services, service))
    named = alert.service or alert.labels.get("service")
    if service is None and not named and routed.plan is not None and routed.plan.service:
        # The runbook's own service is a mapping that somebody wrote down; an alert that names another one is not its.
        service, service_why = resolve_service(services, {}, routed.plan.service, alert.environment)
        service_why = f"the runbook {routed.plan.id!r} is for it" if service else service_why
    key = group_key(alert, service, routed.plan.id if routed.plan else None)
    known = Known(row["status"], _incident(connection, row["incident"])) if row else None
    open_incident = _incident(connection, queries.open_incident_for(connection, alert.tenant, key))
    meaning = correlate(alert, known, open_incident)
    return Placed(name, alert, service, service_why, routed, key, meaning, dict(row) if row else None)


def _as_known(alert: Alert, stored: str) -> Alert:
    """A later word that names an alert by its fingerprint alone, without saying again what it is."""
    known = Alert.model_validate_json(stored)
    same = ("name", "service", "severity", "labels", "annotations", "starts_at", "url")
    return alert.model_copy(update={field: getattr(known, field) for field in same})


def _incident(connection: sa.Connection, incident: str | None) -> Incident | None:
    try:
        return queries.incident(connection, incident) if incident else None
    except NotFound:
        return None


def _store(connection: sa.Connection, placed: Placed, incident: str | None) -> None:
    alert, row, at = placed.alert, placed.row, to_us(placed.alert.received_at)
    if alert.status is AlertStatus.ACKNOWLEDGED and row is not None:
        # It says nothing of the alert itself, which goes on as it was.
        connection.execute(_UPDATE_ALERT, {"known": placed.id, "reason": placed.meaning.reason, "last_at": at})
        return
    values: dict[str, Any] = {
        "status": alert.status.value, "last_at": at, "alert": alert.model_dump_json(), "service": placed.service,
        "severity": alert.severity.value if alert.severity else None, "reason": placed.meaning.reason,
    }  # fmt: skip
    if incident is not None:
        values["incident"] = incident
    if row is None:
        begun = {
            "id": placed.id, "tenant": alert.tenant, "environment": alert.environment, "region": alert.region,
            "source": alert.source, "fingerprint": alert.fingerprint, "name": alert.name, "first_at": at,
            "changed_at": at, "count": 1, "schema_version": ALERT_SCHEMA,
        }  # fmt: skip
        connection.execute(_INSERT_ALERT, {**begun, **values})
        return
    if row["status"] != alert.status.value:
        values["changed_at"] = at
    if alert.status is AlertStatus.FIRING:
        values["count"] = row["count"] + 1
    connection.execute(_UPDATE_ALERT, {"known": placed.id, **values})


def belongs(connection: sa.Connection, placed: Placed, incident: str | None) -> None:
    """Store an alert, with the incident that it belongs to and why, in its row and in its own stream."""
    _store(connection, placed, incident)
    outcome = _OUTCOMES[type(placed.meaning)]
    if outcome == "nothing" and placed.alert.status is AlertStatus.FIRING:
        return  # the hundredth repetition of the same tells nobody anything
    plan = placed.route.plan
    steps = [f"{one.runbook}: {one.why}" for one in placed.route.candidates][:50]
    payload = {
        "outcome": outcome, "reason": placed.meaning.reason, "incident": incident,
        "runbook": plan.id if plan else None, "steps": [placed.service_why, placed.route.why, *steps],
    }  # fmt: skip
    told = NewEvent(kind=EventKind.ALERT_ROUTED, payload=payload)
    received = NewEvent(kind=EventKind.ALERT_RECEIVED, payload={"alert": placed.alert.model_dump(mode="json")})
    alert = placed.alert
    events.append(
        connection, alert.tenant, Stream.ALERT, placed.id, [received, told], place=(alert.environment, alert.region)
    )


def set_aside(connection: sa.Connection, tenant: str, source: str, bad: Sequence[tuple[str, Any]]) -> None:
    """What cannot be read is kept with the reason; its siblings go on."""
    rows = [
        {"tenant": tenant, "source": source, "reason": reason, "fragment": dumps(fragment)[:16_384],
         "received_at": now_us()}
        for reason, fragment in bad
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(quarantine), rows)
