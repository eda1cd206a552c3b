"""Ending sessions on a real PostgreSQL and a real MariaDB: the right ones, and no others."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pymysql
import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.plugins.actions import _database, _sessions, terminate_sessions
from quell.plugins.actions.terminate_sessions import Params
from quell.ports import Connection, Effect, Preview, Reading
from tests.plugins.world import probe_over
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio

Raw = psycopg.Connection[tuple[Any, ...]]


class Bench:
    """A database of this test's own, with sessions in states that a test asks for."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server, self.name = server, name
        self.connection = Connection(name="payments", type="postgresql", url=server.url(name))
        self.opened: list[Raw] = []

    def open(self, application: str = "app", user: str = "postgres", begin: bool = False) -> Raw:
        raw = self.server.connect(self.name, user, application_name=application)
        self.opened.append(raw)
        if begin:
            raw.execute("begin")
            raw.execute("select 1")
        return raw

    def alive(self, raw: Raw) -> bool:
        return bool(self.server.execute("select 1 from pg_stat_activity where pid = %s", raw.info.backend_pid))

    async def preview(self, **written: Any) -> Preview:
        async with probe_over(self.connection) as probe:
            return await terminate_sessions.dry_run(self.params(written), probe)

    async def act(self, **written: Any) -> Effect:
        async with probe_over(self.connection) as probe:
            return await terminate_sessions.execute(self.params(written), probe)

    async def observe(self, **written: Any) -> Reading:
        async with probe_over(self.connection) as probe:
            return await terminate_sessions.observe(self.params(written), probe)

    def params(self, written: dict[str, Any]) -> Params:
        return Params.model_validate({"datname": self.name, **written})


@pytest.fixture
def bench(postgres_server: Postgres) -> Iterator[Bench]:
    with postgres_server.fresh_database() as name:
        made = Bench(postgres_server, name)
        yield made
        for raw in made.opened:
            raw.close()


async def test_only_sessions_idle_in_a_transaction_are_ended(bench: Bench) -> None:
    leaking, other, idle = bench.open(begin=True), bench.open(begin=True), bench.open()
    preview = await bench.preview(idle_in_transaction_over="0s")
    assert {bench.alive(raw) for raw in (leaking, other, idle)} == {True}
    assert preview.magnitude == 2
    assert set(preview.targets) == {f"payments/{raw.info.backend_pid}" for raw in (leaking, other)}
    assert "idle in transaction" in preview.before
    effect = await bench.act(idle_in_transaction_over=0)
    assert (bench.alive(leaking), bench.alive(other), bench.alive(idle)) == (False, False, True)
    assert effect.output["count"] == 2
    assert (await bench.observe(idle_in_transaction_over=0)).facts == {"sessions": 0, "remaining": 0}


async def test_a_younger_transaction_is_left_alone(bench: Bench) -> None:
    young = bench.open(begin=True)
    effect = await bench.act(idle_in_transaction_over="5m")
    assert (effect.changed, bench.alive(young)) == (False, True)


async def test_never_application_protects(bench: Bench) -> None:
    dump, migrate, app = (bench.open(name, begin=True) for name in ("pg_dump", "migrate-7", "app"))
    effect = await bench.act(idle_in_transaction_over=0, never_application=["pg_dump", "migrate*"])
    assert (bench.alive(dump), bench.alive(migrate), bench.alive(app)) == (True, True, False)
    assert effect.output["count"] == 1


async def test_role_and_application_filters(bench: Bench) -> None:
    bench.server.execute("create role leaky login superuser")
    try:
        leaky, other = bench.open("worker-1", user="leaky"), bench.open("worker-1")
        await bench.act(role="leaky", application="worker-*")
        assert (bench.alive(leaky), bench.alive(other)) == (False, True)
        await bench.act(application="worker-*", never_role="postgres")
        assert bench.alive(other)
    finally:
        for raw in bench.opened:
            raw.close()
        bench.server.execute("drop role leaky")


