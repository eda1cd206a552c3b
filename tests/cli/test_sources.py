"""`quell sources`: when each source was heard and which is late, as the terminal and the API say it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest

from tests.cli.command import Served, served, write_runbook
from tests.servers.process import wait_until

CONFIG = """
sources:
  nightly: {type: heartbeat, expect: every 1d}
  gone: {type: heartbeat, expect: every 1s}
  grafana: {}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("sources")
    write_runbook(folder)
    (folder / "quell.yaml").write_text(CONFIG)
    with served(folder, "--config", "quell.yaml", "--runbooks", "fix.json") as running:
        yield running


def test_it_is_listed_with_who_is_late_first(server: Served) -> None:
    urllib.request.urlopen(f"{server.address}/webhooks/nightly", timeout=30).close()
    wait_until(lambda: server.json("sources")["sources"][0]["state"] == "late", "a source that is late")
    assert server.json("sources") == server.get("/api/v1/sources")
    said = server.ask("sources")
    assert said.returncode == 0, said.stderr
    head, gone, nightly, grafana, last = said.stdout.splitlines()
    assert head.split() == [
        "source",
        "type",
        "tenant",
        "state",
        "last",
        "heard",
        "expected",
        "deliveries",
        "alerts",
        "refused",
    ]
    assert gone.split()[:5] == ["gone", "heartbeat", "default", "late", "never"]
    assert nightly.split()[:4] == ["nightly", "heartbeat", "default", "ok"]
    assert "every 1d" in nightly
    assert grafana.split() == ["grafana", "grafana", "default", "-", "never", "-", "0", "0", "0"]
    assert last == "1 source late: gone; quell alerts list --status firing"
    (alert,) = server.json("alerts", "list", "--status", "firing")["alerts"]
    assert (alert["name"], alert["source"]) == ("HeartbeatMissing", "gone")
