"""The sessions of a database server: who fits a description, who blocks whom, and ending one that is still the same.

Sources: PostgreSQL 15, "The Statistics Collector" (pg_stat_activity) and "Server Signaling Functions"; MariaDB
knowledge base and MySQL reference, PROCESSLIST, INNODB_TRX, KILL. Never does: see replication, background workers or
sessions of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from quell.errors import Permanent
from quell.plugins.actions._answer import APPLICATION
from quell.plugins.actions._database import Session
from quell.plugins.actions._sql import MYSQL, POSTGRESQL, plain

_MOST = 10_000
_IN_TRANSACTION = frozenset({"idle in transaction", "idle in transaction (aborted)"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must all be true of a session. Times are seconds."""

    roles: tuple[str, ...] = ()
    datname: str | None = None
    states: tuple[str, ...] = ()
    idle_in_transaction_over: float | None = None
    idle_over: float | None = None
    running_over: float | None = None
    application: str | None = None
    pids: tuple[int, ...] = ()
    blocking: bool = False
    never_applications: tuple[str, ...] = ()
    never_roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """One session as it was. ``started`` and ``transaction`` (server's own words) say whether it is still the same."""

    pid: int
    role: str
    datname: str
    application: str
    state: str
    state_s: float
    age_s: float
    started: str
    transaction: str
    query: str

    def __str__(self) -> str:
        words = " ".join(self.query.split())
        asked = f": {words[:80]}{'…' if len(words) > 80 else ''}" if words else ""
        program = f" ({self.application})" if self.application else ""
        return f"{self.pid} {self.role}@{self.datname}{program} {self.state} for {self.state_s:.0f} s{asked}"


_PG_SESSIONS = """
SELECT pid, coalesce(usename::text, '') AS role, coalesce(datname::text, '') AS datname,
       coalesce(application_name, '') AS application, coalesce(state, '') AS state,
       greatest(extract(epoch FROM clock_timestamp() - state_change), 0)::float8 AS state_s,
       greatest(extract(epoch FROM clock_timestamp() - backend_start), 0)::float8 AS age_s,
       coalesce(backend_start::text, '') AS started, coalesce(xact_start::text, '') AS transaction,
       coalesce(query, '') AS query, backend_type IS NULL AS hidden
FROM pg_stat_activity
WHERE (backend_type = 'client backend' OR (backend_type IS NULL AND datname IS NOT NULL))
  AND pid <> pg_backend_pid() AND application_name <> $1
ORDER BY pid
"""
_PG_ROOTS = """
WITH waiting AS (
  SELECT pid, unnest(pg_blocking_pids(pid)) AS blocker FROM pg_stat_activity WHERE wait_event_type = 'Lock'
)
SELECT DISTINCT blocker AS pid FROM waiting WHERE blocker <> 0 AND blocker NOT IN (SELECT pid FROM waiting)
"""
# The second look and the signal are one statement: between them no other session can get the same process id.
_PG_END = """
SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity
WHERE pid = $1 AND backend_start::text = $2 AND coalesce(xact_start::text, '') = $3 AND pid <> pg_backend_pid()
"""
_PG_THERE = "SELECT pid FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2"

_MY_SESSIONS = """
SELECT p.ID AS pid, p.USER AS role, coalesce(p.DB, '') AS datname, p.COMMAND AS command,
       coalesce(p.TIME, 0) AS state_s, coalesce(cast(t.trx_id AS char), '') AS transaction,
       coalesce(left(p.INFO, 500), '') AS query
FROM information_schema.PROCESSLIST p
LEFT JOIN information_schema.INNODB_TRX t ON t.trx_mysql_thread_id = p.ID
WHERE p.ID <> connection_id() AND p.COMMAND NOT LIKE 'Binlog Dump%%' AND p.COMMAND NOT IN ('Daemon', 'Killed')
  AND p.USER NOT IN ('system user', 'event_scheduler', 'mysql.session', 'unauthenticated user')
  AND (%s = '' OR p.ID = %s)
ORDER BY p.ID
"""
_MY_ROOTS_MARIADB = """
SELECT DISTINCT b.trx_mysql_thread_id AS pid
FROM information_schema.INNODB_LOCK_WAITS w
JOIN information_schema.INNODB_TRX b ON b.trx_id = w.blocking_trx_id
WHERE w.blocking_trx_id NOT IN (SELECT requesting_trx_id FROM information_schema.INNODB_LOCK_WAITS)
"""
_MY_ROOTS_MYSQL = """
SELECT DISTINCT b.trx_mysql_thread_id AS pid
FROM performance_schema.data_lock_waits w
JOIN information_schema.INNODB_TRX b ON b.trx_id = w.BLOCKING_ENGINE_TRANSACTION_ID
WHERE w.BLOCKING_ENGINE_TRANSACTION_ID NOT IN
  (SELECT REQUESTING_ENGINE_TRANSACTION_ID FROM performance_schema.data_lock_waits)
"""


