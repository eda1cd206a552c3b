"""Webhooks over a real socket: what is accepted, and every way in which a body can be bad."""

import json
import socket
from collections.abc import Iterator

import pytest

from tests.plugins.sources.test_pagerduty import BODY as PAGERDUTY
from tests.web.house import House, alerts


def test_an_alert_is_on_disk_when_it_is_answered(house: House) -> None:
    answer = house.http.post("/webhooks/alertmanager", json=alerts({"alertname": "ShopErrors", "service": "shop"}))
    assert answer.status_code == 200
    told = answer.json()
    assert told["accepted"] == 1
    assert told["quarantined"] == []
    assert house.incident(told["incidents"][0])["title"] == "ShopErrors on shop"


def test_one_bad_alert_is_set_aside_and_its_sibling_goes_on(house: House) -> None:
    body = alerts({"alertname": "First", "service": "shop"}, {"alertname": "Second", "service": "shop"})
    body["alerts"][0]["status"] = "on"
    told = house.http.post("/webhooks/alertmanager", json=body).json()
    assert told["accepted"] == 1
    assert told["quarantined"] == ['alerts[0].status: "on", not firing or resolved']
    assert house.http.get("/api/v1/quarantine").json()["quarantined"][0]["reason"] == told["quarantined"][0]


def test_what_says_nothing_of_an_alert_is_told_to_be_ignored(house: House) -> None:
    ping = {"event": {"id": "p1", "event_type": "pagey.ping", "data": {"message": "Hello", "type": "ping"}}}
    answer = house.http.post("/webhooks/pagerduty", json=ping)
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 0, "incidents": [], "quarantined": [], "ignored": "pagey.ping"}


def test_a_delivery_that_comes_again_gets_the_same_answer(house: House) -> None:
    first, again = (house.http.post("/webhooks/pagerduty", json=PAGERDUTY) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert first.json()["accepted"] == 1
    assert "ignored" not in first.json()
    (alert,) = [one for one in house.http.get("/api/v1/alerts").json()["alerts"] if one["source"] == "pagerduty"]
    assert alert["count"] == 1


def test_nothing_usable_is_202(house: House) -> None:
    body = alerts({"service": "shop", "alertname": ""})
    assert house.http.post("/webhooks/alertmanager", json=body).status_code == 202


def test_an_unparsable_body_is_400_with_the_place(house: House) -> None:
    answer = house.http.post("/webhooks/alertmanager", content=b'{"version": "4",\n "alerts": [}')
    assert answer.status_code == 400
    problem = answer.json()["problems"][0]
    assert (problem["line"], problem["column"]) == (2, 13)


@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
def test_a_deeply_nested_body_is_400(house: House, depth: int) -> None:
    body = '{"version": "4", "alerts": ' + "[" * depth + "]" * depth + "}"
    answer = house.http.post("/webhooks/alertmanager", content=body)
    assert answer.status_code == 400
    assert answer.json()["problems"]


def test_a_wrong_body_is_422_with_every_problem(house: House) -> None:
    answer = house.http.post("/webhooks/alertmanager", json={"version": "3", "alerts": {}})
    assert answer.status_code == 422
    assert [problem["path"] for problem in answer.json()["problems"]] == ["version", "alerts"]


def test_an_oversized_body_is_413_naming_the_limit(house: House) -> None:
    answer = house.http.post("/webhooks/alertmanager", content=b" " * 1_048_577)
    assert answer.status_code == 413
    assert answer.json()["limit"] == 1_048_576


def test_an_oversized_body_of_unknown_length_is_stopped_while_it_arrives(house: House) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    answer = house.http.post("/webhooks/alertmanager", content=endless())
    assert answer.status_code == 413


def test_a_body_of_the_very_limit_is_read(house: House) -> None:
    body = json.dumps(alerts({"alertname": "ShopErrors", "service": "shop"})).encode()
    assert house.http.post("/webhooks/alertmanager", content=body.ljust(1_048_576)).status_code == 200


def test_a_client_that_goes_away_in_the_middle_harms_nobody(house: House) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{" + b" " * 100
        )
    assert house.http.get("/healthz").status_code == 200


def test_garbage_instead_of_http_harms_nobody(house: House) -> None:
    host, port = house.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n")
        client.settimeout(30)
        client.recv(1000)
    assert house.http.get("/healthz").status_code == 200


def test_a_form_reaches_its_source_as_it_is(house: House) -> None:
    form = {"alert_id": "7", "alert_transition": "Triggered", "event_title": "[Triggered] Form came", "tags": "a:b"}
    answer = house.http.post("/webhooks/datadog", data=form)
    assert (answer.status_code, answer.json()["accepted"], answer.json()["quarantined"]) == (200, 1, [])
    assert house.http.post("/webhooks/datadog", data={"alert_id": "7"}).status_code == 202, "kept aside"


def test_an_unknown_source_is_404_and_names_the_nearest(house: House) -> None:
    answer = house.http.post("/webhooks/alertmanger", json={})
    assert answer.status_code == 404
    assert answer.json()["nearest"] == "alertmanager"


def test_get_is_405(house: House) -> None:
    answer = house.http.get("/webhooks/alertmanager")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert "error" in answer.json()


def test_after_all_that_alerts_are_still_handled(house: House) -> None:
    house.until(house.alert("After"), "escalated")
