"""Webhooks of a source that may send only so much, over a real socket: what its sender is told."""

from __future__ import annotations

from pathlib import Path

from tests.web.house import House, alerts

OF_SOURCES = """
sources:
  am: {type: alertmanager, rate: 2/h, max_body_bytes: 4096}
  prometheus: {type: alertmanager_api, rate: 1/h}
"""


def test_what_a_source_may_not_send_is_told_so_that_it_comes_again(tmp_path: Path) -> None:
    with House(tmp_path, more=OF_SOURCES) as own:
        both = alerts(*({"alertname": name, "service": "shop"} for name in ("A", "B")))
        assert own.http.post("/webhooks/am", json=both).status_code == 200
        refused = own.http.post("/webhooks/am", json=both)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "3600")
        assert "nothing of them was taken" in refused.json()["error"]
        long = own.http.post("/webhooks/am", content=b"{" + b" " * 4096)
        assert (long.status_code, long.json()["limit"]) == (413, 4096)
        posted = [{"labels": {"alertname": "C"}}, {"labels": {"alertname": "D"}}]
        assert own.http.post("/api/v2/alerts", json=posted).status_code == 200, "more than a burst, after a quiet time"
        again = own.http.post("/api/v2/alerts", json=posted)
        assert (again.status_code, again.headers["retry-after"]) == (503, "7200"), "503, since 429 would be dropped"
