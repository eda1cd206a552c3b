"""Which notifier an address leads to: ``#channel``, ``pagerduty:payments``, ``log``, or a name from the configuration.

Pure: paging asks it in an incident, ``quell doctor`` before one. Never does: load more kinds than it must, or send.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from quell.errors import NotFound, Permanent


class Kind(Protocol):
    """A type of notifier, as far as choosing needs it."""

    @property
    def name(self) -> str: ...
    @property
    def prefixes(self) -> tuple[str, ...]: ...
    @property
    def connections(self) -> tuple[str, ...]: ...


class Configured(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def params(self) -> Mapping[str, Any]: ...


class Typed(Protocol):
    @property
    def type(self) -> str: ...


class Destination(NamedTuple):
    """The type of notifier, and what it is to be called with."""

    type: str
    params: Mapping[str, Any]


def destination(
    to: str, kinds: Iterable[Kind], configured: Mapping[str, Configured], connections: Mapping[str, Typed]
) -> Destination:
    """A configured name comes first; then the prefix says the type, and what is behind it which connection or which
    configured notifier; ``log`` is ``log:``.

    Raises ``NotFound``; ``Permanent`` (missing) where several would do: the wrong people must not be told.
    """
    if to in configured:
        return Destination(configured[to].type, configured[to].params)
    for kind in kinds:
        prefix = next((prefix for prefix in kind.prefixes if f"{to}:".startswith(prefix)), None)
        if prefix is not None:
            target = prefix if f"{to}:" == prefix else to
            rest = _rest(kind, target.removeprefix(prefix), configured, connections)
            return Destination(kind.name, {**rest, "target": target})
    raise NotFound("notifier", to)


def _rest(
    kind: Kind, name: str, configured: Mapping[str, Configured], connections: Mapping[str, Typed]
) -> Mapping[str, Any]:
    """The parameters beside the target: those of the notifier of that name, none for a connection, or the only."""
    own = {
        key: {word: value for word, value in one.params.items() if word not in ("target", "channel")}
        for key, one in configured.items()
        if one.type == kind.name
    }
    if name in own:
        return own[name]
    found = connections.get(name)
    if found is not None and found.type in kind.connections:
        return {}
    different: list[Mapping[str, Any]] = []
    for params in own.values():
        different += [params] if params not in different else []
    if len(different) > 1 and kind.connections:
        names = ", ".join(sorted(own))
        raise Permanent(f"{len(different)} notifiers of type {kind.name}; name one of {names}", "missing")
    return different[0] if different else {}