async def find(session: Session, wanted: Wanted) -> list[Seen]:
    """The sessions that fit, by process id. Raises ``Permanent`` (invalid) for what the server does not tell."""
    if session.dialect == POSTGRESQL:
        every = await _postgres(session, wanted)
    elif session.dialect == MYSQL:
        if wanted.application or wanted.never_applications:
            raise Permanent("MySQL does not tell a session's application; use role", "invalid")
        every = await _mysql(session)
    else:
        raise Permanent("SQLite has no sessions to end", "invalid")
    roots = await _roots(session) if wanted.blocking else None
    return [one for one in every if _fits(one, wanted) and (roots is None or one.pid in roots)]


def _fits(one: Seen, wanted: Wanted) -> bool:
    if _any_match(one.application, wanted.never_applications) or _any_match(one.role, wanted.never_roles):
        return False
    idle = one.state == "idle"
    checks = (
        not wanted.roles or one.role in wanted.roles,
        wanted.datname is None or one.datname == wanted.datname,
        not wanted.states or one.state in wanted.states,
        wanted.application is None or fnmatchcase(one.application, wanted.application),
        not wanted.pids or one.pid in wanted.pids,
        _over(one, wanted.idle_in_transaction_over, one.state in _IN_TRANSACTION),
        _over(one, wanted.idle_over, idle),
        _over(one, wanted.running_over, one.state == "active"),
    )
    return all(checks)


def _over(one: Seen, seconds: float | None, right_state: bool) -> bool:
    return seconds is None or (right_state and one.state_s >= seconds)


def _any_match(text: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


async def _roots(session: Session) -> set[int]:
    if session.dialect == POSTGRESQL:
        answer = await session.run(plain(_PG_ROOTS), _MOST)
    else:
        version = str((await session.run(plain("SELECT version() AS v"))).rows[0]["v"])
        answer = await session.run(plain(_MY_ROOTS_MARIADB if "MariaDB" in version else _MY_ROOTS_MYSQL), _MOST)
    return {int(row["pid"]) for row in answer.rows}


async def _postgres(session: Session, wanted: Wanted) -> list[Seen]:
    answer = await session.run(plain(_PG_SESSIONS, APPLICATION), _MOST)
    rows = [(row.pop("hidden"), Seen(**row)) for row in answer.rows]
    # Of a session whose state is hidden from this role, only who and where is known: "none fits" would be a guess.
    known = replace(wanted, states=(), idle_in_transaction_over=None, idle_over=None, running_over=None, blocking=False)
    if unseen := sum(hidden and _fits(one, known) for hidden, one in rows):
        raise Permanent(f"{unseen} sessions cannot be looked into: this role needs pg_read_all_stats", "denied")
    return [one for hidden, one in rows if not hidden]


async def _mysql(session: Session, pid: int | str = "") -> list[Seen]:
    answer = await session.run(plain(_MY_SESSIONS, pid, pid), _MOST)
    return [_mysql_seen(row) for row in answer.rows]


def _mysql_seen(row: dict[str, Any]) -> Seen:
    # PROCESSLIST counts the time in the present state only: a session is at least that old.
    state = "active" if row["command"] != "Sleep" else "idle in transaction" if row["transaction"] else "idle"
    seconds = float(row["state_s"])
    return Seen(
        pid=int(row["pid"]), role=str(row["role"]), datname=str(row["datname"]), application="", state=state,
        state_s=seconds, age_s=seconds, started="", transaction=str(row["transaction"]), query=str(row["query"]),
    )  # fmt: skip


async def end(session: Session, one: Seen) -> bool:
    """Whether it was ended; False when it is gone or no longer the same. Raises ``Permanent`` (denied)."""
    if session.dialect == POSTGRESQL:
        answer = await session.run(plain(_PG_END, one.pid, one.started, one.transaction))
        return bool(answer.rows and answer.rows[0]["ended"])
    now = await _mysql(session, one.pid)
    # A MySQL connection id is not used again while the server runs, so only the transaction may have changed.
    if not now or now[0].transaction != one.transaction or now[0].role != one.role:
        return False
    await session.run(plain(f"KILL CONNECTION {one.pid:d}"))
    return True


async def still_there(session: Session, ended: Sequence[Seen]) -> list[Seen]:
    left = []
    for one in ended:
        if session.dialect == POSTGRESQL:
            there = bool((await session.run(plain(_PG_THERE, one.pid, one.started))).rows)
        else:
            there = bool(await _mysql(session, one.pid))
        if there:
            left.append(one)
    return left
