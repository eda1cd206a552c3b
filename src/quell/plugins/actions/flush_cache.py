"""Removes cached keys by pattern from Redis, in small batches that do not block the server.

```yaml
action: {type: flush_cache, config: {connection: cache, pattern: 'query-cache:*', max_keys: 50000}}
```

``target: query-cache`` means the pattern ``query-cache:*``. A pattern that fits every key is refused unless ``all``
says so. More than ``max_keys`` is refused before the first is removed. Never does: FLUSHALL, FLUSHDB, KEYS.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, model_validator

from quell.errors import Permanent
from quell.plugins.actions import _redis
from quell.ports import Connects, Effect, FactSpec, Preview, Probe, Reading, Risk
from quell.ports import Params as PortParams

RISK = Risk.MEDIUM  # a cold cache is load on what stands behind it
IDEMPOTENT = True  # what is gone is gone
ALIASES = ("clear_cache", "cache.invalidate")
FACTS: dict[str, FactSpec] = {"keys": "number"}
LIMITS = {"max_keys": "the most keys that one run may remove"}
_SHOWN = 10


class Params(PortParams):
    """``pattern`` as SCAN MATCH reads it (``*``, ``?``, ``[a-z]``), or ``target``, a prefix before a colon."""

    connection: Annotated[str | None, Connects(("redis",))] = Field(
        default=None, validation_alias=AliasChoices("connection", "cache", "redis")
    )
    """The Redis; may be left out when there is only one."""
    service: str | None = None
    """The catalogue's service this is about; by default the incident's."""
    pattern: str = Field(default="", max_length=500)
    target: str = Field(default="", max_length=500)
    all: bool = False
    """Says that a pattern which fits every key is meant."""
    max_keys: int = Field(default=100_000, ge=1, le=10_000_000)
    """More that fit are refused, before the first is removed."""
    batch: int = Field(default=500, ge=1, le=5_000)
    """How many keys are scanned and removed at a time."""

    @model_validator(mode="before")
    @classmethod
    def _just_the_prefix(cls, value: Any) -> Any:
        return {"target": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _not_everything(self) -> Self:
        if bool(self.pattern) == bool(self.target):
            raise ValueError("say either pattern or target")
        if not self.match.strip("*?") and not self.all:
            raise ValueError(f"the pattern {self.match!r} fits every key; all: true says that this is meant")
        return self

    @property
    def match(self) -> str:
        return self.pattern or f"{_literal(self.target)}:*"


def _literal(text: str) -> str:
    """The text with the characters escaped that a pattern would read as its own."""
    return "".join("\\" + letter if letter in "*?[]^\\" else letter for letter in text)


async def dry_run(params: Params, probe: Probe) -> Preview:
    """Counts the keys. Raises ``Permanent`` (refused) when there are too many."""
    connection = _redis.redis_connection(probe, params.connection)
    async with _redis.client(connection) as client:
        found = await _matching(client, params)
    some = ", ".join(sorted(_redis.shown(key, 60) for key in list(found)[:_SHOWN]))
    more = ", …" if len(found) > _SHOWN else ""
    return Preview(
        call=f"SCAN MATCH {params.match} and UNLINK {len(found)} keys on {connection.name}",
        targets=(f"{connection.name}/{params.match}",),
        before=f"{len(found)} keys" + (f": {some}{more}" if some else ""),
        after="0 keys",
        magnitude=len(found),
        facts={"keys": len(found)},
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Permanent`` (refused) before anything is removed; interrupted, says how many keys are gone."""
    connection = _redis.redis_connection(probe, params.connection)
    removed = 0
    try:
        async with _redis.client(connection) as client:
            found = list(await _matching(client, params))
            for start in range(0, len(found), params.batch):
                removed += await client.unlink(*found[start : start + params.batch])
    except asyncio.CancelledError as error:
        error.add_note(f"cancelled; at least {removed} keys were removed from {connection.name}")
        raise
    return Effect(
        summary=f"removed {removed} keys {params.match} from {connection.name}",
        output={"removed": removed, "pattern": params.match},
        changed=removed > 0,
    )


async def observe(params: Params, probe: Probe) -> Reading:
    """How many keys fit now, counted up to one more than ``max_keys``."""
    connection = _redis.redis_connection(probe, params.connection)
    count = 0
    async with _redis.client(connection) as client:
        seen: set[bytes] = set()
        async for keys in _scan(client, params):
            seen.update(keys)
            count = len(seen)
            if count > params.max_keys:
                break
    return Reading(facts={"keys": count}, summary=f"{count} keys {params.match}", observed_at=probe.now())


async def _matching(client: Any, params: Params) -> set[bytes]:
    found: set[bytes] = set()  # SCAN may give a key twice
    async for keys in _scan(client, params):
        found.update(keys)
        if len(found) > params.max_keys:
            raise Permanent(f"more than {params.max_keys} keys fit {params.match!r}", "refused")
    return found


async def _scan(client: Any, params: Params) -> AsyncIterator[list[bytes]]:
    cursor: int = 0
    while True:
        cursor, keys = await client.scan(cursor, match=params.match, count=1_000)
        yield keys
        if cursor == 0:
            return
