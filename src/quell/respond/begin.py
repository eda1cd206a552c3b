"""Incidents begin here: the rows, the first events and the start of the run, in the caller's one transaction.

Never does: decide that an incident is needed (intake does) or what happens in it (the interpreter does).
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from quell.incident.alert import Alert
from quell.incident.event import Event, EventKind, NewEvent, Stream
from quell.incident.incident import Incident
from quell.respond import escalate, turns
from quell.respond.means import Context, Means
from quell.runbook.plan import Escalation, Plan, strictest
from quell.store import events, queries
from quell.store.database import now_us
from quell.store.schema import plans, runs

# Made once, as those of an append: they stand in the beginning of each incident.
_INSERT_RUN = sa.insert(runs)
_PLAN_IS_THERE = (
    sa.select(plans.c.hash).where(plans.c.hash == sa.bindparam("one")).with_for_update(read=True, key_share=True)
)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_incident_id() -> str:
    """Sorts by time, short enough to say aloud: seconds in base 32, then 40 random bits."""
    stamp, text = int(time.time()), ""
    for _ in range(7):
        stamp, digit = divmod(stamp, 32)
        text = _ALPHABET[digit] + text
    return text + "".join(secrets.choice(_ALPHABET) for _ in range(8))


@dataclass(frozen=True, slots=True)
class Beginning:
    """What a new incident starts from."""

    title: str
    severity: str
    tenant: str = "default"
    environment: str = ""
    region: str = ""
    service: str | None = None
    service_why: str = ""
    plan: Plan | None = None
    why: str = ""
    alert: Alert | None = None
    alert_id: str | None = None
    group_key: str = ""
    variables: dict[str, Any] | None = None
    mode: str | None = None
    source: str = ""
    actor: str = "quell"


def begin(means: Means, connection: sa.Connection, beginning: Beginning) -> tuple[Context, list[Event]]:
    """Open an incident and start its run, or page at once when there is no runbook."""
    plan = beginning.plan
    context = Context(
        incident=new_incident_id(), tenant=beginning.tenant, environment=beginning.environment, region=beginning.region,
        plan=plan.hash if plan else "", mode=_mode(means, beginning), title=beginning.title,
        severity=beginning.severity, service=beginning.service, alert=beginning.alert,
        variables=beginning.variables or {},
    )  # fmt: skip
    opened = {
        "title": beginning.title, "severity": beginning.severity, "service": beginning.service,
        "service_why": beginning.service_why, "runbook": plan.id if plan else None, "runbook_why": beginning.why,
        "alert": beginning.alert_id, "name": beginning.alert.name if beginning.alert else None,
        "source": beginning.source, **({"context": beginning.variables} if beginning.variables else {}),
    }  # fmt: skip
    new = [NewEvent(kind=EventKind.OPENED, payload=opened, actor=beginning.actor, key="opened")]
    if plan is not None:
        new += _start(means, connection, context, plan, beginning.why)
    told = events.append(
        connection, context.tenant, Stream.INCIDENT, context.incident, new,
        place=(context.environment, context.region), group_key=beginning.group_key,
    )  # fmt: skip
    if plan is None:
        page = escalate.Page(context=context, escalation=Escalation(), reason=beginning.why)
        means.durable.start_in(connection, escalate.WORKFLOW, page.key, page.model_dump(mode="json"))
    return context, told


def _mode(means: Means, beginning: Beginning) -> str:
    """What it may do: the least that anybody says. An alert that nothing handles only pages."""
    rails = means.rails.of(beginning.tenant, means.environment_of(beginning.service))
    return strictest(beginning.mode, beginning.plan.mode if beginning.plan else None, rails.mode)


def _start(means: Means, connection: sa.Connection, context: Context, plan: Plan, why: str) -> list[NewEvent]:
    store_plan(connection, plan)
    means.plans[plan.hash] = plan
    connection.execute(_INSERT_RUN, {
        "incident": context.incident, "number": context.run, "predecessor": context.run - 1 or None,
        "tenant": context.tenant, "environment": context.environment, "region": context.region, "plan": plan.hash,
        "reason": why, "mode": context.mode, "started_at": now_us(),
    })  # fmt: skip
    return turns.start(means, connection, context, plan, why)


def next_run(
    means: Means, connection: sa.Connection, incident: Incident, alert: Alert | None, reason: str,
    plan: Plan | None = None,
) -> list[Event]:  # fmt: skip
    """Another run, of this Plan or of the incident's last, with what is known now and what it was started with. Nothing
    when there is none. Of the last Plan it may do no more than the last run might; of no Plan more than the guardrails
    let it now."""
    last = queries.run_of(connection, incident.id, incident.run)
    if last is None and plan is None:
        return []
    opened = events.read(connection, incident.tenant, Stream.INCIDENT, incident.id, 0, 1)[0]
    rails = means.rails.of(incident.tenant, means.environment_of(incident.service))
    place = queries.place_of(connection, incident.id)
    plan_hash = plan.hash if plan else last["plan"] if last else ""
    context = Context(
        incident=incident.id, tenant=incident.tenant, environment=place[0], region=place[1],
        run=incident.run + 1, plan=plan_hash, title=incident.title,
        mode=strictest(plan.mode if plan else None, last["mode"] if last and not plan else None, rails.mode),
        severity=incident.severity, service=incident.service, alert=alert,
        variables=opened.payload.get("context") or {},
    )  # fmt: skip
    told = _start(means, connection, context, plan or queries.plan(connection, plan_hash), reason)
    place = (context.environment, context.region)
    return events.append(connection, context.tenant, Stream.INCIDENT, context.incident, told, place=place)


def store_plan(connection: sa.Connection, plan: Plan) -> None:
    """Once per content; the text it came from is kept beside it."""
    # Held until the run is there: what is not used may be pruned.
    asked = {"one": plan.hash}
    if connection.execute(_PLAN_IS_THERE, asked).scalar():
        return
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # Of two runs that are the first of their runbook at the same moment, the second waits for the first, and holds its.
    connection.execute(
        insert(plans).values(
            hash=plan.hash, runbook=plan.id, plan=plan.model_dump_json(), origin=plan.origin.file, stored_at=now_us(),
            schema_version=plan.schema_version,
        ).on_conflict_do_nothing()
    )  # fmt: skip
    connection.execute(_PLAN_IS_THERE, asked)
