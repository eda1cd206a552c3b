"""What we ask the database about alerts: those that are stored, and those that wait in the inbox. Never does: write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from quell.errors import NotFound
from quell.incident.alert import Alert, AlertStatus
from quell.incident.event import Event, Stream
from quell.incident.incident import Incident
from quell.store.beginning import begins
from quell.store.events import newest, when
from quell.store.queries import incident, timeline
from quell.store.schema import alerts, inbox, quarantine

LEAST_PREFIX = 4
"""Characters of a fingerprint that are enough to look for it."""
WAITS = "accepted, and waits to be looked at"
"""What there is to say of an alert in the inbox."""
MOST_COUNTED = 100_000
"""Alerts are counted so far and no further: whoever waits for the answer need not know it of a million."""
LAST_TOLD = 40
"""Events of an alert that are shown: the first of a thousand repetitions say nothing more."""


def alert_of(connection: sa.Connection, alert_id: str) -> Alert | None:
    row = connection.execute(sa.select(alerts.c.alert).where(alerts.c.id == alert_id)).scalar()
    return Alert.model_validate_json(row) if row else None


def recent(
    connection: sa.Connection, tenant: str, limit: int = 100, *, status: str | None = None,
    before_us: int | None = None, before_id: str = "", name: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """The newest alerts with what became of them, those that wait to be looked at among them. ``before_id``: of those
    of that very moment, only what comes after this one; a whole delivery has one time."""

    def asked(table: sa.Table, at: sa.Column[Any], of: sa.Column[Any]) -> tuple[list[Any], list[Any]]:
        """What is asked for, and its order: the same in both tables and in Python, whatever the database's letters."""
        key = of.collate("C") if connection.dialect.name == "postgresql" else of
        where = [table.c.status == status] if status is not None else []
        where += [table.c.name == name] if name is not None else []
        if before_us is not None:
            where += [at <= before_us, (at < before_us) | sa.and_(at == before_us, key < before_id)]
        return where, [at.desc(), key.desc()]

    where, order = asked(inbox, inbox.c.received_at, inbox.c.alert_id)
    found = _unseen(connection, tenant, limit, where, order)
    where, order = asked(alerts, alerts.c.last_at, alerts.c.id)
    query = sa.select(alerts).where(alerts.c.tenant == tenant, *where).order_by(*order).limit(limit)
    # Of a name an index has the newest of each status: a name may have a tenth of all, and one of them fire.
    parts = [query] if name is None or status else [query.where(alerts.c.status == one.value) for one in AlertStatus]
    found += [_told_row(dict(row)) for part in parts for row in connection.execute(part).mappings()]
    once = {row["id"]: row for row in found}  # one that was looked at in between is in both
    return sorted(once.values(), key=_newness, reverse=True)[:limit]


def _newness(row: Mapping[str, Any]) -> tuple[datetime, str]:
    return datetime.fromisoformat(row["last_at"]), row["id"]


def count(connection: sa.Connection, tenant: str, name: str | None = None, most: int = MOST_COUNTED) -> int:
    """How many there are, those that wait to be looked at with them; ``most`` of more than that."""
    stored = sa.select(sa.literal(1)).select_from(alerts).where(alerts.c.tenant == tenant)
    there = sa.select(alerts.c.id).where(alerts.c.id == inbox.c.alert_id).exists()
    unseen = sa.select(inbox.c.alert_id).distinct().where(inbox.c.tenant == tenant, ~there)
    if name is not None:
        stored, unseen = stored.where(alerts.c.name == name), unseen.where(inbox.c.name == name)
    some = (sa.select(sa.func.count()).select_from(one.limit(most).subquery()) for one in (stored, unseen))
    return min(sum(int(connection.execute(one).scalar_one()) for one in some), most)