async def test_more_than_the_limit_is_refused_and_nobody_is_ended(bench: Bench) -> None:
    crowd = [bench.open(begin=True) for _ in range(3)]
    for call in (bench.preview, bench.act):
        with pytest.raises(Permanent, match="3 sessions fit, over the limit of 2") as caught:
            await call(idle_in_transaction_over=0, max_sessions=2)
        assert caught.value.error_class == "refused"
    assert all(bench.alive(raw) for raw in crowd)


async def test_only_the_root_of_a_lock_chain_is_ended_never_its_victims(bench: Bench) -> None:
    bench.server.execute("create table t (id int primary key); insert into t values (1), (2)", database=bench.name)
    root, middle, last = (
        bench.open("root", begin=True),
        bench.open("middle", begin=True),
        bench.open("last", begin=True),
    )
    bystander = bench.open("bystander", begin=True)
    root.execute("update t set id = 1 where id = 1")
    middle.execute("update t set id = 2 where id = 2")
    with waiting(middle, "update t set id = 1 where id = 1"), waiting(last, "update t set id = 2 where id = 2"):
        blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = %s"
        while bench.server.execute(blocked, bench.name) != [(2,)]:
            await asyncio.sleep(0.02)
        preview = await bench.preview(blocking=True)
        assert preview.targets == (f"payments/{root.info.backend_pid}",)
        await bench.act(blocking=True)
        assert [bench.alive(raw) for raw in (root, middle, last, bystander)] == [False, True, True, True]
        middle_free = "select state from pg_stat_activity where pid = %s"
        while bench.server.execute(middle_free, middle.info.backend_pid) != [("idle in transaction",)]:
            await asyncio.sleep(0.02)
        middle.execute("rollback")
    last.execute("rollback")


@contextmanager
def waiting(raw: Any, statement: str) -> Iterator[None]:
    """Runs the statement in a thread, because it blocks."""
    thread = threading.Thread(target=raw.execute if hasattr(raw, "execute") else raw.query, args=(statement,))
    thread.start()
    try:
        yield
    finally:
        thread.join(timeout=30)


async def test_a_session_that_moved_on_is_spared(bench: Bench) -> None:
    moving = bench.open(begin=True)
    async with _database.session(bench.connection) as session:
        wanted = _sessions.Wanted(datname=bench.name, idle_in_transaction_over=0)
        (seen,) = await _sessions.find(session, wanted)
        moving.execute("commit")
        moving.execute("begin")
        moving.execute("select 1")
        assert not await _sessions.end(session, seen)
        assert bench.alive(moving)
        (seen,) = await _sessions.find(session, wanted)
        assert await _sessions.end(session, seen)


async def test_a_process_id_used_again_is_spared(bench: Bench) -> None:
    raw = bench.open()
    async with _database.session(bench.connection) as session:
        (seen,) = await _sessions.find(session, _sessions.Wanted(pids=(raw.info.backend_pid,)))
        older = _sessions.Seen(**{**{f: getattr(seen, f) for f in seen.__slots__}, "started": "2020-01-01 00:00:00+00"})
        assert not await _sessions.end(session, older)
    assert bench.alive(raw)


async def test_own_sessions_and_other_workers_are_never_seen(bench: Bench, postgres_pair: Any) -> None:
    bench.open("quell")
    assert (await bench.preview(state=["idle", "active"])).magnitude == 0
    pair = Connection(name="pair", type="postgresql", url=postgres_pair.primary.url())
    async with probe_over(pair) as probe:
        preview = await terminate_sessions.dry_run(Params(state=("active", "idle", "")), probe)
    assert preview.magnitude == 0
    assert postgres_pair.primary.execute("select count(*) from pg_stat_replication") == [(1,)]


