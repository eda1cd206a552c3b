"""``POST /api/v1/route/test``: what would follow next to what a server knows, and that nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.web.house import House

MORE = """
sources: {prod: {type: alertmanager}}
maintenance: [{name: staging, matchers: 'env="stage"', from: '2020-01-01T00:00:00', until: '2090-01-01T00:00:00'}]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), more=MORE) as house:
        yield house


def asked(house: House, **said: Any) -> Any:
    answer = house.http.post("/api/v1/route/test", json=said)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_runbook_and_every_other(house: House) -> None:
    told = asked(house, labels={"alertname": "ShopErrors", "service": "shop"}, severity="critical", source="prod")
    assert (told["against"], told["outcome"], told["runbook"]) == ("server", "opened", "shop-errors")
    assert told["alert"]["source"] == "prod"
    assert [(one["name"], one["matches"]) for one in told["candidates"]] == [("shop-errors", True), ("shop-ask", False)]
    assert told["candidates"][1]["why"] == "its trigger is 'ShopAsk', the alert is 'ShopErrors'"
    assert [one["name"] for one in told["rules"]] == ["maintenance staging"]


def test_nothing_is_stored(house: House) -> None:
    asked(house, labels={"alertname": "ShopErrors"})
    assert house.http.get("/api/v1/alerts").json()["alerts"] == []
    assert house.http.get("/api/v1/incidents").json()["incidents"] == []


def test_by_which_rule_it_would_be_held(house: House) -> None:
    told = asked(house, labels={"alertname": "ShopErrors", "env": "stage"})
    assert told["outcome"] == "held"
    assert "staging" in told["reason"]


def test_an_incident_that_is_open_is_joined(house: House) -> None:
    name = house.alert("ShopAsk")
    house.until(name, "waiting_approval")
    told = asked(house, labels={"alertname": "ShopAsk", "pod": "another", "service": "shop"})
    assert told["outcome"] == "joined"
    assert name in told["reason"]


@pytest.mark.parametrize(
    ("said", "path"),
    [({}, ""), ({"labels": {"a": "b"}}, ""), ({"name": "x", "severity": "urgent"}, "severity"),
     ({"name": "x", "nme": "y"}, "nme"), ({"name": "x", "labels": []}, "labels")],
)  # fmt: skip
def test_what_is_no_alert_is_422_with_its_place(house: House, said: Any, path: str) -> None:
    answer = house.http.post("/api/v1/route/test", json=said)
    assert answer.status_code == 422
    assert [problem.get("path") or "" for problem in answer.json()["problems"]] == [path]


# The page.


def page(house: House, status: int = 200, **asked: str) -> str:
    answer = house.http.get("/route", params=asked, headers={"accept": "text/html"})
    assert answer.status_code == status, answer.text
    return answer.text


def test_the_page_asks_nothing_before_there_are_labels(house: House) -> None:
    text = page(house)
    assert "<option selected>alertmanager</option>" in text
    assert "<option>prod</option>" in text
    assert "<table" not in text


def test_the_page_says_which_runbook_and_why_no_other(house: House) -> None:
    text = page(house, labels='{alertname="ShopErrors", service=shop}', severity="P1", source="prod")
    assert '<a href="/runbooks/shop-errors">shop-errors</a>' in text
    assert "open an incident" in text
    assert "its trigger is &#39;ShopAsk&#39;, the alert is &#39;ShopErrors&#39;" in text
    assert "maintenance staging" in text
    assert "<option selected>P1</option>" in text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"labels": "alertname"}, "column"),
        ({"labels": "alertname=~Down.*"}, "no patterns"),
        ({"labels": "service=shop"}, "alertname"),
        ({"labels": "alertname=Down", "severity": "loud"}, "no severity"),
    ],
)
def test_what_is_no_alert_is_told_beside_the_form(house: House, asked: dict[str, str], said: str) -> None:
    text = page(house, 422, **asked)
    assert said in text
    assert 'class="wrong"' in text
    assert asked["labels"].replace('"', "&#34;") in text


def test_what_is_typed_is_text(house: House) -> None:
    text = page(house, labels='alertname="<script>alert(1)</script>"')
    assert "<script>alert" not in text
