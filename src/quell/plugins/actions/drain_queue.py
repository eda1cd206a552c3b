"""Moves messages out of a Redis list or stream into a dead-letter queue beside it, so that nothing is lost.

```yaml
action:
  type: drain_queue
  config: {connection: queues, queue: 'payments:jobs', where: {field: order.id, equals: '${poison.first.order}'}}
guard: {max_messages: 100}
```

Without ``where`` and ``ids`` the whole queue is moved. Each batch moves in one step inside Redis (a Lua script), so a
message is always in just one of the two. The default dead-letter queue belongs to this one execution, which is what
lets the undo put back just what it took. Never does: delete a message, change one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Annotated, Any, Self

import orjson
from pydantic import Field, model_validator

from quell.errors import Permanent
from quell.plugins.actions import _redis
from quell.ports import Connects, Effect, FactSpec, Preview, Probe, Reading, Risk
from quell.ports import Params as PortParams

RISK = Risk.HIGH
IDEMPOTENT = False  # twice also takes what arrived in between
ALIASES = ("quarantine_messages",)
FACTS: dict[str, FactSpec] = {"length": "number", "matching": "number"}
LIMITS = {"max_messages": "the most messages that one run may move"}
_PAGE, _SHOWN = 500, 5

# One element leaves the list and joins the other in the same step; one that somebody took meanwhile is left out.
_MOVE_ELEMENTS = """
local moved = 0
for i = 1, #ARGV do
  if redis.call('LREM', KEYS[1], 1, ARGV[i]) == 1 then
    redis.call('RPUSH', KEYS[2], ARGV[i])
    moved = moved + 1
  end
end
return moved
"""
_MOVE_ENTRIES = """
local moved = {}
for i = 1, #ARGV do
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
  if #found == 1 then
    moved[#moved + 1] = redis.call('XADD', KEYS[2], '*', unpack(found[1][2]))
    redis.call('XDEL', KEYS[1], ARGV[i])
  end
end
return moved
"""
_PUT_BACK = """
if redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[2]) then return -1 end
for i = 1, tonumber(ARGV[1]) do redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT') end
return tonumber(ARGV[1])
"""


class Match(PortParams):
    """A message fits when the JSON value at this dotted path equals; in a stream the first part is the field."""

    field: str = Field(min_length=1)
    """A dotted path into the message."""
    equals: str | int | float | bool | None
    """What must be there."""


class Params(PortParams):
    """``to``: the dead-letter queue. ``ids``: stream entry ids, or whole list elements."""

    queue: str = Field(min_length=1)
    """The key of the list or stream."""
    connection: Annotated[str | None, Connects(("redis",))] = None
    """The Redis; may be left out when there is only one."""
    service: str | None = None
    """The catalogue's service this is about; by default the incident's."""
    to: str | None = Field(default=None, min_length=1)
    where: Match | None = None
    """Only messages that fit."""
    ids: tuple[str, ...] = ()
    max_messages: int = Field(default=1_000, ge=1, le=1_000_000)
    """More that fit are refused, before the first is moved."""
    batch: int = Field(default=100, ge=1, le=1_000)
    """How many move in one step."""

    @model_validator(mode="after")
    def _elsewhere(self) -> Self:
        if self.to == self.queue:
            raise ValueError("the dead-letter queue is the queue itself")
        return self

    def dead(self, key: str) -> str:
        return self.to or f"{self.queue}:dead:{hashlib.sha256(key.encode()).hexdigest()[:12]}"


async def dry_run(params: Params, probe: Probe) -> Preview:
    """Raises ``Permanent``: refused (too many), missing (no such queue), invalid (not a list or stream)."""
    connection = _redis.redis_connection(probe, params.connection)
    async with _redis.client(connection) as client:
        kind = await _kind(client, params.queue)
        length = await _length(client, kind, params.queue)
        found = await _matching(client, kind, params)
    dead = params.dead(probe.key)
    return Preview(
        call=f"move {len(found)} of {length} messages from {params.queue} to {dead} on {connection.name}",
        targets=(f"{connection.name}/{params.queue}",),
        before=f"{length} messages; " + (", ".join(_redis.shown(item, 80) for item in found[:_SHOWN]) or "none fits"),
        after=f"{length - len(found)} messages, {len(found)} in {dead}",
        magnitude=len(found),
        undo=f"move them back from {dead}",
        facts={"length": length, "matching": len(found)},
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Permanent`` (refused) before the first is moved; interrupted, says how many were."""
    connection = _redis.redis_connection(probe, params.connection)
    dead, moved, ids = params.dead(probe.key), 0, list[str]()
    try:
        async with _redis.client(connection) as client:
            kind = await _kind(client, params.queue)
            found = await _matching(client, kind, params)
            for start in range(0, len(found), params.batch):
                batch = found[start : start + params.batch]
                if kind == "list":
                    moved += await client.eval(_MOVE_ELEMENTS, 2, params.queue, dead, *batch)
                else:
                    ids += [one.decode() for one in await client.eval(_MOVE_ENTRIES, 2, params.queue, dead, *batch)]
                    moved = len(ids)
            after = await _length(client, kind, dead)
    except asyncio.CancelledError as error:
        error.add_note(f"cancelled; at least {moved} messages were moved from {params.queue} to {dead}, none is lost")
        raise
    return Effect(
        summary=f"moved {moved} messages from {params.queue} to {dead}",
        output={"moved": moved, "to": dead},
        undo={"kind": kind, "dead": dead, "moved": moved, "dead_length": after, "first": ids[:1], "last": ids[-1:]},
        changed=moved > 0,
    )


