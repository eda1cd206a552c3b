"""The author's own remedy: SQL on real servers, programs as real processes."""

import asyncio
import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, QuellError, Transient
from quell.plugins.actions import run_script
from quell.plugins.actions.run_script import Params
from quell.ports import Connection, Effect
from quell.vocabulary_of import faults_of
from tests.plugins.world import probe_over
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.anyio


def pg(url: str, **more: Any) -> Connection:
    return Connection(name="payments", type="postgresql", url=url, **more)


async def run(written: dict[str, Any], *connections: Connection) -> Effect:
    async with probe_over(*connections) as probe:
        return await run_script.execute(Params.model_validate(written), probe)


# -- SQL


async def test_the_reference_pages_script_ends_idle_sessions(postgres_server: Postgres) -> None:
    script = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' "
        "AND state_change < NOW() - INTERVAL '0 seconds' AND datname = '{}' AND pid <> pg_backend_pid()"
    )
    with postgres_server.fresh_database() as name, postgres_server.connect(name) as idle:
        effect = await run({"script": script.replace("{}", name)}, pg(postgres_server.url(name)))
        assert effect.output["row_count"] == 1
        assert effect.output["rows"] == [{"pg_terminate_backend": True}]
        with pytest.raises(Exception, match=r"terminating connection|closed"):
            idle.execute("select 1")


async def test_values_are_bound_and_names_quoted(postgres_url: str) -> None:
    here = pg(postgres_url)
    evil = "x'; drop table t; --"
    await run({"sql": 'create table "odd name" (id int, who text)'}, here)
    written = {
        "sql": "insert into {table} values (:id, :who)",
        "identifiers": {"table": "odd name"},
        "params": {"id": 1, "who": evil},
    }
    await run(written, here)
    effect = await run({"sql": 'select * from "odd name"'}, here)
    assert effect.output["rows"] == [{"id": 1, "who": evil}]


@pytest.mark.parametrize(
    ("config", "place", "said"),
    [
        ({"sql": "alter role {rol} connection limit 5", "identifiers": {"role": "a"}}, ("sql",),
         "the statement names {rol}; params has nothing, identifiers role"),
        ({"sql": "update t set a = :x where b = :y", "params": {"y": 1}}, ("sql",),
         "the statement names :x; params has y, identifiers nothing"),
        ({"sql": "select 1", "undo_sql": "alter role {r} connection limit {captured.limit}"}, ("undo_sql",),
         "the statement names {r}; params has nothing, identifiers nothing"),
        ({"sql": "select '{x}', ':y', 1::int -- :z"}, None, ""),
        ({"sql": "select * from ${a.b} where {x}"}, None, ""),
        ({"command": ["/bin/x", "{y}"]}, None, ""),
    ],
)  # fmt: skip
async def test_names_and_values_must_fit_before_anything_runs(config: Any, place: Any, said: str) -> None:
    faults = faults_of(Params, config)
    assert [(one.place, one.message) for one in faults] == ([(place, said)] if place else [])


async def test_one_text_is_one_statement(postgres_url: str) -> None:
    here = pg(postgres_url)
    with pytest.raises(Permanent, match="cannot insert multiple commands"):
        await run({"sql": "create table t (x int); create table u (x int)"}, here)
    effect = await run({"sql": "select count(*) n from pg_class where relname in ('t', 'u')"}, here)
    assert effect.output["rows"] == [{"n": 0}]


async def test_a_list_is_one_transaction(postgres_url: str) -> None:
    here = pg(postgres_url)
    await run({"sql": ["create table t (x int)", "insert into t values (1)"]}, here)
    with pytest.raises(Permanent, match=r"division by zero \(22012\)"):
        await run({"sql": ["insert into t values (2)", "select 1/0"]}, here)
    effect = await run({"sql": "select x from t"}, here)
    assert effect.output["rows"] == [{"x": 1}]


