"""What must be in the database before an action may touch anything: the lease on its targets, its intent, its permits.

Never does: judge (the guard does), act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from quell.engine import breaker, leases, ledger
from quell.errors import Refused
from quell.incident.action import Preview, Risk
from quell.incident.event import EventKind, NewEvent
from quell.incident.incident import ENDED, Incident
from quell.incident.pause import Pause, covering
from quell.respond.means import Means
from quell.respond.prepared import Prepared, Request
from quell.store import pauses, queries
from quell.store.events import when

POSTCONDITION_S = 60.0
SPARE_S = 60.0


def held(means: Means, connection: sa.Connection, request: Request, targets: Sequence[str]) -> dict[str, str]:
    """Which of these targets somebody else holds, and for which incident."""
    return leases.held(connection, request.context.tenant, targets, request.key, means.database.now_us(connection))


def lease(
    means: Means, connection: sa.Connection, request: Request, prepared: Prepared, preview: Preview
) -> dict[str, str]:
    """Take or prolong, by the database's clock; returns who holds what when somebody else does.

    For as long as acting and its postcondition may take; what stays unknown keeps it until it runs out.
    """
    return _lease(connection, request, prepared, preview, means.database.now_us(connection))


def _lease(
    connection: sa.Connection, request: Request, prepared: Prepared, preview: Preview, clock: int
) -> dict[str, str]:
    within_s = request.act.postcondition.within_s if request.act.postcondition else POSTCONDITION_S
    for_s = 2 * request.act.timeout_s + max(within_s, prepared.kind.postcondition_within_s) + SPARE_S
    context, targets = request.context, prepared.touches(preview)
    return leases.take(
        connection, context.tenant, targets, request.key, context.incident, clock, int(for_s * 1_000_000)
    )


@dataclass(frozen=True, slots=True)
class Around:
    """What the guard must know of the moment, all read at once. ``now`` is the database's."""

    incident: Incident
    pause: Pause | None
    now: datetime
    remedied: int


def around(means: Means, connection: sa.Connection, request: Request, prepared: Prepared) -> Around:
    known, clock = queries.incident(connection, request.context.incident), means.database.now_us(connection)
    return Around(
        known, covering(pauses.on(connection, clock), prepared.reach), when(clock),
        _remedied(means, connection, request, prepared, clock),
    )  # fmt: skip


def _remedied(means: Means, connection: sa.Connection, request: Request, prepared: Prepared, clock: int) -> int:
    """How many other runs repaired the service lately."""
    rule = means.rails.of(request.context.tenant, request.context.environment).breaker
    harmless = prepared.kind.risk is Risk.NONE or request.undoes is not None
    if not rule.enabled or not prepared.service or harmless:
        return 0
    since, own = clock - int(rule.within * 1_000_000), request.context.run_id
    return breaker.remedied(connection, request.context.tenant, prepared.service[0], since, rule.counts, but=own)


@dataclass(frozen=True, slots=True)
class Repaired:
    """How often a service was repaired within the breaker's time; from ``after`` on somebody is asked."""

    service: str
    count: int
    after: int
    enabled: bool

    @property
    def tripped(self) -> bool:
        return self.enabled and self.count >= self.after


def repaired(
    means: Means, connection: sa.Connection, tenant: str, environment: str, services: Sequence[str]
) -> list[Repaired]:
    """Those that were repaired at all."""
    rule = means.rails.of(tenant, environment).breaker
    since = means.database.now_us(connection) - int(rule.within * 1_000_000)
    counts = {
        name: breaker.remedied(connection, tenant, f"service/{name}", since, rule.counts) for name in services
    }  # fmt: skip
    return [Repaired(name, count, rule.after, rule.enabled) for name, count in counts.items() if count]


def paused(means: Means, connection: sa.Connection, prepared: Prepared) -> Pause | None:
    """The pull of the kill switch that stops this action now, by the database's clock."""
    return covering(pauses.on(connection, means.database.now_us(connection)), prepared.reach)


def release(connection: sa.Connection, request: Request) -> None:
    leases.release(connection, request.context.tenant, request.key)


