"""Makes a PostgreSQL replica the primary, then points its users there. A point of no return.

```yaml
action:
  type: failover_db
  config:
    to: payments-replica-1
    primary: payments-primary
    max_lag: 0
    repoint:
    - {file: /etc/payment/database.json, key: database.address}
    - {haproxy: /run/haproxy/admin.sock, server: payments/primary}
```

Refused while the old primary still takes writes (two primaries are split brain), when the replica is not one, or when
it lags more than ``max_lag``. A reader of the lag of a dead primary sees only what the replica has received: fence the
old primary first. Source: PostgreSQL 15, "Recovery Control Functions". Never does: start the old primary again, offer
an undo.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from quell import addresses
from quell.errors import Permanent, Transient
from quell.plugins.actions import _database, _repoint, _sql
from quell.plugins.actions._fields import Bytes, Seconds
from quell.ports import Connection, Connects, Effect, FactSpec, Preview, Probe, Reading, Risk
from quell.ports import Params as PortParams

RISK = Risk.IRREVERSIBLE
IDEMPOTENT = True  # a primary stays one, an address stays pointed
ALIASES = ("promote_replica",)
FACTS: dict[str, FactSpec] = {
    "reached": "bool",
    "in_recovery": "bool",
    "writable": "bool",
    "lag": "bytes:bare",
}
POSTCONDITION = "writable"
SETTLES = True
POSTCONDITION_WITHIN_S = 60.0
LIMITS = {"max_lag": "the most bytes of the write-ahead log that may be lost"}
_POLL_S = 0.05
_TYPES = ("postgresql", "postgres")

_LOOK = """
SELECT pg_is_in_recovery() AS in_recovery, current_setting('transaction_read_only') = 'on' AS read_only,
       CASE WHEN pg_is_in_recovery() THEN
         coalesce(pg_wal_lsn_diff(coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()),
                                  pg_last_wal_replay_lsn()), 0)::float8
       ELSE 0 END AS unreplayed,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text ELSE pg_current_wal_lsn()::text END AS lsn,
       (SELECT system_identifier::text FROM pg_control_system()) AS cluster
"""
_DIFFERENCE = "SELECT greatest(pg_wal_lsn_diff($1::text::pg_lsn, $2::text::pg_lsn), 0)::float8 AS lag"
_PROMOTE = "SELECT pg_promote(true, $1::int) AS promoted"


class Params(PortParams):
    """``to`` and ``primary`` are connections. ``primary_may_live``: a planned switch, its writes stopped by
    others. ``address``: where users reach the new primary, if not where ``to`` says.
    """

    to: Annotated[str, Connects(_TYPES)] = Field(min_length=1)
    primary: Annotated[str | None, Connects(_TYPES, default=False)] = None
    service: str | None = None
    """The catalogue's service this is about; by default the incident's."""
    max_lag: Bytes = 16 * 2**20
    """Bytes of the write-ahead log that may be lost."""
    address: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]+:[0-9]{1,5}$")
    within: Seconds = 60.0
    """How long the promotion may take."""
    primary_may_live: bool = False
    repoint: tuple[_repoint.Repoint, ...] = Field(default=(), max_length=20)
    """Where users of the database learn the new address."""


async def dry_run(params: Params, probe: Probe) -> Preview:
    """Raises ``Permanent`` (refused) when it is no replica, lags too much, or the old primary takes writes."""
    to = _connection(probe, params.to)
    async with _database.session(to) as session:
        seen = _database.one(await session.run(_sql.plain(_LOOK)))
        if not seen["in_recovery"]:
            raise Permanent(f"{to.name} is no replica: it takes writes already", "refused")
        lag, how = await _lag(params, probe, session, seen)
    places = [place.title(_address(params, to)) for place in params.repoint]
    pointing = [f"{place.place} points to {await place.now(probe)}" for place in params.repoint]
    return Preview(
        call="; ".join([f"SELECT pg_promote() on {to.name}", *places]),
        targets=(to.name, *(place.place for place in params.repoint)),
        before=f"{to.name} is a replica, {lag:.0f} bytes behind ({how})" + "".join(f"; {one}" for one in pointing),
        after=f"{to.name} is the primary" + (f", {len(places)} addresses point to it" if places else ""),
        magnitude=1,
        undo=None,
        facts={"lag": lag, "in_recovery": True, "writable": False, "reached": True},
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Permanent``, saying whether it was promoted and which addresses point to it by then."""
    to = _connection(probe, params.to)
    done: list[str] = []
    try:
        async with _database.session(to) as session:
            seen = _database.one(await session.run(_sql.plain(_LOOK)))
            if seen["in_recovery"]:
                lag, _ = await _lag(params, probe, session, seen)
                for place in params.repoint:
                    await place.now(probe)  # what could not be changed afterwards must be known before
                await _promote(params, session, to)
                done.append(f"promoted {to.name}, {lag:.0f} bytes behind")
        for place in params.repoint:
            done.append(await place.apply(_address(params, to), probe))
    except asyncio.CancelledError as error:
        error.add_note(f"cancelled; {_story(to, done)}; whether it is a primary now must be looked at")
        raise
    except (Transient, Permanent) as error:
        if not done:
            raise
        raise Permanent(f"{error}; before that: {'; '.join(done)}", error.error_class) from error
    if not done:
        return Effect(summary=f"{to.name} is the primary already", changed=False)
    return Effect(summary="; ".join(done), output={"primary": to.name, "done": done})


