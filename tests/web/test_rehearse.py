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
    assert house.http.get("/api/v1/incidents").json() == {"incidents": []}


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
