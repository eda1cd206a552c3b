"""`quell doctor`: text, JSON and exit codes, on a real PostgreSQL and files."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

from tests.cli.command import run_quell, told
from tests.servers.ports import LOOPBACK
from tests.servers.postgres import Postgres


def write(folder: Path, **written: object) -> None:
    (folder / "quell.yaml").write_text(json.dumps(written))


def test_warnings_are_0_and_strict_1(tmp_path: Path, postgres_server: Postgres) -> None:
    write(tmp_path, connections={"ledger": {"type": "postgresql", "url": postgres_server.url()}})
    done = run_quell(tmp_path, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " ✓ reach        postgresql ledger: PostgreSQL " in done.stdout
    assert " ! rights       postgresql ledger: the role postgres: superuser" in done.stdout
    assert "                expected   a role that may do what its runbooks need, and no more\n" in done.stdout
    assert "                do         make a role for Quell" in done.stdout
    assert " warnings, in " in done.stdout.splitlines()[-1]
    assert run_quell(tmp_path, "doctor", "--strict").returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["quell.yaml"]


def test_an_error_is_1_and_json_says_everything(tmp_path: Path) -> None:
    write(tmp_path, escalation="#nowhere", runbooks="gone")
    done = run_quell(tmp_path, "doctor", "--json")
    assert done.returncode == 1
    said = told(done)
    assert said["ok"] is False
    assert said["counts"]["error"] == sum(one["level"] == "error" for one in said["checks"]) > 0
    (address,) = (one for one in said["checks"] if one["check"] == "address")
    assert address == {
        "check": "address", "looked_at": "#nowhere (escalation)", "level": "error",
        "found": "'#nowhere' needs a connection of type slack, and none is configured",
        "expected": "connections: {NAME: {type: slack, ...}}", "advice": "configure it, or name another address",
    }  # fmt: skip


def test_options_go_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, escalation="log:")
    said = told(run_quell(tmp_path, "doctor", "--json", "--db", "else.db", "--runbooks", "."))
    assert str(tmp_path / "else.db") in next(one["found"] for one in said["checks"] if one["check"] == "reach")


def test_who_hangs_is_waited_for_so_long(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0), backlog=16) as deaf:
        address = f"{LOOPBACK}:{deaf.getsockname()[1]}"
        kinds = {"mysql": "mysql", "postgresql": "postgresql", "redis": "redis", "http": "http"}
        write(tmp_path, connections={kind: {"type": kind, "url": f"{kind}://{address}/x"} for kind in kinds})
        began = time.monotonic()
        done = run_quell(tmp_path, "doctor", "--timeout", "1s", "--json")
        took = time.monotonic() - began
    assert done.returncode == 1
    assert told(done)["seconds"] < 3
    assert took < 15


def test_wrong_usage_is_2_and_a_configuration_that_cannot_be_read_1(tmp_path: Path) -> None:
    assert run_quell(tmp_path, "doctor", "--timeout", "soon").returncode == 2
    assert run_quell(tmp_path, "doctor", "--timeout", "0s").returncode == 2
    assert run_quell(tmp_path, "doctor", "--nonsense").returncode == 2
    (tmp_path / "quell.yaml").write_text("databse: x\n")
    done = run_quell(tmp_path, "doctor")
    assert done.returncode == 1
    assert "quell.yaml:1:1" in done.stderr
    assert run_quell(tmp_path, "doctor", "--config", "gone.yaml").returncode == 1