async def undo(params: Params, effect: Effect, probe: Probe) -> Effect:
    """Puts back what was taken, in order, in front of a list. Raises ``Permanent`` (refused) if others wrote too."""
    kept = effect.undo or {}
    count, dead = int(kept.get("moved", 0)), str(kept.get("dead", ""))
    if not count:
        return Effect(summary="nothing to move back", changed=False)
    connection = _redis.redis_connection(probe, params.connection)
    async with _redis.client(connection) as client:
        if kept["kind"] == "list":
            back = await client.eval(_PUT_BACK, 2, params.queue, dead, count, int(kept["dead_length"]))
            if back < 0:
                raise Permanent(f"{dead} has changed since; look at it and move by hand", "refused")
        else:
            entries = await client.xrange(dead, kept["first"][0], kept["last"][0])
            if len(entries) != count:
                raise Permanent(f"{dead} has changed since; look at it and move by hand", "refused")
            back = len(await client.eval(_MOVE_ENTRIES, 2, dead, params.queue, *[one for one, _ in entries]))
    return Effect(summary=f"moved {back} messages back from {dead} to {params.queue}", output={"moved": back})


async def observe(params: Params, probe: Probe) -> Reading:
    """How long the queue is and how many messages fit, counted up to one more than ``max_messages``."""
    connection = _redis.redis_connection(probe, params.connection)
    async with _redis.client(connection) as client:
        kind = (await client.type(params.queue)).decode()
        if kind == "none":  # Redis has no empty list: emptied is gone
            return Reading(facts={"length": 0, "matching": 0}, summary="the queue is empty", observed_at=probe.now())
        kind = await _kind(client, params.queue)
        length = await _length(client, kind, params.queue)
        found = await _fitting(client, kind, params, params.max_messages + 1)
    return Reading(
        facts={"length": length, "matching": len(found)}, summary=f"{length} messages", observed_at=probe.now()
    )


async def _kind(client: Any, queue: str) -> str:
    kind: str = (await client.type(queue)).decode()
    if kind == "none":
        raise Permanent(f"no queue {queue!r}", "missing")
    if kind not in ("list", "stream"):
        raise Permanent(f"{queue!r} is a {kind}, not a list or a stream", "invalid")
    return kind


async def _length(client: Any, kind: str, queue: str) -> int:
    return int(await (client.llen(queue) if kind == "list" else client.xlen(queue)))


async def _matching(client: Any, kind: str, params: Params) -> list[bytes]:
    found = await _fitting(client, kind, params, params.max_messages + 1)
    if len(found) > params.max_messages:
        raise Permanent(f"more than {params.max_messages} messages fit in {params.queue!r}", "refused")
    return found


async def _fitting(client: Any, kind: str, params: Params, most: int) -> list[bytes]:
    """List elements, or stream entry ids, in order; reads the queue page by page."""
    found: list[bytes] = []
    start: Any = 0 if kind == "list" else "-"
    while len(found) < most:
        if kind == "list":
            page = await client.lrange(params.queue, start, start + _PAGE - 1)
            found += [element for element in page if _fits(params, element, {b"": element})]
            start += _PAGE
        else:
            entries = await client.xrange(params.queue, start, "+", count=_PAGE)
            found += [one for one, fields in entries if _fits(params, one, fields)]
            page = entries
            start = b"(" + entries[-1][0] if entries else start
        if len(page) < _PAGE:
            break
    return found[:most]


def _fits(params: Params, name: bytes, fields: dict[bytes, bytes]) -> bool:
    if params.ids and name.decode("utf-8", "replace") not in params.ids:
        return False
    if params.where is None:
        return True
    path = params.where.field.split(".")
    if b"" in fields:
        return _equal(_at(fields[b""], path), params.where.equals)
    raw = fields.get(path[0].encode())
    if raw is None:
        return False
    if len(path) == 1 and _equal(raw.decode("utf-8", "replace"), params.where.equals):
        return True
    return _equal(_at(raw, path[1:]), params.where.equals)


_ABSENT = object()


def _at(raw: bytes, path: list[str]) -> Any:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return _ABSENT
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _equal(found: Any, wanted: Any) -> bool:
    """As JSON sees it (``true`` is not 1), except that a number may have come through a template as text."""
    if found is _ABSENT or isinstance(found, dict | list):
        return False
    if isinstance(wanted, str) and not isinstance(found, str):
        return json.dumps(found) == wanted
    return type(found) is type(wanted) and bool(found == wanted)
