"""A request's headers, read once for everybody who asks on its way in. Never does: judge what they say."""

from __future__ import annotations

from typing import Any

from starlette.types import Scope

_KEPT = "quell.heads"


class Heads(dict[str, str]):
    """By name, in any letters; of several of one name the first, as Starlette's own tell it."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def heads_of(scope: Scope) -> Heads:
    """Of a request."""
    if (known := scope.get(_KEPT)) is None:
        # HTTP servers hand them on in small letters, as ASGI has it.
        pairs = reversed(scope["headers"])
        known = scope[_KEPT] = Heads([(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs])
    found: Heads = known
    return found