def _unseen(
    connection: sa.Connection, tenant: str, limit: int, where: Sequence[Any], order: Sequence[Any] = ()
) -> list[dict[str, Any]]:
    """Alerts that were accepted and are not stored as such yet, each by its last word."""
    there = sa.select(alerts.c.id).where(alerts.c.id == inbox.c.alert_id).exists()
    last = sa.select(sa.func.max(inbox.c.id)).where(inbox.c.tenant == tenant, ~there).group_by(inbox.c.alert_id)
    query = sa.select(inbox).where(inbox.c.id.in_(last), *where).order_by(*order or (inbox.c.id.desc(),)).limit(limit)
    return [_unseen_row(dict(row)) for row in connection.execute(query).mappings()]


def _unseen_row(row: Mapping[str, Any]) -> dict[str, Any]:
    alert, at = Alert.model_validate_json(row["alert"]), when(row["received_at"]).isoformat()
    return {
        "id": row["alert_id"], "tenant": row["tenant"], "environment": row["environment"], "region": row["region"],
        "source": row["source"], "fingerprint": alert.fingerprint, "name": row["name"], "status": row["status"],
        "service": alert.service, "severity": alert.severity.value if alert.severity else None, "first_at": at,
        "last_at": at, "changed_at": at, "count": row["times"], "incident": None, "reason": WAITS,
        "alert": orjson.loads(row["alert"]),
        "schema_version": 1, "held": "", "look_at": None, "changes": "[]",
    }  # fmt: skip


def of_incident(connection: sa.Connection, incident_id: str, limit: int) -> list[dict[str, Any]]:
    """Those that belong to an incident now, the newest first."""
    query = sa.select(alerts).where(alerts.c.incident == incident_id)
    rows = connection.execute(query.order_by(alerts.c.last_at.desc(), alerts.c.id).limit(limit)).mappings()
    return [_told_row(dict(row)) for row in rows]


def find(connection: sa.Connection, tenant: str, name: str, limit: int = 20) -> list[dict[str, Any]]:
    """By id; else by fingerprint or its beginning; else by name: whichever finds something first."""
    mine = sa.select(alerts).where(alerts.c.tenant == tenant)
    ways = [alerts.c.id == name, alerts.c.fingerprint == name]
    if len(name) >= LEAST_PREFIX:
        ways.append(begins(alerts.c.fingerprint, name))
    for way in ways:
        # In the order of the index: of a hundred thousand that begin so, the newest are worth no search.
        query = mine.where(way).order_by(alerts.c.fingerprint).limit(limit)
        if found := connection.execute(query).mappings().all():
            return sorted((_told_row(dict(row)) for row in found), key=_newness, reverse=True)
    return recent(connection, tenant, limit, name=name) or _unseen(
        connection, tenant, limit, [inbox.c.alert_id == name]
    )  # fmt: skip


def by_id(connection: sa.Connection, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Their rows, of those that are there."""
    rows = connection.execute(sa.select(alerts).where(alerts.c.id.in_(names))).mappings()
    return {row["id"]: _told_row(dict(row)) for row in rows}


def told_of(
    connection: sa.Connection, row: Mapping[str, Any]
) -> tuple[list[Event], Incident | None, list[Event]]:  # fmt: skip
    """What is recorded of an alert: the end of its log, its incident, and that one's log."""
    log = newest(connection, row["tenant"], Stream.ALERT, row["id"], LAST_TOLD)
    if row["incident"] is None:
        return log, None, []
    try:
        known = incident(connection, row["incident"])
    except NotFound:
        return log, None, []
    return log, known, timeline(connection, known.tenant, known.id)


def _told_row(row: Mapping[str, Any]) -> dict[str, Any]:
    times = {name: when(row[name]).isoformat() for name in ("first_at", "last_at", "changed_at")}
    look_at = when(row["look_at"]).isoformat() if row["look_at"] else None
    return {**row, "alert": orjson.loads(row["alert"]), **times, "look_at": look_at}


def quarantined(connection: sa.Connection, tenant: str, limit: int = 100) -> list[dict[str, Any]]:
    query = sa.select(quarantine).where(quarantine.c.tenant == tenant).order_by(quarantine.c.id.desc()).limit(limit)
    rows = connection.execute(query).mappings()
    return [{**dict(row), "received_at": when(row["received_at"]).isoformat()} for row in rows]
