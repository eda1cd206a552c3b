"""The kill switch over HTTP: pulled, seen on every answer and page, released."""

from collections.abc import Iterator

import pytest

from tests.servers.chromium import Chromium
from tests.web.house import House

PAUSES = "/api/v1/pauses"
MOVE = {"scope": "all", "for": "2h", "reason": "we move the network", "by": "Ines"}


@pytest.fixture
def calm(house: House) -> Iterator[House]:
    """Whatever a test pulls is released."""
    yield house
    for pause in house.http.get(PAUSES).json()["pauses"]:
        house.http.post(f"{PAUSES}/resume", json={"pause": pause["id"], "by": "Ines"})


def test_pulled_it_is_on_every_answer_until_released(calm: House) -> None:
    made = calm.http.post(PAUSES, json=MOVE)
    assert (made.status_code, made.json()["by"], made.json()["what"]) == (201, "Ines", "every action")
    assert [one["id"] for one in calm.http.get(PAUSES).json()["pauses"]] == [made.json()["id"]]
    for path in ("/", "/alerts", "/api/v1/incidents", "/api/v1/incidents/none"):
        assert calm.http.get(path).headers["x-quell-paused"].startswith("all until 20"), path
    for path in ("/", "/runbooks", "/alerts"):
        assert "we move the network" in calm.http.get(path).text, path
    freed = calm.http.post(f"{PAUSES}/resume", json={"by": "Omar", "reason": "moved"})
    assert [one["id"] for one in freed.json()["resumed"]] == [made.json()["id"]]
    assert "x-quell-paused" not in calm.http.get("/").headers
    again = calm.http.post(f"{PAUSES}/resume", json={"pause": made.json()["id"], "by": "Omar"})
    assert again.status_code == 404


def test_an_alert_is_taken_in_all_the_same(calm: House) -> None:
    calm.http.post(PAUSES, json={**MOVE, "scope": "service", "name": "shop"})
    incident = calm.alert("ShopErrors")
    told = calm.until(incident, "escalated")
    assert told["refusals"][0]["rule"] == "paused"
    assert "Ines" in told["reason"]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"scope": "everything"}, 422, "scope"),
        ({"for": "soon"}, 422, "not a duration"),
        ({"for": "90d"}, 422, "30 days"),
        ({"reason": ""}, 422, "say why"),
        ({"by": ""}, 422, "who you are"),
        ({"scope": "service"}, 422, "what is paused"),
        ({"name": "shop"}, 422, "what is paused"),
        ({"scope": "service", "name": "shpo"}, 404, "shop"),
        ({"nmae": "shop"}, 422, "name"),
    ],
)
def test_what_is_wrong_is_said(calm: House, change: dict[str, str], status: int, said: str) -> None:
    answer = calm.http.post(PAUSES, json={**MOVE, **change})
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert calm.http.get(PAUSES).json()["pauses"] == []


def test_an_open_page_shows_it_and_lets_it_go(calm: House, chromium: Chromium) -> None:
    incident = calm.alert("ShopAsk")
    calm.until(incident, "waiting_approval")
    with chromium.page() as page:
        for path in ("/", f"/incidents/{incident}"):
            page.open(calm.url + path)
            assert page.text("#paused") == ""
            calm.http.post(PAUSES, json=MOVE)
            page.wait_for("document.querySelector('#paused').textContent.includes('we move the network')")
            calm.http.post(f"{PAUSES}/resume", json={"by": "Ines"})
            page.wait_for("document.querySelector('#paused').textContent.trim() === ''")
