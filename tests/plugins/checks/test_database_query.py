import asyncio
import contextlib
import socket
import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.incident.finding import Health
from quell.plugins.checks import database_query
from quell.plugins.checks._sql import bound, plain
from quell.plugins.checks.database_query import Params
from quell.ports import Connection
from quell.vocabulary_of import faults_of
from tests.plugins.checks.reading import health, read, read_async
from tests.servers.mariadb import MariaDB
from tests.servers.ports import LOOPBACK, free_port
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until


def ask(connection: Connection, query: str, **config):
    timeout_s = config.pop("timeout_s", 30.0)
    return read(database_query, {"query": query, **config}, connection, timeout_s=timeout_s)


def kind_of(connection: Connection, query: str = "select 1", **config) -> str:
    with pytest.raises((Permanent, Transient)) as caught:
        ask(connection, query, **config)
    assert "s3cret" not in str(caught.value)
    return f"{type(caught.value).__name__} {caught.value.error_class}"


@pytest.fixture
def sqlite(tmp_path: Path) -> Connection:
    path = tmp_path / "a b?.db"
    with sqlite3.connect(path) as session:
        session.execute("create table t (id integer, name text, data blob)")
        session.executemany("insert into t values (?, ?, ?)", [(n, f"n{n}", b"\xff\x00") for n in range(500)])
    return Connection("local", "sqlite", str(path))


@pytest.fixture
def postgres(postgres_url: str) -> Connection:
    return Connection("pg", "postgresql", postgres_url)


@pytest.fixture
def mariadb(mariadb_server: MariaDB, mariadb_database: str) -> Connection:
    return Connection("my", "mariadb", f"mysql://root@{LOOPBACK}:{mariadb_server.port}/{mariadb_database}")


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def server(request: pytest.FixtureRequest) -> Connection:
    connection: Connection = request.getfixturevalue(request.param)
    return connection


NUMBERS = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i from n"


def test_one_row_of_one_column_is_a_value(server):
    reading = ask(server, "select 40 + 2 as answer;")
    assert reading.facts["value"] == 42
    assert reading.facts["first"] == {"answer": 42}
    assert reading.facts["columns"] == ["answer"]
    assert (reading.facts["row_count"], reading.facts["reached"], reading.facts["connected"]) == (1, 1, True)


def test_values_are_bound_and_never_text(server):
    evil = "x' or '1'='1"
    reading = ask(server, "select :v as v, ':v' as quoted, :v as again, '100%' as percent -- :w", params={"v": evil})
    assert reading.facts["first"] == {"v": evil, "quoted": ":v", "again": evil, "percent": "100%"}


@pytest.mark.parametrize(
    ("config", "place", "said"),
    [
        ({"query": "select :v, :w, :v"}, ("query",), "the query names :v, :w, and there are no params"),
        ({"query": "select :v", "params": {"w": 1}}, ("query",), "the query names :v, and params has only w"),
        ({"query": "select 1", "params": {"v": 1}}, ("params", "v"), "params has v, and the query does not name :v"),
        ({"query": "select ':v', a::text -- :v", "params": {"v": "${x.y}"}}, None, ""),
        ({"query": "select ':v', a::text -- :v", "params": {}}, None, ""),
        ({"query": "select :v from ${x.y}", "params": {}}, None, ""),
    ],
)
def test_names_and_values_must_fit_before_anything_runs(config, place, said):
    faults = faults_of(Params, config)
    assert [(one.place, one.message) for one in faults] == ([(place, said)] if place else [])


def test_no_rows(server):
    reading = ask(
        server, "select 1 as one where 1 = 0" if server.type != "mariadb" else "select 1 as one from dual where 1=0"
    )
    assert reading.facts["row_count"] == 0
    assert reading.facts.get("columns", ["one"]) == ["one"]
    assert reading.missing["value"].error_class is None
    assert "no rows" in reading.missing["first"].reason


def test_null_and_several_are_no_value(server):
    assert "null" in ask(server, "select null as empty_one").missing["value"].reason
    assert ask(server, "select 1, 2").missing["value"].error_class == "ambiguous"


def test_a_huge_result_is_cut(server):
    reading = ask(server, NUMBERS if server.type != "mariadb" else "select seq from seq_1_to_10000000")
    assert reading.facts["truncated"] is True
    assert reading.missing["row_count"].at_least == 101
    assert reading.missing["rows"].reason == reading.missing["row_count"].reason
    assert reading.facts["first"]
    wide = ask(
        server,
        "select hex(zeroblob(3000)) union all select hex(zeroblob(3001))"
        if server.type == "sqlite"
        else "select repeat('x', 3000) as a union all select repeat('y', 3000)",
        max_bytes=5000,
    )
    assert (wide.missing["row_count"].at_least, wide.facts["truncated"]) in {(1, True), (2, True)}


