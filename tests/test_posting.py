"""What is accepted goes onto disk together, within its bounds; what cannot be stored is told, and takes no room."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from quell.errands import Errands
from quell.errors import Unavailable
from quell.posting import Key, Post, Posting, Room
from quell.store import letters
from quell.store.database import Database

pytestmark = pytest.mark.anyio
KEY = ("default", "am")


def letter(number: int = 0) -> dict[str, Any]:
    return {"tenant": "default", "source": "am", "size": 1, "received_at": number, "signature": "", "body": b"{}"}


class Desk:
    """A posting with what a test wants to know of it."""

    def __init__(self, database: Database, most: int = 100) -> None:
        self.room, self.errands, self.stored, self.commits = Room(most), Errands(), list[Post](), 0
        self.open = asyncio.Event()
        self.open.set()
        self.posting = Posting(database, "default", self.errands, self.room, ready=self.ready, stored=self._stored)

    async def ready(self) -> None:
        await self.open.wait()

    def _stored(self, posts: Sequence[Post]) -> None:
        self.commits += 1
        self.stored += posts

    async def put(self, number: int = 0, size: int = 1) -> None:
        await self.posting.put(Post(KEY, size, letter=letter(number)))


async def test_what_comes_in_one_moment_is_one_commit_in_its_order(store: Database) -> None:
    desk = Desk(store)
    await asyncio.gather(*(desk.put(number) for number in range(30)))
    assert desk.commits == 1
    found = await store.read(lambda c: letters.next_of(c, 100))
    assert [row["received_at"] for row in found] == list(range(30))
    assert desk.posting.rate() > 0
    assert desk.posting.puts == 30


async def test_nothing_is_stored_before_there_is_time_for_it(store: Database) -> None:
    desk = Desk(store)
    desk.open.clear()
    waiting = asyncio.create_task(desk.put())
    await asyncio.sleep(0)
    assert desk.posting.is_running
    assert not desk.posting.is_quiet()
    assert desk.stored == []
    desk.open.set()
    await waiting
    assert len(desk.stored) == 1


async def test_whoever_gives_up_takes_nobody_with_it(store: Database) -> None:
    desk = Desk(store)
    desk.open.clear()
    first, second = asyncio.create_task(desk.put(1)), asyncio.create_task(desk.put(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    desk.open.set()
    await second
    assert len(await store.read(lambda c: letters.next_of(c, 100))) == 2


async def test_what_cannot_be_stored_is_told_to_each_and_takes_no_room(store: Database) -> None:
    desk = Desk(store)
    await store.write(lambda c: c.execute(sa.text("drop table quell_letters")))
    told = await asyncio.gather(desk.put(1), desk.put(2), return_exceptions=True)
    assert [type(one).__name__ for one in told] != ["NoneType", "NoneType"]
    assert all(isinstance(one, Exception) for one in told)
    assert desk.room.total == 0
    assert desk.stored == []
    assert not desk.posting.is_running


async def test_what_there_is_no_room_for_is_refused_at_once(store: Database) -> None:
    desk = Desk(store, most=4)
    await desk.put(size=2)
    with pytest.raises(Unavailable, match="no room") as caught:
        await desk.put(size=1)
    assert caught.value.retry_after
    assert len(desk.stored) == 1


KEYS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y", "z"]))


@given(st.integers(1, 40), st.lists(st.tuples(KEYS, st.integers(0, 12), st.booleans()), max_size=40))
def test_a_room_is_never_over_full_and_no_source_has_more_than_half(
    most: int, asked: list[tuple[Key, int, bool]]
) -> None:
    room, mine = Room(most), dict[Key, int]()
    for key, count, leaves in asked:
        if leaves:
            room.add(key, -count)
            mine[key] = max(mine.get(key, 0) - count, 0)
            continue
        fits = sum(mine.values()) + count <= most and mine.get(key, 0) + count <= max(most // 2, 1)
        try:
            room.take(key, count)
        except Unavailable:
            assert not fits
        else:
            assert fits or count == 0
            mine[key] = mine.get(key, 0) + count
        assert room.total == sum(mine.values()) <= most


def test_a_room_learns_what_waits() -> None:
    room = Room(10)
    room.add(KEY, 3)
    room.found({("other", "am"): 9})
    assert room.total == 9
    with pytest.raises(Unavailable):
        room.take(KEY, 2)


def test_one_of_several_tenants_takes_not_all_the_room() -> None:
    room = Room(100, tenants=2)
    room.take(("noisy", "a"), 50)
    room.take(("noisy", "b"), 25)
    with pytest.raises(Unavailable, match="no room"):
        room.take(("noisy", "c"), 1)
    room.take(("quiet", "a"), 25)
    with pytest.raises(Unavailable, match="no room"):
        room.take(("quiet", "a"), 1)
    alone = Room(100)
    alone.take(("default", "a"), 50)
    alone.take(("default", "b"), 50)
