"""Heartbeats over HTTP, and when each source was heard: the API and the page say the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from quell.app import Kind
from quell.incident.access import Role
from tests.servers.process import wait_until
from tests.servers.prometheus import Prometheus
from tests.web.house import House, alerts
from tests.web.secured import Secured

SOURCES = """
sources:
  nightly: {type: heartbeat, expect: {every: 1d, grace: 2h}, path: /ping/nightly}
  gone: {type: heartbeat, expect: every 1s}
  prometheus: {type: alertmanager, expect: {every: 5m, alerts: [alertname=Watchdog]}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), more=SOURCES, kind=Kind.SERVER) as house:
        yield house


def listed(house: House) -> dict[str, dict[str, Any]]:
    answer = house.http.get("/api/v1/sources")
    assert answer.status_code == 200, answer.text
    return {one["name"]: one for one in answer.json()["sources"]}


@pytest.mark.parametrize(("method", "path"), [
    ("POST", "/webhooks/nightly"), ("GET", "/webhooks/nightly"), ("HEAD", "/webhooks/nightly"),
    ("GET", "/ping/nightly"), ("POST", "/ping/nightly"),
])  # fmt: skip
def test_a_heartbeat_by_whatever_a_job_can_do(house: House, method: str, path: str) -> None:
    before = listed(house)["nightly"]["deliveries"]
    answer = house.http.request(method, path)
    assert answer.status_code == 200
    if method != "HEAD":
        assert answer.json() == {"accepted": 0, "incidents": [], "quarantined": [], "heartbeats": 1}
    found = listed(house)["nightly"]
    assert (found["deliveries"], found["state"], found["expected"]) == (before + 1, "ok", "every 1d, 2h grace")


def test_by_get_only_what_has_no_alerts(house: House) -> None:
    answer = house.http.get("/webhooks/prometheus")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert house.http.get("/webhooks/nightli").status_code == 404


def test_a_page_of_another_site_sends_none(house: House) -> None:
    for method in ("GET", "POST"):
        answer = house.http.request(method, "/webhooks/nightly", headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403, method


def test_a_watchdog_is_told_to_be_a_heartbeat(house: House) -> None:
    body = alerts({"alertname": "Watchdog"}, {"alertname": "Other", "service": "shop"})
    told = house.http.post("/webhooks/prometheus", json=body).json()
    assert (told["accepted"], told["heartbeats"], len(told["incidents"])) == (2, 1, 1)
    found = listed(house)["prometheus"]
    assert (found["state"], found["alerts"], found["type"]) == ("ok", 2, "alertmanager")


def test_who_is_late_comes_first_on_the_page_too(house: House) -> None:
    wait_until(lambda: listed(house)["gone"]["state"] == "late", "a source that is late")
    found = list(listed(house).values())
    assert found[0]["name"] == "gone"
    assert house.http.get(f"/api/v1/alerts/{found[0]['alert']}").json()["name"] == "HeartbeatMissing"
    page = house.http.get("/alerts", headers={"accept": "text/html"}).text
    said = page[page.index('id="sources"') :]
    assert said.index("<b>gone</b> heartbeat") < said.index("<b>nightly</b> heartbeat")
    assert 'chip bad">late' in said
    assert "expected every 1d, 2h grace" in said
    assert "its alert</a>" in said


def test_whoever_sends_one_shows_the_sources_own_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP", "secret-of-the-backup")
    more = "sources: {backup: {type: heartbeat, token: env:BACKUP, expect: every 1d}, acme: {type: heartbeat, tenant: acme, expect: every 1d}}"
    with Secured(tmp_path, insecure=False, more=more, kind=Kind.SERVER) as house:
        stranger = httpx.Client(base_url=house.url)
        for method in ("GET", "POST"):
            assert stranger.request(method, "/webhooks/backup").status_code == 401
            good = stranger.request(
                method, "/webhooks/backup", headers={"authorization": "Bearer secret-of-the-backup"}
            )
            assert good.status_code == 200, good.text
        assert stranger.get("/api/v1/sources").status_code == 401
        mine = house.as_(house.token("vera", Role.VIEWER, tenant="acme")).get("/api/v1/sources").json()
        assert [one["name"] for one in mine["sources"]] == ["acme"]
        assert house.http.get("/api/v1/sources").json()["sources"][-1]["refused"] == 2


RULES = "groups: [{name: meta, rules: [{alert: Watchdog, expr: vector(1), labels: {severity: none}}]}]\n"
WATCHED = (
    "sources: {prometheus: {type: alertmanager_api, expect: {every: 8s, alerts: [alertname=Watchdog], severity: P1}}}"
)


def test_a_prometheus_that_is_dead_does_not_look_like_peace(tmp_path: Path) -> None:
    """A real one, whose Watchdog is said again all the time: first it lives, then it is killed, then it is back."""
    flags = ["--rules.alert.resend-delay=300ms"]
    with House(tmp_path, more=WATCHED, kind=Kind.SERVER) as house:
        meant = house.url.removeprefix("http://")
        with Prometheus(rules=RULES, alertmanager=meant, flags=flags):
            wait_until(lambda: listed(house)["prometheus"]["deliveries"] >= 3, "a Watchdog", 30)
            assert house.http.get("/api/v1/alerts").json()["alerts"] == []
            assert listed(house)["prometheus"]["state"] == "ok"
        wait_until(lambda: listed(house)["prometheus"]["state"] == "late", "that nobody hears it", 30)
        (alert,) = house.http.get("/api/v1/alerts").json()["alerts"]
        incident = house.incident(alert["incident"])
        assert (alert["name"], incident["severity"]) == ("HeartbeatMissing", "P1")
        assert incident["title"].startswith("nothing heard from prometheus for ")
        with Prometheus(rules=RULES, alertmanager=meant, flags=flags):
            wait_until(lambda: listed(house)["prometheus"]["state"] == "ok", "that it is heard again", 30)
            assert house.incident(alert["incident"])["status"] == "resolved"
