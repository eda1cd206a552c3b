"""`quell silence|silences|unsilence`: alerts kept quiet by hand, and what the terminal says of it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import pytest

from quell import local
from tests.cli.command import Served, served, write_runbook
from tests.servers.process import wait_until

CONFIG = """
maintenance:
- {name: move, matchers: 'env="moving"', from: 2020-01-01, until: 2120-01-01}
- {name: nights, matchers: 'env="lab"', from: 2120-01-02T02:00, for: 2h, repeat: FREQ=DAILY}
"""
DISKS = ("--match", 'alertname="DiskFull"', "--match", 'env=~"dev|stage"')


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("quiet")
    write_runbook(folder)
    (folder / "quell.yaml").write_text(CONFIG)
    with served(folder, "--config", "quell.yaml", "--runbooks", "fix.json") as running:
        yield running


def fire(server: Served, name: str, **labels: str) -> list[str]:
    body = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": name, **labels}}]}
    headers = {"authorization": f"Bearer {local.read(server.address)}"}
    request = urllib.request.Request(
        f"{server.address}/webhooks/alertmanager", json.dumps(body).encode(), headers, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return list(json.load(answer)["incidents"])


def test_silenced_until_it_is_ended(server: Served) -> None:
    made = server.ask("silence", *DISKS, "--for", "2h", "--reason", "disks are changed", "--by", "bob")
    assert made.returncode == 0, made.stderr
    first, second = made.stdout.splitlines()
    assert first.startswith('{alertname="DiskFull", env=~"dev|stage"} silenced until 20')
    assert first.endswith(" UTC by bob: disks are changed")
    assert second.startswith("End it sooner with: quell unsilence ")
    assert fire(server, "DiskFull", env="dev") == []
    (one,) = server.json("silences")["silences"]
    assert (one["holds"], one["by"], one["state"]) == (1, "bob", "active")
    listed = server.ask("silences").stdout
    assert "disks are changed" in listed
    assert "1 silence on" in listed
    ended = server.ask(*second.split("quell ")[1].split())
    assert ended.stdout == '{alertname="DiskFull", env=~"dev|stage"} is not silenced any more.\n'
    wait_until(lambda: server.get("/api/v1/alerts")["alerts"][0]["incident"], "what it held is told")
    again = server.ask("unsilence", one["id"])
    assert again.returncode == 1
    assert f"silence {one['id']} ended at " in again.stderr
    assert server.json("silences")["silences"] == []
    assert [each["state"] for each in server.json("silences", "--ended")["silences"]] == ["expired"]


def test_by_an_alert_whatever_has_its_labels(server: Served) -> None:
    assert fire(server, "Fan", host="a")
    made = server.json("silence", "--alert", "Fan", "--for", "1h", "--reason", "known")
    assert made["what"] == '{alertname="Fan", host="a"}'
    assert server.json("unsilence", made["id"])["state"] == "expired"


def test_maintenance_stands_below_the_silences(server: Served) -> None:
    assert fire(server, "Door", env="moving") == []
    lines = [" ".join(line.split()) for line in server.ask("silences").stdout.splitlines()]
    assert lines[0] == "Nothing is silenced."
    assert lines[3] == 'move {env="moving"} on until 2120-01-01 00:00 UTC never again 1'
    assert lines[4] == 'nights {env="lab"} off 2120-01-02 02:00 UTC 0'


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--for", "2h", "--reason", "x"], 2, "say which alerts"),
        (["--match", "a=b", "--alert", "Fan", "--for", "2h", "--reason", "x"], 2, "say which alerts"),
        (["--match", "a=b", "--reason", "x"], 2, "--for"),
        (["--match", "a=b", "--for", "2h"], 2, "--reason"),
        (["--match", "a=b", "--match", "env ? dev", "--for", "2h", "--reason", "x"], 1, "'env ? dev', column 5"),
        (["--match", "a=b", "--for", "2 fortnights", "--reason", "x"], 1, "not a duration"),
        (["--match", "a=b", "--for", "400d", "--reason", "x"], 1, "at most 366 days"),
        (["--match", "a!=b", "--for", "1h", "--reason", "x"], 1, "match every alert"),
        (["--match", "a=b", "--for", "1h", "--reason", " "], 1, "say why"),
        (["--alert", "None", "--for", "1h", "--reason", "x"], 1, "no alert 'None'"),
    ],
)
def test_what_cannot_be_is_said_and_silences_nothing(server: Served, words: list[str], code: int, said: str) -> None:
    done = server.ask("silence", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert server.json("silences")["silences"] == []
