"""The questions we ask the database, each with a name. Never does: write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from quell.engine.ledger import DONE
from quell.engine.tables import intents
from quell.errors import NotFound, Pruned
from quell.incident.alert import Alert
from quell.incident.event import Event, EventKind, Stream
from quell.incident.incident import ENDED, Incident
from quell.incident.obligation import Obligation
from quell.runbook.plan import Plan
from quell.store.events import newest, read, when
from quell.store.schema import (
    alerts,
    approvals,
    events,
    inbox,
    incidents,
    obligations,
    plans,
    quarantine,
    runs,
    streams,
)

LEAST_PREFIX = 4
"""Characters of a fingerprint that are enough to look for it."""
WAITS = "accepted, and waits to be looked at"
"""What there is to say of an alert in the inbox."""
LAST_TOLD = 40
"""Events of an alert that are shown: the first of a thousand repetitions say nothing more."""
_OVER = tuple(sorted(status.value for status in ENDED))
# Asked all the time, hence made once.
_INCIDENT = sa.select(incidents.c.state).where(incidents.c.id == sa.bindparam("of"))
_OF_GROUP = sa.select(incidents.c.id).where(
    incidents.c.tenant == sa.bindparam("of"), incidents.c.group_key == sa.bindparam("group")
)
_OPEN = _OF_GROUP.where(incidents.c.ended_at.is_(None)).order_by(incidents.c.opened_at.desc()).limit(1)
_ENDED = _OF_GROUP.where(incidents.c.ended_at.is_not(None)).order_by(incidents.c.ended_at.desc()).limit(1)


def incident(connection: sa.Connection, incident_id: str) -> Incident:
    """Raises ``NotFound``, ``Pruned`` for one that was there. A unique beginning of an id is enough."""
    row = connection.execute(_INCIDENT, {"of": incident_id}).scalar()
    if row is None:
        found = connection.execute(
            sa.select(incidents.c.state).where(incidents.c.id.startswith(incident_id, autoescape=True)).limit(2)
        ).scalars().all()  # fmt: skip
        if len(found) != 1 or not incident_id:
            raise (not found and _pruned(connection, incident_id)) or NotFound("incident", incident_id)
        row = found[0]
    return Incident.model_validate_json(row)


def _pruned(connection: sa.Connection, incident_id: str) -> Pruned | None:
    """What is left of an incident is its log, whose last words say when its contents went."""
    of = (streams.c.tenant == events.c.tenant, streams.c.stream == events.c.stream,
          streams.c.stream_id == events.c.stream_id, streams.c.seq == events.c.seq)  # fmt: skip
    query = (
        sa.select(events.c.stream_id, events.c.at)
        .join_from(streams, events, sa.and_(*of))
        .where(streams.c.stream == Stream.INCIDENT.value, events.c.kind == EventKind.PRUNED.value)
        .where(streams.c.stream_id.startswith(incident_id, autoescape=True))
    )
    found = connection.execute(query.limit(2)).all() if incident_id else []
    return Pruned("incident", found[0].stream_id, when(found[0].at)) if len(found) == 1 else None


def recent_incidents(
    connection: sa.Connection, tenant: str, *, limit: int = 50, before_us: int | None = None,
    status: str | None = None, ended: bool | None = None,
) -> list[Incident]:  # fmt: skip
    """Newest first. ``ended``: only those that have, or only those that have not."""
    query = sa.select(incidents.c.state).where(incidents.c.tenant == tenant)
    if before_us is not None:
        query = query.where(incidents.c.opened_at < before_us)
    if status:
        query = query.where(incidents.c.status == status)
    if ended is not None:
        query = query.where(incidents.c.status.in_(_OVER) if ended else incidents.c.status.not_in(_OVER))
    rows = connection.execute(query.order_by(incidents.c.opened_at.desc()).limit(limit)).scalars()
    return [Incident.model_validate_json(row) for row in rows]


def newest_incident_for(connection: sa.Connection, tenant: str, group_key: str) -> str | None:
    """The incident of that group that has not ended; where there is none, the one that ended last."""
    asked = {"of": tenant, "group": group_key}
    return connection.execute(_OPEN, asked).scalar() or connection.execute(_ENDED, asked).scalar()


def open_incidents_of(
    connection: sa.Connection, place: tuple[str, str, str], services: Sequence[str], limit: int = 50
) -> list[Incident]:
    """Those of these services that have not ended, the newest first. ``place``: tenant, environment, region."""
    tenant, environment, region = place
    query = sa.select(incidents.c.state).where(
        incidents.c.tenant == tenant, incidents.c.ended_at.is_(None), incidents.c.environment == environment,
        incidents.c.region == region, incidents.c.service.in_(services),
    )  # fmt: skip
    rows = connection.execute(query.order_by(incidents.c.opened_at.desc()).limit(limit)).scalars()
    return [Incident.model_validate_json(row) for row in rows]


def group_of(connection: sa.Connection, incident_id: str) -> str:
    """The key of its group."""
    query = sa.select(incidents.c.group_key).where(incidents.c.id == incident_id)
    return connection.execute(query).scalar() or ""


def place_of(connection: sa.Connection, incident_id: str) -> tuple[str, str]:
    """Environment and region. Raises ``NotFound``."""
    query = sa.select(incidents.c.environment, incidents.c.region).where(incidents.c.id == incident_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("incident", incident_id)
    return row.environment, row.region


def timeline(connection: sa.Connection, tenant: str, incident_id: str, after: int = 0) -> list[Event]:
    return read(connection, tenant, Stream.INCIDENT, incident_id, after)


def newest_event_id(connection: sa.Connection) -> int:
    """The id of the newest event of all streams, 0 when there is none."""
    return connection.execute(sa.select(sa.func.max(events.c.id))).scalar() or 0


def changed_since(connection: sa.Connection, after_id: int, limit: int = 1000) -> list[tuple[int, str, str]]:
    """(event id, tenant, incident) of incident events after an id, for those who show incidents live."""
    query = (
        sa.select(events.c.id, events.c.tenant, events.c.stream_id)
        .where(events.c.id > after_id, events.c.stream == Stream.INCIDENT.value)
        .order_by(events.c.id)
        .limit(limit)
    )
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def plan(connection: sa.Connection, digest: str) -> Plan:
    """Raises ``NotFound``."""
    row = connection.execute(sa.select(plans.c.plan).where(plans.c.hash == digest)).scalar()
    if row is None:
        raise NotFound("plan", digest)
    return Plan.model_validate_json(row)


def alert_of(connection: sa.Connection, alert_id: str) -> Alert | None:
    row = connection.execute(sa.select(alerts.c.alert).where(alerts.c.id == alert_id)).scalar()
    return Alert.model_validate_json(row) if row else None


def recent_alerts(
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
    found += [_told_row(dict(row)) for row in connection.execute(query).mappings()]
    once = {row["id"]: row for row in found}  # one that was looked at in between is in both
    newest = sorted(once.values(), key=lambda row: (datetime.fromisoformat(row["last_at"]), row["id"]), reverse=True)
    return newest[:limit]


def count_alerts(connection: sa.Connection, tenant: str, name: str | None = None) -> int:
    """How many there are, those that wait to be looked at with them."""
    stored = sa.select(sa.func.count()).select_from(alerts).where(alerts.c.tenant == tenant)
    there = sa.select(alerts.c.id).where(alerts.c.id == inbox.c.alert_id).exists()
    unseen = sa.select(sa.func.count(inbox.c.alert_id.distinct())).where(inbox.c.tenant == tenant, ~there)
    if name is not None:
        stored, unseen = stored.where(alerts.c.name == name), unseen.where(inbox.c.name == name)
    return int(connection.execute(stored).scalar_one()) + int(connection.execute(unseen).scalar_one())


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
        "last_at": at, "changed_at": at, "count": 1, "incident": None, "reason": WAITS,
        "alert": orjson.loads(row["alert"]),
        "schema_version": 1, "held": "", "look_at": None, "changes": "[]",
    }  # fmt: skip


def alerts_in(connection: sa.Connection, incident_id: str, limit: int) -> list[dict[str, Any]]:
    """Those that belong to an incident now, the newest first."""
    query = sa.select(alerts).where(alerts.c.incident == incident_id)
    rows = connection.execute(query.order_by(alerts.c.last_at.desc(), alerts.c.id).limit(limit)).mappings()
    return [_told_row(dict(row)) for row in rows]


def find_alerts(connection: sa.Connection, tenant: str, name: str, limit: int = 20) -> list[dict[str, Any]]:
    """By id; else by fingerprint or its beginning; else by name: whichever finds something first."""
    mine = sa.select(alerts).where(alerts.c.tenant == tenant)
    ways = [alerts.c.id == name, alerts.c.fingerprint == name]
    if len(name) >= LEAST_PREFIX:
        ways.append(sa.and_(alerts.c.fingerprint >= name, alerts.c.fingerprint < name + "\uffff"))
    ways.append(alerts.c.name == name)
    for way in ways:
        query = mine.where(way).order_by(alerts.c.last_at.desc()).limit(limit)
        if found := connection.execute(query).mappings().all():
            return [_told_row(dict(row)) for row in found]
    return _unseen(connection, tenant, limit, [(inbox.c.alert_id == name) | (inbox.c.name == name)])


def alerts_by_id(connection: sa.Connection, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Their rows, of those that are there."""
    rows = connection.execute(sa.select(alerts).where(alerts.c.id.in_(names))).mappings()
    return {row["id"]: _told_row(dict(row)) for row in rows}


