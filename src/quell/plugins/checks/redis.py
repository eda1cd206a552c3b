"""Ask a Redis server how it is: memory, clients, replication, hit rate, and the length of a queue.

    - id: cache
      type: redis
      config:
        connection: cache          # a connection of type redis; may be left out when there is only one
        key: jobs:waiting          # optional: a list, stream, set, sorted set or hash to count
      interpret: {healthy: memory_percent < 80%, warning: memory_percent >= 80%, critical: memory_percent >= 95%}

One connection: PING is timed, then INFO, the slow log's length and the key's length are read. ``hit_rate`` and
``keyspace_hits_ratio`` count since the server started. A fact that the server's rights or version do not give is
missing, with the reason. Source: redis.io, commands INFO, SLOWLOG, TYPE. Never does: write, scan keys.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import redis.asyncio
from pydantic import Field
from redis import exceptions

from quell import addresses, ports
from quell.errors import Permanent, QuellError, Transient
from quell.ports import Connection, Connects, FactSpec, Missing, Probe, Reading

FACTS: Mapping[str, FactSpec] = {
    "latency": "duration:ms", "used_memory": "bytes", "maxmemory": "bytes", "memory_percent": "percent:bare",
    "fragmentation": "number", "connected_clients": "number", "maxclients": "number",
    "clients_percent": "percent:bare", "blocked_clients": "number", "role": "string", "connected_replicas": "number",
    "replication_lag": "duration:s", "replication_up": "bool", "evicted_keys": "number",
    "keyspace_hits_ratio": "ratio", "hit_rate": "percent:bare", "ops_per_second": "number", "slowlog_len": "number",
    "queue_length": "number", "key_exists": "bool", "loading": "bool", "uptime": "duration:s", "version": "string",
    "persistence_ok": "bool",
}  # fmt: skip

_LENGTH = {"list": "LLEN", "stream": "XLEN", "zset": "ZCARD", "set": "SCARD", "hash": "HLEN", "string": "STRLEN"}


class Params(ports.Params):
    """``key`` is counted by its type."""

    connection: Annotated[str | None, Connects(("redis",))] = None
    """The server to ask; may be left out when there is only one."""
    key: str | None = Field(default=None, min_length=1, max_length=1024)


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Transient`` (refused, timeout, unreachable, dns, exhausted), ``Permanent`` (denied, invalid, tls)."""
    connection = probe.connection(params.connection, "redis")
    try:
        client = _client(connection, probe.timeout_s)
    except (ValueError, LookupError):
        raise Permanent(f"{connection.name}: its address cannot be read", "invalid") from None
    try:
        facts, missing = await _ask(client, params.key)
    except (exceptions.RedisError, OSError) as error:
        raise _failure(error, connection) from None
    finally:
        await client.aclose()
    evidence = {"commands": ["PING", "INFO", "SLOWLOG LEN"], "connection": connection.name, "key": params.key}
    return Reading(facts, missing=missing, summary=_summary(facts), observed_at=probe.now(), evidence=evidence)


def _client(connection: Connection, timeout_s: float) -> redis.asyncio.Redis:
    """A client of one connection that never tries twice: retrying is the engine's. Raises ValueError for the url."""
    options: dict[str, Any] = {
        "username": connection.username or None, "password": connection.password or None,
        "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "retry": None, "retry_on_error": None,
        "decode_responses": True, "encoding_errors": "replace", "single_connection_client": True,
    }  # fmt: skip
    return redis.asyncio.Redis.from_url(connection.url, **{k: v for k, v in options.items() if v is not None})


async def _ask(client: redis.asyncio.Redis, key: str | None) -> tuple[dict[str, Any], dict[str, Missing]]:
    missing: dict[str, Missing] = {}
    await client.initialize()
    started = time.perf_counter()
    with suppress(exceptions.BusyLoadingError):  # loading is a fact of its own; INFO answers meanwhile
        await _call(client, "PING")
    facts: dict[str, Any] = {"latency": time.perf_counter() - started}
    info: dict[str, Any] = await _call(client, "INFO")
    if not isinstance(info, dict):
        raise exceptions.InvalidResponse("INFO does not answer as Redis does")
    _server(info, facts, missing)
    _replication(info, facts, missing)
    await _slowlog(client, facts, missing)
    if key is not None:
        await _length(client, key, facts, missing)
    else:
        missing |= dict.fromkeys(("queue_length", "key_exists"), Missing("no key is asked for"))
    return facts, missing


async def _call(client: redis.asyncio.Redis, *words: str) -> Any:
    return await client.execute_command(*words)  # type: ignore[no-untyped-call]


def _server(info: Mapping[str, Any], facts: dict[str, Any], missing: dict[str, Missing]) -> None:
    plain = {
        "used_memory": "used_memory", "maxmemory": "maxmemory", "connected_clients": "connected_clients",
        "maxclients": "maxclients", "blocked_clients": "blocked_clients", "evicted_keys": "evicted_keys",
        "fragmentation": "mem_fragmentation_ratio", "ops_per_second": "instantaneous_ops_per_sec",
        "uptime": "uptime_in_seconds",
    }  # fmt: skip
    for fact, field in plain.items():
        if isinstance(info.get(field), int | float):
            facts[fact] = info[field]
        else:
            missing[fact] = Missing(f"INFO has no {field}")
    facts |= {"version": str(info.get("redis_version", "")), "loading": bool(info.get("loading", 0))}
    statuses = [info.get(name) for name in ("rdb_last_bgsave_status", "aof_last_write_status")]
    facts["persistence_ok"] = all(status in ("ok", None) for status in statuses)
    _share(facts, missing, "memory_percent", "used_memory", "maxmemory", "maxmemory is 0: the server has no limit")
    _share(facts, missing, "clients_percent", "connected_clients", "maxclients", "the limit of clients is not known")
    hits, misses = info.get("keyspace_hits", 0), info.get("keyspace_misses", 0)
    if hits + misses:
        ratio = hits / (hits + misses)
        facts |= {"keyspace_hits_ratio": ratio, "hit_rate": 100 * ratio}
    else:
        missing |= dict.fromkeys(("keyspace_hits_ratio", "hit_rate"), Missing("no key was looked up yet"))


