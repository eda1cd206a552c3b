"""Redis: reached through the check ``redis``; its clock and the rights of its user by commands that change nothing.

Never does: read a key, judge.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from quell.doctor.asked import Failure, bounded
from quell.doctor.clocks import Span, span
from quell.doctor.connections import Reached
from quell.doctor.rights import Rights, of_redis
from quell.errors import Permanent
from quell.ports import Connection
from quell.probe import World

CHECK = "redis"


async def reached(world: World, connection: Connection, timeout_s: float) -> Reached | Failure:
    async def look() -> Reached:
        check = world.registry.check(CHECK)
        params = check.params.model_validate({"connection": connection.name})
        reading = await check.run(params, world.probe(timeout_s=timeout_s))
        said = f"Redis {reading.facts['version']}, {reading.facts['role']},"
        return Reached(float(reading.facts["latency"]), said, await _clock(connection, timeout_s))

    return await bounded(look(), timeout_s)


async def rights(connection: Connection, timeout_s: float) -> Rights | Failure:
    """Raises nothing; a user that may not ask is a failure of the class denied."""

    async def look() -> Rights:
        async with _client(connection, timeout_s) as client:
            try:
                user = str(await _call(client, "ACL", "WHOAMI"))
                told = await _call(client, "ACL", "GETUSER", user)
            except RedisError as error:
                raise Permanent(str(error).splitlines()[0][:200], "denied") from None
        given = dict(told) if isinstance(told, Mapping) else dict(zip(told[::2], told[1::2], strict=True))
        return of_redis(user, [str(flag) for flag in given.get("flags", ())], str(given.get("commands", "")))

    return await bounded(look(), timeout_s)


async def _clock(connection: Connection, timeout_s: float) -> Span | None:
    try:
        async with _client(connection, timeout_s) as client:
            await _call(client, "PING")
            before, started = time.time(), time.monotonic()
            seconds, micros = await client.time()
            return span(seconds + micros / 1e6, before, before + time.monotonic() - started)
    except RedisError:
        return None  # a user that may not ask for it


def _client(connection: Connection, timeout_s: float) -> Redis:
    options: dict[str, Any] = {"username": connection.username, "password": connection.password}
    return Redis.from_url(
        connection.url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, decode_responses=True,
        single_connection_client=True, **{key: value for key, value in options.items() if value},
    )  # fmt: skip


async def _call(client: Redis, *words: str) -> Any:
    return await client.execute_command(*words)  # type: ignore[no-untyped-call]
