"""Writes are all or nothing each, together or not; a database that is away says so; nobody takes the writer along."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from quell.errors import Conflict, Unavailable
from quell.store.database import Database, normalise_url, now_us
from tests.servers.postgres import PostgresPair
from tests.servers.process import wait_until

TABLE = sa.Table("things", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True))


@pytest.fixture
def things(database: Database) -> Database:
    database.write_now(lambda c: TABLE.create(c))
    return database


def put(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.insert(TABLE).values(name=name))


async def names(database: Database) -> list[str]:
    return sorted(await database.read(lambda c: list(c.execute(sa.select(TABLE.c.name)).scalars())))


async def test_a_piece_that_fails_takes_nobody_with_it(things: Database) -> None:
    def bad(connection: sa.Connection, error: Exception) -> None:
        put(connection, "half")
        raise error

    answers = await asyncio.gather(
        things.write(lambda c: put(c, "one")),
        things.write(lambda c: bad(c, Conflict("no", winner="anna"))),
        things.write(lambda c: put(c, "one")),
        things.write(lambda c: bad(c, ValueError("broken"))),
        things.write(lambda c: put(c, "two")),
        return_exceptions=True,
    )
    kinds = [type(answer) for answer in answers]
    assert kinds.count(sa.exc.IntegrityError) == 1
    assert (kinds[1], kinds[3], kinds[4]) == (Conflict, ValueError, type(None))
    assert await names(things) == ["one", "two"]


async def test_what_was_written_is_seen_when_write_returns(things: Database) -> None:
    for number in range(5):
        assert await things.write(lambda c, n=number: (put(c, f"n{n}"), n)[1]) == number
        assert len(await names(things)) == number + 1


async def test_a_glance_sees_what_is_committed_and_waits_for_nobody(
    things: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite in the thread that asks; where that cannot be at once, in another."""
    asked = list[int]()

    def look(connection: sa.Connection) -> list[str]:
        asked.append(threading.get_ident())
        return list(connection.execute(sa.select(TABLE.c.name)).scalars())

    await things.write(lambda c: put(c, "one"))
    assert await things.glance(look) == ["one"]
    assert (asked == [threading.get_ident()]) is things.is_sqlite
    if things.is_sqlite:
        things.write_now(lambda c: put(c, "two"))
        with sqlite3.connect(things.url.removeprefix("sqlite:///"), isolation_level=None) as alone:
            alone.execute("begin immediate")
            assert await things.glance(look) == ["one", "two"], "whoever writes holds up nobody who reads"
            alone.execute("rollback")
    busy = sa.exc.OperationalError("select", None, sqlite3.OperationalError("database is locked"))

    def refused() -> None:
        raise busy

    monkeypatch.setattr(things._glancing, "connect", refused, raising=True)
    asked.clear()
    if things.is_sqlite:
        assert await things.glance(look) == ["one", "two"]
        assert asked != [threading.get_ident()]


async def test_what_may_lag_is_committed_with_what_may_not(things: Database) -> None:
    """A group waits for the disk where one of it has to; what fails is told to whoever asked."""
    if not things.is_sqlite:
        return
    answers = [things.keep(lambda c, n=n: put(c, f"n{n}"), lagging=bool(n % 2)) for n in range(6)]
    broken = things.keep(lambda c: put(c, "n1"), lagging=True)
    await asyncio.gather(*(asyncio.wrap_future(answer) for answer in answers))
    with pytest.raises(sa.exc.IntegrityError):
        await asyncio.wrap_future(broken)
    assert await names(things) == [f"n{n}" for n in range(6)]


async def busy(database: Database) -> tuple[threading.Event, Future[bool]]:
    """The writer has something to do until the event is set."""
    begun, gate = threading.Event(), threading.Event()
    held = database.keep(lambda c: begun.set() or gate.wait(5), lagging=True)
    await asyncio.to_thread(begun.wait, 5)
    return gate, held


async def test_a_statement_that_can_never_be_is_its_own_pieces_failure(things: Database) -> None:
    """Neither an outage, which would be waited for without end, nor a reason why others are told to come again."""
    if not things.is_sqlite:
        return
    wrong = sa.text("insert into nowhere values (1)")
    gate, held = await busy(things)  # so that what follows is one group
    answers = [things.keep(lambda c: put(c, "one"), lagging=False), things.keep(lambda c: c.execute(wrong), lagging=True),
               things.keep(lambda c: put(c, "two"), lagging=True)]  # fmt: skip
    gate.set()
    await asyncio.wrap_future(held)
    told = await asyncio.gather(*(asyncio.wrap_future(answer) for answer in answers), return_exceptions=True)
    assert [type(one) for one in told] == [type(None), sa.exc.OperationalError, type(None)]
    with pytest.raises(sa.exc.OperationalError):  # nor where it is alone
        await things.write(lambda c: c.execute(wrong))
    assert await names(things) == ["one", "two"]


