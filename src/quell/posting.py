"""What is accepted in a storm goes onto disk: all that has come by then in one commit, as long as there is room.

Never does: read or look at an alert.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from quell.errands import Errands
from quell.errors import Unavailable
from quell.intake import accept
from quell.store import inbox, letters
from quell.store.database import Database

BUSY_S = 0.25
"""Over how long it is counted what comes in."""
PAUSE_S = 0.03
"""When nothing has come for so long, it is over for now."""
RETRY_AFTER_S = 5.0
Key = tuple[str, str]
"""A tenant and a source."""


class Room:
    """How many alerts wait, by tenant and source. ``most`` may; of one source half of them, and where there are several
    ``tenants``, of one of them three quarters: what nobody else may take is left for the others."""

    def __init__(self, most: int, tenants: int = 1) -> None:
        self.most = most
        self._of_tenant = 0.75 if tenants > 1 else 1.0
        self._waiting: dict[Key, int] = {}

    def take(self, key: Key, count: int) -> None:
        """Raises ``Unavailable`` when there is no room: nothing of them is taken then."""
        mine = self._waiting.get(key, 0)
        theirs = sum(waiting for (tenant, _), waiting in self._waiting.items() if tenant == key[0])
        full = self.total + count > self.most or theirs + count > max(self.most * self._of_tenant, 1)
        if count and (full or mine + count > max(self.most // 2, 1)):
            raise Unavailable(
                f"{mine} alerts of {key[1]} wait to be looked at, and there is no room for more",
                retry_after=RETRY_AFTER_S,
            )
        self.add(key, count)

    def add(self, key: Key, count: int) -> None:
        """They are here already, room or not. Less than nothing never waits."""
        self._waiting[key] = max(self._waiting.get(key, 0) + count, 0)

    def found(self, waiting: Mapping[Key, int]) -> None:
        """So many wait: whoever works beside us has put some there, or taken some."""
        self._waiting = dict(waiting)

    @property
    def total(self) -> int:
        return sum(self._waiting.values())


@dataclass(slots=True)
class Post:
    """One delivery on its way to disk: ``rows`` for the inbox, or the ``letter`` that it came in; ``bad``: what of it
    could not be read."""

    key: Key
    size: int
    rows: Sequence[dict[str, Any]] = ()
    letter: dict[str, Any] | None = None
    bad: Sequence[tuple[str, Any]] = ()
    stored: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Posting:
    """Of one process. ``ready`` is waited for before each commit; ``stored`` is told what has been stored."""

    def __init__(
        self, database: Database, tenant: str, errands: Errands, room: Room, *, ready: Callable[[], Awaitable[None]],
        stored: Callable[[Sequence[Post]], None],
    ) -> None:  # fmt: skip
        self._database, self._tenant, self._errands, self._room = database, tenant, errands, room
        self._ready, self._stored = ready, stored
        self._posts: list[Post] = []
        self._running = False
        self._came: deque[tuple[float, int]] = deque(maxlen=10_000)
        """When deliveries were stored, and how many."""
        self.puts = 0
        """Deliveries ever."""

    async def put(self, post: Post) -> None:
        """Returns when it is on disk. Raises ``Unavailable`` when the database is away or there is no room."""
        self._room.take(post.key, post.size)
        self.puts += 1
        self._posts.append(post)
        if not self._running:
            self._running = True
            self._errands.start(self._run())
        await post.stored  # whoever gives up waiting gives up only that

    @property
    def is_running(self) -> bool:
        return self._running

    def is_quiet(self) -> bool:
        """Nothing is on its way, and nothing has come a moment ago."""
        return not self._running and (not self._came or time.monotonic() - self._came[-1][0] > PAUSE_S)

    def rate(self) -> float:
        """Deliveries by the second, lately."""
        since = time.monotonic() - BUSY_S
        while self._came and self._came[0][0] < since:
            self._came.popleft()
        return sum(count for _, count in self._came) / BUSY_S

    async def _run(self) -> None:
        try:
            while self._posts:
                await self._ready()
                await self._gathered()
                posts, self._posts = self._posts, []
                self._came.append((time.monotonic(), len(posts)))
                await self._commit(posts)
        finally:
            self._running = False

    async def _gathered(self) -> None:
        """While more arrive in each turn of the event loop they are waited for: a commit costs the same for all."""
        seen = 0
        while seen < len(self._posts):
            seen = len(self._posts)
            await asyncio.sleep(0)

    async def _commit(self, posts: Sequence[Post]) -> None:
        try:
            await self._database.write(lambda connection: self._store(connection, posts))
        except BaseException as error:
            for post in posts:
                self._room.add(post.key, -post.size)
                if not post.stored.done():
                    post.stored.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        self._stored(posts)
        for post in posts:
            if not post.stored.done():
                post.stored.set_result(None)

    def _store(self, connection: sa.Connection, posts: Sequence[Post]) -> None:
        if rows := [row for post in posts for row in post.rows]:
            inbox.put(connection, rows)
        if sealed := [post.letter for post in posts if post.letter is not None]:
            letters.put(connection, sealed)
        for post in posts:
            accept.set_aside(connection, self._tenant, post.key[1], post.bad)
