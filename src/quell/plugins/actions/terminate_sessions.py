"""Ends database sessions by what they are and do, and nothing else: PostgreSQL and MySQL/MariaDB.

```yaml
action: {type: terminate_sessions, config: {role: '${leak.first.usename}', idle_in_transaction_over: 5m}}
guard: {max_sessions: 40, never_application: [pg_dump, migrate*]}
```

All filters must fit. ``blocking: true`` takes only the roots of lock chains: who blocks and is not blocked. More than
``max_sessions`` is refused, never cut down. A session is ended only if it is still the one that was seen: same start,
same transaction. Never does: end its own sessions, replication, background workers, or a session that somebody got
under a process id used before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from quell.errors import Permanent, Transient
from quell.plugins.actions import _database, _sessions
from quell.plugins.actions._fields import Seconds
from quell.ports import Connects, Effect, FactSpec, Observation, Preview, Probe, Reading, Risk
from quell.ports import Params as PortParams

RISK = Risk.HIGH
IDEMPOTENT = False  # a pool that came back would be ended again
ALIASES = ("kill_sessions", "terminate_connections")
FACTS: dict[str, FactSpec] = {"sessions": "number", "remaining": "number"}
POSTCONDITION = "remaining == 0"
SETTLES = True
POSTCONDITION_WITHIN_S = 30.0
LIMITS = {
    "max_sessions": "the most sessions that one run may end",
    "never_application": "applications (names or patterns) whose sessions are never ended",
    "never_role": "roles whose sessions are never ended",
}
GONE_WITHIN_S, _POLL_S, _SHOWN = 5.0, 0.05, 50


class Params(PortParams):
    """At least one filter. ``application`` and the ``never_…`` lists take ``*`` and ``?``.

    ``new_within``: a session younger than this is not counted as remaining, because a pool reconnects at once.
    """

    database: Annotated[str | None, Connects(tuple(_database.DIALECTS))] = None
    """The connection; may be left out when there is only one."""
    service: str | None = None
    """The catalogue's service this is about; by default the incident's."""
    role: tuple[str, ...] = Field(default=(), validation_alias=AliasChoices("role", "user", "roles"))
    """Sessions of these roles."""
    datname: str | None = None
    """Sessions in this database."""
    state: tuple[str, ...] = ()
    """Sessions in these states, as the server calls them."""
    idle_in_transaction_over: Seconds | None = None
    """Idle in a transaction for longer than this."""
    idle_over: Seconds | None = None
    """Idle for longer than this."""
    running_over: Seconds | None = None
    """Running one statement for longer than this."""
    application: str | None = None
    pids: tuple[int, ...] = Field(default=(), validation_alias=AliasChoices("pids", "pid"))
    """These sessions only."""
    blocking: bool = False
    """Only roots of lock chains."""
    never_application: tuple[str, ...] = ()
    """Never sessions of these applications."""
    never_role: tuple[str, ...] = ()
    """Never sessions of these roles."""
    max_sessions: int = Field(default=20, ge=1, le=10_000)
    """More that fit are refused."""
    new_within: Seconds = 5.0

    @field_validator("role", "state", "pids", "never_application", "never_role", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str | int) else value

    @model_validator(mode="after")
    def _some_filter(self) -> Self:
        times = (self.idle_in_transaction_over, self.idle_over, self.running_over)
        if not (self.role or self.datname or self.state or self.application or self.pids or self.blocking) and all(
            seconds is None for seconds in times
        ):
            raise ValueError("say which sessions: role, datname, state, application, pids, blocking or an age")
        return self


def _wanted(params: Params) -> _sessions.Wanted:
    return _sessions.Wanted(
        roles=params.role,
        datname=params.datname,
        states=params.state,
        idle_in_transaction_over=params.idle_in_transaction_over,
        idle_over=params.idle_over,
        running_over=params.running_over,
        application=params.application,
        pids=params.pids,
        blocking=params.blocking,
        never_applications=params.never_application,
        never_roles=params.never_role,
    )


def _within(params: Params, found: Sequence[_sessions.Seen]) -> None:
    if len(found) > params.max_sessions:
        raise Permanent(f"{len(found)} sessions fit, over the limit of {params.max_sessions}", "refused")


async def dry_run(params: Params, probe: Probe) -> Preview:
    """Lists the sessions. Raises ``Permanent`` (refused) when there are too many."""
    connection, _ = _database.sql_connection(probe, params.database)
    async with _database.session(connection) as session:
        found = await _sessions.find(session, _wanted(params))
    _within(params, found)
    listed = "; ".join(str(one) for one in found[:_SHOWN])
    return Preview(
        call=f"terminate {len(found)} sessions on {connection.name}: {_pids(found)}",
        targets=tuple(f"{connection.name}/{one.pid}" for one in found) or (connection.name,),
        before=listed or "no session fits",
        after="these sessions are ended, their transactions rolled back",
        magnitude=len(found),
        undo=None,
        facts={"sessions": len(found)},
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Permanent``: refused (too many), denied (lacks the right), failed (some are still there)."""
    connection, _ = _database.sql_connection(probe, params.database)
    ended: list[_sessions.Seen] = []
    try:
        async with _database.session(connection) as session:
            found = await _sessions.find(session, _wanted(params))
            _within(params, found)
            for one in found:
                if await _sessions.end(session, one):
                    ended.append(one)
            left = await _wait_until_gone(session, ended)
    except asyncio.CancelledError as error:
        error.add_note(f"cancelled; ended so far on {connection.name}: {_pids(ended)}")
        raise
    except (Transient, Permanent) as error:
        if not ended:
            raise
        raise Permanent(f"{error}; ended before that: {_pids(ended)}", error.error_class) from error
    if left:
        raise Permanent(
            f"{len(left)} of {len(ended)} sessions are still there after {GONE_WITHIN_S:g} s: {_pids(left)}"
        )
    return Effect(
        summary=f"ended {len(ended)} sessions on {connection.name}",
        output={
            "ended": [str(one) for one in ended[:_SHOWN]],
            "count": len(ended),
            "had_changed": len(found) - len(ended),
        },
        changed=bool(ended),
    )


def _pids(sessions: Sequence[_sessions.Seen]) -> str:
    return ", ".join(str(one.pid) for one in sessions[:_SHOWN]) or "none"


async def observe(params: Params, probe: Probe) -> Reading:
    """``sessions`` that fit now; ``remaining``: those of them that are not new."""
    connection, _ = _database.sql_connection(probe, params.database)
    async with _database.session(connection) as session:
        found = await _sessions.find(session, _wanted(params))
    remaining = [one for one in found if one.age_s >= params.new_within]
    return Reading(
        facts={"sessions": len(found), "remaining": len(remaining)},
        targets=tuple(
            Observation(f"{connection.name}/{one.pid}", {"age": one.age_s}, {"role": one.role}, summary=str(one))
            for one in found[:_SHOWN]
        ),
        summary=f"{len(found)} sessions fit",
        observed_at=probe.now(),
    )


async def _wait_until_gone(session: _database.Session, ended: Sequence[_sessions.Seen]) -> list[_sessions.Seen]:
    """Those that are still there when the time is over: the server ends a session when it next looks up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + GONE_WITHIN_S
    while True:
        left = await _sessions.still_there(session, ended)
        if not left or loop.time() >= deadline:
            return left
        await asyncio.sleep(_POLL_S)