async def test_nobody_is_refused_for_what_was_not_committed(things: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one piece is refused for may be another's: when that is not kept, both are told to come again."""
    if not things.is_sqlite:
        return
    gate, held = await busy(things)
    answers = [things.keep(lambda c: put(c, "one"), lagging=False), things.keep(lambda c: put(c, "one"), lagging=False)]

    def full(connection: sa.Connection) -> None:
        raise sa.exc.OperationalError("commit", None, sqlite3.OperationalError("disk I/O error"))

    sa.event.listen(things._writing, "commit", full)
    gate.set()
    await asyncio.wrap_future(held)
    told = await asyncio.gather(*(asyncio.wrap_future(answer) for answer in answers), return_exceptions=True)
    sa.event.remove(things._writing, "commit", full)
    assert [type(one) for one in told] == [Unavailable, Unavailable]
    assert await names(things) == []


async def test_an_error_that_says_nothing_ends_no_writer(things: Database) -> None:
    def speechless(connection: sa.Connection) -> None:
        raise sa.exc.OperationalError("select", None, sqlite3.OperationalError(""))

    with pytest.raises(Unavailable, match="does not say why"):
        async with asyncio.timeout(10):  # a writer that has ended answers nobody
            await things.write(speechless)
    await things.write(lambda c: put(c, "one"))
    assert await names(things) == ["one"]


async def test_what_may_lag_keeps_nobody_waiting_longer(things: Database) -> None:
    """While another process holds the file, a group that may lag gives up as soon as any other."""
    if not things.is_sqlite:
        return
    with things._lagging.connect() as lagging, things._writing.connect() as writing:
        waits = [c.exec_driver_sql("pragma busy_timeout").scalar() for c in (lagging, writing)]
        kept = [c.exec_driver_sql("pragma synchronous").scalar() for c in (lagging, writing)]
    assert waits[0] == waits[1]
    assert kept == [1, 2], "NORMAL and FULL"


async def test_after_the_end_everybody_is_told_so(database: Database) -> None:
    database.write_now(lambda c: TABLE.create(c))
    database.close()
    if database.is_sqlite:
        with pytest.raises(Unavailable, match="closed"):
            database.keep(lambda c: None, lagging=True)


async def test_a_caller_that_goes_away_does_not_stop_the_others(things: Database) -> None:
    """A client that hangs up in the middle of a write must not take the writing thread with it."""
    inside, go = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        inside.set()
        go.wait(10)
        put(connection, "slow")

    first = asyncio.ensure_future(things.write(slow))
    await asyncio.to_thread(inside.wait, 10)
    second = asyncio.ensure_future(things.write(lambda c: put(c, "queued")))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    go.set()
    await asyncio.wait_for(things.write(lambda c: put(c, "after")), 10)
    assert "after" in await names(things)


async def test_many_writers_at_once(things: Database) -> None:
    await asyncio.gather(*(things.write(lambda c, n=n: put(c, f"n{n}")) for n in range(300)))
    assert len(await names(things)) == 300


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Database]:
    """SQLite that waits a tenth of a second for a lock instead of half a minute."""
    database = Database(str(tmp_path / "q.db"))

    @sa.event.listens_for(database.engine, "connect")
    def _hurry(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA busy_timeout=100")

    database.write_now(lambda c: TABLE.create(c))
    yield database
    database.close()


async def test_a_locked_database_is_away_and_comes_back(hasty: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "q.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answers = await asyncio.gather(
        *(hasty.write(lambda c, n=n: put(c, f"n{n}")) for n in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Unavailable] * 3
    assert "locked" in str(answers[0])
    assert await names(hasty) == []
    other.execute("ROLLBACK")
    other.close()
    await hasty.write(lambda c: put(c, "again"))
    assert await names(hasty) == ["again"]


async def test_a_database_that_cannot_be_opened_is_away(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "no" / "such" / "q.db"))
    try:
        with pytest.raises(Unavailable, match="unable to open"):
            await database.write(lambda c: None)
        with pytest.raises(Unavailable):
            await database.read(lambda c: None)
    finally:
        database.close()


async def test_a_server_that_does_not_listen_is_away(free_port: int) -> None:
    database = Database(f"postgresql://postgres@127.0.0.1:{free_port}/postgres")
    try:
        with pytest.raises(Unavailable, match="does not answer"):
            await database.write(lambda c: None)
    finally:
        database.close()


FAILS = """do $$ begin raise exception 'not now' using errcode = '{state}'; end $$"""


def failing(connection: sa.Connection, state: str) -> None:
    """The server itself answers with this SQLSTATE."""
    connection.exec_driver_sql(FAILS.format(state=state))


@pytest.mark.parametrize(
    "state",
    ["25006", "25P03", "57P01", "57P02", "57P03", "55P03", "40001", "40P01", "53300", "53100", "08006", "58030"],
)
async def test_a_server_that_cannot_for_now_is_away(postgres_url: str, state: str) -> None:
    database = Database(postgres_url)
    try:
        database.write_now(lambda c: TABLE.create(c))
        with pytest.raises(Unavailable, match="not now"):
            await database.write(lambda c: (put(c, "half"), failing(c, state)))
        with pytest.raises(Unavailable, match="not now"):
            await database.read(lambda c: failing(c, state))
        # Not only for us: whoever shares the engine is told that the connection is of no use any more.
        with pytest.raises(sa.exc.DBAPIError) as caught, database.engine.begin() as connection:
            failing(connection, state)
        assert caught.value.connection_invalidated
        await database.write(lambda c: put(c, "again"))
        assert await names(database) == ["again"]
    finally:
        database.close()


@pytest.mark.parametrize("state", ["23505", "42P01", "22012", "P0001"])
async def test_a_statement_that_is_wrong_is_no_outage(postgres_url: str, state: str) -> None:
    database = Database(postgres_url)
    try:
        with pytest.raises(sa.exc.DBAPIError) as caught:
            await database.write(lambda c: failing(c, state))
        assert not caught.value.connection_invalidated
    finally:
        database.close()


async def test_a_standby_in_place_of_the_primary_is_away_until_it_is_promoted(postgres_pair: PostgresPair) -> None:
    postgres_pair.primary.execute("create table things (name text primary key)")
    wait_until(postgres_pair.streaming, "the table is on the standby")
    database = Database(postgres_pair.replica.url())
    try:
        assert await names(database) == []
        with pytest.raises(Unavailable, match="read-only"):
            await database.write(lambda c: put(c, "one"))
        postgres_pair.replica.promote()
        await database.write(lambda c: put(c, "one"))
        assert await names(database) == ["one"]
    finally:
        database.close()


def end_others(postgres_url: str) -> None:
    """As a server that was restarted in the meantime: every connection to this database is gone."""
    with psycopg.connect(postgres_url, autocommit=True) as killer:
        killer.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid()"
        )


