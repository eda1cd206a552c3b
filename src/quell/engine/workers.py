"""The processes that share the work, as people see them. Never does: change one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from quell.engine.tables import executors

SHOWN_FOR_US = 24 * 3600 * 1_000_000
"""How long one that has ended is still told."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    SERVER = "server"
    WORKER = "worker"
    RUN = "run"  # of one runbook, from the command line or a demo


class State(StrEnum):
    ALIVE = "alive"
    SILENT = "silent"  # its lease has run out, and nobody has gone on with its work yet
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Worker:
    """``lease_s``: how much longer its work is its own; below zero, for how long it no longer is. ``configuration``:
    the beginning of a digest; processes that act by the same rules have the same one."""

    id: str
    kind: Kind
    host: str
    pid: int
    version: str
    configuration: str
    started_at: datetime
    lease_s: float
    state: State
    incidents: tuple[str, ...] = ()


def differ(workers: Iterable[Worker]) -> bool:
    """Whether those that are there act by different configurations."""
    return len({one.configuration for one in workers if one.state is not State.ENDED}) > 1


def listed(connection: sa.Connection, now_us: int, running: Mapping[str, Sequence[str]]) -> list[Worker]:
    """Those that are there, then those that ended lately. ``running``: what each works on or waits for."""
    found = connection.execute(
        sa.select(executors)
        .where(sa.or_(executors.c.ended_at.is_(None), executors.c.ended_at > now_us - SHOWN_FOR_US))
        .order_by(executors.c.started_at.desc())
    )
    workers = [_worker(row, now_us, running.get(row.id, ())) for row in found]
    return sorted(workers, key=lambda one: list(State).index(one.state))


def _worker(row: sa.Row[tuple[object, ...]], now_us: int, incidents: Sequence[str]) -> Worker:
    state = State.ENDED if row.ended_at is not None else State.ALIVE if row.lease_until >= now_us else State.SILENT
    return Worker(
        row.id, Kind(row.kind), row.host, row.pid, row.version, row.configuration,
        _EPOCH + timedelta(microseconds=row.started_at), round((row.lease_until - now_us) / 1_000_000, 1), state,
        tuple(sorted(incidents)),
    )  # fmt: skip