def _share(facts: dict[str, Any], missing: dict[str, Missing], fact: str, part: str, whole: str, reason: str) -> None:
    if part in facts and facts.get(whole):
        facts[fact] = 100 * facts[part] / facts[whole]
    else:
        missing[fact] = Missing(reason)


def _replication(info: Mapping[str, Any], facts: dict[str, Any], missing: dict[str, Missing]) -> None:
    """``replication_lag``: of a replica, since it last heard its primary; of a primary, of its slowest replica."""
    facts["role"] = {"master": "primary", "slave": "replica"}.get(str(info.get("role")), str(info.get("role", "")))
    facts["connected_replicas"] = int(info.get("connected_slaves", 0))
    if info.get("role") == "slave":
        facts["replication_up"] = info.get("master_link_status") == "up"
        up, down = info.get("master_last_io_seconds_ago", -1), info.get("master_link_down_since_seconds", -1)
        seconds = up if facts["replication_up"] else down
        reason = "the primary was never reached"
    else:
        replicas = [info.get(f"slave{number}") for number in range(facts["connected_replicas"])]
        seen = [one for one in replicas if isinstance(one, dict)]
        lags = [one["lag"] for one in seen if isinstance(one.get("lag"), int)]
        seconds, reason = max(lags, default=-1), "the server has no replicas"
        if seen:
            facts["replication_up"] = all(one.get("state") == "online" for one in seen)
        else:
            missing["replication_up"] = Missing(reason)
    if isinstance(seconds, int) and seconds >= 0:
        facts["replication_lag"] = seconds
    else:
        missing["replication_lag"] = Missing(reason)


async def _slowlog(client: redis.asyncio.Redis, facts: dict[str, Any], missing: dict[str, Missing]) -> None:
    try:
        facts["slowlog_len"] = int(await _call(client, "SLOWLOG LEN"))
    except exceptions.ResponseError as error:
        missing["slowlog_len"] = Missing(f"SLOWLOG LEN: {error}", "denied")


async def _length(client: redis.asyncio.Redis, key: str, facts: dict[str, Any], missing: dict[str, Missing]) -> None:
    """A key that is not there is an empty queue: Redis removes an emptied list."""
    try:
        kind = str(await _call(client, "TYPE", key))
        if kind == "none":
            facts |= {"queue_length": 0, "key_exists": False}
        elif kind in _LENGTH:
            facts |= {"queue_length": int(await _call(client, _LENGTH[kind], key)), "key_exists": True}
        else:
            facts["key_exists"] = True
            missing["queue_length"] = Missing(f"{key} is a {kind}, which has no length", "invalid")
    except exceptions.ResponseError as error:
        missing |= dict.fromkeys(("queue_length", "key_exists"), Missing(f"{key}: {error}", "denied"))


_NOT_REACHED = {"dns": "its name cannot be resolved", "refused": "connection refused"}


def _failure(error: Exception, connection: Connection) -> QuellError:
    """In the house's words; the login is never in them."""
    where = f"{connection.name} at {addresses.shown(connection.url)}"
    text = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    if isinstance(error, exceptions.AuthenticationError | exceptions.NoPermissionError):
        return Permanent(f"{where}: the login is refused or may not ask this", "denied")
    if "max number of clients reached" in text:
        return Transient(f"{where}: max number of clients reached", "exhausted")
    if isinstance(error, exceptions.BusyLoadingError):
        return Transient(f"{where}: loading its data", "busy")
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return Transient(f"{where}: no answer in time", "timeout")
    if isinstance(error, exceptions.ConnectionError | OSError):
        kind = _kind(error)
        return Transient(f"{where}: {_NOT_REACHED.get(kind, 'the connection broke')}", kind)
    if isinstance(error, exceptions.InvalidResponse):
        return Permanent(f"{where}: this is not Redis", "invalid")
    if isinstance(error, exceptions.ResponseError) and text.startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
        return Permanent(f"{where}: the login is refused or may not ask this", "denied")
    return Permanent(f"{where}: {text}", "failed")


def _kind(error: BaseException) -> str:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror):
            return "dns"
        if isinstance(seen, ConnectionRefusedError):
            return "refused"
        seen = seen.__cause__ or seen.__context__
    # asyncio joins the refusals of several addresses into one error that has only their text.
    return "refused" if "Connect call failed" in str(error) or "Connection refused" in str(error) else "unreachable"


def _summary(facts: Mapping[str, Any]) -> str:
    memory = f", memory {facts['memory_percent']:.0f} %" if "memory_percent" in facts else ""
    queue = f", {facts['queue_length']} waiting" if "queue_length" in facts else ""
    return f"{facts['role']} {facts['version']}: {facts.get('connected_clients', '?')} clients{memory}{queue}"
