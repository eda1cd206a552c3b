"""Alerts onto disk: each one's row, what it means next to what is known, and the record of both.

Never does: open an incident or talk to a run (the caller does, in the same transaction).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from quell.incident.alert import ALERT_SCHEMA, Alert, AlertStatus
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.tried import Tried
from quell.intake.correlate import (
    Acknowledge,
    Hold,
    Join,
    Meaning,
    Nothing,
    Open,
    Reopen,
    Resolve,
)
from quell.intake.placing import Placed
from quell.store import events
from quell.store.database import now_us
from quell.store.events import dumps, to_us
from quell.store.schema import alerts, quarantine
from quell.store.silences import IS_HELD

MOST_TOLD = 60
"""Rules that are kept with an alert, those that took effect first: of a thousand runbooks most say nothing."""
SOON = timedelta(seconds=30)
"""When to look again where nobody can say how long something is held."""

# Made once, as those of the event log are.
_INSERT_ALERT = sa.insert(alerts)
_UPDATE_ALERT = sa.update(alerts).where(alerts.c.id == sa.bindparam("known"))
_ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")

OUTCOMES: Mapping[type, str] = {
    Open: "opened", Join: "joined", Reopen: "reopened", Resolve: "resolved", Acknowledge: "acknowledged",
    Hold: "held", Nothing: "nothing",
}  # fmt: skip


def in_turn(connection: sa.Connection, tenant: str) -> None:
    """Take alerts in one after the other: of two that arrive at once, the second must find what the first opened."""
    if connection.dialect.name == "postgresql":
        connection.execute(_ONE_AT_A_TIME, {"name": f"intake/{tenant}"})


def belongs(connection: sa.Connection, placed: Placed, incident: str | None) -> None:
    """Store an alert, with the incident that it belongs to and why, in its row and in its own stream."""
    _store(connection, placed, incident)
    outcome, alert = OUTCOMES[type(placed.meaning)], placed.alert
    if placed.again or placed.held_as_before:
        told = [] if placed.held_as_before else [_routed(placed, outcome, incident)]
    elif outcome == "nothing" and alert.status is AlertStatus.FIRING:
        return  # the hundredth repetition of the same tells nobody anything
    else:
        told = [_received(placed), _routed(placed, outcome, incident)]
    if told:
        place = (alert.environment, alert.region)
        events.append(connection, alert.tenant, Stream.ALERT, placed.id, told, place=place)


def _received(placed: Placed) -> NewEvent:
    payload: dict[str, Any] = {"alert": placed.alert.model_dump(mode="json")}
    if placed.signature:
        payload["signature"] = placed.signature
    return NewEvent(kind=EventKind.ALERT_RECEIVED, payload=payload)


def _routed(placed: Placed, outcome: str, incident: str | None) -> NewEvent:
    plan = placed.route.plan
    payload = {
        "outcome": outcome, "reason": placed.meaning.reason, "incident": incident,
        "runbook": plan.id if plan else None, "steps": [one.stored for one in shortened(placed.tried)],
        "dedup_key": placed.id, "group_key": placed.group_key, "service": placed.service,
        "severity": placed.severity,
    }  # fmt: skip
    return NewEvent(kind=EventKind.ALERT_ROUTED, payload=payload)


def shortened(tried: Sequence[Tried]) -> list[Tried]:
    """In their order; where they are too many, those without effect go, and it is said how many."""
    if len(tried) <= MOST_TOLD:
        return list(tried)
    took = sum(one.held for one in tried)
    left, kept = max(MOST_TOLD - took, 0), list[Tried]()
    for one in tried:
        left -= not one.held
        if one.held or left >= 0:
            kept.append(one)
    return [*kept[: 2 * MOST_TOLD], Tried("others", False, f"{len(tried) - len(kept)} more did not match")]


def _store(connection: sa.Connection, placed: Placed, incident: str | None) -> None:
    alert, row = placed.alert, placed.row
    at = to_us(placed.now if placed.again else alert.received_at)
    if alert.status is AlertStatus.ACKNOWLEDGED and row is not None:
        # It says nothing of the alert itself, which goes on as it was.
        connection.execute(_UPDATE_ALERT, {"known": placed.id, "reason": placed.meaning.reason, "last_at": at})
        return
    values: dict[str, Any] = {
        "status": alert.status.value, "service": placed.service, "severity": placed.severity,
        "reason": placed.meaning.reason, **_held(placed),
    }  # fmt: skip
    if incident is not None:
        values["incident"] = incident
    if not placed.again:
        values |= {"last_at": at, "alert": alert.as_json()}
    if row is None:
        begun = {
            "id": placed.id, "tenant": alert.tenant, "environment": alert.environment, "region": alert.region,
            "source": alert.source, "fingerprint": alert.fingerprint, "name": alert.name, "first_at": at,
            "changed_at": at, "count": placed.times, "schema_version": ALERT_SCHEMA,
        }  # fmt: skip
        connection.execute(_INSERT_ALERT, {**begun, **values})
        return
    if row["status"] != alert.status.value:
        values |= {"changed_at": at, "changes": dumps([*orjson.loads(row["changes"]), at][-10:])}
    if alert.status is AlertStatus.FIRING and not placed.again:
        values["count"] = row["count"] + placed.times
    connection.execute(_UPDATE_ALERT, {"known": placed.id, **values})


def _held(placed: Placed) -> dict[str, Any]:
    """What holds it, and when to look again; what has not been decided anew stays as it was."""
    meaning, alert = placed.meaning, placed.alert
    if isinstance(meaning, Hold):
        return {"held": meaning.by, "look_at": to_us(meaning.until or placed.now + SOON)}
    if placed.still_counts and placed.row is not None:
        return {"held": placed.row["held"], "look_at": placed.row["look_at"]}
    return {"held": "", "look_at": to_us(alert.ends_at) if expires(alert, placed.now) and alert.ends_at else None}


_DUE = (
    sa.select(alerts.c.id)
    .where(alerts.c.look_at <= sa.bindparam("now"))
    .order_by(alerts.c.look_at)
    .limit(sa.bindparam("most"))
)


def due(connection: sa.Connection, now: int, limit: int) -> list[str]:
    """Alerts that are held, and to be looked at again by now; those that wait longest first."""
    return list(connection.execute(_DUE, {"now": now, "most": limit}).scalars())


def look_now(connection: sa.Connection, tenant: str, held: Iterable[str]) -> None:
    """What held them ends now: they are looked at again at the next turn."""
    mine = (alerts.c.tenant == tenant, IS_HELD, alerts.c.held.in_(list(held)))
    connection.execute(sa.update(alerts).where(*mine).values(look_at=0))


def expires(alert: Alert, now: datetime) -> bool:
    """Whether it fires only until its end, unless it is said again: so Prometheus tells Alertmanager."""
    return alert.status is AlertStatus.FIRING and alert.ends_at is not None and alert.ends_at > now


def stored(connection: sa.Connection, alert: str, now: datetime) -> Alert | None:
    """An alert as its last word left it; one that was to end by itself has resolved by then."""
    row = connection.execute(sa.select(alerts.c.alert, alerts.c.status).where(alerts.c.id == alert)).first()
    if row is None:
        return None
    known, status = Alert.model_validate_json(row.alert), AlertStatus(row.status)
    if status is AlertStatus.FIRING and known.ends_at is not None and known.ends_at <= now:
        status = AlertStatus.RESOLVED
    return known if known.status is status else known.model_copy(update={"status": status})


def moved(connection: sa.Connection, alert: str, incident: str, reason: str) -> None:
    """It belongs to another incident from now on."""
    connection.execute(_UPDATE_ALERT, {"known": alert, "incident": incident, "reason": reason})


def as_meant(placed: Placed, meaning: Meaning) -> Placed:
    """The same alert, with what a person says that it means."""
    return replace(placed, meaning=meaning, tried=[*placed.tried, Tried("by hand", True, meaning.reason)])


def set_aside(connection: sa.Connection, tenant: str, source: str, bad: Sequence[tuple[str, Any]]) -> None:
    """What cannot be read is kept with the reason; its siblings go on."""
    rows = [
        {"tenant": tenant, "source": source, "reason": reason, "fragment": dumps(fragment)[:16_384],
         "received_at": now_us()}
        for reason, fragment in bad
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(quarantine), rows)
