"""Promoting a real PostgreSQL replica and pointing its users there."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.plugins.actions import failover_db
from quell.plugins.actions._repoint import set_line
from quell.plugins.actions.failover_db import Params
from quell.ports import Connection
from quell.probe import LiveProbe
from tests.plugins.world import probe_over
from tests.servers.haproxy import HAProxy
from tests.servers.ports import free_port
from tests.servers.postgres import Postgres, PostgresPair

pytestmark = pytest.mark.anyio

BACKEND = """
frontend users
    bind 127.0.0.1:${PORT}
    default_backend payments
backend payments
    server primary 127.0.0.1:9
"""


def connections(pair: PostgresPair) -> list[Connection]:
    return [
        Connection(name="primary", type="postgresql", url=pair.primary.url()),
        Connection(name="replica", type="postgresql", url=pair.replica.url()),
    ]


def params(**written: Any) -> Params:
    return Params.model_validate({"to": "replica", "primary": "primary", "within": 20, **written})


async def test_a_dead_primary_is_replaced_and_everybody_is_pointed_there(
    postgres_pair: PostgresPair, tmp_path: Path
) -> None:
    config, ini = tmp_path / "database.json", tmp_path / "pooler.ini"
    config.write_text('{"database": {"address": "old:1", "port": 1}}')
    ini.write_text("# pool\n[databases]\npayments = host=old port=1\n\n[pgbouncer]\npayments = x\n")
    address = f"127.0.0.1:{postgres_pair.replica.port}"
    with HAProxy(BACKEND) as haproxy:
        asked = params(
            repoint=[
                {"file": str(config), "key": "database.address"},
                {"file": str(config), "key": "database.port", "value": "{port}"},
                {"file": str(ini), "key": "databases.payments", "value": "host={host} port={port}"},
                {"haproxy": str(haproxy.socket), "server": "payments/primary"},
            ]
        )
        async with probe_over(*connections(postgres_pair)) as probe:
            postgres_pair.primary.stop()
            preview = await failover_db.dry_run(asked, probe)
            assert postgres_pair.replica.in_recovery
            assert json.loads(config.read_text())["database"]["address"] == "old:1"
            assert (await failover_db.observe(asked, probe)).facts["writable"] is False
            effect = await failover_db.execute(asked, probe)
            assert (await failover_db.observe(asked, probe)).facts["writable"] is True
            again = await failover_db.execute(params(), probe)
        assert str(postgres_pair.replica.port) in haproxy.command("show servers state payments")
    postgres_pair.replica.execute("create table proof (x int)")
    assert json.loads(config.read_text())["database"] == {"address": address, "port": postgres_pair.replica.port}
    assert ini.read_text() == (
        f"# pool\n[databases]\npayments = host=127.0.0.1 port={postgres_pair.replica.port}\n\n[pgbouncer]\npayments = x\n"
    )
    assert preview.call.startswith("SELECT pg_promote() on replica; set database.address = ")
    assert "the primary does not answer" in preview.before
    assert "haproxy/payments/primary points to 127.0.0.1:9" in preview.before
    assert preview.undo is None
    assert (effect.changed, effect.undo, again.changed) == (True, None, False)


async def refused(probe: LiveProbe, asked: Params, words: str) -> None:
    for call in (failover_db.dry_run, failover_db.execute):
        with pytest.raises(Permanent, match=words) as caught:
            await call(asked, probe)
        assert caught.value.error_class == "refused"


async def test_a_primary_that_takes_writes_is_never_joined_by_a_second(postgres_pair: PostgresPair) -> None:
    async with probe_over(*connections(postgres_pair)) as probe:
        await refused(probe, params(), "still takes writes")
        assert postgres_pair.replica.in_recovery
        await failover_db.execute(params(primary_may_live=True), probe)
    assert not postgres_pair.replica.in_recovery


async def test_a_full_primary_is_alive(postgres_pair: PostgresPair) -> None:
    pair = postgres_pair
    pair.primary.execute("create role app login")
    pair.primary.execute("alter role app connection limit 0")
    weak = Connection(name="primary", type="postgresql", url=pair.primary.url(user="app"))
    async with probe_over(weak, connections(pair)[1]) as probe:
        await refused(probe, params(), "primary is alive|too many connections")
    assert pair.replica.in_recovery


async def test_a_replica_that_lags_is_not_promoted(postgres_pair: PostgresPair) -> None:
    postgres_pair.replica.execute("select pg_wal_replay_pause()")
    postgres_pair.primary.execute("create table t as select g, repeat('x', 500) from generate_series(1, 5000) g")
    async with probe_over(*connections(postgres_pair)) as probe:
        await refused(probe, params(max_lag="1MiB", primary_may_live=True), "bytes behind, over the limit of 1048576")
    assert postgres_pair.replica.in_recovery


async def test_what_is_no_replica_is_not_promoted(postgres_server: Postgres) -> None:
    here = Connection(name="replica", type="postgresql", url=postgres_server.url())
    async with probe_over(here) as probe:
        with pytest.raises(Permanent, match="is no replica: it takes writes already"):
            await failover_db.dry_run(Params(to="replica"), probe)


async def test_a_replica_of_another_primary_is_not_promoted(
    postgres_pair: PostgresPair, postgres_server: Postgres
) -> None:
    stranger = Connection(name="primary", type="postgresql", url=postgres_server.url())
    async with probe_over(stranger, connections(postgres_pair)[1]) as probe:
        await refused(probe, params(), "another database cluster")


async def test_a_place_that_cannot_be_changed_is_known_before_the_point_of_no_return(
    postgres_pair: PostgresPair, tmp_path: Path
) -> None:
    config = tmp_path / "database.json"
    config.write_text("{}")
    asked = params(primary_may_live=True, repoint=[{"file": str(config), "key": "address"}])
    async with probe_over(*connections(postgres_pair)) as probe:
        for call in (failover_db.dry_run, failover_db.execute):
            with pytest.raises(Permanent, match="has no address"):
                await call(asked, probe)
        gone = params(primary_may_live=True, repoint=[{"haproxy": "/nonexistent.sock", "server": "a/b"}])
        with pytest.raises(Transient, match="cannot reach its socket"):
            await failover_db.execute(gone, probe)
    assert postgres_pair.replica.in_recovery


async def test_a_server_that_cannot_be_reached_is_not_writable() -> None:
    here = Connection(name="replica", type="postgresql", url=f"postgresql://postgres@127.0.0.1:{free_port()}/postgres")
    async with probe_over(here) as probe:
        facts = (await failover_db.observe(Params(to="replica"), probe)).facts
        assert (facts["reached"], facts["writable"]) == (False, False)


@pytest.mark.parametrize(
    ("text", "key", "after"),
    [
        ("a=1\nb = 2\n", "b", "a=1\nb = new\n"),
        ("[s]\r\na = 1\r\n", "s.a", "[s]\r\na = new\r\n"),
        ("# a = 0\na = x=y", "a", "# a = 0\na = new"),
        ("[one]\na = 1\n[two]\na = 2\n", "two.a", "[one]\na = 1\n[two]\na = new\n"),
    ],
)
def test_only_the_one_line_changes(text: str, key: str, after: str) -> None:
    assert set_line(text, key, "new")[0] == after


@pytest.mark.parametrize(
    ("text", "error_class"), [("b = 1\n", "missing"), ("a = 1\na = 2\n", "ambiguous"), ("; a = 1", "missing")]
)
def test_a_line_that_is_not_just_one_is_refused(text: str, error_class: str) -> None:
    with pytest.raises(Permanent) as caught:
        set_line(text, "a", "new")
    assert caught.value.error_class == error_class


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"file": "/a"},
        {"file": "a.json", "key": "k"},
        {"file": "/a/../b", "key": "k"},
        {"haproxy": "/s"},
        {"haproxy": "/s", "server": "a/b; shutdown"},
        {"haproxy": "/s", "server": "a/b", "file": "/a", "key": "k"},
    ],
)
def test_a_place_is_just_one_and_safe(place: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        params(repoint=[place])
