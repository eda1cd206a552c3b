"""One promise of a plug-in: a name, and a way to see whether it is kept. Never does: know a kind of plug-in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any


class Broken(AssertionError):
    """A promise that is not kept; the text says what was found instead."""


@dataclass(frozen=True, slots=True)
class Promise:
    """``keep`` raises ``Broken``. As text it is ``<plug-in>: <promise>``, which makes a good name for a test."""

    plugin: str
    text: str
    check: Callable[[], Coroutine[Any, Any, None] | None]

    def keep(self) -> None:
        """Look whether it is kept; starts an event loop of its own where one is needed."""
        work = self.check()
        if work is not None:
            asyncio.run(work)

    def __str__(self) -> str:
        return f"{self.plugin}: {self.text}"


def expect(held: object, found: str) -> None:
    """Raises ``Broken`` with what was found, unless it held."""
    if not held:
        raise Broken(found)
