"""The socket under the fakes: faults that strike once, with or without the effect; a clean end."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import httpx
import pytest

from tests.fakes.effects import EffectLog
from tests.fakes.serving import FakeServer, Fault, Reply, Request
from tests.fakes.sink import FakeSink


def test_faults_strike_in_order_and_only_as_often_as_told() -> None:
    with FakeSink() as sink, httpx.Client(base_url=sink.url) as client:
        sink.inject(Fault.refuse(429, retry_after=7), Fault.refuse(500, times=2))
        answers = [client.post("/hook", json={}) for _ in range(4)]
        assert [a.status_code for a in answers] == [429, 500, 500, 200]
        assert answers[0].headers["retry-after"] == "7"
        assert len(sink.requests) == 4
        assert len(sink.received) == 1


def test_a_fault_strikes_only_the_requests_it_names() -> None:
    with FakeSink() as sink, httpx.Client(base_url=sink.url) as client:
        sink.inject(Fault.refuse(503, method="POST", path="/a$", times=0))
        assert client.get("/a").status_code == 200
        assert client.post("/ab").status_code == 200
        assert [client.post("/a").status_code for _ in range(3)] == [503] * 3
        sink.clear()
        assert client.post("/a").status_code == 200


@pytest.mark.parametrize("acts", [True, False])
def test_a_cut_connection_loses_the_answer_and_keeps_the_effect_only_if_told(tmp_path: Path, acts: bool) -> None:
    with FakeSink(tmp_path / "effects") as sink:
        assert sink.effects is not None
        sink.inject(Fault.cut(acts=acts))
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(sink.url + "/act", content=b"x")
        assert sink.effects.count() == int(acts)


def test_an_answer_cut_midway_is_an_error_and_not_a_short_answer() -> None:
    with FakeSink() as sink:
        sink.reply = Reply.text("x" * 1000)
        sink.inject(Fault.cut(midway=True, acts=True))
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message"):
            httpx.get(sink.url)


def test_a_slow_answer_is_the_right_answer_and_a_short_timeout_gives_up() -> None:
    with FakeSink() as sink:
        sink.inject(Fault.slow(30), Fault.slow(0.01))
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(sink.url, timeout=0.05)
        assert httpx.get(sink.url).text == "ok"


def test_a_malformed_body_comes_with_success() -> None:
    with FakeSink() as sink:
        sink.inject(Fault.malformed())
        answer = httpx.get(sink.url)
        assert answer.status_code == 200
        with pytest.raises(json.JSONDecodeError):
            answer.json()


def test_leaving_ends_slow_requests_open_connections_and_threads() -> None:
    before = threading.active_count()
    with FakeSink() as sink:
        port = sink.port
        sink.inject(Fault.slow(3600))
        idle = socket.create_connection(("127.0.0.1", port))
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(sink.url, timeout=0.05)
    assert idle.recv(1) == b""
    idle.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
    sink.wait_for(lambda: threading.active_count() <= before)


def test_a_failure_of_the_fake_itself_fails_the_test() -> None:
    class Broken(FakeServer):
        def answer(self, request: Request) -> Reply:
            raise ZeroDivisionError(request.path)

    with pytest.raises(AssertionError, match="ZeroDivisionError"), Broken() as fake:  # noqa: PT012
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(fake.url)
        fake.wait_for(lambda: False, deadline_s=5)


def test_chunked_bodies_and_queries_are_read() -> None:
    with FakeSink() as sink:
        httpx.post(sink.url + "/a%20b?x=1&x=2&y=", content=iter([b"one", b"two"]))
        (request,) = sink.requests
        assert request.path == "/a b"
        assert request.body == b"onetwo"
        assert request.query == {"x": ["1", "2"], "y": [""]}


def test_effects_of_many_threads_are_whole_lines(tmp_path: Path) -> None:
    log = EffectLog(tmp_path / "effects")

    def write(n: int) -> None:
        for _ in range(20):
            log.append({"n": n})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.count() == 100
    assert log.count(n=3) == 20