async def test_a_session_of_a_pool_that_came_back_is_not_remaining(bench: Bench) -> None:
    bench.open("pool")
    facts = (await bench.observe(application="pool")).facts
    assert facts == {"sessions": 1, "remaining": 0}
    assert (await bench.observe(application="pool", new_within=0)).facts["remaining"] == 1


@pytest.mark.parametrize(("grants", "words"), [("", "cannot be looked into"), ("pg_read_all_stats", "42501")])
async def test_without_the_right_it_is_denied(bench: Bench, grants: str, words: str) -> None:
    bench.server.execute("create role weak login" + (f" in role {grants}" if grants else ""))
    raw = bench.open(begin=True)
    try:
        weak = Connection(name="w", type="postgresql", url=bench.server.url(bench.name, user="weak"))
        async with probe_over(weak) as probe:
            params = Params.model_validate({"datname": bench.name, "idle_in_transaction_over": 0})
            with pytest.raises(Permanent, match=words) as caught:
                await terminate_sessions.execute(params, probe)
        assert caught.value.error_class == "denied"
        assert bench.alive(raw)
    finally:
        bench.server.execute("drop role weak")


@pytest.mark.parametrize("written", [{}, {"database": "x"}, {"never_application": ["a"]}, {"max_sessions": 3}])
def test_some_filter_is_asked_for(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="say which sessions"):
        Params.model_validate(written)


# -- MariaDB


def shop(server: MariaDB, database: str) -> Connection:
    return Connection(name="shop", type="mariadb", url=f"mysql://root@127.0.0.1:{server.port}/{database}")


def gone(raw: Any) -> bool:
    try:
        raw.ping(reconnect=False)
    except pymysql.Error:
        return True
    return False


async def test_mysql_sessions_by_state_and_database(mariadb_server: MariaDB, mariadb_database: str) -> None:
    leaking, idle = mariadb_server.connect(mariadb_database), mariadb_server.connect(mariadb_database)
    with leaking.cursor() as cursor:
        cursor.execute("create table t (id int) engine=innodb")
        cursor.execute("begin")
        cursor.execute("insert into t values (1)")
    params = Params.model_validate({"datname": mariadb_database, "idle_in_transaction_over": 0})
    async with probe_over(shop(mariadb_server, mariadb_database)) as probe:
        deadline = time.monotonic() + 10  # InnoDB shows a transaction a moment later than it begins
        while (await terminate_sessions.observe(params, probe)).facts["sessions"] != 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        effect = await terminate_sessions.execute(params, probe)
    assert effect.output["count"] == 1
    assert (gone(leaking), gone(idle)) == (True, False)
    idle.close()


async def test_mysql_only_the_root_blocker(mariadb_server: MariaDB, mariadb_database: str) -> None:
    root, victim = mariadb_server.connect(mariadb_database), mariadb_server.connect(mariadb_database)
    with root.cursor() as cursor:
        cursor.execute("create table t (id int primary key) engine=innodb")
        cursor.execute("insert into t values (1)")
        cursor.execute("begin")
        cursor.execute("update t set id = 1 where id = 1 and sleep(0) = 0")
        cursor.execute("select * from t for update")
    async with probe_over(shop(mariadb_server, mariadb_database)) as probe:
        params = Params.model_validate({"datname": mariadb_database, "blocking": True})
        with waiting(victim, "select * from t for update"):
            deadline = time.monotonic() + 10
            while (await terminate_sessions.observe(params, probe)).facts["sessions"] != 1:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
            await terminate_sessions.execute(params, probe)
    assert (gone(root), gone(victim)) == (True, False)
    victim.close()


async def test_mysql_refuses_what_it_cannot_know(mariadb_server: MariaDB, mariadb_database: str) -> None:
    async with probe_over(shop(mariadb_server, mariadb_database)) as probe:
        with pytest.raises(Permanent, match="does not tell a session's application"):
            await terminate_sessions.dry_run(Params(state=("idle",), never_application=("pg_dump",)), probe)