def told_of_alert(
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


def approval(connection: sa.Connection, approval_id: str) -> Mapping[str, Any]:
    """Raises ``NotFound``. A unique beginning of an id or of its hash is enough."""
    begins = approvals.c.id.startswith(approval_id, autoescape=True) | approvals.c.hash.startswith(
        approval_id, autoescape=True
    )
    rows: Sequence[Any] = connection.execute(sa.select(approvals).where(begins).limit(2)).mappings().all()
    if len(rows) != 1 or not approval_id:
        raise NotFound("approval", approval_id)
    return dict(rows[0])


def tenant_of_approval(connection: sa.Connection, name: str) -> str:
    """Of an approval by its id or hash, or of the incident it is named by. Raises ``NotFound``."""
    try:
        return str(approval(connection, name)["tenant"])
    except NotFound:
        return incident(connection, name).tenant


def waiting_approvals(connection: sa.Connection, incident_id: str) -> list[dict[str, Any]]:
    query = sa.select(approvals).where(approvals.c.incident == incident_id, approvals.c.state == "waiting")
    return [dict(row) for row in connection.execute(query.order_by(approvals.c.requested_at)).mappings()]


def untold_answers(connection: sa.Connection, limit: int = 100) -> list[dict[str, Any]]:
    """Approvals that were answered and whose run has not been told: the process died in between."""
    query = sa.select(approvals).where(approvals.c.told_at.is_(None), approvals.c.answered_at.is_not(None))
    return [dict(row) for row in connection.execute(query.order_by(approvals.c.answered_at).limit(limit)).mappings()]


def run_of(connection: sa.Connection, incident_id: str, number: int) -> Mapping[str, Any] | None:
    row = connection.execute(sa.select(runs).where(runs.c.incident == incident_id, runs.c.number == number)).mappings()
    found = row.first()
    return dict(found) if found else None


def shadow_runs(connection: sa.Connection, tenant: str) -> list[tuple[str, Mapping[str, Any] | None]]:
    """(runbook, what its comparison told) of every run that would have done something; None: not compared yet."""
    run = sa.literal("run:") + runs.c.incident + "." + sa.cast(runs.c.number, sa.Text)
    key, would = run + "/compared", events.alias()
    acts = sa.exists().where(
        would.c.tenant == runs.c.tenant, would.c.stream == Stream.INCIDENT.value, would.c.stream_id == runs.c.incident,
        would.c.kind == EventKind.ACTION_SHADOWED.value, would.c.node.like(run + "/%"),
    )  # fmt: skip
    told = (
        (events.c.tenant == runs.c.tenant) & (events.c.stream == Stream.INCIDENT.value)
        & (events.c.stream_id == runs.c.incident) & (events.c.key == key)
    )  # fmt: skip
    query = (
        sa.select(plans.c.runbook, events.c.payload)
        .join(plans, plans.c.hash == runs.c.plan)
        .outerjoin(events, told)
        .where(runs.c.tenant == tenant, runs.c.mode == "shadow", acts)
        .order_by(runs.c.started_at)
    )
    return [(row[0], orjson.loads(row[1]) if row[1] else None) for row in connection.execute(query)]


def open_obligations(
    connection: sa.Connection, *, tenant: str | None = None, incident: str | None = None, key: str | None = None
) -> list[Obligation]:
    """What is kept for now, what is due first coming first."""
    query = sa.select(obligations).where(obligations.c.ended_at.is_(None)).order_by(obligations.c.revert_at)
    given = ((obligations.c.tenant, tenant), (obligations.c.incident, incident), (obligations.c.id, key))
    for column, value in given:
        query = query.where(column == value) if value is not None else query
    return [
        Obligation(id=row.id, incident=row.incident, what=row.what, owner=row.owner, revert_at=when(row.revert_at))
        for row in connection.execute(query)
    ]


# How it went before.

MOST_PAST = 500
"""So many newest runs of a runbook are looked at."""


@dataclass(frozen=True, slots=True)
class Past:
    """In how many earlier runs a step was done, by how the run ended (empty: not yet), and in how many it was not."""

    done: Mapping[str, int] = field(default_factory=dict)
    not_done: int = 0


def past_of(
    connection: sa.Connection, tenant: str, environment: str, runbook: str, node: str, *, but: str = ""
) -> Past:
    """Of the same runbook and node, whatever its version then. ``but``: the run that asks, which is no past."""
    run = sa.literal("run:") + runs.c.incident + "." + sa.cast(runs.c.number, sa.Text)
    mine = (
        sa.select(run.label("run"), sa.func.coalesce(runs.c.outcome, "").label("outcome"))
        .join(plans, plans.c.hash == runs.c.plan)
        .where(runs.c.tenant == tenant, runs.c.environment == environment, plans.c.runbook == runbook, run != but)
        .order_by(runs.c.started_at.desc())
        .limit(MOST_PAST)
        .subquery()
    )
    # A key is ``<run>/<node>/<visit>/<target>``: what is before the first slash joins by equality, not by search.
    key = intents.c.key
    of = sa.func.split_part(key, "/", 1)
    if connection.dialect.name == "sqlite":
        of = sa.func.substr(key, 1, sa.func.instr(key, "/") - 1)
    acts = (
        sa.select(of.label("run"), sa.func.max(sa.case((intents.c.state == DONE, 1), else_=0)).label("done"))
        .where(intents.c.tenant == tenant)
        .where(sa.func.substr(key, sa.func.length(of) + 1, len(node) + 2) == f"/{node}/")
        .group_by(sa.literal_column("run"))  # the label: parameters of two equal expressions are not equal
        .subquery()
    )
    rows = connection.execute(
        sa.select(mine.c.outcome, acts.c.done, sa.func.count())
        .join(acts, acts.c.run == mine.c.run)
        .group_by(mine.c.outcome, acts.c.done)
    ).all()
    return Past({row[0]: row[2] for row in rows if row[1]}, sum(row[2] for row in rows if not row[1]))


def newest_verification(connection: sa.Connection, tenant: str, incident_id: str) -> Event | None:
    """What the last finished verification of an incident told."""
    last = (
        sa.select(sa.func.max(events.c.seq))
        .where(events.c.tenant == tenant, events.c.stream == Stream.INCIDENT.value, events.c.stream_id == incident_id)
        .where(events.c.kind == EventKind.VERIFICATION_FINISHED.value)
    )
    seq = connection.execute(last).scalar()
    return next(iter(read(connection, tenant, Stream.INCIDENT, incident_id, seq - 1, 1)), None) if seq else None
