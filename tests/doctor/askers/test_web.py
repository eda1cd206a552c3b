"""A real Prometheus, a fake Loki, and HTTP servers whose clock or answer is wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from time import time

import pytest

from quell.doctor.askers.web import dated
from tests.doctor.house import of, report, said
from tests.fakes.loki import FakeLoki
from tests.fakes.serving import Reply
from tests.fakes.sink import FakeSink
from tests.servers.ports import LOOPBACK
from tests.servers.process import RunServer
from tests.servers.prometheus import Prometheus


@contextmanager
def clocked(ahead_s: float) -> Iterator[str]:
    """An HTTP server whose Date is so far ahead; its address."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    wire, _ = listener.accept()
                except OSError:
                    return
                with wire:
                    wire.recv(65536)
                    head = f"HTTP/1.1 204 No Content\r\nDate: {formatdate(time() + ahead_s, usegmt=True)}\r\n\r\n"
                    wire.sendall(head.encode())

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://{LOOPBACK}:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)


def test_prometheus_and_loki_answer_a_query(run_server: RunServer, tmp_path: Path) -> None:
    prometheus = run_server(Prometheus())
    with FakeLoki() as loki:
        told = report(
            tmp_path,
            connections={
                "metrics": {"type": "prometheus", "url": prometheus.url + "/"},
                "logs": {"type": "loki", "url": loki.url},
                "wrong": {"type": "loki", "url": prometheus.url},
            },
        )
    assert said(told, "reach", "metrics")[0][1].startswith("Prometheus answers a query in ")
    assert said(told, "clock", "metrics")[0][0] == "ok"
    assert said(told, "reach", "logs")[0][1].startswith("Loki answers a query in ")
    (wrong,) = of(told, "reach", "wrong")
    assert wrong.level == "error"
    assert "not an answer of Loki (HTTP 404)" in wrong.found


@pytest.mark.parametrize(
    ("ahead_s", "level", "words"),
    [
        (0, "ok", "agrees"),
        (10, "warning", "s ahead of ours"),
        (-10, "warning", "s behind ours"),
        (-90, "error", "behind"),
    ],
)
def test_a_clock_that_is_wrong(ahead_s: float, level: str, words: str, tmp_path: Path) -> None:
    with clocked(ahead_s) as url:
        told = report(tmp_path, connections={"api": {"type": "http", "url": url}})
    ((seen, found),) = said(told, "clock", "api")
    assert seen == level
    assert words in found


@pytest.mark.parametrize(
    ("status", "level", "found"),
    [(200, "ok", "answers HTTP 200"), (404, "ok", "answers HTTP 404"), (503, "warning", "answers HTTP 503"),
     (401, "error", "not allowed to ask (HTTP 401)"), (403, "error", "not allowed")],
)  # fmt: skip
def test_what_an_http_connection_answers(status: int, level: str, found: str, tmp_path: Path) -> None:
    with FakeSink() as sink:
        sink.reply = Reply.text("x", status)
        connection = {"type": "http", "url": sink.url, "username": "quell", "headers": {"X-Team": "sre"}}
        told = report(tmp_path, connections={"api": connection})
        (request,) = sink.requests
    (one,) = of(told, "reach", "http api")
    assert one.level == level
    assert found in one.found
    assert (request.method, request.headers["x-team"]) == ("GET", "sre")
    assert request.headers["authorization"].startswith("Basic ")


def test_a_notifiers_connection_is_only_reached(tmp_path: Path) -> None:
    with FakeSink() as sink:
        told = report(
            tmp_path,
            connections={
                "sre": {"type": "slack", "url": f"{sink.url}/services/T/B/s3cret"},
                "far": {"type": "webhook", "url": "http://169.254.169.254/s3cret"},
                "odd": {"type": "webhook", "url": "nonsense"},
                "shut": {"type": "webhook", "url": "http://127.0.0.1:9/s3cret"},
                "tls": {"type": "webhook", "url": sink.url.replace("http://", "https://")},
            },
        )
        assert sink.requests == []
    assert said(told, "reach", "slack sre")[0][1].startswith("accepts a connection in ")
    assert "metadata" in said(told, "reach", "webhook far")[0][1]
    assert said(told, "reach", "webhook odd") == [("error", "its address is not a usable URL")]
    assert said(told, "reach", "webhook shut") == [("error", "127.0.0.1: connection refused")]
    assert said(told, "reach", "webhook tls")[0][1].startswith("127.0.0.1: TLS: ")
    assert "s3cret" not in str(told)


def test_a_schedules_connection_is_only_reached(tmp_path: Path) -> None:
    with FakeSink() as sink:
        rest = {"type": "pagerduty_api", "url": sink.url, "password": "file:" + str(tmp_path / "key")}
        (tmp_path / "key").write_text("s3cret")
        told = report(
            tmp_path,
            connections={"rest": rest, "rota": {"type": "ical", "url": f"{sink.url}/s3cret.ics"}},
        )
        assert sink.requests == []
    for about in ("pagerduty_api rest", "ical rota"):
        assert said(told, "reach", about)[0][1].startswith("accepts a connection in ")
    assert "s3cret" not in str(told)


def test_a_header_that_is_no_date_tells_nothing() -> None:
    assert dated(None, 0, 1) is None
    assert dated("tomorrow", 0, 1) is None
