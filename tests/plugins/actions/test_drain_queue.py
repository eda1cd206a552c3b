"""Moving messages aside in a real Redis: nothing lost, nothing twice."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.plugins.actions import drain_queue
from quell.plugins.actions.drain_queue import Params
from quell.ports import Connection
from tests.plugins.world import probe_over
from tests.servers.redis import Redis

pytestmark = pytest.mark.anyio
QUEUE = "payments:jobs"


def queues(server: Redis) -> Connection:
    return Connection(name="queues", type="redis", url=server.url())


def message(number: int, **more: Any) -> str:
    return json.dumps({"order": {"id": number}, **more})


def params(**written: Any) -> Params:
    return Params.model_validate({"queue": QUEUE, **written})


async def test_the_poison_message_goes_aside_and_comes_back(redis_server: Redis) -> None:
    with redis_server.client() as client:
        client.rpush(QUEUE, *[message(n) for n in range(700)], "not json", message(650, again=True))
        async with probe_over(queues(redis_server)) as probe:
            asked = params(where={"field": "order.id", "equals": 650}, to="dead")
            preview = await drain_queue.dry_run(asked, probe)
            assert client.llen(QUEUE) == 702
            effect = await drain_queue.execute(asked, probe)
            assert (client.llen(QUEUE), client.lrange("dead", 0, -1)) == (700, [message(650), message(650, again=True)])
            assert (await drain_queue.observe(asked, probe)).facts == {"length": 700, "matching": 0}
            await drain_queue.undo(asked, effect, probe)
        assert client.lrange(QUEUE, 0, 1) == [message(650), message(650, again=True)]
        assert (client.llen(QUEUE), client.exists("dead")) == (702, 0)
    assert (preview.magnitude, preview.targets) == (2, ("queues/payments:jobs",))
    assert preview.call == "move 2 of 702 messages from payments:jobs to dead on queues"


async def test_the_whole_queue_keeps_its_order_there_and_back(redis_server: Redis) -> None:
    before = [message(n) for n in range(250)]
    with redis_server.client() as client:
        client.rpush(QUEUE, *before)
        async with probe_over(queues(redis_server)) as probe:
            effect = await drain_queue.execute(params(batch=30), probe)
            dead = effect.output["to"]
            assert (client.exists(QUEUE), client.lrange(dead, 0, -1)) == (0, before)
            assert (await drain_queue.observe(params(), probe)).facts["length"] == 0
            await drain_queue.undo(params(), effect, probe)
        assert client.lrange(QUEUE, 0, -1) == before


async def test_each_execution_has_a_dead_letter_queue_of_its_own() -> None:
    assert params().dead("run/a/1/-") != params().dead("run/a/2/-")
    assert params().dead("run/a/1/-") == params().dead("run/a/1/-")
    assert params().dead("k").startswith(f"{QUEUE}:dead:")


async def test_the_undo_leaves_alone_what_others_wrote(redis_server: Redis) -> None:
    with redis_server.client() as client:
        client.rpush(QUEUE, "a", "b")
        async with probe_over(queues(redis_server)) as probe:
            effect = await drain_queue.execute(params(to="dead"), probe)
            client.rpush("dead", "someone else's")
            with pytest.raises(Permanent, match="has changed since") as caught:
                await drain_queue.undo(params(to="dead"), effect, probe)
        assert client.llen("dead") == 3
    assert caught.value.error_class == "refused"


async def test_a_consumer_at_work_gets_each_message_once(redis_server: Redis) -> None:
    every = [message(n) for n in range(1000)]
    taken: list[str] = []
    with redis_server.client() as client:
        client.rpush(QUEUE, *every)
        async with probe_over(queues(redis_server)) as probe:
            task = asyncio.create_task(drain_queue.execute(params(batch=5, to="dead"), probe))
            while not task.done():
                taken += [one for one in [client.lpop(QUEUE)] if one]  # type: ignore[misc]
                await asyncio.sleep(0)
            await task
        rest = client.lrange("dead", 0, -1) + client.lrange(QUEUE, 0, -1)
    assert taken
    assert sorted(taken + rest) == sorted(every)


async def test_a_stream_there_and_back(redis_server: Redis) -> None:
    with redis_server.client() as client:
        ids = [client.xadd(QUEUE, {"body": message(n), "kind": "odd" if n % 2 else "even"}) for n in range(6)]
        async with probe_over(queues(redis_server)) as probe:
            asked = params(where={"field": "body.order.id", "equals": 3}, to="dead")
            effect = await drain_queue.execute(asked, probe)
            assert [fields["body"] for _, fields in client.xrange("dead")] == [message(3)]
            assert client.xlen(QUEUE) == 5
            await drain_queue.undo(asked, effect, probe)
            assert (client.xlen(QUEUE), client.xlen("dead")) == (6, 0)
            by_field = params(where={"field": "kind", "equals": "even"}, to="dead")
            assert (await drain_queue.execute(by_field, probe)).output["moved"] == 3
            by_id = params(ids=[ids[1]], to="dead")
            assert (await drain_queue.execute(by_id, probe)).output["moved"] == 1


async def test_too_many_are_refused_before_the_first_moves(redis_server: Redis) -> None:
    with redis_server.client() as client:
        client.rpush(QUEUE, *"abc")
        async with probe_over(queues(redis_server)) as probe:
            for call in (drain_queue.dry_run, drain_queue.execute):
                with pytest.raises(Permanent, match="more than 2 messages fit") as caught:
                    await call(params(max_messages=2), probe)
                assert caught.value.error_class == "refused"
        assert client.llen(QUEUE) == 3


@pytest.mark.parametrize(("kind", "error_class"), [("none", "missing"), ("set", "invalid")])
async def test_what_is_no_queue_is_said(redis_server: Redis, kind: str, error_class: str) -> None:
    with redis_server.client() as client:
        if kind == "set":
            client.sadd(QUEUE, "a")
    async with probe_over(queues(redis_server)) as probe:
        with pytest.raises(Permanent) as caught:
            await drain_queue.execute(params(), probe)
    assert caught.value.error_class == error_class


@pytest.mark.parametrize(
    ("value", "equals", "fits"),
    [(1, 1, True), (1, "1", True), (True, 1, False), (True, "true", True), ("1", 1, False), (None, None, True), ({}, None, False)],
)  # fmt: skip
async def test_values_are_compared_as_json(redis_server: Redis, value: Any, equals: Any, fits: bool) -> None:
    with redis_server.client() as client:
        client.rpush(QUEUE, json.dumps({"v": value}))
    async with probe_over(queues(redis_server)) as probe:
        reading = await drain_queue.observe(params(where={"field": "v", "equals": equals}), probe)
    assert reading.facts["matching"] == int(fits)


def test_a_queue_is_not_its_own_dead_letter_queue() -> None:
    with pytest.raises(ValidationError):
        params(to=QUEUE)
