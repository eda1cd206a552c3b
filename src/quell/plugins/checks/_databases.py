"""Every kind of database that can be asked a question; its client library is loaded for the first one.

Never does: know a question.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable

from quell.plugins.checks._sql import Asked, Rows
from quell.ports import Connection

_MODULES = {
    "postgresql": "_postgres", "postgres": "_postgres", "mysql": "_mysql", "mariadb": "_mysql", "sqlite": "_sqlite",
}  # fmt: skip
KINDS = tuple(_MODULES)
"""Types of connections."""
_loaded: dict[str, Callable[[Connection, Asked], Awaitable[Rows]]] = {}


async def ask(connection: Connection, asked: Asked) -> Rows:
    """Raises ``Transient`` or ``Permanent`` by what the server says. Cancelling it ends the query."""
    kind = connection.type
    if kind not in _loaded:
        module = await asyncio.to_thread(importlib.import_module, f"{__package__}.{_MODULES[kind]}")
        _loaded[kind] = module.ask
    return await _loaded[kind](connection, asked)


__all__ = ["KINDS", "ask"]