async def test_capture_act_undo_restores_a_roles_limit(postgres_server: Postgres) -> None:
    here = pg(postgres_server.url())
    postgres_server.execute("create role leaky connection limit 77")
    try:
        params = Params.model_validate(
            {
                "database": "payments",
                "sql": "alter role {role} connection limit 20",
                "undo_sql": "alter role {role} connection limit {captured.limit}",
                "identifiers": {"role": "leaky"},
            }
        )
        asked = "select rolconnlimit from pg_roles where rolname = 'leaky'"
        read = "select rolconnlimit from pg_roles where rolname = :role"  # an identifier there, a value here
        async with probe_over(here) as probe:
            preview = await run_script.dry_run(params, probe)
            assert postgres_server.execute(asked) == [(77,)]
            captured = await run_script.capture(params, {"limit": read}, probe)
            effect = await run_script.execute(params, probe)
            assert postgres_server.execute(asked) == [(20,)]
            kept = effect.model_copy(update={"undo": {**(effect.undo or {}), "captured": captured}})
            await run_script.undo(params, kept, probe)
        assert postgres_server.execute(asked) == [(77,)]
    finally:
        postgres_server.execute("drop role leaky")
    assert captured == {"limit": 77}
    assert preview.call == 'alter role "leaky" connection limit 20  -- on payments'
    assert preview.targets == ("payments/leaky",)
    assert preview.undo == 'alter role "leaky" connection limit {captured.limit}'


EXACT = {
    "numeric": ["12.50", "0.1", "123456789012345678901234567890.000000000000000001", "-0.0000001"],
    "bigint": ["9223372036854775807"], "text": [f"'{'x' * 5000}'", r"E'a\\b''c'", "'12'", "null"],
    "timestamptz": ["'2025-07-20 08:00:00.123456+00'"], "uuid": ["'00000000-0000-0000-0000-00000000000a'"],
    "double precision": ["0.1", "1e300"], "boolean": ["true"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "literal"), [(kind, literal) for kind, all_ in EXACT.items() for literal in all_])
async def test_what_was_captured_is_written_back_as_it_was(postgres_url: str, kind: str, literal: str) -> None:
    here = pg(postgres_url)
    await run({"sql": [f"create table t (v {kind}, w {kind})", f"insert into t values ({literal}, {literal})"]}, here)
    params = Params(sql=("update t set v = null",), undo_sql=("update t set v = {captured.before}",))
    async with probe_over(here) as probe:
        captured = json.loads(json.dumps(await run_script.capture(params, {"before": "select v, 7 from t"}, probe)))
        effect = await run_script.execute(params, probe)
        await run_script.undo(params, effect.model_copy(update={"undo": {"captured": captured}}), probe)
    same = await run({"sql": "select v is not distinct from w as same, v::text = w::text as spelled from t"}, here)
    assert same.output["rows"][0]["same"] is True


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("select repeat('x', 70000)", "too_large"), ("select '\\xff00'::bytea", "invalid"),
        ("select array[1, 2]", "invalid"), ("select interval '1 month'", "invalid"),
        ("select 'nan'::numeric", "invalid"), ("select 'nan'::float8", "invalid"),
        ("""select '{"a": 1}'::jsonb""", "invalid"), ("""select '{"decimal": "1; drop"}'::jsonb""", "invalid"),
    ],
)  # fmt: skip
async def test_what_could_not_be_written_back_is_not_captured(postgres_url: str, query: str, kind: str) -> None:
    async with probe_over(pg(postgres_url)) as probe:
        with pytest.raises(Permanent, match="capture before:") as caught:
            await run_script.capture(Params(sql=("select 1",)), {"before": query}, probe)
    assert caught.value.error_class == kind


async def test_a_capture_can_only_read(postgres_url: str) -> None:
    params = Params(sql=("select 1",))
    async with probe_over(pg(postgres_url)) as probe:
        with pytest.raises(Permanent, match="read-only transaction"):
            await run_script.capture(params, {"x": "create table t (x int)"}, probe)
        with pytest.raises(Permanent, match="capture x: the query gives no row"):
            await run_script.capture(params, {"x": "select 1 where false"}, probe)


