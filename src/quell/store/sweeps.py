"""What else is old: alerts, what could not be read, the ledger, pauses, plans. Each kind finds a block and erases it.

Finding alone is a dry run. What belongs to an incident that is kept stays, whatever its age. Never does: commit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from quell.engine.ledger import DONE, FAILED
from quell.engine.tables import intents, leases, permits, resets
from quell.incident.event import Stream
from quell.incident.keys import incident_of
from quell.store.prune import Cut, in_turn, record
from quell.store.schema import alerts, events, incidents, pauses, plans, quarantine, runs, silences, streams

BLOCK = 1_000
_AT_ONCE_US = 60 * 1_000_000
"""An alert is recorded a moment before the incident that it opens."""


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, and where the next page begins; None: this was the last."""

    names: Sequence[Any]
    after: Any


Find = Callable[[sa.Connection, Cut, Collection[str], Any], Page]
"""The next page behind a place; the incidents given count as gone."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One kind of rows. ``erase`` takes what ``find`` found in the same transaction, and says how many went."""

    what: str
    find: Find
    erase: Callable[[sa.Connection, Cut, Sequence[Any]], int]


def _block(connection: sa.Connection, column: sa.Column[Any], after: Any, *where: Any, more: Any = ()) -> list[Any]:
    query = sa.select(column, *more).where(*where).order_by(column).limit(BLOCK)
    return list(connection.execute(query.where(column > after) if after is not None else query))


def _page(rows: Sequence[Any], names: Sequence[Any]) -> Page:
    return Page(names, rows[-1][0] if len(rows) == BLOCK else None)


def _delete(column: sa.Column[Any], *where: Any) -> Callable[[sa.Connection, Cut, Sequence[Any]], int]:
    def erase(connection: sa.Connection, cut: Cut, names: Sequence[Any]) -> int:
        return connection.execute(sa.delete(column.table).where(column.in_(names), *where)).rowcount

    return erase


def kept(connection: sa.Connection, names: Collection[str | None], gone: Collection[str]) -> set[str]:
    """Those of these incidents that are there."""
    asked = {name for name in names if name is not None}
    found = connection.execute(sa.select(incidents.c.id).where(incidents.c.id.in_(asked))).scalars()
    return {name for name in found if name not in gone}


def _simply(column: sa.Column[Any], *old: Callable[[Cut], sa.ColumnElement[bool]]) -> Find:
    """Rows whose age says everything."""

    def find(connection: sa.Connection, cut: Cut, gone: Collection[str], after: Any) -> Page:
        rows = _block(connection, column, after, column.table.c.tenant == cut.tenant, *(one(cut) for one in old))
        return _page(rows, [row[0] for row in rows])

    return find


def _alerts(connection: sa.Connection, cut: Cut, gone: Collection[str], after: Any) -> Page:
    old = (alerts.c.tenant == cut.tenant, alerts.c.last_at < cut.before_us)
    rows = _block(connection, alerts.c.id, after, *old, more=[alerts.c.incident])
    there = kept(connection, [row.incident for row in rows], gone)
    return _page(rows, [row.id for row in rows if row.incident not in there])


def _told_of_alerts(connection: sa.Connection, cut: Cut, gone: Collection[str], after: Any) -> Page:
    """What was received and how it was routed, but for what led to an incident that is there."""
    old = (events.c.tenant == cut.tenant, events.c.stream == Stream.ALERT.value, events.c.at < cut.before_us,
           events.c.payload.is_not(None))  # fmt: skip
    rows = _block(connection, events.c.id, after, *old, more=[events.c.stream_id, events.c.at])
    mine = (
        sa.select(alerts.c.id, incidents.c.id.label("incident"), incidents.c.opened_at)
        .join(incidents, incidents.c.id == alerts.c.incident)
        .where(alerts.c.id.in_({row.stream_id for row in rows}))
    )
    opened = {row.id: row.opened_at for row in connection.execute(mine) if row.incident not in gone}
    return _page(
        rows, [row.id for row in rows if row.stream_id not in opened or row.at < opened[row.stream_id] - _AT_ONCE_US]
    )


def _blank(connection: sa.Connection, cut: Cut, names: Sequence[Any]) -> int:
    """The rows stay: they are links of the chain."""
    return connection.execute(sa.update(events).where(events.c.id.in_(names)).values(payload=None)).rowcount


def _ledger(column: sa.Column[Any], *old: Callable[[Cut], sa.ColumnElement[bool]]) -> Find:
    """Of incidents that are gone, and too old for any limit to count it."""

    def find(connection: sa.Connection, cut: Cut, gone: Collection[str], after: Any) -> Page:
        where = (column.table.c.tenant == cut.tenant, *(one(cut) for one in old))
        rows = _block(connection, column, after, *where)
        of = {row[0]: incident_of(row[0]) for row in rows}
        there = kept(connection, of.values(), gone)
        return _page(rows, [row[0] for row in rows if of[row[0]] and of[row[0]] not in there])

    return find


