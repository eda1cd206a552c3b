"""Alerts on their way in: by way of the inbox when they are many, in their order, the most severe first, none lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell import inflow
from quell.app import App
from quell.delivery import Letter, Receipt
from quell.errors import Unavailable
from quell.inflow import one_by_one
from quell.posting import Post, Posting
from quell.reception import Reception
from quell.store import inbox, letters
from quell.store.schema import inbox as table
from quell.store.schema import quarantine
from tests.app import House, alert, do, eventually, house, runbook, settings_of, write
from tests.servers.forked import Forked

pytestmark = pytest.mark.anyio

BOOK = runbook(
    "- {condition: state.value > 900, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def storm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes goes to the inbox."""
    monkeypatch.setattr(inflow, "AT_ONCE", 0)


async def held_back(at: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is taken out of the inbox until it is let go."""
    monkeypatch.setattr(at.app.inflow, "_start_draining", lambda: None)


async def let_go(at: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    await at.app.inflow.look()


async def opened(at: House) -> None:
    await eventually(lambda: at.app.database.read(letters.is_empty), "no closed letter")


async def empty(at: House) -> None:
    """A letter becomes rows of the inbox in one transaction: whoever looks at both at once misses nothing."""
    await eventually(
        lambda: at.app.database.read(lambda c: letters.is_empty(c) and inbox.is_empty(c)), "an empty inbox", 60.0
    )


async def calm(at: House) -> bool:
    return at.app.inflow._is_calm()


async def rows(at: House) -> list[dict[str, Any]]:
    query = sa.select(table).order_by(table.c.id)
    return await at.app.database.read(lambda c: [dict(row) for row in c.execute(query).mappings()])


def odd(number: int, **labels: str) -> dict[str, Any]:
    return alert(f"Odd{number}", service="", **labels)


@pytest.mark.usefixtures("storm")
async def test_many_at_once_are_accepted_and_each_is_looked_at_once(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        receipts = await asyncio.gather(*(at.post(odd(number), odd(number, pod="b")) for number in range(30)))
        assert {(one.accepted, one.queued, one.incidents) for one in receipts} == {(2, True, ())}
        await empty(at)
        found = await at.app.alerts(limit=200)
        assert len({one["incident"] for one in found}) == 60
        assert {one["count"] for one in found} == {1}
        assert len(await at.app.incidents(limit=200)) == 60


async def test_in_quiet_times_the_sender_hears_what_followed(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        receipt = await at.post(alert())
        assert (receipt.queued, len(receipt.incidents)) == (False, 1)
        large = await at.post(*(odd(number) for number in range(inflow.LARGE + 1)))
        assert (large.queued, large.accepted) == (True, inflow.LARGE + 1)
        await eventually(lambda: calm(at), "the end of the storm")
        assert (await at.post(alert("Other"))).incidents


async def test_what_waits_is_shown_and_what_comes_later_waits_behind_it(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        await held_back(at, monkeypatch)
        monkeypatch.setattr(inflow, "AT_ONCE", 0)
        await at.post(alert())
        monkeypatch.setattr(inflow, "AT_ONCE", 4)
        later = await at.calm()
        assert later.queued
        await opened(at)
        (shown,) = await at.app.alerts()
        assert (shown["name"], shown["status"], shown["incident"]) == ("Down", "resolved", None)
        assert "waits to be looked at" in shown["reason"]
        assert [row["status"] for row in await rows(at)] == ["firing", "resolved"]
        await let_go(at, monkeypatch)
        await empty(at)
        (row,) = await at.app.alerts()
        assert (row["status"], row["incident"] is not None) == ("resolved", True)


async def test_a_repetition_is_looked_at_once_and_counted(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        await held_back(at, monkeypatch)
        monkeypatch.setattr(inflow, "AT_ONCE", 0)
        await asyncio.gather(*(at.post(alert()) for _ in range(20)))
        await opened(at)
        await let_go(at, monkeypatch)
        await empty(at)
        (row,) = await at.app.alerts()
        assert row["count"] == 20
        assert len(await at.app.incidents()) == 1


async def test_the_most_severe_first_and_each_source_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "sources: {noisy: {type: alertmanager}}\n"
    async with house(tmp_path, BOOK, more=more) as at:
        await held_back(at, monkeypatch)
        monkeypatch.setattr(inflow, "AT_ONCE", 0)
        for number in range(60):
            await at.app.receive("noisy", {}, body(odd(number, severity="warning")))
        await at.app.receive("noisy", {}, body(odd(99, severity="critical")))
        await at.post(odd(77, severity="warning"))
        await opened(at)
        first = await at.app.database.read(lambda c: inbox.next_of(c, 10))
        names = [row["name"] for row in first]
        assert names[:3] == ["Odd99", "Odd77", "Odd0"]
        assert len(names) <= 10


async def test_what_there_is_no_room_for_is_refused_whole(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        await held_back(at, monkeypatch)
        monkeypatch.setattr(inflow, "AT_ONCE", 0)
        monkeypatch.setattr(at.app.inflow.room, "most", 10)
        await at.post(*(odd(number) for number in range(5)))
        with pytest.raises(Unavailable, match="no room") as caught:
            await at.post(odd(7), odd(8))
        assert caught.value.retry_after
        await opened(at)
        assert len(await rows(at)) == 5
        await let_go(at, monkeypatch)
        await empty(at)
        assert (await at.post(alert())).accepted == 1


@pytest.mark.usefixtures("storm")
async def test_what_is_on_its_way_to_disk_counts_while_what_is_there_is_counted(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    store, begun, go_on = Posting._store, threading.Event(), threading.Event()

    def held(self: Posting, connection: sa.Connection, posts: Sequence[Post]) -> None:
        begun.set()
        assert go_on.wait(10)
        store(self, connection, posts)

    async with house(tmp_path, BOOK, database=database) as at:
        monkeypatch.setattr(Posting, "_store", held)
        coming = asyncio.create_task(at.post(*(odd(number) for number in range(5))))
        assert await asyncio.to_thread(begun.wait, 10)
        await at.app.inflow.look()
        assert at.app.inflow.room.total == 5
        go_on.set()
        await coming
        await empty(at)


@pytest.mark.usefixtures("storm")
async def test_one_that_cannot_be_looked_at_keeps_nobody_waiting(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle = inflow.settle

    def broken(change: Any, placed: Any, raise_at: int) -> Any:
        if placed.alert.name == "Odd3":
            raise KeyError("a fault of ours")
        return settle(change, placed, raise_at)

    monkeypatch.setattr(inflow, "settle", broken)
    async with house(tmp_path, BOOK, database=database) as at:
        await asyncio.gather(*(at.post(odd(number)) for number in range(8)))
        await empty(at)
        assert len(await at.app.incidents()) == 7
        (kept,) = await at.app.database.read(
            lambda c: [dict(row) for row in c.execute(sa.select(quarantine)).mappings()]
        )
        assert "a fault of ours" in kept["reason"]
        assert "Odd3" in kept["fragment"]


@pytest.mark.usefixtures("storm")
async def test_so_many_letters_may_be_closed_and_what_comes_then_waits(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflow, "BEHIND", 1)
    async with house(tmp_path, BOOK, database=database) as at:
        shut, some = asyncio.Event(), at.app.inflow._opened_some

        async def once_it_may() -> Any:
            await shut.wait()
            return await some()

        monkeypatch.setattr(at.app.inflow, "_opened_some", once_it_may)
        await at.post(odd(1), odd(2))
        later = asyncio.create_task(at.post(odd(3)))
        done, _ = await asyncio.wait([later], timeout=0.3)
        assert not done, "it was accepted before anybody could see what had come"
        shut.set()
        assert (await later).accepted == 1
        await empty(at)
        assert len(await at.app.incidents()) == 3


@pytest.mark.usefixtures("storm")
async def test_a_letter_that_cannot_be_opened_keeps_no_other_closed(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Reception.opened

    def broken(self: Reception, letter: Letter) -> Any:
        if b"Odd3" in letter.body:
            raise KeyError("a fault of ours")
        return opened(self, letter)

    monkeypatch.setattr(Reception, "opened", broken)
    async with house(tmp_path, BOOK, database=database) as at:
        await asyncio.gather(*(at.post(odd(number)) for number in range(8)))
        await empty(at)
        assert len(await at.app.incidents()) == 7
        (kept,) = await at.app.quarantine()
        assert "a fault of ours" in kept["reason"]
        assert "Odd3" in kept["fragment"]


async def test_what_a_process_left_the_next_one_looks_at(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, BOOK, database=database) as at:
        await held_back(at, monkeypatch)
        monkeypatch.setattr(inflow, "AT_ONCE", 0)
        await asyncio.gather(*(at.post(odd(number)) for number in range(5)))
        assert await at.app.incidents() == []
    monkeypatch.undo()
    async with house(tmp_path, BOOK, database=database) as at:
        await empty(at)
        assert len(await at.app.incidents()) == 5


MANY = 120


def named(output: bytes) -> list[str]:
    """The alerts that a flood says were accepted, between what it logs."""
    return [line.split()[0] for line in output.decode().splitlines() if line.startswith("Odd") and line.endswith(" 1")]


def flood(folder: str, database: str) -> None:
    """In a process of its own, to be killed: takes alerts in as fast as it can, and names each that was accepted."""

    async def run() -> None:
        app = App(settings_of(Path(folder), database=database))
        await app.start()
        at, left = House(app, Path(folder), []), iter(range(MANY))

        async def send() -> None:
            for number in left:
                receipt = await at.post(odd(number))
                print(f"Odd{number}", receipt.accepted, flush=True)

        await asyncio.gather(*(send() for _ in range(16)))
        await asyncio.Event().wait()

    asyncio.run(run())


@pytest.mark.parametrize("accepted", [1, 40, MANY])
async def test_killed_in_the_middle_of_a_storm_nothing_that_was_accepted_is_lost(
    tmp_path: Path, database: str, accepted: int
) -> None:
    write(tmp_path, BOOK)
    child = Forked("tests.test_inflow:flood", given=[str(tmp_path), database], stdout=subprocess.PIPE)
    assert child.stdout is not None
    told = list[str]()
    while len(told) < accepted:
        line = await asyncio.wait_for(asyncio.to_thread(child.stdout.readline), 30.0)
        assert line, "the child ended by itself"
        told += named(line)
    child.kill()
    told += named(await asyncio.to_thread(child.stdout.read))
    await asyncio.to_thread(child.wait)
    child.stdout.close()
    async with house(tmp_path, BOOK, database=database) as at:
        await empty(at)
        found = {row["name"]: row["incident"] for row in await at.app.alerts(limit=2 * MANY)}
        assert set(told) <= found.keys()
        assert None not in found.values()
        assert len(set(found.values())) == len(found), "each has an incident of its own"
        assert len(await at.app.incidents(limit=2 * MANY)) == len(found), "and no other"


@pytest.mark.usefixtures("storm")
async def test_in_a_storm_a_watchdog_says_that_its_source_lives_and_opens_nothing(
    tmp_path: Path, database: str
) -> None:
    more = "sources: {alertmanager: {expect: {every: 5m, alerts: [alertname=Watchdog]}}}\n"
    async with house(tmp_path, BOOK, database=database, more=more) as at:
        await asyncio.gather(*(at.post(alert("Watchdog", service=""), odd(number)) for number in range(5)))
        await empty(at)

        async def heard() -> bool:
            (source,) = await at.app.heartbeats.listed()
            return source.heard_at is not None

        await eventually(heard, "a sign of life")
        assert "Watchdog" not in {row["name"] for row in await at.app.alerts()}
        assert len(await at.app.incidents()) == 5


def test_words_that_say_the_same_become_one() -> None:
    words = [{"alert_id": name, "status": status, "n": n} for n, (name, status) in enumerate(
        [("a", "firing"), ("a", "firing"), ("a", "resolved"), ("a", "firing"), ("b", "firing")]
    )]  # fmt: skip
    assert [[row["n"] for row in same] for same in one_by_one(words)] == [[0, 1], [2], [3], [4]]


def test_a_receipt_says_that_it_waits() -> None:
    told = {"accepted": 1, "incidents": [], "quarantined": [], "fingerprints": ["f"], "queued": True}
    assert Receipt.of(told).queued
    assert not Receipt.of({**told, "queued": False}).queued


def body(*alerts: dict[str, Any]) -> bytes:
    return json.dumps({"version": "4", "groupKey": "{}", "status": "firing", "receiver": "q", "groupLabels": {},
                       "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": list(alerts)}).encode()  # fmt: skip
