"""Leases on targets: acting on one is exclusive across incidents and workers. Never does: wait (the caller does)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from quell.engine.tables import leases

# Made once, as those of the event log are.
_WANTED = (leases.c.tenant == sa.bindparam("of"), leases.c.target.in_(sa.bindparam("wanted", expanding=True)))
_LOCK = sa.select(leases).where(*_WANTED).with_for_update()
_PROLONG = sa.update(leases).where(*_WANTED)
_INSERT = sa.insert(leases)
_RELEASE = sa.delete(leases).where(leases.c.tenant == sa.bindparam("of"), leases.c.holder == sa.bindparam("by"))
_ONE_AT_A_TIME = sa.text(
    "select pg_advisory_xact_lock(hashtextextended(one.name, 0))"
    " from unnest(cast(:names as text[])) with ordinality as one(name, number) order by one.number"
)


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
) -> dict[str, str]:
    """Lease all of ``targets`` for ``holder``, or none. Returns who holds what when somebody else does, else nothing.

    ``owner`` is what the holder works for (the incident), so that a waiting one can link to it. A lease that ran out is
    free. Taking again prolongs.
    """
    wanted = sorted(set(targets))
    if connection.dialect.name == "postgresql":
        # Two who find no row must not both insert one; taken in one order, so that nobody waits in a circle.
        connection.execute(_ONE_AT_A_TIME, {"names": [f"lease/{tenant}/{target}" for target in wanted]})
    rows = connection.execute(_LOCK, {"of": tenant, "wanted": wanted}).mappings()
    known = {row["target"]: row for row in rows}
    busy = {target: row["owner"] for target, row in known.items() if row["holder"] != holder and row["until"] > now_us}
    if busy:
        return busy
    values = {"holder": holder, "owner": owner, "taken_at": now_us, "until": now_us + for_us}
    if known:
        connection.execute(_PROLONG, {"of": tenant, "wanted": list(known), **values})
    if new := [{"tenant": tenant, "target": target, **values} for target in wanted if target not in known]:
        connection.execute(_INSERT, new)
    return {}


def release(connection: sa.Connection, tenant: str, holder: str) -> int:
    """Give back whatever ``holder`` holds. Harmless when done twice."""
    return connection.execute(_RELEASE, {"of": tenant, "by": holder}).rowcount