@pytest.mark.parametrize(("signal", "name"), [("KILL", "SIGKILL"), ("SEGV", "SIGSEGV"), ("40", "signal 40")])
async def test_a_program_that_a_signal_ended_is_said_to_be(signal: str, name: str) -> None:
    with pytest.raises(Permanent, match=f"/bin/sh was ended by {name}: half done") as caught:
        await run({"command": ["/bin/sh", "-c", f"echo half done; kill -{signal} $$"]})
    assert caught.value.error_class == "failed"


async def test_without_undo_sql_there_is_no_undo(postgres_url: str) -> None:
    async with probe_over(pg(postgres_url)) as probe:
        with pytest.raises(Permanent, match="no undo_sql") as caught:
            await run_script.undo(Params(sql=("select 1",)), Effect(summary=""), probe)
    assert caught.value.error_class == "refused"


@pytest.mark.parametrize(
    ("sql", "kind", "error_class"),
    [
        ("selec 1", Permanent, "invalid"),
        ("select * from nowhere", Permanent, "invalid"),
        ("set lock_timeout = 'x'", Permanent, "invalid"),
    ],
)
async def test_the_servers_words_come_through(
    postgres_url: str, sql: str, kind: type[QuellError], error_class: str
) -> None:
    with pytest.raises(kind) as caught:
        await run({"sql": sql}, pg(postgres_url))
    assert caught.value.error_class == error_class  # type: ignore[attr-defined]


async def test_a_full_server_is_exhausted_and_may_pass() -> None:
    with Postgres(max_connections=4, settings={"superuser_reserved_connections": 0}) as server:
        crowd = [server.connect() for _ in range(4)]
        try:
            with pytest.raises(Transient) as caught:
                await run({"sql": "select 1"}, pg(server.url()))
        finally:
            for one in crowd:
                one.close()
    assert caught.value.error_class == "exhausted"


async def test_a_wrong_password_is_denied_and_not_shown() -> None:
    with Postgres(password="right") as server:
        here = pg(server.url(password="wr0ng"))
        with pytest.raises(Permanent) as caught:
            await run({"sql": "select 1"}, here)
        assert caught.value.error_class == "denied"
        assert "wr0ng" not in str(caught.value)
        given = Connection(
            name="p", type="postgresql", url=f"postgresql://127.0.0.1:{server.port}/postgres",
            username="postgres", password="right",
        )  # fmt: skip
        assert (await run({"sql": "select 1 as x"}, given)).output["rows"] == [{"x": 1}]


async def test_cancelling_ends_the_statement_on_the_server(postgres_server: Postgres) -> None:
    with postgres_server.fresh_database() as name:
        task = asyncio.create_task(run({"sql": "select pg_sleep(60)"}, pg(postgres_server.url(name))))
        asked = f"select count(*) from pg_stat_activity where datname = '{name}' and query like '%pg_sleep(60)%'"
        while postgres_server.execute(asked) != [(1,)]:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(500):
            if postgres_server.execute(asked) == [(0,)]:
                break
            await asyncio.sleep(0.02)
        assert postgres_server.execute(asked) == [(0,)]


async def test_mysql_binds_cancels_and_tells_its_errors(mariadb_server: MariaDB, mariadb_database: str) -> None:
    here = Connection(
        name="shop", type="mysql", url=f"mysql://127.0.0.1:{mariadb_server.port}/{mariadb_database}", username="root"
    )
    await run({"sql": "create table t (id int, who varchar(50))"}, here)
    evil = "50%'; drop table t; -- \\"
    await run(
        {"sql": "insert into {t} values (:id, :who)", "identifiers": {"t": "t"}, "params": {"id": 1, "who": evil}}, here
    )
    effect = await run({"sql": "select who from t where who like '50%'"}, here)
    assert effect.output["rows"] == [{"who": evil}]
    with pytest.raises(Permanent, match="1146") as caught:
        await run({"sql": "select * from nowhere"}, here)
    assert caught.value.error_class == "missing"

    task = asyncio.create_task(run({"sql": "select sleep(60)"}, here))
    asked = "select count(*) n from information_schema.processlist where info = 'select sleep(60)'"
    while (await run({"sql": asked}, here)).output["rows"] != [{"n": 1}]:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(500):
        if (await run({"sql": asked}, here)).output["rows"] == [{"n": 0}]:
            break
        await asyncio.sleep(0.02)
    assert (await run({"sql": asked}, here)).output["rows"] == [{"n": 0}]


