"""How often a target was repaired: counted in the ledger, since a moment or since somebody reset it.

A run counts once, however many steps it took: a remediation of two steps, and one that was tried after another, are
one remediation of that target. Never does: decide how often is too often.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import orjson
import sqlalchemy as sa

from quell.engine.ledger import DONE
from quell.engine.tables import intents, permits, resets

UNDONE, FAILED = "undone", "failed"
_BACK = (".undo", ".revert")
"""How the nodes of passes that take back end."""


def remedied(
    connection: sa.Connection, tenant: str, target: str, since_us: int, counts: Collection[str], *, but: str = ""
) -> int:
    """How many runs repaired the target after a moment, of those that did it as ``counts`` says; ``but`` for one.

    A run has ``undone`` what it did, ``failed`` in a part of it, or ``done`` all of it. What was begun and has no
    outcome has not succeeded; what does no harm is no remediation.
    """
    query = sa.select(permits.c.key).where(
        permits.c.tenant == tenant, permits.c.target == target,
        permits.c.at > max(since_us, reset_at(connection, tenant, target)),
    )  # fmt: skip
    visits = defaultdict[str, list[str]](list)
    for key in connection.execute(query).scalars():
        visits[key.split("/", 1)[0]].append(key)
    return sum(_how(connection, own) in counts for run, own in visits.items() if run != but)


def reset_at(connection: sa.Connection, tenant: str, target: str) -> int:
    """When somebody let it be repaired again; 0 when nobody has."""
    found = sa.select(resets.c.at).where(resets.c.tenant == tenant, resets.c.target == target)
    return connection.execute(found).scalar() or 0


def reset(connection: sa.Connection, tenant: str, target: str, now_us: int, by: str, reason: str) -> None:
    """From now on it is counted anew."""
    mine = (resets.c.tenant == tenant, resets.c.target == target)
    values = {"at": now_us, "by": by, "reason": reason}
    if not connection.execute(sa.update(resets).where(*mine).values(values)).rowcount:
        connection.execute(sa.insert(resets).values(tenant=tenant, target=target, **values))


def _how(connection: sa.Connection, visits: list[str]) -> str:
    """How the executions of a run's visits ended, all in all; empty when none of them could do harm."""
    acted, back = set[str](), set[str]()
    for visit in visits:
        (back if visit.split("/", 2)[1].endswith(_BACK) else acted).update(_states(connection, visit))
    if not acted:
        return ""
    if DONE in back:
        return UNDONE
    return DONE if acted == {DONE} else FAILED


def _states(connection: sa.Connection, visit: str) -> set[str]:
    query = sa.select(intents.c.state, intents.c.request).where(intents.c.key.startswith(visit, autoescape=True))
    rows = connection.execute(query).all()
    return {row.state for row in rows if orjson.loads(row.request).get("risk") != "none"}
