"""What must be in the database before an action may touch anything: the lease on its targets, its intent, its permits.

Never does: judge (the guard does), act.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from quell.engine import leases, ledger
from quell.errors import Refused
from quell.incident.action import Preview
from quell.incident.event import EventKind, NewEvent
from quell.incident.incident import ENDED
from quell.respond.means import Means
from quell.respond.prepared import Prepared, Request
from quell.store import queries

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


def release(connection: sa.Connection, request: Request) -> None:
    leases.release(connection, request.context.tenant, request.key)


async def intend(
    means: Means, request: Request, prepared: Prepared, preview: Preview, captured: Mapping[str, Any]
) -> ledger.Intent | None:
    """The intent, its permits and its event in one transaction; what was there already is returned.

    The lease is prolonged with it: looking before acting took its time. Raises ``Refused`` when a rate is used up or
    the lease was lost.
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
        if busy := _lease(connection, request, prepared, preview, clock):
            raise Refused("target_busy", f"the target was leased meanwhile: {busy}")
        found.append(ledger.intend(connection, ask, clock))

    await means.transact(request.context, write, event)
    return found[-1]


def _ask(
    means: Means, request: Request, prepared: Prepared, preview: Preview, captured: Mapping[str, Any]
) -> ledger.Ask:
    context = request.context
    return ledger.Ask(
        key=request.key, tenant=context.tenant, environment=context.environment, region=context.region,
        action=prepared.kind.name, targets=preview.targets, shared=prepared.service, batch=_batch(request.key),
        idempotent=prepared.kind.idempotent, magnitude=preview.magnitude, rates=_rates(means, request, prepared),
        executor=means.durable.executor_id,
        request={"call": preview.call, "targets": list(preview.targets), "captured": dict(captured),
                 "params": prepared.params.model_dump(mode="json")},
    )  # fmt: skip


def _batch(key: str) -> str:
    """The node's visit, whichever its target: a rolling restart is one restart of the service."""
    return "/".join([*key.split("/", 3)[:3], ""])


def _rates(means: Means, request: Request, prepared: Prepared) -> tuple[ledger.Rate, ...]:
    if request.undoes is not None:
        return ()
    rule, guard = means.rails.rule(prepared.kind.name), request.act.guard
    rates = [ledger.Rate(*rule.limit)] if rule.limit else []
    if guard.rate_count and guard.rate_per_s:
        rates.append(ledger.Rate(guard.rate_count, guard.rate_per_s, "runbook_rate"))
    return tuple(rates)