def test_an_answer_that_was_cut_is_not_healthy(sqlite):
    """500 rows, of which the check reads 100: fewer than 500 it could not say."""
    cut = ask(sqlite, "select id from t")
    assert health(cut, healthy="row_count < 500", critical="row_count >= 500") is Health.NO_DATA
    assert health(cut, healthy="row_count < 10", critical="row_count >= 10") is Health.CRITICAL
    assert health(cut, healthy="row_count == 0", warning="row_count != 0") is Health.WARNING
    assert health(cut, healthy="size(rows) < 500") is Health.NO_DATA
    whole = ask(sqlite, "select id from t", max_rows=500)
    assert health(whole, healthy="row_count < 501", critical="row_count >= 501") is Health.HEALTHY


@pytest.mark.parametrize("statement", ["create table evil (a int)", "select 1; create table evil (a int)"])
def test_nothing_can_be_written(server, statement):
    assert kind_of(server, statement) in {"Permanent denied", "Permanent invalid"}
    assert kind_of(server, "select * from evil") == "Permanent missing"


def test_what_does_not_exist_is_named(server):
    with pytest.raises(Permanent, match="no_such_table"):
        ask(server, "select * from no_such_table")


def test_a_query_that_takes_too_long_ends(server):
    slow = {
        "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n",
        "postgresql": "select pg_sleep(60)",
        "mariadb": "select count(*) from seq_1_to_1000000 a join seq_1_to_1000000 b",
    }[server.type]
    assert kind_of(server, slow, timeout_s=1.0) == "Transient timeout"


def test_sqlite_cells(sqlite):
    first = ask(sqlite, "select * from t where id = :id", params={"id": 7}).facts["first"]
    assert first == {"id": 7, "name": "n7", "data": "\\xff00"}
    assert ask(sqlite, "select 1e999 as huge").facts["first"] == {"huge": None}


def test_a_locked_sqlite_says_so(sqlite):
    holder = sqlite3.connect(sqlite.url, isolation_level=None)
    holder.execute("begin exclusive")
    try:
        assert kind_of(sqlite, "select * from t", timeout_s=0.5) == "Transient locked"
    finally:
        holder.close()
    assert ask(sqlite, "select count(*) from t").facts["value"] == 500


def test_waiting_for_a_lock_can_be_cancelled(sqlite):
    holder = sqlite3.connect(sqlite.url, isolation_level=None)
    holder.execute("begin exclusive")

    async def cancelled():
        running = asyncio.create_task(read_async(database_query, {"query": "select * from t"}, sqlite))
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    try:
        asyncio.run(cancelled())
        assert not [one for one in threading.enumerate() if one.name.startswith("asyncio_")]
    finally:
        holder.close()


def test_sqlite_creates_and_attaches_nothing(tmp_path, sqlite):
    missing = Connection("none", "sqlite", f"sqlite:///{tmp_path}/none.db")
    assert kind_of(missing) == "Permanent missing"
    assert not (tmp_path / "none.db").exists()
    assert kind_of(sqlite, f"attach '{tmp_path}/other.db' as other") == "Permanent denied"
    assert not (tmp_path / "other.db").exists()


def test_postgres_cells(postgres):
    query = """select 1.5::numeric n, 10::numeric i, 'nan'::float8 f, timestamptz '2025-07-20 08:00:00+00' at,
        interval '90 s' span, '\\x00ff'::bytea raw, array[1,2] a, '{"k": [1.5]}'::jsonb j, date '2025-01-02' d,
        gen_random_uuid()::text = '' u, 1 as n"""
    first = ask(postgres, query).facts["first"]
    assert first == {
        "n": 1.5, "i": 10, "f": None, "at": 1752998400.0, "span": 90.0, "raw": "\\x00ff", "a": [1, 2],
        "j": {"k": [1.5]}, "d": "2025-01-02", "u": False, "n_2": 1,
    }  # fmt: skip


def test_postgres_lists_can_be_bound(postgres):
    reading = ask(postgres, "select count(*) from generate_series(1, 9) n where n = any(:ids)", params={"ids": [2, 3]})
    assert reading.facts["value"] == 2


def test_postgres_cannot_leave_the_read_only_transaction(postgres):
    assert kind_of(postgres, "commit; create table evil (a int)") == "Permanent invalid"
    setting = "select set_config('transaction_read_only', 'off', false)"
    assert kind_of(postgres, setting) in {"Permanent invalid", "Permanent denied"}


def sessions(server: Postgres, text: str) -> int:
    found = "select count(*) from pg_stat_activity where query like %s and pid <> pg_backend_pid() and state = 'active'"
    return int(server.execute(found, f"%{text}%")[0][0])


def test_a_cancelled_query_does_not_run_on_in_postgres(postgres, postgres_server):
    async def cancelled():
        running = asyncio.create_task(read_async(database_query, {"query": "select pg_sleep(59)"}, postgres))
        while not await asyncio.to_thread(sessions, postgres_server, "pg_sleep(59)"):
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    wait_until(lambda: sessions(postgres_server, "pg_sleep(59)") == 0, "the query ended", 5)


