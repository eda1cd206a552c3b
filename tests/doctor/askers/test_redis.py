"""A real Redis: its answer, its clock, and what its user may do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.house import of, report, said
from tests.servers.ports import LOOPBACK
from tests.servers.process import RunServer
from tests.servers.redis import Redis


@pytest.fixture
def user(redis_server: Redis) -> Iterator[str]:
    """Logs in with `s3cret`, and may read and ask the server how it is."""
    with redis_server.client() as client:
        rules = "on >s3cret ~* -@all +@read +@connection +info +time +slowlog +acl|whoami +acl|getuser"
        client.execute_command("ACL", "SETUSER", "reader", *rules.split())
        yield "reader"
        client.execute_command("ACL", "DELUSER", "reader")


def test_anybody_may_do_everything(redis_server: Redis, tmp_path: Path) -> None:
    told = report(tmp_path, connections={"cache": {"type": "redis", "url": redis_server.url()}})
    ((level, found),) = said(told, "reach", "redis cache")
    assert (level, found[:6]) == ("ok", "Redis ")
    assert said(told, "clock")[0][0] == "ok"
    ((level, found),) = said(told, "rights")
    assert level == "warning"
    assert "needs no password, administrative commands, may write (its keys), and no runbook acts on it" in found


def test_a_user_that_only_reads(
    redis_server: Redis, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CACHE_PASSWORD", "s3cret")
    written = {"type": "redis", "url": redis_server.url(), "username": user, "password": "env:CACHE_PASSWORD"}
    told = report(tmp_path, connections={"cache": written})
    assert said(told, "rights") == [("ok", "the role reader only reads")]
    assert said(told, "secret") == [("ok", "1 leads to one")]
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", user, "-acl|getuser")
    ((level, found),) = said(report(tmp_path, connections={"cache": written}), "rights")
    assert level == "ok"
    assert found.startswith("the role may not ask for its own rights")


def test_a_wrong_password(run_server: RunServer, tmp_path: Path) -> None:
    server = run_server(Redis(password="right"))
    url = f"redis://:s3cret@{LOOPBACK}:{server.port}/0"
    told = report(tmp_path, connections={"cache": {"type": "redis", "url": url}})
    (one,) = of(told, "reach", "redis cache")
    assert one.level == "error"
    assert one.advice.startswith("correct connections.cache.username")
    assert "s3cret" not in str(told)
