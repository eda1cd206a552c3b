"""The intent ledger: what is about to be done is on disk, with its permits, before it is done.

``intended → done | failed | unknown``; ``unknown → done | failed`` once something or somebody could tell.
An intent that has no outcome and whose action is not idempotent is never acted on again by itself.
Never does: act, judge whether an outcome is good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from quell.engine.tables import intents, leases, permits
from quell.errors import Refused

LEDGER_SCHEMA = 1

INTENDED, DONE, FAILED, UNKNOWN = "intended", "done", "failed", "unknown"
TRANSITIONS: dict[str, frozenset[str]] = {
    INTENDED: frozenset({DONE, FAILED, UNKNOWN}),
    UNKNOWN: frozenset({DONE, FAILED}),
    DONE: frozenset(),
    FAILED: frozenset(),
}

# Made once, as those of the event log are.
_FIND = sa.select(intents).where(intents.c.key == sa.bindparam("of"))
_SETTLE = sa.update(intents).where(
    intents.c.key == sa.bindparam("of"), intents.c.state.in_(sa.bindparam("allowed", expanding=True))
)
# What was inserted is returned: of an insert that may do nothing, PostgreSQL's driver does not say how many it was.
_INTEND = {"postgresql": postgresql.insert(intents).on_conflict_do_nothing().returning(intents.c.key),
           "sqlite": sqlite.insert(intents).on_conflict_do_nothing().returning(intents.c.key)}  # fmt: skip
_SPEND = {"postgresql": postgresql.insert(permits).on_conflict_do_nothing(),
          "sqlite": sqlite.insert(permits).on_conflict_do_nothing()}  # fmt: skip
_ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")


@dataclass(frozen=True, slots=True)
class Intent:
    """A row of the ledger."""

    key: str
    action: str
    state: str
    idempotent: bool
    request: dict[str, Any]
    outcome: dict[str, Any] | None
    intended_at: int
    executor: str


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``count`` permits for an action and target within ``per_s`` seconds."""

    count: int
    per_s: float
    rule: str = "rate"


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody wants to do. ``targets`` each cost one permit; ``shared`` cost one for all asks of a ``batch``.

    ``most_regions``, ``most_tenants``: in how many something may be under way at once, this ask included.
    """

    key: str
    tenant: str
    action: str
    targets: tuple[str, ...]
    idempotent: bool
    request: dict[str, Any]
    executor: str
    magnitude: float | None = None
    rates: tuple[Rate, ...] = ()
    shared: tuple[str, ...] = ()
    batch: str = ""
    environment: str = ""
    region: str = ""
    most_regions: int | None = None
    most_tenants: int | None = None

    @property
    def is_counted(self) -> bool:
        """Whether what others do is counted before it may be."""
        return bool(self.rates) or self.most_regions is not None or self.most_tenants is not None


def find(connection: sa.Connection, key: str) -> Intent | None:
    row = connection.execute(_FIND, {"of": key}).mappings().first()
    if row is None:
        return None
    return Intent(
        key=row["key"], action=row["action"], state=row["state"], idempotent=row["idempotent"],
        request=orjson.loads(row["request"]), outcome=orjson.loads(row["outcome"]) if row["outcome"] else None,
        intended_at=row["intended_at"], executor=row["executor"],
    )  # fmt: skip


def used(
    connection: sa.Connection, tenant: str, action: str, targets: Sequence[str], since_us: int, batch: str = ""
) -> dict[str, int]:
    """Permits spent per target since a moment, but for those of a ``batch``."""
    query = (
        sa.select(permits.c.target, sa.func.count())
        .where(permits.c.tenant == tenant, permits.c.action == action, permits.c.target.in_(list(targets)))
        .where(permits.c.at > since_us, permits.c.key != batch)
        .group_by(permits.c.target)
    )
    counts: dict[str, int] = {row[0]: row[1] for row in connection.execute(query)}
    return {target: counts.get(target, 0) for target in targets}


def intend(connection: sa.Connection, ask: Ask, now_us: int) -> Intent | None:
    """Record the intent and its permits, in the caller's transaction. Returns the row that was there already, if any.

    Raises ``Refused`` when a rate is used up; counted in this transaction, so that two workers cannot both take the
    last permit.
    """
    if ask.is_counted:
        if connection.dialect.name == "postgresql":
            # One at a time per action: looking, counting and taking must not interleave.
            connection.execute(_ONE_AT_A_TIME, {"name": f"{ask.tenant}/{ask.action}"})
        if (known := find(connection, ask.key)) is not None:
            return known
    _spread(connection, ask, now_us)
    for rate in ask.rates:
        since = now_us - int(rate.per_s * 1_000_000)
        spent = used(connection, ask.tenant, ask.action, [*ask.targets, *ask.shared], since, ask.batch)
        for target, count in spent.items():
            if count >= rate.count:
                raise Refused(
                    rate.rule, f"{ask.action} on {target}: {count} in the last {rate.per_s:g} s, at most {rate.count}",
                    value=count, limit=rate.count,
                )  # fmt: skip
    row = {
        "key": ask.key, "tenant": ask.tenant, "environment": ask.environment, "region": ask.region,
        "action": ask.action, "idempotent": ask.idempotent, "executor": ask.executor, "intended_at": now_us,
        "request": orjson.dumps(ask.request, default=str).decode(), "state": INTENDED, "schema_version": LEDGER_SCHEMA,
        "batch": ask.batch,
    }  # fmt: skip
    if connection.execute(_INTEND[connection.dialect.name], row).scalar() is None:
        return find(connection, ask.key)
    _spend(connection, ask, now_us)
    return None


def _spread(connection: sa.Connection, ask: Ask, now_us: int) -> None:
    """Raises ``Refused`` when too many regions or tenants would be acted on at once."""
    limits = (("regions", ask.most_regions, intents.c.region, ask.region),
              ("tenants", ask.most_tenants, intents.c.tenant, ask.tenant))  # fmt: skip
    if ask.most_regions is None and ask.most_tenants is None:
        return
    if connection.dialect.name == "postgresql":
        connection.execute(_ONE_AT_A_TIME, {"name": "spread"})
    for what, most, column, own in limits:
        if most is None:
            continue
        # Under way is what has an intent, and still holds its lease.
        query = (
            sa.select(column)
            .join(leases, leases.c.holder == intents.c.key)
            .where(intents.c.state == INTENDED, intents.c.key != ask.key, leases.c.until > now_us)
            .distinct()
        )
        busy = {*connection.execute(query).scalars(), own}
        if len(busy) > most:
            others = ", ".join(sorted(busy - {own})) or "one without a name"
            raise Refused(
                f"blast_{what}", f"{others} is being acted on, and at most {most} of the {what} may be at once",
                value=len(busy), limit=most,
            )  # fmt: skip


def _spend(connection: sa.Connection, ask: Ask, now_us: int) -> None:
    """Those of a batch are there already when another of its executions was first."""
    keys = dict.fromkeys(ask.targets, ask.key) | dict.fromkeys(ask.shared, ask.batch)
    rows = [
        {"key": key, "target": target, "tenant": ask.tenant, "action": ask.action, "at": now_us,
         "magnitude": ask.magnitude}
        for target, key in keys.items()
    ]  # fmt: skip
    if rows:
        connection.execute(_SPEND[connection.dialect.name], rows)


def settle(connection: sa.Connection, key: str, state: str, outcome: dict[str, Any], now_us: int) -> bool:
    """Record how it ended. False when the row had ended already: the first outcome stays."""
    allowed = [old for old, new in TRANSITIONS.items() if state in new]
    ended = {"state": state, "outcome": orjson.dumps(outcome, default=str).decode(), "ended_at": now_us}
    return connection.execute(_SETTLE, {"of": key, "allowed": allowed, **ended}).rowcount == 1
