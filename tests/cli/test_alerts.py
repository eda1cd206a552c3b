"""`quell alerts list|quarantine`: what came in."""

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