async def observe(params: Params, probe: Probe) -> Reading:
    """A server that cannot be reached is not writable, and says so with ``reached``."""
    to = _connection(probe, params.to)
    try:
        async with _database.session(to) as session:
            seen = _database.one(await session.run(_sql.plain(_LOOK)))
    except Transient as error:
        facts = {"reached": False, "in_recovery": False, "writable": False, "lag": 0.0}
        return Reading(facts=facts, summary=str(error), observed_at=probe.now())
    facts = {
        "reached": True,
        "in_recovery": seen["in_recovery"],
        "writable": not seen["in_recovery"] and not seen["read_only"],
        "lag": seen["unreplayed"],
    }
    role = "replica" if seen["in_recovery"] else "primary"
    return Reading(facts=facts, summary=f"{to.name} is a {role}", observed_at=probe.now())


def _connection(probe: Probe, name: str) -> Connection:
    return probe.connection(name, *_TYPES)


def _address(params: Params, to: Connection) -> tuple[str, int]:
    if addresses.flaw(to.url):
        raise Permanent(f"{to.name}: its address cannot be read", "invalid")
    parts = urlsplit(f"//{params.address}" if params.address else to.url)
    return parts.hostname or "127.0.0.1", parts.port or 5432


def _story(to: Connection, done: list[str]) -> str:
    return "; ".join(done) or f"{to.name} may have been asked to become the primary"


async def _lag(params: Params, probe: Probe, session: _database.Session, seen: dict[str, Any]) -> tuple[float, str]:
    """Bytes behind, and how that is known. Raises ``Permanent`` (refused)."""
    lag, how = float(seen["unreplayed"]), "of what it received"
    if params.primary is not None:
        primary = await _look_at_primary(_connection(probe, params.primary))
        if primary is None:
            how = "of what it received; the primary does not answer"
        else:
            if primary["cluster"] != seen["cluster"]:
                raise Permanent(
                    f"{params.to} is not a replica of {params.primary}: another database cluster", "refused"
                )
            if not primary["in_recovery"] and not params.primary_may_live:
                raise Permanent(
                    f"{params.primary} still takes writes; fence it before {params.to} is promoted", "refused"
                )
            answer = await session.run(_sql.plain(_DIFFERENCE, primary["lsn"], seen["lsn"]))
            lag, how = float(_database.one(answer)["lag"]), "of what the primary has written"
    if lag > params.max_lag:
        raise Permanent(f"{params.to} is {lag:.0f} bytes behind, over the limit of {params.max_lag}", "refused")
    return lag, how


async def _look_at_primary(primary: Connection) -> dict[str, Any] | None:
    """None when it cannot be reached. A server that is full or locked is alive: that is not None but an error."""
    try:
        async with _database.session(primary) as session:
            return _database.one(await session.run(_sql.plain(_LOOK)))
    except Transient as error:
        if error.error_class in ("unreachable", "dns"):
            return None
        raise Permanent(f"{primary.name} is alive: {error}", "refused") from error


async def _promote(params: Params, session: _database.Session, to: Connection) -> None:
    answer = await session.run(_sql.plain(_PROMOTE, max(1, int(params.within))))
    loop = asyncio.get_running_loop()
    deadline = loop.time() + params.within
    while _database.one(await session.run(_sql.plain(_LOOK)))["in_recovery"]:
        if loop.time() >= deadline:
            said = "was told to" if _database.one(answer)["promoted"] else "would not"
            raise Permanent(f"{to.name} {said} become the primary, and is not one after {params.within:g} s", "timeout")
        await asyncio.sleep(_POLL_S)
