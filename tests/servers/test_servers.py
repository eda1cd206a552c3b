"""Each real server starts, answers, can be driven, and leaves no process, port or file behind."""

import contextlib
import http.server
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from redis.exceptions import AuthenticationError

from tests.servers.alertmanager import Alertmanager
from tests.servers.chromium import BrowserError, Chromium
from tests.servers.haproxy import HAProxy
from tests.servers.mariadb import MariaDB
from tests.servers.moto import Moto
from tests.servers.ports import LOOPBACK, listening
from tests.servers.postgres import Postgres, PostgresPair
from tests.servers.postgres_exporter import PostgresExporter
from tests.servers.process import (
    RunServer,
    Server,
    alive,
    descendants,
    start_time,
    wait_until,
)
from tests.servers.prometheus import Prometheus
from tests.servers.redis import Redis
from tests.servers.supervisord import Supervisord

PAGE = """<!doctype html><title>A page</title>
<style>body{background:#fff} @media (prefers-color-scheme: dark){body{background:#000}}</style>
<button id="more" onclick="document.title='Clicked'">More</button><p id="who">no script</p>
<script>document.getElementById('who').textContent = 'script'</script>"""
RULES = """
groups:
  - name: test
    rules:
      - alert: QueueLong
        expr: queue_length > 10
        labels: {severity: critical}
"""
SECTIONS = """
frontend users
    bind "127.0.0.1:${PORT}"
    default_backend app
backend app
    server one %s
    server two %s
"""


class _Site(http.server.ThreadingHTTPServer):
    """A small service: a page, a metric that the test sets, and what was posted to it."""

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Requests)
        self.address = f"{LOOPBACK}:{self.server_address[1]}"
        self.queue_length = 42
        self.posted: list[bytes] = []