async def test_what_has_rested_is_asked_whether_it_lives(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(postgres_url)
    try:
        for work in (database.read, database.write):
            assert await work(lambda c: c.execute(sa.text("select 1")).scalar()) == 1
            end_others(postgres_url)
            monkeypatch.setattr("quell.store.database.RESTED_S", -1.0)
            assert await work(lambda c: c.execute(sa.text("select 2")).scalar()) == 2
            end_others(postgres_url)
            monkeypatch.setattr("quell.store.database.RESTED_S", 60.0)
            if work == database.write:
                with pytest.raises(Unavailable):
                    await work(lambda c: c.execute(sa.text("select 3")).scalar())
            # What is only read is asked again by itself; a write may have been done.
            assert await work(lambda c: c.execute(sa.text("select 4")).scalar()) == 4
    finally:
        database.close()


async def test_only_the_records_of_steps_do_not_wait_for_the_disk(postgres_url: str) -> None:
    database = Database(postgres_url)
    try:
        asked = sa.text("show synchronous_commit")
        with database.steps.connect() as steps, database.engine.connect() as ours:
            assert (steps.execute(asked).scalar(), ours.execute(asked).scalar()) == ("off", "on")
        assert await database.write(lambda c: c.execute(asked).scalar()) == "on"
    finally:
        database.close()


async def test_a_full_disk_is_away_until_there_is_room(hasty: Database) -> None:
    def room(connection: sqlite3.Connection, record: object, proxy: object) -> None:
        connection.execute(f"pragma max_page_count={pages}")

    sa.event.listen(hasty._writing, "checkout", room)
    pages = 1
    with pytest.raises(Unavailable, match="full"):
        await hasty.write(lambda c: [put(c, f"{n}{'x' * 4000}") for n in range(9)])
    pages = 1_000_000
    await hasty.write(lambda c: put(c, "again"))
    assert await names(hasty) == ["again"]


def test_closing_twice_is_harmless(database: Database) -> None:
    database.write_now(lambda c: None)
    database.close()
    database.close()


def test_the_clock_is_in_microseconds(database: Database) -> None:
    assert abs(database.write_now(database.now_us) - now_us()) < 3600 * 1_000_000


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"), ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:///x.db", "sqlite:///x.db"), ("/tmp/x.db", "sqlite:////tmp/x.db"),
    ],
)  # fmt: skip
def test_urls(given: str, url: str) -> None:
    assert normalise_url(given) == url


pytestmark = pytest.mark.anyio


@pytest.mark.anyio
async def test_what_is_wrong_with_work_that_is_alone_is_told_as_it_is_and_leaves_nothing(database: Database) -> None:
    def work(connection: sa.Connection) -> None:
        connection.execute(sa.text("insert into quell_plans (hash) values ('half')"))

    with pytest.raises(sa.exc.IntegrityError):
        await database.write(work)

    def half(connection: sa.Connection) -> None:
        connection.execute(sa.text("create table half_done (id integer)"))
        raise KeyError("half")

    with pytest.raises(KeyError):
        await database.write(half)
    assert not await database.read(lambda c: sa.inspect(c).has_table("half_done"))
