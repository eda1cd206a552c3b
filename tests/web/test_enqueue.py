"""``/v2/enqueue`` over a real socket: what PagerDuty would answer, a real Alertmanager, a database that goes away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.plugins.sources.test_pagerduty_events import EVENT, KEY
from tests.servers.alertmanager import Alertmanager
from tests.servers.postgres import Postgres
from tests.servers.process import RunServer, wait_until
from tests.web.secured import Secured
from tests.web.served import Served

ENQUEUE = "/v2/enqueue"
SOURCES = """
sources:
  payments: {type: pagerduty_events, routing_keys: ['env:PAYMENTS_KEY'], service: shop, max_body_bytes: 65536}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAYMENTS_KEY", KEY)
        with Secured(tmp_path_factory.mktemp("enqueue"), more=SOURCES, insecure=False) as house:
            yield house


@pytest.fixture
def sender(house: Secured) -> Iterator[httpx.Client]:
    """Nobody in particular: an event brings its own key."""
    with httpx.Client(base_url=house.url, timeout=30) as client:
        yield client


def known(house: Secured, name: str) -> list[dict[str, Any]]:
    return [one for one in house.http.get("/api/v1/alerts").json()["alerts"] if one["name"] == name]


def named(name: str, **more: Any) -> dict[str, Any]:
    return {**EVENT, "dedup_key": name, "payload": {**EVENT["payload"], "class": name}, **more}


def test_an_event_is_on_disk_when_it_is_answered(house: Secured, sender: httpx.Client) -> None:
    answer = sender.post(ENQUEUE, json=named("OnDisk"))
    assert answer.status_code == 202
    assert answer.json() == {"status": "success", "message": "Event processed", "dedup_key": "OnDisk"}
    (alert,) = known(house, "OnDisk")
    assert (alert["status"], house.incident(alert["incident"])["severity"]) == ("firing", "P1")


def test_what_is_acknowledged_and_resolved_by_its_key_is_so_here(house: Secured, sender: httpx.Client) -> None:
    sender.post(ENQUEUE, json=named("Twice"))
    for action in ("acknowledge", "resolve"):
        later = {"routing_key": KEY, "event_action": action, "dedup_key": "Twice", "client": "Ines"}
        assert sender.post(ENQUEUE, json=later).status_code == 202
    (alert,) = known(house, "Twice")
    assert alert["status"] == "resolved"
    assert house.incident(alert["incident"])["acknowledged_by"] == "Ines"


def test_a_key_is_made_where_there_is_none_and_it_is_the_alerts(house: Secured, sender: httpx.Client) -> None:
    key = sender.post(ENQUEUE, json={**named("Keyless"), "dedup_key": None}).json()["dedup_key"]
    assert len(key) == 32
    assert sender.post(ENQUEUE, json={"routing_key": KEY, "event_action": "resolve", "dedup_key": key}).is_success
    assert [one["status"] for one in known(house, "Keyless")] == ["resolved"]


@pytest.mark.parametrize(
    ("content", "errors"),
    [
        ({**EVENT, "routing_key": "S" * 32}, ["Invalid routing key"]),
        ({**EVENT, "routing_key": "S"}, ["Length of 'routing_key' is incorrect (should be 32 characters)"]),
        ({}, ["'routing_key' is missing or blank"]),
        ({"routing_key": KEY}, ["'event_action' is missing or blank"]),
        (
            {"routing_key": KEY, "event_action": "trigger", "payload": {"source": "x", "severity": "bad"}},
            [
                "'payload.summary' is missing or blank",
                "'payload.severity' is invalid (must be one of the following: 'critical', 'warning', 'error' or 'info')",
            ],
        ),
        ([], ["Event object is not valid JSON: the body is not an object"]),
    ],
)
def test_what_is_wrong_is_told_as_pagerduty_tells_it(
    house: Secured, sender: httpx.Client, content: Any, errors: list[str]
) -> None:
    before = house.http.get("/api/v1/alerts").json()
    answer = sender.post(ENQUEUE, json=content)
    assert answer.status_code == 400
    assert answer.json() == {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    assert house.http.get("/api/v1/alerts").json() == before


def test_garbage_is_400_and_get_is_405(sender: httpx.Client) -> None:
    assert sender.post(ENQUEUE, content=b"\xff{").json()["status"] == "invalid event"
    assert sender.post(ENQUEUE, content=b" " * 600_000).status_code == 400
    assert sender.post(ENQUEUE, content=b" " * 1_048_577).status_code == 413
    long = sender.post(ENQUEUE, json=named("Long", client="x" * 65_536))
    assert (long.status_code, long.json()["limit"]) == (413, 65_536)
    assert sender.get(ENQUEUE).status_code in (401, 405)


def test_a_token_of_ours_opens_nothing_here(house: Secured) -> None:
    answer = house.http.post(ENQUEUE, json={**EVENT, "routing_key": "S" * 32})
    assert answer.json()["errors"] == ["Invalid routing key"]


def test_a_page_of_another_site_cannot_page(sender: httpx.Client) -> None:
    assert sender.post(ENQUEUE, json=EVENT, headers={"origin": "https://evil.example"}).status_code == 403


def test_a_real_alertmanager_pages_and_takes_it_back(house: Secured, run_server: RunServer) -> None:
    paging = {
        "url": house.url + ENQUEUE, "routing_key": KEY, "class": "{{ .GroupLabels.alertname }}",
        "severity": "{{ .CommonLabels.severity }}", "details": {"service": "{{ .CommonLabels.service }}"},
    }  # fmt: skip
    alertmanager = run_server(Alertmanager(pagerduty=paging))
    labels = {"alertname": "ShopErrors", "service": "shop", "severity": "warning"}
    alertmanager.post([{"labels": labels, "annotations": {"summary": "it hurts"}}])
    wait_until(lambda: known(house, "ShopErrors"), "the page", 30)
    (alert,) = known(house, "ShopErrors")
    incident = house.incident(alert["incident"])
    assert (incident["service"], incident["runbook"], alert["status"]) == ("shop", "shop-errors", "firing")
    alertmanager.post([{"labels": labels, "endsAt": "2026-01-01T00:00:00Z"}])
    wait_until(lambda: known(house, "ShopErrors")[0]["status"] == "resolved", "the end", 30)


def test_while_the_database_is_away_the_sender_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYMENTS_KEY", KEY)
    settings = tmp_path / "quell.yaml"
    with Postgres() as database:
        settings.write_text(f"database: {database.url()}\nservices: {{shop: {{}}}}\n{SOURCES}")
        with Served(settings) as served, httpx.Client(base_url=served.url, timeout=60) as http:
            assert http.post(ENQUEUE, json=named("Before")).status_code == 202
            database.crash()
            answer = http.post(ENQUEUE, json=named("Meanwhile"))
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert http.post(ENQUEUE, json={**EVENT, "routing_key": "S" * 32}).status_code == 400
            database.start()
            wait_until(lambda: http.get("/readyz").status_code == 200, "ready again")
            assert http.post(ENQUEUE, json=named("Meanwhile")).json()["dedup_key"] == "Meanwhile"
