"""Erases what is left of old incidents: payloads, the folded row and what hangs on it. The log's rows and hashes stay.

The last words of each log say by whom and before when, so that whoever asks is told. The head of a log is locked first,
as by whoever appends: an incident goes on or is pruned, never both. Never does: judge what may go, commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from quell.engine.ledger import DONE, FAILED
from quell.engine.tables import intents
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.incident import ENDED, Incident
from quell.incident.keys import incident_of
from quell.incident.retention import Spared, Ties, spared
from quell.store import events, folds
from quell.store.events import when
from quell.store.schema import alerts, approvals, incidents, obligations, runs, streams
from quell.store.schema import events as log

RETENTION = "retention"
"""The stream that remembers what was erased."""
_OVER = tuple(sorted(status.value for status in ENDED))
_ONE_AT_A_TIME = sa.text("select pg_advisory_xact_lock(hashtextextended('quell/prune', 0))")
Tally = Counter[str]
"""How many rows were erased, by what they are."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What goes: of whom, what is older than ``before_us``, of the ledger what is older than ``ledger_us``; for whom.

    ``ledger_us``: what guardrails may still count is not older.
    """

    tenant: str
    before_us: int
    ledger_us: int
    by: str

    @property
    def before(self) -> datetime:
        return when(self.before_us)


@dataclass(frozen=True, slots=True)
class Due:
    """An incident that ended long enough ago, as a place in the order in which they ended."""

    ended_at: int
    id: str


def in_turn(connection: sa.Connection) -> None:
    """Of several that prune at once, one block after the other."""
    if connection.dialect.name == "postgresql":
        connection.execute(_ONE_AT_A_TIME)


def due(connection: sa.Connection, cut: Cut, after: Due | None, limit: int) -> list[Due]:
    """The next that ended before the cut, whatever else there is about them."""
    query = sa.select(incidents.c.ended_at, incidents.c.id).where(
        incidents.c.tenant == cut.tenant, incidents.c.status.in_(_OVER), incidents.c.ended_at < cut.before_us
    )
    if after is not None:
        query = query.where(sa.tuple_(incidents.c.ended_at, incidents.c.id) > sa.tuple_(after.ended_at, after.id))
    rows = connection.execute(query.order_by(incidents.c.ended_at, incidents.c.id).limit(limit))
    return [Due(row.ended_at, row.id) for row in rows]


def judged(
    connection: sa.Connection, cut: Cut, names: Collection[str], running: Collection[str]
) -> dict[str, Spared | None]:
    """Each incident with why it is kept, None when it may go. ``running``: those of which a workflow goes on."""
    rows = connection.execute(sa.select(incidents.c.id, incidents.c.state).where(incidents.c.id.in_(names)))
    states = {row.id: Incident.model_validate_json(row.state) for row in rows}
    asked, owed, unsettled = _asked(connection, names), _owed(connection, names), _unsettled(connection, names)
    return {
        name: spared(known, cut.before, Ties(name in asked, name in owed, name in unsettled, name in running))
        for name, known in states.items()
    }


def _asked(connection: sa.Connection, names: Collection[str]) -> set[str]:
    """Those of which an approval waits, or an answer that nobody was told."""
    waits = (approvals.c.state == "waiting") | (approvals.c.answered_at.is_not(None) & approvals.c.told_at.is_(None))
    query = sa.select(approvals.c.incident).where(approvals.c.incident.in_(names), waits)
    return set(connection.execute(query).scalars())


def _owed(connection: sa.Connection, names: Collection[str]) -> set[str]:
    query = sa.select(obligations.c.incident).where(
        obligations.c.incident.in_(names), obligations.c.ended_at.is_(None)
    )  # fmt: skip
    return set(connection.execute(query).scalars())


def _unsettled(connection: sa.Connection, names: Collection[str]) -> set[str]:
    """Those with an intent of which nobody knows the outcome; there are few in all."""
    keys = connection.execute(sa.select(intents.c.key).where(intents.c.state.not_in((DONE, FAILED)))).scalars()
    return {name for key in keys if (name := incident_of(key)) is not None and name in names}


def prune(
    connection: sa.Connection, cut: Cut, names: Iterable[str], running: Callable[[sa.Connection], Collection[str]]
) -> tuple[Tally, dict[str, Spared | None]]:
    """Erase those of these incidents that may go. What was erased, and of each whether it is kept and why."""
    in_turn(connection)
    # Who writes to one right now holds its head; it is not quiet, and nobody waits for it here.
    mine = (streams.c.tenant == cut.tenant, streams.c.stream == Stream.INCIDENT.value,
            streams.c.stream_id.in_(sorted(names)))  # fmt: skip
    locked = sa.select(streams.c.stream_id).where(*mine).with_for_update(skip_locked=True)
    free = connection.execute(locked).scalars().all()
    verdicts = judged(connection, cut, free, running(connection))
    gone = sorted(name for name, why in verdicts.items() if why is None)
    tally = _erase(connection, cut, gone) if gone else Tally()
    return tally, verdicts


def _erase(connection: sa.Connection, cut: Cut, gone: Sequence[str]) -> Tally:
    erased = connection.execute(sa.update(log).where(*_have_payload(cut, gone)).values(payload=None)).rowcount
    places = sa.select(incidents.c.id, incidents.c.environment, incidents.c.region).where(incidents.c.id.in_(gone))
    last = NewEvent(
        kind=EventKind.PRUNED, actor=cut.by, payload={"by": cut.by, "before": cut.before.isoformat()}, key="pruned"
    )
    for name, *place in connection.execute(places).all():
        events.append(connection, cut.tenant, Stream.INCIDENT, name, [last], place=(place[0], place[1]))
        folds.forget(name)  # what comes later must find that there is nothing to go on from
    for table in (runs, approvals, obligations):
        connection.execute(sa.delete(table).where(table.c.incident.in_(gone)))
    # An alert that still comes is not that incident's any more.
    connection.execute(sa.update(alerts).where(alerts.c.incident.in_(gone)).values(incident=None))
    connection.execute(sa.delete(incidents).where(incidents.c.id.in_(gone)))
    tally = Tally(incidents=len(gone), payloads=erased)
    record(connection, cut, tally)
    return tally


def payloads(connection: sa.Connection, cut: Cut, names: Collection[str]) -> int:
    """How many events of these incidents have not been erased."""
    return connection.execute(
        sa.select(sa.func.count()).select_from(log).where(*_have_payload(cut, names))
    ).scalar_one()


def _have_payload(cut: Cut, names: Collection[str]) -> tuple[sa.ColumnElement[bool], ...]:
    return (log.c.tenant == cut.tenant, log.c.stream == Stream.INCIDENT.value, log.c.stream_id.in_(names),
            log.c.payload.is_not(None))  # fmt: skip


def record(connection: sa.Connection, cut: Cut, erased: Mapping[str, int]) -> None:
    """In the transaction that erased it: what the log says was erased is gone, and the other way round."""
    payload = {"by": cut.by, "before": cut.before.isoformat(), "erased": dict(erased)}
    told = NewEvent(kind=EventKind.PAST_PRUNED, actor=cut.by, payload=payload)
    events.append(connection, cut.tenant, Stream.SYSTEM, RETENTION, [told])
