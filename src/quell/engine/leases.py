"""Leases on targets: acting on one is exclusive across incidents and workers. Never does: wait (the caller does)."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from quell.engine.tables import leases


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
        lock = sa.text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
        for target in wanted:
            connection.execute(lock, {"name": f"lease/{tenant}/{target}"})
    rows = connection.execute(
        sa.select(leases).where(leases.c.tenant == tenant, leases.c.target.in_(wanted)).with_for_update()
    ).mappings()
    known = {row["target"]: row for row in rows}
    busy = {target: row["owner"] for target, row in known.items() if row["holder"] != holder and row["until"] > now_us}
    if busy:
        return busy
    for target in wanted:
        values = {"holder": holder, "owner": owner, "taken_at": now_us, "until": now_us + for_us}
        if target in known:
            where = (leases.c.tenant == tenant, leases.c.target == target)
            connection.execute(sa.update(leases).where(*where).values(values))
        else:
            connection.execute(sa.insert(leases).values(tenant=tenant, target=target, **values))
    return {}


def release(connection: sa.Connection, tenant: str, holder: str) -> int:
    """Give back whatever ``holder`` holds. Harmless when done twice."""
    gone = connection.execute(sa.delete(leases).where(leases.c.tenant == tenant, leases.c.holder == holder))
    return gone.rowcount