def _permits(connection: sa.Connection, cut: Cut, names: Sequence[Any]) -> int:
    old = (permits.c.key.in_(names), permits.c.at < cut.ledger_us)
    return connection.execute(sa.delete(permits).where(*old)).rowcount


def _switches_erased(table: sa.Table, *keys: str) -> Callable[[sa.Connection, Cut, Sequence[Any]], int]:
    def erase(connection: sa.Connection, cut: Cut, names: Sequence[Any]) -> int:
        mine = (table.c.tenant == cut.tenant, table.c[keys[0]].in_(names), table.c[keys[1]] < cut.ledger_us)
        return connection.execute(sa.delete(table).where(*mine)).rowcount

    return erase


def _plans(connection: sa.Connection, cut: Cut, gone: Collection[str], after: Any) -> Page:
    rows = _block(connection, plans.c.hash, after, plans.c.stored_at < cut.before_us)
    used = sa.select(runs.c.plan, runs.c.incident).where(runs.c.plan.in_([row.hash for row in rows])).distinct()
    wanted = {row.plan for row in connection.execute(used) if row.incident not in gone}
    return _page(rows, [row.hash for row in rows if row.hash not in wanted])


def _unused(connection: sa.Connection, cut: Cut, names: Sequence[Any]) -> int:
    """Whoever begins a run with a plan holds it until the run is there; only then is it seen whether it is used."""
    held = sa.select(plans.c.hash).where(plans.c.hash.in_(names)).order_by(plans.c.hash)
    connection.execute(held.with_for_update()).all()
    used = sa.exists().where(runs.c.plan == plans.c.hash)
    return connection.execute(sa.delete(plans).where(plans.c.hash.in_(names), ~used)).rowcount


SWEEPS = (
    Sweep("alerts", _alerts, _delete(alerts.c.id)),
    Sweep("payloads", _told_of_alerts, _blank),
    Sweep("quarantined", _simply(quarantine.c.id, lambda cut: quarantine.c.received_at < cut.before_us),
          _delete(quarantine.c.id)),
    Sweep("pauses", _simply(
        pauses.c.id, lambda cut: (pauses.c.until < cut.before_us) | (pauses.c.ended_at < cut.before_us)
    ), _delete(pauses.c.id)),
    Sweep("silences", _simply(silences.c.id, lambda cut: silences.c.ends_at < cut.before_us), _delete(silences.c.id)),
    Sweep("resets", _simply(resets.c.target, lambda cut: resets.c.at < cut.ledger_us),
          _switches_erased(resets, "target", "at")),
    Sweep("leases", _simply(leases.c.target, lambda cut: leases.c.until < cut.ledger_us),
          _switches_erased(leases, "target", "until")),
    Sweep("intents", _ledger(
        intents.c.key, lambda cut: intents.c.intended_at < cut.ledger_us, lambda _: intents.c.state.in_((DONE, FAILED))
    ), _delete(intents.c.key, intents.c.state.in_((DONE, FAILED)))),
    Sweep("permits", _ledger(permits.c.key, lambda cut: permits.c.at < cut.ledger_us), _permits),
)  # fmt: skip
"""Of a tenant."""

PLANS = Sweep("plans", _plans, _unused)
"""Of nobody: the same plan is everybody's who runs it."""


def carry_out(connection: sa.Connection, cut: Cut, sweep: Sweep, after: Any) -> int:
    """Erase the page behind a place, found anew in this transaction, and say so in the log. How many rows went."""
    in_turn(connection)
    page = sweep.find(connection, cut, frozenset(), after)
    if count := sweep.erase(connection, cut, page.names) if page.names else 0:
        record(connection, cut, {sweep.what: count})
    return count


def left_behind(
    connection: sa.Connection, tenant: str | None, workflows: Sequence[str], gone: Collection[str]
) -> list[str]:
    """Those of these workflows whose incident was pruned; of all tenants, or of one."""
    of = {workflow: incident_of(workflow) for workflow in workflows}
    there = kept(connection, of.values(), gone)
    if tenant is None:
        return [one for one, incident in of.items() if incident is None or incident not in there]
    mine = sa.select(streams.c.stream_id).where(
        streams.c.tenant == tenant, streams.c.stream == Stream.INCIDENT.value, streams.c.stream_id.in_(of.values())
    )
    theirs = set(connection.execute(mine).scalars()) - there
    return [one for one, incident in of.items() if incident in theirs]