async def test_sqlite_files_are_never_made(tmp_path: Path) -> None:
    path = tmp_path / "with space.db"
    here = Connection(name="local", type="sqlite", url=f"sqlite:///{path}")
    with pytest.raises(Permanent) as caught:
        await run({"sql": "select 1"}, here)
    assert caught.value.error_class == "missing"
    assert not path.exists()
    sqlite3.connect(path).close()
    path.touch()
    await run({"sql": ["create table t (x)", "insert into t values (4)"]}, here)
    params = Params(sql=("select 1",))
    async with probe_over(here) as probe:
        assert await run_script.capture(params, {"x": "select x from t"}, probe) == {"x": 4}


@pytest.mark.parametrize("spelled", ["sqlite:///local.db", "local.db"])
async def test_a_relative_sqlite_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelled: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("local.db").touch()
    effect = await run({"sql": "select 1 as x"}, Connection(name="local", type="sqlite", url=spelled))
    assert effect.output["rows"] == [{"x": 1}]


async def test_a_script_without_database_needs_an_only_connection(postgres_url: str) -> None:
    two = (pg(postgres_url), Connection(name="other", type="postgresql", url=postgres_url))
    with pytest.raises(Permanent, match="2 connections of type"):
        await run({"script": "select 1"}, *two)


# -- programs


def python(code: str, *args: str, **more: Any) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", code], "args": list(args), **more}


async def test_a_program_gets_its_arguments_as_they_are() -> None:
    effect = await run(python("import sys; print(sys.argv[1:])", "a b", "$(id)", "; ls"))
    assert effect.output["stdout"] == "['a b', '$(id)', '; ls']\n"
    assert effect.output["exit_code"] == 0


async def test_a_script_path_is_a_program(tmp_path: Path) -> None:
    script = tmp_path / "fix.sh"
    script.write_text('#!/bin/sh\necho "fixed $1"\n')
    script.chmod(0o755)
    assert (await run({"script": str(script), "args": ["x"]})).output["stdout"] == "fixed x\n"


async def test_an_argument_that_looks_like_an_option_must_be_declared() -> None:
    with pytest.raises(Permanent, match="looks like an option") as caught:
        await run(python("", "--delete"))
    assert caught.value.error_class == "invalid"
    await run(python("", "--delete", options=["--delete"]))


async def test_only_the_named_environment_and_the_key_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INHERITED", "no")
    monkeypatch.setenv("TOKEN_SOURCE", "s3cret")
    code = "import os; e = os.environ; print(e.get('INHERITED'), e['A'], e['TOKEN'], e['QUELL_KEY'])"
    effect = await run(python(code, env={"A": "b"}, secrets={"TOKEN": "env:TOKEN_SOURCE"}))
    assert effect.output["stdout"] == "None b ••• run/node/1/target\n"


async def test_a_failure_says_the_exit_code_and_the_programs_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_SOURCE", "s3cret")
    code = "import os, sys; sys.exit('no luck with ' + os.environ['TOKEN'])"
    with pytest.raises(Permanent, match="ended with 1: no luck with •••") as caught:
        await run(python(code, secrets={"TOKEN": "env:TOKEN_SOURCE"}))
    assert caught.value.error_class == "failed"
    assert (await run(python("raise SystemExit(3)", expected_exit=[0, 3]))).output["exit_code"] == 3


async def test_a_flood_is_cut_and_the_program_still_ends() -> None:
    effect = await run(python("import sys; sys.stdout.write('x' * 5_000_000)"))
    assert len(effect.output["stdout"]) == 8192
    assert effect.output["cut"] is True


async def test_a_program_that_is_not_there_is_missing() -> None:
    with pytest.raises(Permanent, match="no program") as caught:
        await run({"command": ["/nonexistent/fix"]})
    assert caught.value.error_class == "missing"


