"""What must be in the database before an action may touch anything: the lease on its targets, its intent, its permits.

Never does: judge (the guard does), act.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from quell.engine import breaker, leases, ledger
from quell.engine.claims import Fenced
from quell.errors import NotFound, Refused
from quell.incident.action import Preview, Risk
from quell.incident.event import EventKind, NewEvent
from quell.incident.incident import ENDED, Incident
from quell.incident.pause import Pause, covering
from quell.respond import guard
from quell.respond.means import Means
from quell.respond.prepared import Prepared, Request
from quell.store import events, pauses, queries, turns
from quell.store.events import when

POSTCONDITION_S = 60.0
SPARE_S = 60.0


def held(means: Means, connection: sa.Connection, request: Request, targets: Sequence[str]) -> dict[str, str]:
    """Which of these targets somebody else holds, and for which incident."""
    return leases.held(connection, request.context.tenant, targets, request.key, means.database.now_us(connection))


def lease(means: Means, request: Request, prepared: Prepared, preview: Preview, connection: sa.Connection) -> None:
    """Take or prolong, by the database's clock. Raises ``Busy`` when somebody else has it.

    For as long as acting and its postcondition may take; what stays unknown keeps it until it runs out.
    """
    _lease(connection, request, prepared, preview, means.database.now_us(connection))


def _lease(connection: sa.Connection, request: Request, prepared: Prepared, preview: Preview, clock: int) -> None:
    within_s = request.act.postcondition.within_s if request.act.postcondition else POSTCONDITION_S
    for_s = 2 * request.act.timeout_s + max(within_s, prepared.kind.postcondition_within_s) + SPARE_S
    context, targets = request.context, prepared.touches(preview)
    for_us = int(for_s * 1_000_000)
    leases.take(connection, context.tenant, targets, request.key, context.incident, clock, for_us)


@dataclass(frozen=True, slots=True)
class Around:
    """What the guard must know of the moment, all read at once. ``now`` is the database's; ``intent``: what an earlier
    attempt of this very execution left."""

    incident: Incident
    pause: Pause | None
    overridden: bool
    now: datetime
    remedied: int
    intent: ledger.Intent | None


def around(means: Means, request: Request, prepared: Prepared, connection: sa.Connection) -> Around:
    known, (clock, on) = queries.incident(connection, request.context.incident), pauses.now_on(connection)
    remedied, begun = _remedied(means, connection, request, prepared, clock), ledger.find(connection, request.key)
    return Around(known, covering(on, prepared.reach), overridden(known, clock), when(clock), remedied, begun)


def overridden(incident: Incident, clock: int) -> bool:
    """Whether somebody broke the glass for it, and the time that they named is not over."""
    return incident.override is not None and when(clock) < incident.override.until


def _remedied(means: Means, connection: sa.Connection, request: Request, prepared: Prepared, clock: int) -> int:
    """How many other runs repaired the service lately."""
    rule = prepared.rails.breaker
    harmless = prepared.kind.risk is Risk.NONE or request.undoes is not None
    if not rule.enabled or not prepared.service or harmless:
        return 0
    since, own = clock - int(rule.within * 1_000_000), request.context.run_id
    return breaker.remedied(connection, request.context.tenant, prepared.service[0], since, rule.counts, but=own)


@dataclass(frozen=True, slots=True)
class Repaired:
    """How often a service was repaired within the breaker's time, for a tenant; from ``after`` on somebody is asked."""

    service: str
    tenant: str
    count: int
    after: int
    enabled: bool

    @property
    def tripped(self) -> bool:
        return self.enabled and self.count >= self.after


def repaired(means: Means, connection: sa.Connection, services: Iterable[str]) -> Iterator[Repaired]:
    """Those that were repaired at all."""
    clock = means.database.now_us(connection)
    for service in services:
        target = f"service/{service}"
        for tenant in breaker.tenants(connection, target):
            rule = means.rails.of(tenant, means.environment_of(service)).breaker
            since = clock - int(rule.within * 1_000_000)
            if count := breaker.remedied(connection, tenant, target, since, rule.counts):
                yield Repaired(service, tenant, count, rule.after, rule.enabled)


def _paused(connection: sa.Connection, prepared: Prepared, clock: int) -> Pause | None:
    """The pull of the kill switch that stops this action."""
    return covering(pauses.on(connection, clock), prepared.reach)


def release(connection: sa.Connection, request: Request) -> None:
    leases.release(connection, request.context.tenant, request.key)


