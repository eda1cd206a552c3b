"""Alerts and why: as data and as pages, whatever an alert is called and whatever became of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.servers.chromium import Chromium
from tests.servers.process import wait_until
from tests.web.house import House, alerts

PHONE = (390, 844)
ODD = "disk /data 100% <b>?x=1#why"
MORE = """
inhibit_rules: [{source_matchers: alertname=ShopAsk, target_matchers: alertname=Held}]
sources: {alertmanager: {}, secured: {type: alertmanager, token: 'env:WHY_TOKEN'}}
"""
SECRET = "s3cret-of-the-sender"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    patch = pytest.MonkeyPatch()
    patch.setenv("WHY_TOKEN", SECRET)
    with House(tmp_path_factory.mktemp("house"), more=MORE) as house:
        yield house
    patch.undo()


def post(house: House, *labels: dict[str, str], status: str = "firing", source: str = "alertmanager") -> httpx.Response:
    headers = {"authorization": f"Bearer {SECRET}"} if source == "secured" else {}
    return house.http.post(f"/webhooks/{source}", json=alerts(*labels, status=status), headers=headers)


def why(house: House, name: str, **query: str) -> dict[str, Any]:
    answer = house.http.get(f"/api/v1/alerts/{quote(name, safe='')}/why", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture(scope="module")
def acted(house: House) -> str:
    name = house.alert("ShopErrors")
    house.until(name, "resolved")
    return name


@pytest.fixture(scope="module")
def held(house: House, acted: str) -> str:
    """The name of an alert that another one explains. Not before what acts has acted: it changes what checks see."""
    house.set(errors="12.4")
    house.alert("ShopAsk")
    assert post(house, {"alertname": "Held", "service": "shop"}).json()["incidents"] == []
    return "Held"


# As data.


def test_an_alert_from_its_sender_to_whoever_was_told(house: House, acted: str) -> None:
    told = why(house, "ShopErrors")
    assert (told["outcome"], told["runbook"]) == ("opened", "shop-errors")
    assert told["incident"]["id"] == acted
    held = {one["rule"]: one["held"] for one in told["tried"]}
    assert (held["runbook shop-errors"], held["runbook shop-ask"]) == (True, False)
    assert [one["verdict"] for one in told["guard"]] == ["allowed"]
    row = house.http.get(f"/api/v1/alerts/{told['alert']['fingerprint'][:6]}").json()
    assert (row["id"], row["incident"]) == (told["dedup_key"], acted)


def test_what_led_to_nothing_has_an_answer(house: House) -> None:
    post(house, {"alertname": "Never", "service": "shop"}, status="resolved")
    told = why(house, "Never")
    assert (told["outcome"], told["incident"]) == ("nothing", None)
    assert "without ever having fired" in told["reason"]


def test_what_is_held_has_an_answer(house: House, held: str) -> None:
    told = why(house, held)
    assert told["outcome"] == "held"
    assert told["alert"]["held"].startswith("inhibit rule")
    assert told["alert"]["look_at"]


def test_what_no_runbook_handles_has_an_answer(house: House) -> None:
    incident = house.alert("Lonely")
    wait_until(lambda: why(house, "Lonely")["told"], "somebody is told", 20)
    told = why(house, "Lonely")
    assert (told["outcome"], told["runbook"], told["incident"]["id"]) == ("opened", None, incident)
    assert told["told"][0]["to"].startswith("log:")
    of = house.http.get(f"/api/v1/incidents/{incident}/why").json()
    assert "no runbook" in of["runbook_why"]


def test_the_sender_is_told_and_no_secret(house: House) -> None:
    post(house, {"alertname": "Signed", "service": "shop"}, source="secured")
    told = house.http.get("/api/v1/alerts/Signed/why")
    assert told.json()["signature"] == "bearer token"
    assert SECRET not in told.text
    post(house, {"alertname": "Unsigned", "service": "shop"})
    assert why(house, "Unsigned")["signature"] == "no secret is configured for this source"


@pytest.mark.parametrize("name", [ODD, "a/why", "why", "a/b/why/why", "x.y/../z", "%2Fwhy"])
def test_whatever_it_is_called(house: House, name: str) -> None:
    assert post(house, {"alertname": name, "service": "shop"}).status_code == 200
    raw = f"/api/v1/alerts/{quote(name, safe='')}"
    assert house.http.get(raw).json()["name"] == name
    assert house.http.get(f"{raw}/why").json()["alert"]["name"] == name
    found = why(house, house.http.get(raw).json()["id"])
    assert found["alert"]["name"] == name
    assert house.http.get(f"/alerts/{quote(name, safe='')}").status_code == 200


def test_none_or_several_of_that_name(house: House) -> None:
    for path in ("/api/v1/alerts/nobody", "/api/v1/alerts/nobody/why", "/alerts/nobody", "/api/v1/incidents/no/why"):
        assert house.http.get(path).status_code == 404, path
    post(house, *({"alertname": "Twin", "service": "shop", "pod": one} for one in "ab"))
    answer = house.http.get("/api/v1/alerts/Twin/why")
    assert answer.status_code == 409
    assert "2 alerts are called 'Twin'" in answer.json()["error"]


def test_an_incident_says_why_each_alert_is_in_it(house: House) -> None:
    name = house.alert("ShopErrors", pod="late")
    told = house.http.get(f"/api/v1/incidents/{name[:10]}/why").json()
    assert told["incident"]["id"] == name
    assert {one["name"] for one in told["alerts"]} == {"ShopErrors"}
    assert all(one["why"] for one in told["alerts"])
    assert (told["runbook"], told["more"]) == ("shop-errors", 0)
    assert "trigger matches" in told["runbook_why"]


# The list.


def test_page_by_page_none_is_left_out_and_none_comes_twice(house: House) -> None:
    """All of a delivery came at the same moment, and some of it may still wait to be looked at."""
    post(house, *({"alertname": "Many", "service": "shop", "pod": str(one)} for one in range(25)))
    seen: list[str] = []
    before = ""
    while True:
        told = house.http.get("/api/v1/alerts", params={"limit": 4, "status": "firing", "before": before}).json()
        assert all(one["status"] == "firing" for one in told["alerts"])
        seen += [one["id"] for one in told["alerts"]]
        if told["next"] is None:
            break
        before = told["next"]
    everything = house.http.get("/api/v1/alerts", params={"limit": 500, "status": "firing"}).json()["alerts"]
    assert len(everything) >= 25
    assert seen == [one["id"] for one in everything]


@pytest.mark.parametrize("before", ["yesterday", "2026-11-29", "2026-11-29T10:00:00", "/x"])
def test_a_time_that_is_none_is_refused(house: House, before: str) -> None:
    answer = house.http.get("/api/v1/alerts", params={"before": before})
    assert answer.status_code == 422
    assert answer.json()["problems"][0]["path"] == "query.before"


def test_an_offset_whose_plus_nobody_encoded_is_understood(house: House) -> None:
    answer = house.http.get("/api/v1/alerts?before=2020-01-01T00:00:00+00:00").json()
    assert (answer["alerts"], answer["next"]) == ([], None)
    assert house.http.get("/api/v1/alerts", params={"status": "burning"}).status_code == 422


# Pages.


def test_the_page_tells_the_same_without_javascript(
    house: House, acted: str, held: str, chromium: Chromium
) -> None:  # fmt: skip
    found = house.http.get(f"/api/v1/alerts/{held}").json()
    with chromium.page(*PHONE, javascript=False) as page:
        page.open(f"{house.url}/alerts")
        assert "held" in page.text(f"li:has(a[href='/alerts/{found['id']}']) p")
        assert "looked at again" in page.text(f"li:has(a[href='/alerts/{found['id']}']) small")
        page.click(f"a[href='/alerts/{found['id']}'] b")
        assert page.text("h1") == "Held"
        body = page.text("main")
        for word in ("It is held, nothing follows yet", "Received", "Rules tried", "inhibit rule", "nobody was told"):
            assert word in body, word
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.open(f"{house.url}/incidents/{acted}")
        page.click(f"a[href='/incidents/{acted}/why']")
        assert "the incident began with it" in page.text("main")
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.click("ul.rows a")
        assert page.text("h1") == "ShopErrors"


def test_what_an_alert_says_is_text_on_its_page(house: House) -> None:
    post(house, {"alertname": ODD, "service": "shop"})
    page = house.http.get(f"/alerts/{quote(ODD, safe='')}").text
    assert "<b>?x" not in page
    assert "&lt;b&gt;?x" in page


def test_how_many_there_are_of_a_name(house: House) -> None:
    post(house, {"alertname": "Counted", "pod": "a"}, {"alertname": "Counted", "pod": "b"}, {"alertname": "Else"})
    told = house.http.get("/api/v1/alerts", params={"name": "Counted", "limit": 1, "total": True}).json()
    assert ([one["name"] for one in told["alerts"]], told["total"]) == (["Counted"], 2)
    assert house.http.get("/api/v1/alerts", params={"name": "Counted"}).json()["total"] is None
