"""The questions we ask the database, each with a name. Never does: write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import sqlalchemy as sa

from quell.engine.ledger import DONE
from quell.engine.tables import intents
from quell.errors import NotFound, Pruned
from quell.incident.event import Event, EventKind, Stream
from quell.incident.incident import Incident
from quell.incident.obligation import Obligation
from quell.runbook.plan import Plan
from quell.store.beginning import begins
from quell.store.events import read, when
from quell.store.schema import (
    approvals,
    events,
    incidents,
    obligations,
    plans,
    runs,
    streams,
)

_PRUNED = sa.literal(EventKind.PRUNED.value, literal_execute=True)
"""Said in full, so that the index of just these events is known to hold them."""
# Asked all the time, hence made once.
_INCIDENT = sa.select(incidents.c.state).where(incidents.c.id == sa.bindparam("of"))
_OF_GROUP = sa.select(incidents.c.id).where(
    incidents.c.tenant == sa.bindparam("of"), incidents.c.group_key == sa.bindparam("group")
)
_OPEN = _OF_GROUP.where(incidents.c.ended_at.is_(None)).order_by(incidents.c.opened_at.desc()).limit(1)
_LAST_ENDED = _OF_GROUP.where(incidents.c.ended_at.is_not(None)).order_by(incidents.c.ended_at.desc()).limit(1)


def incident(connection: sa.Connection, incident_id: str) -> Incident:
    """Raises ``NotFound``, ``Pruned`` for one that was there. A unique beginning of an id is enough."""
    row = connection.execute(_INCIDENT, {"of": incident_id}).scalar()
    if row is None:
        query = sa.select(incidents.c.state).where(begins(incidents.c.id, incident_id)).limit(2)
        found = connection.execute(query).scalars().all() if incident_id else []
        if len(found) != 1:
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
        .where(events.c.stream == Stream.INCIDENT.value, events.c.kind == _PRUNED)
        .where(begins(events.c.stream_id, incident_id))
    )
    found = connection.execute(query.limit(2)).all() if incident_id else []
    return Pruned("incident", found[0].stream_id, when(found[0].at)) if len(found) == 1 else None


def recent_incidents(
    connection: sa.Connection, tenant: str, *, limit: int = 50, before_us: int | None = None, before_id: str = "",
    status: str | None = None, ended: bool | None = None,
) -> list[Incident]:  # fmt: skip
    """Newest first. ``ended``: only those that have, or only those that have not. ``before_id``: of those that were
    opened in that very moment, only what comes after this one."""
    at, name = incidents.c.opened_at, incidents.c.id
    # They have ended at the same time, which is never: said so, PostgreSQL sees that the index has them in this order.
    order = [incidents.c.ended_at.desc()] if ended is False else []
    query = sa.select(incidents.c.state).where(incidents.c.tenant == tenant, *_ended(ended))
    if before_us is not None:
        query = query.where(at <= before_us, (at < before_us) | sa.and_(at == before_us, name < before_id))
    if status:
        query = query.where(incidents.c.status == status)
    rows = connection.execute(query.order_by(*order, at.desc(), name.desc()).limit(limit)).scalars()
    return [Incident.model_validate_json(row) for row in rows]


def _ended(ended: bool | None) -> list[sa.ColumnElement[bool]]:
    """By when they did, as the index has it: those that have not are few, and side by side."""
    if ended is None:
        return []
    return [incidents.c.ended_at.is_not(None) if ended else incidents.c.ended_at.is_(None)]


def how_many(connection: sa.Connection, tenant: str, most: int, *, ended: bool) -> int:
    """How many have ended, or have not; ``most`` of more than that."""
    query = sa.select(sa.literal(1)).where(incidents.c.tenant == tenant, *_ended(ended)).limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(query)).scalar_one())


def open_ids(connection: sa.Connection, tenant: str, limit: int) -> list[str]:
    """Those that have not ended, the newest first."""
    query = sa.select(incidents.c.id).where(incidents.c.tenant == tenant, *_ended(False))
    order = (incidents.c.ended_at.desc(), incidents.c.opened_at.desc())
    return list(connection.execute(query.order_by(*order).limit(limit)).scalars())


def newest_incident_for(connection: sa.Connection, tenant: str, group_key: str) -> str | None:
    """The incident of that group that has not ended; where there is none, the one that ended last."""
    asked = {"of": tenant, "group": group_key}
    return connection.execute(_OPEN, asked).scalar() or connection.execute(_LAST_ENDED, asked).scalar()


def open_incidents_of(
    connection: sa.Connection, place: tuple[str, str, str], services: Sequence[str], since_us: int, limit: int = 50
) -> list[Incident]:
    """Those of these services that have not ended and to which something has come since then, the newest first.
    ``place``: tenant, environment, region."""
    tenant, environment, region = place
    query = sa.select(incidents.c.state).where(
        incidents.c.tenant == tenant, incidents.c.ended_at.is_(None), incidents.c.environment == environment,
        incidents.c.region == region, incidents.c.service.in_(services), incidents.c.updated_at >= since_us,
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


def approval(connection: sa.Connection, approval_id: str) -> Mapping[str, Any]:
    """Raises ``NotFound``. A unique beginning of an id or of its hash is enough."""
    ways = [approvals.c.id == approval_id]
    if approval_id:
        ways.append(begins(approvals.c.id, approval_id) | begins(approvals.c.hash, approval_id))
    for way in ways:
        rows = connection.execute(sa.select(approvals).where(way).limit(2)).mappings().all()
        if len(rows) == 1:
            return dict(rows[0])
    raise NotFound("approval", approval_id)


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