async def intend(
    means: Means, request: Request, prepared: Prepared, preview: Preview, captured: Mapping[str, Any], *,
    approved: bool, ready: Mapping[str, Any],
) -> ledger.Intent | None:  # fmt: skip
    """The intent, its permits and its event in one transaction; what was there already is returned.

    The lease is taken or prolonged with it: looking before acting took its time. ``ready``: what was found out before
    anybody was asked, kept for whoever goes on after a crash. Raises ``Busy``; ``Refused`` when a rate is used up, or
    somebody took or ended the incident or pulled the kill switch meanwhile; ``CancelledError`` when somebody else has
    the work.
    """
    ask = _ask(means, request, prepared, preview, captured, ready)
    event = NewEvent(
        kind=EventKind.ACTION_INTENDED, node=request.key, key=f"{request.key}/intended",
        payload={"action": prepared.kind.name, "call": preview.call, "key": request.key,
                 "targets": list(preview.targets), "before": preview.before, "after": preview.after,
                 "magnitude": preview.magnitude, "node": request.key, "undo": preview.undo},
    )  # fmt: skip
    found: list[ledger.Intent | None] = []
    fence = means.durable.fence()

    def write(connection: sa.Connection) -> None:
        fence(connection)
        clock = pauses.hold(connection)
        pause = _paused(connection, prepared, clock)
        if pause and not overridden(queries.incident(connection, request.context.incident), clock):
            no = guard.paused(pause)
            raise Refused(no.rule or "", no.reason, value=no.value, limit=no.limit)
        _lease(connection, request, prepared, preview, clock)
        _is_ours_still(connection, request, clock)
        if not approved and request.undoes is None:
            _not_too_often(means, connection, request, prepared, clock)
        found.append(ledger.intend(connection, ask, clock))

    try:
        await means.transact(request.context, write, event)
    except Fenced:  # it ends here, without an outcome: whoever has the work now goes on
        raise asyncio.CancelledError from None
    return found[-1]


def _is_ours_still(connection: sa.Connection, request: Request, clock: int) -> None:
    """Raises ``Refused`` when somebody has ended or taken the incident since the guard looked."""
    if request.late:
        return
    # Whoever does either from now on comes after this intent. Leases come first, as where they are given back.
    known = events.held(connection, request.context.tenant, request.context.incident)
    if known is None:
        raise NotFound("incident", request.context.incident)
    if known.status in ENDED:
        raise Refused("incident_ended", "the incident has ended")
    if known.assignee:
        raise Refused("taken", f"{known.assignee} has taken the incident")
    if known.run > request.context.run:
        raise Refused("superseded", f"run {known.run} of the incident goes on instead of this one")
    context = request.context
    if context.limited and not request.undoes and turns.is_over(connection, context.incident, context.run, clock):
        raise Refused("timeout", "the incident is worked on for longer than it may be")


def _not_too_often(
    means: Means, connection: sa.Connection, request: Request, prepared: Prepared, clock: int
) -> None:  # fmt: skip
    """Raises ``Refused`` (breaker). The lease is held by now, so that nobody else repairs the service meanwhile."""
    most = prepared.rails.breaker.after
    count = _remedied(means, connection, request, prepared, clock)
    if count >= most:
        why = f"{prepared.acts_on} was repaired {count} times by now, and nobody was asked"
        raise Refused("breaker", why, value=count, limit=most)


def _ask(
    means: Means, request: Request, prepared: Prepared, preview: Preview, captured: Mapping[str, Any],
    ready: Mapping[str, Any],
) -> ledger.Ask:  # fmt: skip
    context = request.context
    blast = prepared.rule.blast_radius or prepared.rails.blast_radius
    return ledger.Ask(
        key=request.key, tenant=context.tenant, environment=context.environment, region=_region(request, prepared),
        most_regions=None if request.undoes else blast.regions, most_tenants=None if request.undoes else blast.tenants,
        action=prepared.kind.name, targets=preview.targets, shared=prepared.service, batch=_batch(request.key),
        idempotent=prepared.kind.idempotent, magnitude=preview.magnitude, rates=_rates(request, prepared),
        executor=means.durable.executor_id,
        request={"call": preview.call, "targets": list(preview.targets), "captured": dict(captured),
                 "risk": prepared.kind.risk.value, "params": prepared.params.model_dump(mode="json"),
                 "magnitude": preview.magnitude,
                 "ready": {"hash": ready["hash"], "risk": ready["risk"], "preview": ready["preview"]}},
    )  # fmt: skip


def _region(request: Request, prepared: Prepared) -> str:
    """Where it acts: as its parameters say, else where the incident is."""
    return str(getattr(prepared.params, "region", None) or request.context.region)


def _batch(key: str) -> str:
    """The node's visit, whichever its target: a rolling restart is one restart of the service."""
    return "/".join([*key.split("/", 3)[:3], ""])


def _rates(request: Request, prepared: Prepared) -> tuple[ledger.Rate, ...]:
    if request.undoes is not None:
        return ()
    limit, own = prepared.rule.limit, request.act.guard
    rates = [ledger.Rate(*limit)] if limit else []
    if own.rate_count and own.rate_per_s:
        rates.append(ledger.Rate(own.rate_count, own.rate_per_s, "runbook_rate"))
    return tuple(rates)
