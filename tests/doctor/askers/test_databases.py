"""Real PostgreSQL and MariaDB: what their roles may do, how many slots are left, and that nothing is changed."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.house import book, least_role, of, report, said, shelve
from tests.servers.mariadb import MariaDB
from tests.servers.ports import LOOPBACK, free_port
from tests.servers.postgres import Postgres
from tests.servers.process import RunServer


@pytest.fixture
def database(postgres_server: Postgres) -> Iterator[str]:
    with postgres_server.fresh_database() as name:
        postgres_server.execute("CREATE TABLE orders (n int)", database=name)
        yield name


@pytest.fixture
def role(postgres_server: Postgres, database: str) -> Iterator[str]:
    name = f"r_{database}"
    least_role(postgres_server, database, name)
    yield name
    postgres_server.execute(f"DROP OWNED BY {name}", database=database)
    postgres_server.execute(f"DROP OWNED BY {name}")
    postgres_server.execute(f"DROP ROLE {name}")


def test_a_role_that_only_reads(postgres_server: Postgres, database: str, role: str, tmp_path: Path) -> None:
    told = report(tmp_path, connections={"pg": {"type": "postgresql", "url": postgres_server.url(database, role)}})
    assert said(told, "rights") == [("ok", f"the role {role} only reads")]
    (reach,) = of(told, "reach", "postgresql pg")
    assert (reach.level, reach.found[:10]) == ("ok", "PostgreSQL")
    ((clock, _),) = said(told, "clock", "postgresql pg")
    assert clock == "ok"


def test_a_right_to_write_is_too_much_where_only_checks_ask(
    postgres_server: Postgres, database: str, role: str, tmp_path: Path
) -> None:
    postgres_server.execute(f"GRANT SELECT, UPDATE ON orders TO {role}", database=database)
    postgres_server.execute(f"ALTER ROLE {role} CREATEROLE")
    connections = {"pg": {"type": "postgresql", "url": postgres_server.url(database, role)}}
    (one,) = of(report(tmp_path, connections=connections), "rights")
    assert one.level == "warning"
    assert one.found == f"the role {role}: CREATEROLE, may write (1 table such as orders), and no runbook acts on it"
    assert "pg_monitor" in one.advice
    # With a runbook that acts there, the right to write is needed; the power over roles is not.
    fix = {"id": "fix", "type": "automated", "action": {"type": "run_script", "config": {"database": "pg", "sql": "x"}}}
    fix["action"]["config"]["sql"] = "update orders set n = 1"  # type: ignore[index]
    books = shelve(
        tmp_path, book("mend", remediations=[fix], decision_tree=[{"condition": "up.critical", "then": ["fix"]}])
    )
    (one,) = of(report(tmp_path, connections=connections, runbooks=books), "rights")
    assert one.found == f"the role {role}: CREATEROLE"


def test_a_superuser_is_named(postgres_server: Postgres, database: str, tmp_path: Path) -> None:
    told = report(tmp_path, connections={"pg": {"type": "postgresql", "url": postgres_server.url(database)}})
    ((level, found),) = said(told, "rights")
    assert level == "warning"
    assert found.startswith("the role postgres: superuser")


def test_slots_that_clients_may_take(run_server: RunServer, tmp_path: Path) -> None:
    server = run_server(Postgres(max_connections=12, settings={"superuser_reserved_connections": 2}))
    server.execute("CREATE ROLE quell LOGIN")
    server.execute("CREATE ROLE app LOGIN")
    written = {"connections": {"pg": {"type": "postgresql", "url": server.url(user="quell")}}}
    left, stays = said(report(tmp_path, **written), "slots")  # type: ignore[arg-type]
    assert left == ("ok", "9 of 10 slots are left")
    assert stays == ("warning", "when clients take all 10 ordinary slots, none stays for the role quell")
    server.execute("ALTER ROLE app CONNECTION LIMIT 8")
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(server.connect(user="app"))
        left, stays = said(report(tmp_path, **written), "slots")  # type: ignore[arg-type]
        assert left == ("warning", "1 of 10 slots are left")
        assert stays == ("ok", "a slot stays for Quell: the limits of the other roles leave 2 of 10 slots")
        server.execute("ALTER ROLE app CONNECTION LIMIT -1")
        for _ in range(2):
            stack.enter_context(server.connect(user="app"))
        (reach,) = of(report(tmp_path, **written), "reach", "postgresql pg")  # type: ignore[arg-type]
    assert reach.level == "error"
    assert "no connection left" in reach.advice


def test_its_own_database_needs_room_for_a_process(run_server: RunServer, tmp_path: Path) -> None:
    server = run_server(Postgres(max_connections=30))
    told = report(tmp_path, database=server.url())
    ((level, found),) = said(told, "capacity")
    assert level == "warning"
    assert found.startswith("max_connections 30, 0 taken by others: room for 0 processes")
    assert said(told, "reach", "quell's own database")[0][0] == "ok"
    assert [one.looked_at for one in of(told, "disk")] == [str(tmp_path)], (
        "where checkpoints go; the database is elsewhere"
    )


def test_one_server_is_one_fate(postgres_server: Postgres, database: str, tmp_path: Path) -> None:
    told = report(
        tmp_path, database=postgres_server.url(database),
        connections={"ledger": {"type": "postgresql", "url": postgres_server.url().replace(LOOPBACK, "localhost")}},
        services={"bank": {"depends_on": ["ledger"]}},
    )  # fmt: skip
    ((level, found),) = said(told, "fate")
    assert level == "warning"
    assert found == "another database of the same server as postgresql ledger, which the service bank names"


def test_a_user_of_mariadb(mariadb_server: MariaDB, mariadb_database: str, tmp_path: Path) -> None:
    mariadb_server.execute(f"CREATE USER reader@'{LOOPBACK}'")
    mariadb_server.execute(f"GRANT SELECT, UPDATE ON {mariadb_database}.* TO reader@'{LOOPBACK}'")
    at = f"{LOOPBACK}:{mariadb_server.port}/{mariadb_database}"
    try:
        told = report(
            tmp_path,
            connections={
                "root": {"type": "mysql", "url": f"mysql://root@{at}"},
                "reader": {"type": "mariadb", "url": f"mysql://reader@{at}"},
            },
        )
    finally:
        mariadb_server.execute(f"DROP USER reader@'{LOOPBACK}'")
    assert {level for level, _ in said(told, "reach")} == {"ok"}
    assert [level for level, _ in said(told, "clock")] == ["ok", "ok"]
    ((_, root),) = said(told, "rights", "mysql root")
    assert "ALL PRIVILEGES ON *.*" in root
    ((level, reader),) = said(told, "rights", "mariadb reader")
    assert level == "warning"
    assert f"may write (UPDATE on {mariadb_database}.*)" in reader


def test_sqlite_has_no_roles(tmp_path: Path) -> None:
    (tmp_path / "shop.db").write_bytes(b"")
    told = report(tmp_path, connections={"shop": {"type": "sqlite", "url": str(tmp_path / "shop.db")}})
    assert said(told, "reach", "sqlite shop")[0][0] == "ok"
    assert not of(told, "rights")


def test_who_accepts_and_says_nothing_is_waited_for_so_long_and_side_by_side(tmp_path: Path) -> None:
    types = {"postgresql": "postgresql", "mysql": "mysql", "redis": "redis", "prometheus": "http", "http": "http"}
    with socket.create_server((LOOPBACK, 0), backlog=64) as deaf:
        port = deaf.getsockname()[1]
        began = time.monotonic()
        told = report(
            tmp_path, timeout_s=1.0,
            connections={
                kind: {"type": kind, "url": f"{scheme}://u:s3cret@{LOOPBACK}:{port}/x"}
                for kind, scheme in types.items()
            },
        )  # fmt: skip
        took = time.monotonic() - began
    assert took < 4.0
    reached = {one.looked_at: one for one in of(told, "reach")}
    for kind in types:
        assert reached[f"{kind} {kind}"].level == "error", reached
        assert "firewall" in reached[f"{kind} {kind}"].advice, reached[f"{kind} {kind}"]
    assert "s3cret" not in str(told)


def test_nobody_there(tmp_path: Path) -> None:
    port = free_port()
    told = report(
        tmp_path,
        connections={
            "pg": {"type": "postgresql", "url": f"postgresql://u:s3cret@{LOOPBACK}:{port}/x"},
            "my": {"type": "mysql", "url": f"mysql://u:s3cret@{LOOPBACK}:{port}/x"},
            "cache": {"type": "redis", "url": f"redis://:s3cret@{LOOPBACK}:{port}"},
            "metrics": {"type": "prometheus", "url": f"http://{LOOPBACK}:{port}"},
            "sre": {"type": "slack", "url": f"http://{LOOPBACK}:{port}/hook"},
        },
    )
    failed = [one for one in of(told, "reach") if "quell" not in one.looked_at]
    assert len(failed) == 5
    assert {str(one.level) for one in failed} == {"error"}
    assert all(one.advice.startswith("nothing listens there") for one in failed), failed
    assert "s3cret" not in str(told)
