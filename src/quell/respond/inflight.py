"""Actions in flight in this process, so that a stop can wait for them. Never does: act."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class InFlight:
    """Open until ``close``; afterwards nothing new begins here, and whoever takes over begins it instead."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._open, self._idle = asyncio.Event(), asyncio.Event()
        self._open.set()
        self._idle.set()

    def has(self, key: str) -> bool:
        return key in self._keys

    @contextlib.asynccontextmanager
    async def acting(self, key: str) -> AsyncIterator[None]:
        """Around one action. Waits, until this process ends, when it is closed."""
        await self._open.wait()
        self._keys.add(key)
        self._idle.clear()
        try:
            yield
        finally:
            self._keys.discard(key)
            if not self._keys:
                self._idle.set()

    async def close(self, within_s: float) -> bool:
        """Begin nothing new and wait for what runs. False: something still runs after ``within_s``."""
        self._open.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