class _Requests(http.server.BaseHTTPRequestHandler):
    server: _Site

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer("text/plain", f"queue_length {self.server.queue_length}\n")
        else:
            self._answer("text/html", PAGE)

    def do_POST(self) -> None:
        self.server.posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer("text/plain", "")

    def _answer(self, kind: str, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *values: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[_Site]:
    with _Site() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


SERVERS: dict[str, Callable[[], Server]] = {
    "prometheus": Prometheus,
    "alertmanager": Alertmanager,
    "postgres": Postgres,
    "mariadb": MariaDB,
    "redis": Redis,
    "haproxy": lambda: HAProxy(SECTIONS % ("127.0.0.1:1", "127.0.0.1:2")),
    "supervisord": lambda: Supervisord({"one": {"command": "sleep 1000"}}),
    "postgres_exporter": lambda: PostgresExporter("postgresql://nobody@127.0.0.1:1/none"),
    "chromium": Chromium,
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_starts_and_leaves_nothing_behind(name: str) -> None:
    with SERVERS[name]() as server:
        assert server.running
        assert server.ready()
        port: int = server.port  # type: ignore[attr-defined]
        assert listening(port)
        folder = server.folder
        assert folder.is_dir()
        family: dict[int, str | None] = {}

        def settled() -> bool:
            # A server has children that are there for a moment only, such as one that answers whether it is ready.
            family.clear()
            family.update({server.pid: start_time(server.pid), **descendants(server.pid)})
            return all(alive(*one) for one in family.items())

        wait_until(settled, "whoever belongs to it lives")
    assert not server.running
    assert not any(alive(*one) for one in family.items())
    assert not listening(port)
    assert not folder.exists()


def test_an_alert_walks_from_a_metric_to_the_webhook(site: _Site, run_server: RunServer) -> None:
    alertmanager = run_server(Alertmanager(f"http://{site.address}/hook"))
    prometheus = run_server(Prometheus([site.address], rules=RULES, alertmanager=alertmanager.address))
    wait_until(lambda: bool(site.posted), "the webhook's call")
    assert b'"alertname":"QueueLong"' in site.posted[0]
    assert prometheus.value("queue_length") == 42
    assert prometheus.value("no_such_metric") is None
    assert prometheus.firing() == {"QueueLong"}
    assert alertmanager.alerts()[0]["labels"]["severity"] == "critical"
    site.queue_length = 3
    wait_until(lambda: b'"status":"resolved"' in site.posted[-1], "the webhook's second call")
    with pytest.raises(httpx.HTTPStatusError):
        prometheus.reload(rules="groups: [{")


def test_alertmanager_takes_alerts_and_tells_who_it_is(site: _Site, run_server: RunServer) -> None:
    alertmanager = run_server(Alertmanager(f"http://{site.address}/", authorization="Bearer secret"))
    alertmanager.post([{"labels": {"alertname": "ByHand"}}])
    wait_until(lambda: bool(site.posted), "the webhook's call")
    assert b'"ByHand"' in site.posted[0]


def test_postgres_gives_each_test_its_database(postgres_server: Postgres) -> None:
    with postgres_server.fresh_database() as name:
        postgres_server.execute("CREATE TABLE t (n int)", database=name)
        postgres_server.execute("INSERT INTO t VALUES (%s)", 7, database=name)
        assert postgres_server.execute("SELECT n FROM t", database=name) == [(7,)]
        left_open = postgres_server.connect(name)
    assert postgres_server.execute("SELECT 1 FROM pg_database WHERE datname = %s", name) == []
    left_open.close()


def test_postgres_fixture_is_empty(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert rows == [(0,)]


def test_postgres_takes_settings_and_runs_out_of_connections(run_server: RunServer) -> None:
    server = run_server(Postgres(max_connections=3, settings={"superuser_reserved_connections": 1}))
    server.execute("CREATE ROLE app LOGIN")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(server.connect(user="app"))
        with pytest.raises(psycopg.OperationalError, match="remaining connection slots are reserved"):
            server.connect(user="app")
        assert server.execute("SELECT 1") == [(1,)]


def test_postgres_asks_for_a_password_and_survives_a_crash(run_server: RunServer) -> None:
    server = run_server(Postgres(password="p@ss/word"))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url(password="wrong"))
    server.execute("CREATE TABLE kept AS SELECT 1 AS n")
    server.crash()
    assert not listening(server.port)
    server.start()
    assert server.execute("SELECT n FROM kept") == [(1,)]


def test_a_replica_follows_and_is_promoted(postgres_pair: PostgresPair) -> None:
    primary, replica = postgres_pair.primary, postgres_pair.replica
    assert replica.in_recovery
    primary.execute("CREATE TABLE t AS SELECT 7 AS n")
    wait_until(postgres_pair.streaming, "replication")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        replica.execute("INSERT INTO t VALUES (8)")
    primary.crash()
    replica.promote()
    replica.execute("INSERT INTO t VALUES (8)")
    assert replica.execute("SELECT n FROM t ORDER BY n") == [(7,), (8,)]


def test_mariadb_gives_each_test_its_database(mariadb_server: MariaDB, mariadb_database: str) -> None:
    mariadb_server.execute("CREATE TABLE t (n int)", database=mariadb_database)
    mariadb_server.execute("INSERT INTO t VALUES (%s)", 7, database=mariadb_database)
    assert mariadb_server.execute("SELECT n FROM t", database=mariadb_database) == [(7,)]


@pytest.mark.parametrize("turn", ["first", "second"])
def test_redis_is_empty_each_time(redis_server: Redis, turn: str) -> None:
    with redis_server.client(3) as client:
        assert client.dbsize() == 0
        client.set(turn, "here")


def test_redis_asks_for_its_password(run_server: RunServer) -> None:
    server = run_server(Redis(password="secret", options=("--maxmemory", "10mb")))
    with server.client() as client:
        assert client.config_get("maxmemory") == {"maxmemory": "10485760"}
        client.auth("secret")
        with pytest.raises(AuthenticationError):
            client.auth("wrong")


def test_haproxy_drains_a_server(site: _Site, run_server: RunServer) -> None:
    proxy = run_server(HAProxy(SECTIONS % (site.address, site.address), files={"note": "x"}))
    assert httpx.get(proxy.url).status_code == 200
    assert proxy.servers() == {"app/one": "no check", "app/two": "no check"}
    assert proxy.command("set server app/one state drain") == ""
    assert proxy.servers()["app/one"] == "DRAIN"
    assert (proxy.folder / "note").read_text() == "x"
    assert httpx.get(proxy.url).status_code == 200


def test_moto_delivers_what_is_published_and_serves_the_certificate(site: _Site, run_server: RunServer) -> None:
    moto = run_server(Moto())
    topic = moto.topic("alarms")
    assert moto.subscribe(topic, f"http://{site.address}/hook").startswith(topic + ":")
    published = moto.publish(topic, "the disk is full", "Alarm")
    (message,) = map(json.loads, site.posted)
    assert (message["MessageId"], message["TopicArn"], message["Subject"]) == (published, topic, "Alarm")
    assert message["Message"] == "the disk is full"
    certificate = moto.get(httpx.URL(message["SigningCertURL"]).path, {})
    assert certificate.text.startswith("-----BEGIN CERTIFICATE-----")
    confirmed = moto.get("/", {"Action": ["ConfirmSubscription"], "TopicArn": [topic], "Token": ["t"]})
    assert confirmed.is_success
    with pytest.raises(httpx.HTTPStatusError):
        moto.publish(topic + "-other", "nobody hears it")


def test_supervisord_starts_and_stops_a_program(run_server: RunServer) -> None:
    server = run_server(
        Supervisord({"one": {"command": "sleep 1000"}, "off": {"command": "sleep 1000", "autostart": "false"}})
    )
    wait_until(lambda: server.state("one") == "RUNNING", "the program's start")
    assert server.state("off") == "STOPPED"
    before = server.program_pid("one")
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: server.program_pid("one") not in (0, before), "its return")
    server.call("supervisor.stopProcess", "one")
    assert server.state("one") == "STOPPED"
    assert httpx.post(server.url, auth=("quell", "wrong")).status_code == 401


def test_the_exporter_counts_connections(postgres_server: Postgres, run_server: RunServer) -> None:
    queries = 'sessions:\n  query: "SELECT 5 AS busy"\n  metrics: [{busy: {usage: GAUGE, description: x}}]\n'
    exporter = run_server(PostgresExporter(postgres_server.url(), queries=queries))
    wait_until(lambda: exporter.metric("pg_up") == 1, "the exporter's connection")
    assert exporter.metric(f'sessions_busy{{server="{LOOPBACK}:{postgres_server.port}"}}') == 5


def test_a_page_is_seen_clicked_and_drawn(chromium: Chromium, site: _Site, tmp_path: Path) -> None:
    url = f"http://{site.address}/"
    with chromium.page(390, 844, dark=True) as page:
        page.open(url)
        assert page.title == "A page"
        assert page.eval("[innerWidth, innerHeight]") == [390, 844]
        assert page.eval("getComputedStyle(document.body).backgroundColor") == "rgb(0, 0, 0)"
        assert page.text("#who") == "script"
        page.click("#more")
        page.wait_for("document.title === 'Clicked'")
        page.screenshot(tmp_path / "dark.png")
        assert page.count("p") == 1
        with pytest.raises(BrowserError, match="no such element"):
            page.text("#nothing")
    chromium.screenshot(url, 800, 600, tmp_path / "light.png")
    assert _png_size(tmp_path / "dark.png") == (390, 844)
    assert _png_size(tmp_path / "light.png") == (800, 600)


def test_a_page_without_javascript(chromium: Chromium, site: _Site) -> None:
    with chromium.page(javascript=False) as page:
        page.open(f"http://{site.address}/")
        assert page.text("#who") == "no script"
        page.click("#more")
        assert page.title == "A page"
        assert page.eval("document.querySelectorAll('p').length") == 1
    assert descendants(chromium.pid) == {}


def _png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
