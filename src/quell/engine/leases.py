"""Leases on targets: acting on one is exclusive across incidents and workers. Never does: wait (the caller does)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson
import sqlalchemy as sa

from quell.engine.tables import leases

# A row that somebody else holds stays as it is, and is not among what comes back. In one order, so that nobody waits
# in a circle.
_UPSERT = """
insert into quell_leases (tenant, target, holder, owner, taken_at, until)
select :of, one.{target}, :holder, :owner, :now, :until from {wanted}
on conflict (tenant, target) do update
set holder = excluded.holder, owner = excluded.owner, taken_at = excluded.taken_at, until = excluded.until
where quell_leases.holder = excluded.holder or quell_leases.until <= :now
returning target
"""
_TAKE = {
    "postgresql": sa.text(_UPSERT.format(target="target", wanted="unnest(cast(:wanted as text[])) as one(target)")),
    "sqlite": sa.text(_UPSERT.format(target="value", wanted="json_each(:wanted) as one where true")),
}
_RELEASE = sa.delete(leases).where(leases.c.tenant == sa.bindparam("of"), leases.c.holder == sa.bindparam("by"))


class Busy(Exception):
    """Somebody else acts on some of the targets: ``by`` says on which, and for which incident."""

    def __init__(self, by: Mapping[str, str]) -> None:
        super().__init__(", ".join(by))
        self.by = dict(by)


def held(connection: sa.Connection, tenant: str, targets: Sequence[str], holder: str, now_us: int) -> dict[str, str]:
    """Which targets somebody else than ``holder`` holds now, and for what."""
    rows = connection.execute(
        sa.select(leases.c.target, leases.c.owner)
        .where(leases.c.tenant == tenant, leases.c.target.in_(list(targets)))
        .where(leases.c.holder != holder, leases.c.until > now_us)
    )
    return {row.target: row.owner for row in rows}


def take(
    connection: sa.Connection, tenant: str, targets: Sequence[str], holder: str, owner: str, now_us: int, for_us: int
) -> None:
    """Lease all of ``targets`` for ``holder``. Raises ``Busy``: the transaction, or its savepoint, must be rolled back.

    ``owner`` is what the holder works for (the incident), so that a waiting one can link to it. A lease that ran out is
    free. Taking again prolongs.
    """
    wanted, dialect = sorted(set(targets)), connection.dialect.name
    asked = {
        "of": tenant, "holder": holder, "owner": owner, "now": now_us, "until": now_us + for_us,
        "wanted": wanted if dialect == "postgresql" else orjson.dumps(wanted).decode(),
    }  # fmt: skip
    taken = set(connection.execute(_TAKE[dialect], asked).scalars())
    if missed := [target for target in wanted if target not in taken]:
        raise Busy(dict.fromkeys(missed, "") | held(connection, tenant, missed, holder, now_us))


def release(connection: sa.Connection, tenant: str, holder: str) -> int:
    """Give back whatever ``holder`` holds. Harmless when done twice."""
    return connection.execute(_RELEASE, {"of": tenant, "by": holder}).rowcount