async def test_cancelling_ends_the_program_and_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time; c = subprocess.Popen(['sleep', '600']);"
        "p = sys.argv[1]; open(p + '.new', 'w').write(f'{os.getpid()} {c.pid}'); os.rename(p + '.new', p); time.sleep(600)"
    )
    task = asyncio.create_task(run(python(code, str(pids))))
    while not pids.exists():
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert "ended with its children" in caught.value.__notes__[0]
    for pid in pids.read_text().split():
        for _ in range(500):
            if not _alive(int(pid)):
                break
            await asyncio.sleep(0.02)
        assert not _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_the_dry_run_shows_the_command_and_starts_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    async with probe_over() as probe:
        preview = await run_script.dry_run(Params(command=("touch",), args=(str(made),)), probe)
    assert preview.call == f"touch {made}"
    assert preview.targets == ("touch",)
    assert not made.exists()


# -- what it acts on: two runs of one script have the same target, two scripts do not


async def targets(written: dict[str, Any], *connections: Connection) -> tuple[str, ...]:
    async with probe_over(*connections) as probe:
        return (await run_script.dry_run(Params.model_validate(written), probe)).targets


SCRIPTS = [
    ("/opt/a.py", "python /opt/a.py", {}),
    ("/opt/a.py", "/usr/bin/python3.11 -u -W ignore -Xdev /opt/b/../a.py --now", {}),
    ("/opt/a.py", "/opt/a.py all", {}),
    ("/opt/a.py", "python3 a.py", {"cwd": "/opt"}),
    ("/opt/a.py", "./a.py", {"cwd": "/opt"}),
    ("a.py", "python a.py b.py", {}),
    ("b.py", "python", {"args": ["b.py"]}),
    ("/opt/fix.sh", "bash -eu -o pipefail /opt/fix.sh x", {}),
    ("/opt/fix.sh", "sh -euo pipefail /opt/fix.sh", {}),
    ("/opt/fix.rb", "ruby /opt/fix.rb", {}),
    ("python -m shop.repair", "python3 -m shop.repair all", {}),
    ("/opt/rotate", "/opt/rotate /var/log", {}),
    ("systemctl", "systemctl reload nginx", {}),
    # What cannot be told is the program: too wide.
    ("python", "python -c pass", {}),
    ("python", "python --unheard-of x a.py", {}),
    ("node", "node -r x a.js", {}),
    ("bash", "bash -c a.sh", {}),
    ("env", "env python a.py", {}),
    ("python", "python", {}),
    ("vip", "python a.py", {"target": "vip"}),
]


@pytest.mark.parametrize(("target", "command", "more"), SCRIPTS)
async def test_a_script_is_its_own_target(target: str, command: str, more: dict[str, Any]) -> None:
    options = [word for word in command.split() if word.startswith("-")]
    assert await targets({"command": command.split(), "options": options, **more}) == (target,)


async def test_sql_is_about_what_it_names_else_about_itself() -> None:
    here = pg("postgresql://127.0.0.1/never_asked")
    named = {"sql": "alter role {role} connection limit 5", "identifiers": {"role": "leaky"}}
    assert await targets(named, here) == ("payments/leaky",)
    assert await targets({**named, "target": "payments/roles"}, here) == ("payments/roles",)


async def test_sql_that_names_nothing_is_the_same_target_whatever_its_values() -> None:
    async def target(sql: str, **params: Any) -> str:
        (one,) = await targets({"sql": sql, "params": params}, pg("postgresql://127.0.0.1/never_asked"))
        return one

    one = await target("update jobs set state = 'new' where id = 7")
    assert one.startswith("payments/sql-")
    assert await target("UPDATE jobs  SET state = 'o''k' where id = 81 ;") == one
    assert await target("update jobs set state = 'new' where owner = 7") != one
    bound = "delete from jobs where id = :id"
    assert await target(bound, id=1) == await target(bound, id=2) != one


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"sql": "select 1", "command": ["ls"]},
        {"script": "select 1", "sql": "select 2"},
        {"sql": " "},
        {"command": "ls -l"},
        {"script": ["a"]},
    ],
)
def test_just_one_way_to_say_what_to_run(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate(written)
