"""Sets one flag, such as a circuit breaker, in a JSON file, in Redis, or behind an HTTP address.

```yaml
action: {type: set_flag, config: {flag: payments.breaker, value: open, file: /etc/payment/flags.json}}
---
action: {type: set_flag, config: {flag: breaker, value: 'true', connection: flags, hash: 'payment:flags'}}
```

The value of before is kept for the undo, which leaves alone what somebody else has set since. A file is replaced in
one step, under a lock, and every change is a line of ``<file>.history``. Behind an address the flag is read with GET
and written with PUT, both ``{"value": …}``. Never does: leave half a file, create a file that was not there.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, JsonValue, model_validator

from quell.errors import Permanent
from quell.plugins.actions import _flags
from quell.ports import Connects, Effect, FactSpec, Preview, Probe, Reading, Risk
from quell.ports import Params as PortParams

RISK = Risk.MEDIUM
IDEMPOTENT = True  # set is set
ALIASES = ("flag", "circuit_breaker")
FACTS: dict[str, FactSpec] = {"set": "bool", "value": "any"}
POSTCONDITION = "set"
SETTLES = True


class Params(PortParams):
    """``flag``: a dotted path in a file, a key (or field of ``hash``) in Redis, the last part of an address."""

    flag: str = Field(min_length=1, max_length=500, validation_alias=AliasChoices("flag", "name"))
    value: JsonValue = True
    """What it becomes."""
    service: str | None = None
    """The catalogue's service this is about; by default the incident's."""
    file: str | None = Field(default=None, pattern=r"^/[^\x00]*$")
    """The absolute path of a JSON file."""
    connection: Annotated[str | None, Connects(("redis", "http"), default=False)] = None
    """A Redis, or an HTTP address, that holds the flag."""
    hash: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.connection is None):
            raise ValueError("say either file or connection")
        if self.file is not None and (".." in self.file.split("/") or self.hash is not None):
            raise ValueError("a file has neither .. nor a hash")
        return self


def _store(params: Params, probe: Probe) -> _flags.Store:
    if params.file is not None:
        return _flags.FileStore(params.file, params.flag, probe.key, probe.now)
    connection = probe.connection(params.connection, "redis", "http")
    if connection.type == "redis":
        return _flags.RedisStore(connection, params.flag, params.hash)
    if params.hash is not None:
        raise Permanent(f"connection {connection.name!r} is http; hash is for redis", "invalid")
    return _flags.HttpStore(connection, params.flag, probe)


async def dry_run(params: Params, probe: Probe) -> Preview:
    store = _store(params, probe)
    before = await store.read()
    return Preview(
        call=f"set {params.flag} = {_flags.shown(params.value)} in {store.place}",
        targets=(f"{store.place}/{params.flag}",),
        before=_flags.shown(before),
        after=_flags.shown(params.value),
        magnitude=0 if store.same(before, params.value) else 1,
        undo=f"set {params.flag} back to {_flags.shown(before)}",
        undo_needs=_needs(before),
        facts={"set": store.same(before, params.value)},
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Transient`` or ``Permanent`` with the store's own words."""
    store = _store(params, probe)
    before = await store.swap(params.value)
    return Effect(
        summary=f"set {params.flag} = {_flags.shown(params.value)} in {store.place}",
        output={"before": _flags.shown(before), "after": _flags.shown(params.value)},
        undo=_needs(before),
        changed=not store.same(before, params.value),
    )


def _needs(before: Any) -> dict[str, Any]:
    """What the undo needs of the value of before."""
    return {"present": before is not _flags.ABSENT, "before": None if before is _flags.ABSENT else before}


async def undo(params: Params, effect: Effect, probe: Probe) -> Effect:
    """Raises ``Permanent`` (refused) when the flag is no longer what this action set."""
    if not effect.undo or not effect.changed:
        return Effect(summary="nothing to undo", changed=False)
    store = _store(params, probe)
    before: Any = effect.undo["before"] if effect.undo["present"] else _flags.ABSENT
    now = await store.swap(before, only_if=params.value)
    if store.same(now, before):
        return Effect(summary=f"{params.flag} is {_flags.shown(before)} already", changed=False)
    if not store.same(now, params.value):
        raise Permanent(
            f"{params.flag} was set to {_flags.shown(params.value)} and is {_flags.shown(now)}: "
            "somebody changed it since",
            "refused",
        )
    return Effect(summary=f"set {params.flag} back to {_flags.shown(before)} in {store.place}")


async def observe(params: Params, probe: Probe) -> Reading:
    store = _store(params, probe)
    value = await store.read()
    facts = {"set": store.same(value, params.value), "value": None if value is _flags.ABSENT else value}
    return Reading(facts=facts, summary=f"{params.flag} = {_flags.shown(value)}", observed_at=probe.now())