async def intend(
    means: Means, request: Request, prepared: Prepared, preview: Preview, captured: Mapping[str, Any], *,
    approved: bool,
) -> ledger.Intent | None:  # fmt: skip
    """The intent, its permits and its event in one transaction; what was there already is returned.

    The lease is prolonged with it: looking before acting took its time. Raises ``Refused`` when a rate is used up, the
    lease was lost, or somebody pulled the kill switch meanwhile.
    """
    ask = _ask(means, request, prepared, preview, captured)
    event = NewEvent(
        kind=EventKind.ACTION_INTENDED, node=request.key, key=f"{request.key}/intended",
        payload={"action": prepared.kind.name, "call": preview.call, "key": request.key,
                 "targets": list(preview.targets), "before": preview.before, "after": preview.after,
                 "magnitude": preview.magnitude, "node": request.key, "undo": preview.undo},
    )  # fmt: skip
    found: list[ledger.Intent | None] = []

    def write(connection: sa.Connection) -> None:
        # Somebody may have ended it since the guard looked.
        if not request.late and queries.incident(connection, request.context.incident).status in ENDED:
            raise Refused("incident_ended", "the incident has ended")
        clock = means.database.now_us(connection)
        if no := paused(means, connection, prepared):
            raise Refused("paused", no.says, value=no.id, limit=no.until.isoformat())
        if busy := _lease(connection, request, prepared, preview, clock):
            raise Refused("target_busy", f"the target was leased meanwhile: {busy}")
        if not approved and request.undoes is None:
            _not_too_often(means, connection, request, prepared, clock)
        found.append(ledger.intend(connection, ask, clock))

    await means.transact(request.context, write, event)
    return found[-1]


def _not_too_often(
    means: Means, connection: sa.Connection, request: Request, prepared: Prepared, clock: int
) -> None:  # fmt: skip
    """Raises ``Refused`` (breaker). The lease is held by now, so that nobody else repairs the service meanwhile."""
    most = means.rails.of(request.context.tenant, request.context.environment).breaker.after
    count = _remedied(means, connection, request, prepared, clock)
    if count >= most:
        why = f"{prepared.acts_on} was repaired {count} times by now, and nobody was asked"
        raise Refused("breaker", why, value=count, limit=most)


def _ask(
    means: Means, request: Request, prepared: Prepared, preview: Preview, captured: Mapping[str, Any]
) -> ledger.Ask:
    context = request.context
    rails = means.rails.of(context.tenant, context.environment)
    blast = rails.rule(prepared.kind.name, prepared.kind.risk).blast_radius or rails.blast_radius
    return ledger.Ask(
        key=request.key, tenant=context.tenant, environment=context.environment, region=_region(request, prepared),
        most_regions=None if request.undoes else blast.regions, most_tenants=None if request.undoes else blast.tenants,
        action=prepared.kind.name, targets=preview.targets, shared=prepared.service, batch=_batch(request.key),
        idempotent=prepared.kind.idempotent, magnitude=preview.magnitude, rates=_rates(means, request, prepared),
        executor=means.durable.executor_id,
        request={"call": preview.call, "targets": list(preview.targets), "captured": dict(captured),
                 "risk": prepared.kind.risk.value, "params": prepared.params.model_dump(mode="json")},
    )  # fmt: skip


def _region(request: Request, prepared: Prepared) -> str:
    """Where it acts: as its parameters say, else where the incident is."""
    return str(getattr(prepared.params, "region", None) or request.context.region)


def _batch(key: str) -> str:
    """The node's visit, whichever its target: a rolling restart is one restart of the service."""
    return "/".join([*key.split("/", 3)[:3], ""])


def _rates(means: Means, request: Request, prepared: Prepared) -> tuple[ledger.Rate, ...]:
    if request.undoes is not None:
        return ()
    rails = means.rails.of(request.context.tenant, request.context.environment)
    rule, guard = rails.rule(prepared.kind.name, prepared.kind.risk), request.act.guard
    rates = [ledger.Rate(*rule.limit)] if rule.limit else []
    if guard.rate_count and guard.rate_per_s:
        rates.append(ledger.Rate(guard.rate_count, guard.rate_per_s, "runbook_rate"))
    return tuple(rates)
