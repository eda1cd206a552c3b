"""Removing cached keys from a real Redis."""

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.plugins.actions import flush_cache
from quell.plugins.actions.flush_cache import Params
from quell.ports import Connection, Effect
from quell.registry import Registry
from tests.plugins.world import probe_over
from tests.servers.ports import free_port
from tests.servers.redis import Redis

pytestmark = pytest.mark.anyio


def cache(server: Redis, **more: str) -> Connection:
    return Connection(name="cache", type="redis", url=server.url(), **more)


async def flush(server: Redis, written: Any) -> Effect:
    async with probe_over(cache(server)) as probe:
        return await flush_cache.execute(Params.model_validate(written), probe)


def fill(server: Redis, count: int) -> None:
    with server.client() as client:
        client.mset({f"query-cache:{n}": "x" for n in range(count)} | {"session:1": "y", "query-cachex": "z"})


@pytest.mark.parametrize(
    "written", ["query-cache", {"target": "query-cache"}, {"pattern": "query-cache:*", "batch": 7}]
)
async def test_only_fitting_keys_go(redis_server: Redis, written: Any) -> None:
    fill(redis_server, 2500)
    effect = await flush(redis_server, written)
    with redis_server.client() as client:
        assert sorted(client.keys()) == ["query-cachex", "session:1"]
    assert (effect.output["removed"], effect.changed) == (2500, True)
    assert not (await flush(redis_server, written)).changed


async def test_the_server_is_never_asked_to_flush_or_list_all(redis_server: Redis) -> None:
    fill(redis_server, 10)
    with redis_server.client() as client:
        client.config_resetstat()
        await flush(redis_server, "query-cache")
        used = set(client.info("commandstats"))
    assert {"cmdstat_scan", "cmdstat_unlink"} <= used
    assert not used & {"cmdstat_flushall", "cmdstat_flushdb", "cmdstat_keys", "cmdstat_del"}


async def test_the_dry_run_counts_and_removes_nothing(redis_server: Redis) -> None:
    fill(redis_server, 12)
    async with probe_over(cache(redis_server)) as probe:
        preview = await flush_cache.dry_run(Params(target="query-cache"), probe)
        assert (await flush_cache.observe(Params(target="query-cache"), probe)).facts == {"keys": 12}
    assert preview.magnitude == 12
    assert preview.call == "SCAN MATCH query-cache:* and UNLINK 12 keys on cache"
    assert preview.targets == ("cache/query-cache:*",)


async def test_too_many_keys_are_refused_before_the_first_goes(redis_server: Redis) -> None:
    fill(redis_server, 50)
    with pytest.raises(Permanent, match="more than 49 keys fit") as caught:
        await flush(redis_server, {"target": "query-cache", "max_keys": 49})
    assert caught.value.error_class == "refused"
    with redis_server.client() as client:
        assert client.dbsize() == 52


async def test_a_target_is_taken_as_it_is_written(redis_server: Redis) -> None:
    with redis_server.client() as client:
        client.mset({"a*:1": "x", "ab:1": "y", "[q]:1": "z"})
        await flush(redis_server, {"target": "a*"})
        await flush(redis_server, {"target": "[q]"})
        assert client.keys() == ["ab:1"]


@pytest.mark.parametrize("written", [{"pattern": "*"}, {"pattern": "**?*"}, {}, {"pattern": "a", "target": "b"}])
def test_everything_must_be_said_out_loud(written: Any) -> None:
    with pytest.raises(ValidationError):
        Params.model_validate(written)


async def test_everything_when_it_is_meant(redis_server: Redis) -> None:
    fill(redis_server, 3)
    await flush(redis_server, {"pattern": "*", "all": True})
    with redis_server.client() as client:
        assert client.dbsize() == 0


async def test_cancelling_says_how_much_is_gone(redis_server: Redis) -> None:
    fill(redis_server, 3000)
    task = asyncio.create_task(flush(redis_server, {"target": "query-cache", "batch": 1}))
    with redis_server.client() as client:
        while client.dbsize() == 3002:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert client.dbsize() > 2
    assert "keys were removed from cache" in caught.value.__notes__[0]


async def test_nobody_there_may_pass() -> None:
    here = Connection(name="cache", type="redis", url=f"redis://:hidden@127.0.0.1:{free_port()}/0")
    async with probe_over(here) as probe:
        with pytest.raises(Transient) as caught:
            await flush_cache.execute(Params(target="x"), probe)
    assert caught.value.error_class == "unreachable"
    assert "hidden" not in str(caught.value)


async def test_a_wrong_password_is_denied() -> None:
    with Redis(password="right") as server:
        here = Connection(name="cache", type="redis", url=f"redis://127.0.0.1:{server.port}/0", password="wr0ng")
        async with probe_over(here) as probe:
            with pytest.raises(Permanent) as caught:
                await flush_cache.dry_run(Params(target="x"), probe)
    assert caught.value.error_class == "denied"
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize("alias", ["clear_cache", "cache.invalidate"])
def test_the_aliases(alias: str) -> None:
    assert Registry().action(alias).name == "flush_cache"