ENDLESS = "select count(*) from seq_1_to_10000000 a join seq_1_to_10000000 b"
"""Works without ever looking whether its reader is still there, as sleep() would."""


def running_in(server: MariaDB, text: str) -> int:
    found = "select count(*) from information_schema.processlist where info like %s and id <> connection_id()"
    return int(server.execute(found, f"%{text}%")[0][0])


def test_a_cancelled_query_does_not_run_on_in_mariadb(mariadb, mariadb_server):
    async def cancelled():
        running = asyncio.create_task(read_async(database_query, {"query": ENDLESS}, mariadb))
        while not await asyncio.to_thread(running_in, mariadb_server, ENDLESS):
            await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    wait_until(lambda: running_in(mariadb_server, ENDLESS) == 0, "the query ended", 5)


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_refused_connection(kind):
    connection = Connection("away", kind, f"{kind}://me@{LOOPBACK}:{free_port()}/x", password="s3cret")
    assert kind_of(connection) == "Transient refused"


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
def test_a_server_that_accepts_and_says_nothing(kind):
    with socket.create_server((LOOPBACK, 0)) as silent:
        url = f"{kind}://me@{LOOPBACK}:{silent.getsockname()[1]}/x"
        assert kind_of(Connection("mute", kind, url), timeout_s=1.5) == "Transient timeout"


def test_a_wrong_password_is_denied():
    with Postgres(password="right") as server:
        url = f"postgresql://postgres@{LOOPBACK}:{server.port}/postgres"
        connection = Connection("pg", "postgresql", url, password="s3cret")
        assert kind_of(connection) == "Permanent denied"
        assert kind_of(Connection("pg", "postgresql", server.url("nowhere"))) == "Permanent missing"


def test_a_full_server_is_exhausted():
    with Postgres(max_connections=5, settings={"superuser_reserved_connections": 0, "max_wal_senders": 0}) as server:
        held = []
        connection = Connection("pg", "postgresql", server.url())
        try:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    held.append(server.connect())
            assert kind_of(connection) == "Transient exhausted"
            config = {"query": "select 1", "database": "pg", "from": ["pg"]}
            assert read(database_query, config, connection).facts["reached"] == 1  # it spoke: it is not down
        finally:
            for session in held:
                session.close()


def test_from_several_places(postgres, postgres_server):
    dead = f"postgresql://postgres@{LOOPBACK}:{free_port()}/postgres"
    primary = Connection(
        "primary", "postgresql", postgres.url, options={"vantages": {"az-a": postgres.url, "az-b": dead}}
    )
    other = Connection("az-c", "postgresql", postgres.url)
    config = {"database": "primary", "query": "select 7", "from": ["az-a", "az-b", "az-c"]}
    reading = read(database_query, config, primary, other)
    assert (reading.facts["reached"], reading.facts["answered"], reading.facts["total_count"]) == (2, 2, 3)
    assert reading.facts["value"] == 7
    assert [one.target for one in reading.targets] == ["az-a", "az-b", "az-c"]
    assert reading.targets[1].facts["error_class"] == "refused"


def test_a_place_that_cannot_look_makes_reached_unknown(postgres):
    blind = Connection("az-b", "postgresql", "postgresql://me@no-such-host.invalid/x")
    reading = read(database_query, {"query": "select 1", "from": ["pg", "az-b"]}, postgres, blind)
    assert reading.missing["reached"].error_class == "dns"
    with pytest.raises(Permanent, match="no connection 'az-z'"):
        read(database_query, {"query": "select 1", "from": ["az-z"]}, postgres)


def test_a_wrong_configuration_is_refused():
    for config in (
        {"query": ""},
        {"query": "x", "params": {"a": {"b": 1}}},
        {"query": "x", "max_rows": 0},
        {"sql": "x"},
    ):
        with pytest.raises(ValidationError):
            Params.model_validate(config)


@pytest.mark.parametrize(
    ("query", "made"),
    [
        ("select :a::text", "select $1::text"),
        (
            "select ':a', \":a\", `:a`, $$:a$$, $q$:a$q$ /* :a */ -- :a\n, :a",
            "select ':a', \":a\", `:a`, $$:a$$, $q$:a$q$ /* :a */ -- :a\n, $1",
        ),
        ("select x[1:2], :a", "select x[1:2], $1"),
        ("select :a, :a", "select $1, $1"),
    ],
)
def test_names_are_found_only_where_they_are_names(query, made):
    assert bound(query, {"a": 5}, lambda name, number: f"${number}") == (made, [5])


@given(st.text(alphabet="ab:'\"$-/*`% \n", max_size=40))
def test_reading_names_keeps_the_rest_of_the_text(text):
    try:
        made, _ = bound(text, {}, lambda name, number: "?")
    except Permanent:
        return
    assert made == text


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(json_like)
def test_every_cell_is_strict_json(value):
    import json

    json.dumps(plain(value), allow_nan=False)
