"""How often a target was repaired: counted in the ledger, since a moment or since somebody reset it.

A run counts once, however many steps it took: a remediation of two steps, and one that was tried after another, are
one remediation of that target. Never does: decide how often is too often.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

import orjson
import sqlalchemy as sa

from quell.engine.ledger import DONE, FAILED
from quell.engine.tables import intents, permits, resets

UNDONE = "undone"
_BACK = (".undo", ".revert")
"""How the nodes of passes that take back end."""


def remedied(
    connection: sa.Connection, tenant: str, target: str, since_us: int, counts: Collection[str], *, but: str = ""
) -> int:
    """How many runs repaired the target after a moment, of those that did it as ``counts`` says; ``but`` for one.

    A run has ``undone`` what it did, ``failed`` in a part of it, or ``done`` all of it. What was begun and has no
    outcome has not succeeded; what does no harm is no remediation.
    """
    spent = sa.select(permits.c.key).where(
        permits.c.tenant == tenant, permits.c.target == target,
        permits.c.at > max(since_us, _reset_at(connection, tenant, target)),
    )  # fmt: skip
    visits = connection.execute(spent).scalars().all()
    if not visits:
        return 0
    runs = defaultdict[str, dict[str, set[str]]](dict)
    for visit, states in _states(connection, visits).items():
        run, node, _ = visit.split("/", 2)
        runs[run].setdefault(UNDONE if node.endswith(_BACK) else DONE, set()).update(states)
    return sum(_how(ended) in counts for run, ended in runs.items() if run != but)


def tenants(connection: sa.Connection, target: str) -> list[str]:
    """For whom the target was ever repaired."""
    found = sa.select(permits.c.tenant).where(permits.c.target == target).distinct()
    return sorted(connection.execute(found).scalars())


def reset(connection: sa.Connection, tenant: str, target: str, now_us: int, by: str, reason: str) -> None:
    """From now on it is counted anew."""
    mine = (resets.c.tenant == tenant, resets.c.target == target)
    values = {"at": now_us, "by": by, "reason": reason}
    if not connection.execute(sa.update(resets).where(*mine).values(values)).rowcount:
        connection.execute(sa.insert(resets).values(tenant=tenant, target=target, **values))


def _reset_at(connection: sa.Connection, tenant: str, target: str) -> int:
    found = sa.select(resets.c.at).where(resets.c.tenant == tenant, resets.c.target == target)
    return connection.execute(found).scalar() or 0


def _states(connection: sa.Connection, visits: Collection[str]) -> Mapping[str, set[str]]:
    """Of each visit the states of its executions, but for those that do no harm."""
    query = sa.select(intents.c.batch, intents.c.state, intents.c.request).where(intents.c.batch.in_(visits))
    found = defaultdict[str, set[str]](set)
    for row in connection.execute(query):
        if orjson.loads(row.request).get("risk") != "none":
            found[row.batch].add(row.state)
    return found


def _how(ended: Mapping[str, set[str]]) -> str:
    """What a run's executions come to; empty when it only took back."""
    if not (acted := ended.get(DONE)):
        return ""
    if DONE in ended.get(UNDONE, ()):
        return UNDONE
    return DONE if acted == {DONE} else FAILED
