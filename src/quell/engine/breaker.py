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
_RESET = (
    sa.select(resets.c.at)
    .where(resets.c.tenant == sa.bindparam("of"), resets.c.target == sa.bindparam("on"))
    .scalar_subquery()
)
# Asked before every action, hence made once.
_EXECUTIONS = (
    sa.select(intents.c.batch, intents.c.state, intents.c.request)
    .join(permits, permits.c.key == intents.c.batch)
    .where(permits.c.tenant == sa.bindparam("of"), permits.c.target == sa.bindparam("on"))
    .where(permits.c.at > sa.bindparam("since"), permits.c.at > sa.func.coalesce(_RESET, 0))
)


def remedied(
    connection: sa.Connection, tenant: str, target: str, since_us: int, counts: Collection[str], *, but: str = ""
) -> int:
    """How many runs repaired the target after a moment, of those that did it as ``counts`` says; ``but`` for one.

    A run has ``undone`` what it did, ``failed`` in a part of it, or ``done`` all of it. What was begun and has no
    outcome has not succeeded; what does no harm is no remediation.
    """
    runs = defaultdict[str, dict[str, set[str]]](dict)
    for row in connection.execute(_EXECUTIONS, {"of": tenant, "on": target, "since": since_us}):
        if orjson.loads(row.request).get("risk") != "none":
            run, node, _ = row.batch.split("/", 2)
            runs[run].setdefault(UNDONE if node.endswith(_BACK) else DONE, set()).add(row.state)
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


def _how(ended: Mapping[str, set[str]]) -> str:
    """What a run's executions come to; empty when it only took back."""
    if not (acted := ended.get(DONE)):
        return ""
    if DONE in ended.get(UNDONE, ()):
        return UNDONE
    return DONE if acted == {DONE} else FAILED
