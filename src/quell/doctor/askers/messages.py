"""Notifiers: how each would send, and with ``notify`` one message that says that it is a test.

Never does: send anything else, or send when it was not told to.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from quell.doctor.asked import Failure, bounded
from quell.doctor.askers import web
from quell.doctor.people import Way
from quell.errors import Permanent
from quell.ports import Message, NotifierType
from quell.probe import World, resolve_secret

TEST = "quell-doctor-test"
_SIGNS = ("env:", "file:")


def message(url: str = "") -> Message:
    """The same each time, so that a pager that is asked twice shows it once."""
    return Message(
        kind="update", incident=TEST, title="TEST: quell doctor", severity="P4", service="quell", status="test",
        text="This is a test of the way to you. Nothing is wrong, and nobody has to do anything.",
        url=url, dedup_key=f"quell/{TEST}",
    )  # fmt: skip


async def sent(world: World, way: Way, url: str, timeout_s: float) -> str | Failure:
    """What the other side says."""

    async def send() -> str:
        kind, params = _checked(world, way)
        return await kind.send(message(url), params, world.probe(timeout_s=timeout_s, key=f"{TEST}/{way.to}"))

    return await bounded(send(), timeout_s)


async def found(world: World, way: Way, allowed: frozenset[str], timeout_s: float) -> str | Failure:
    """How it would be sent; an address of its own is tried, a connection is looked at as one."""

    async def look() -> str | Failure:
        kind, params = _checked(world, way)
        if not kind.connections:
            return "needs no connection"
        url = getattr(params, "url", None)
        if isinstance(url, str) and url.startswith(_SIGNS):
            seen = await web.touched(resolve_secret(url), allowed, timeout_s)
            return seen if isinstance(seen, Failure) else f"accepts a connection in {seen.latency_s * 1000:.0f} ms"
        if getattr(params, "routing_key", None):
            seen = await web.touched(str(url), allowed, timeout_s)
            return seen if isinstance(seen, Failure) else f"accepts a connection in {seen.latency_s * 1000:.0f} ms"
        return f"goes through the connection {_connection(world, kind, params, way).name}"

    return await bounded(look(), timeout_s)


def _connection(world: World, kind: NotifierType, params: Any, way: Way) -> Any:
    """As sending chooses it. Raises ``Permanent`` (missing, invalid)."""
    probe, named = world.probe(), getattr(params, "connection", None)
    if named:
        return probe.connection(named, *kind.connections)
    target = str(getattr(params, "target", ""))
    for prefix in kind.prefixes:
        target = target.removeprefix(prefix)
    known = world.connections.get(target)
    return probe.connection(target if known is not None and known.type in kind.connections else None, *kind.connections)


def _checked(world: World, way: Way) -> tuple[NotifierType, Any]:
    kind = world.registry.notifier(way.type)
    try:
        return kind, kind.params.model_validate(way.params)
    except ValidationError as error:
        parts = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        raise Permanent("; ".join(parts), "invalid") from None
