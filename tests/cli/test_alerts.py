"""`quell alerts list|show|quarantine`: what came in."""

import json
import urllib.request
from pathlib import Path

from tests.cli.command import served


def test_what_came_in_and_what_could_not_be_read(tmp_path: Path) -> None:
    good = {"status": "firing", "labels": {"alertname": "Lonely"}, "annotations": {}, "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "aa"}  # fmt: skip
    body = {"version": "4", "groupKey": "g", "status": "firing", "receiver": "quell", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": [good, {"status": "burning"}]}  # fmt: skip
    with served(tmp_path) as server:
        assert server.ask("alerts", "list").stdout == "No alerts yet.\n"
        assert server.ask("alerts", "quarantine").stdout == "Nothing is in quarantine.\n"
        request = urllib.request.Request(
            f"{server.address}/webhooks/alertmanager", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=20).close()
        listed = server.ask("alerts", "list").stdout
        assert "Lonely" in listed
        aside = server.ask("alerts", "quarantine").stdout
        assert "alertmanager" in aside
        assert [one["source"] for one in server.json("alerts", "quarantine")["quarantined"]] == ["alertmanager"]
        assert len(server.json("alerts", "list", "--limit", "1")["alerts"]) == 1
        assert server.json("alerts", "--json") == server.json("alerts", "list")
        assert server.ask("alerts").stdout.splitlines()[0].split()[:3] == ["last", "times", "alert"]
        assert server.ask("alerts", "--json", "list").returncode == 2
        assert server.ask("alerts", "list", "--status", "resolved").stdout == "No alert is resolved.\n"
        assert server.ask("alerts", "list", "--status", "burning").returncode == 2
        shown = server.ask("alerts", "show", "Lonely").stdout
        assert "name         Lonely" in shown
        assert "quell why aa" in shown
        assert server.json("alerts", "show", "aa")["name"] == "Lonely"
        assert "no alert 'Nobody'" in server.ask("alerts", "show", "Nobody").stderr
