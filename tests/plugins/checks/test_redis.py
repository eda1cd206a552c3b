"""The redis check against a real Redis."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from quell.errors import Permanent, Transient
from quell.plugins.checks import redis
from quell.ports import Connection, Reading
from tests.plugins.checks.reading import read, read_async
from tests.servers.ports import free_port
from tests.servers.process import wait_until
from tests.servers.redis import Redis


@pytest.fixture(scope="module")
def server() -> Iterator[Redis]:
    with Redis(password="s3cret", options=("--maxmemory", "100mb", "--maxclients", "100")) as started:
        yield started


@pytest.fixture(autouse=True)
def _empty(server: Redis) -> None:
    server.flush()


def connection(server: Redis, password: str = "s3cret", url: str = "", username: str = "") -> Connection:
    return Connection("cache", "redis", url or f"redis://127.0.0.1:{server.port}/0", username, password)


def ask(server: Redis, **config: object) -> Reading:
    return read(redis, config, connection(server))


def test_the_server_as_it_is(server: Redis) -> None:
    with server.client() as client:
        client.set("k", "x" * 2_000_000)
        client.get("k")
        client.get("k")
        client.get("nothing")
        info = client.info()
    reading = ask(server)
    facts = reading.facts
    assert facts["maxmemory"] == 100 * 1024 * 1024
    assert facts["used_memory"] >= 2_000_000
    assert facts["memory_percent"] == pytest.approx(100 * facts["used_memory"] / facts["maxmemory"])
    assert facts["maxclients"] == 100
    assert facts["clients_percent"] == facts["connected_clients"] >= 1
    assert (facts["role"], facts["connected_replicas"], facts["loading"]) == ("primary", 0, False)
    assert facts["version"] == info["redis_version"]
    hits, misses = info["keyspace_hits"], info["keyspace_misses"]
    assert facts["hit_rate"] == pytest.approx(100 * hits / (hits + misses))
    assert 0 < facts["latency"] < 30
    assert reading.missing["replication_lag"].reason == "the server has no replicas"


def test_without_a_limit_the_share_of_memory_is_missing() -> None:
    with Redis() as server:
        reading = read(redis, {}, connection(server, ""))
        assert "no limit" in reading.missing["memory_percent"].reason
        assert reading.missing["memory_percent"].error_class is None
        assert "no key was looked up" in reading.missing["hit_rate"].reason


def test_the_length_of_a_queue_by_its_kind(server: Redis) -> None:
    with server.client() as client:
        client.rpush("list", *range(3))
        client.xadd("stream", {"a": 1})
        client.zadd("zset", {"a": 1, "b": 2})
        client.sadd("set", *range(4))
        client.hset("hash", mapping={"a": 1})
    lengths = {key: ask(server, key=key).facts["queue_length"] for key in ("list", "stream", "zset", "set", "hash")}
    assert lengths == {"list": 3, "stream": 1, "zset": 2, "set": 4, "hash": 1}
    gone = ask(server, key="gone").facts
    assert (gone["queue_length"], gone["key_exists"]) == (0, False)


def test_blocked_and_slow(server: Redis) -> None:
    with server.client() as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.get("x")
        waiting = threading.Thread(target=lambda: server.client().blpop(["never"], timeout=20))
        waiting.start()
        wait_until(lambda: client.info("clients")["blocked_clients"] == 1, "a blocked client")
        facts = ask(server).facts
        client.rpush("never", 1)
        client.config_set("slowlog-log-slower-than", 10_000)
    waiting.join()
    assert facts["blocked_clients"] == 1
    assert facts["slowlog_len"] >= 1


def test_a_replica_and_its_primary(server: Redis) -> None:
    with Redis(options=("--replicaof", "127.0.0.1", str(server.port), "--masterauth", "s3cret")) as replica:
        own = connection(replica, "")
        wait_until(lambda: read(redis, {}, own).facts["replication_up"], "the link")
        of_replica, of_primary = read(redis, {}, own).facts, ask(server).facts
        assert (of_replica["role"], of_primary["role"], of_primary["connected_replicas"]) == ("replica", "primary", 1)
        assert 0 <= of_replica["replication_lag"] < 30
        wait_until(lambda: "replication_lag" in ask(server).facts, "the replica's first report")
        with replica.client() as client:
            client.replicaof("127.0.0.1", str(free_port()))
        wait_until(lambda: not read(redis, {}, own).facts["replication_up"], "a link that is down")


@pytest.mark.parametrize(
    ("change", "error", "error_class"),
    [
        ({"password": "wr0ng"}, Permanent, "denied"),
        ({"password": ""}, Permanent, "denied"),
        ({"url": f"redis://127.0.0.1:{free_port()}/0"}, Transient, "refused"),
        ({"url": "redis://no-such-host.invalid:6379/0"}, Transient, "dns"),
        ({"url": "http://127.0.0.1"}, Permanent, "invalid"),
    ],
)
def test_failures_have_a_class(server: Redis, change: dict[str, str], error: type[Exception], error_class: str) -> None:
    with pytest.raises(error) as failure:
        read(redis, {}, connection(server, **change))
    assert getattr(failure.value, "error_class", None) == error_class
    assert "s3cret" not in str(failure.value)
    assert "wr0ng" not in str(failure.value)


def test_a_full_server_is_exhausted() -> None:
    with Redis(options=("--maxclients", "1")) as server, server.client() as client:
        client.ping()
        with pytest.raises(Transient) as failure:
            read(redis, {}, connection(server, ""))
        assert failure.value.error_class == "exhausted"


def test_what_the_role_may_not_ask_is_missing(server: Redis) -> None:
    with server.client() as client:
        client.execute_command("ACL SETUSER watcher on >pw +ping +info +select")
    reading = read(redis, {"key": "jobs"}, connection(server, "pw", username="watcher"))
    assert reading.missing["slowlog_len"].error_class == "denied"
    assert reading.missing["queue_length"].error_class == "denied"
    assert reading.facts["role"] == "primary"


@contextmanager
def listener(answer: bytes) -> Iterator[int]:
    """Answers the first thing it hears with these bytes, then nothing."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            held = []
            while not stop.is_set():
                try:
                    one, _ = server.accept()
                except TimeoutError:
                    continue
                held.append(one)
                one.sendall(answer)
            for one in held:
                one.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        stop.set()
        thread.join()


def test_something_else_on_the_port_is_not_redis() -> None:
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port, pytest.raises(Permanent) as failure:
        read(redis, {}, Connection("cache", "redis", f"redis://127.0.0.1:{port}/0"))
    assert failure.value.error_class == "invalid"


def test_silence_can_be_cancelled() -> None:
    async def run(port: int) -> None:
        task = asyncio.create_task(
            read_async(redis, {}, Connection("cache", "redis", f"redis://127.0.0.1:{port}/0"), timeout_s=30)
        )
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with listener(b"") as port:
        asyncio.run(run(port))
        with pytest.raises((Transient, TimeoutError)):
            read(redis, {}, Connection("cache", "redis", f"redis://127.0.0.1:{port}/0"), timeout_s=0.2)
