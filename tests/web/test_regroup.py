"""Merge and split over HTTP and from the page of an incident's alerts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.chromium import Chromium
from tests.web.formed import HTML, filled, form_of, forms_of, send
from tests.web.house import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), more="correlation: {by: [team]}\n") as house:
        yield house


def fire(house: House, team: str, *names: str) -> str:
    """An incident with an alert of each name."""
    (incident,) = {house.alert(name, team=team) for name in names}
    return incident


def ids(house: House, incident: str) -> list[str]:
    return list(house.incident(incident)["firing"])


def post(house: House, incident: str, word: str, **body: Any) -> Any:
    return house.http.post(f"/api/v1/incidents/{incident}/{word}", json=body)


def test_one_goes_on_in_the_other(house: House) -> None:
    one, other = fire(house, "a1", "Fan"), fire(house, "a2", "Pump")
    stays = post(house, one, "merge", into=other[:12], reason="the same <switch>", by="Ines")
    assert (stays.status_code, stays.json()["id"], len(stays.json()["firing"])) == (200, other, 2)
    gone = house.incident(one)
    assert (gone["status"], gone["merged_into"]) == ("resolved", other)
    page = house.http.get(f"/incidents/{one}", headers=HTML).text
    assert f'goes on in <a href="/incidents/{other}">' in page
    assert f"Merged into incident {other} by Ines: the same &lt;switch&gt;" in page
    assert "not reported as resolved yet" not in page
    assert f"Merged into incident {other}" in house.http.get("/?all=1", headers=HTML).text
    again = post(house, one, "merge", into=other, by="Omar")
    assert (again.status_code, "is over" in again.json()["error"]) == (409, True)


def test_alerts_become_an_incident_of_their_own(house: House) -> None:
    incident = fire(house, "b1", "Fan", "Pump", "Belt")
    new = post(house, incident, "split", alerts=["Pump", ids(house, incident)[-1]], reason="another fault", by="Ines")
    assert new.status_code == 201, new.text
    assert (len(new.json()["firing"]), len(ids(house, incident))) == (2, 1)
    told = house.http.get(f"/incidents/{incident}?all=1", headers=HTML).text
    assert f"Pump goes on in incident {new.json()['id']}: split from incident {incident} by Ines" in told
    last = post(house, incident, "split", alerts=["Fan"], by="Ines")
    assert (last.status_code, "nothing would stay" in last.json()["error"]) == (409, True)


@pytest.mark.parametrize(
    ("word", "body", "status", "said"),
    [
        ("merge", {"into": "none"}, 404, "none"),
        ("merge", {"into": "none", "by": " "}, 422, "by"),
        ("merge", {}, 422, "into"),
        ("merge", {"into": "a", "raeson": "x"}, 422, "reason"),
        ("split", {"alerts": []}, 422, "alerts"),
        ("split", {"alerts": "Fan"}, 422, "alerts"),
        ("split", {"alerts": ["Nothing"]}, 404, "Nothing"),
    ],
)
def test_what_is_wrong_is_said(house: House, word: str, body: dict[str, Any], status: int, said: str) -> None:
    incident = fire(house, f"{word} {body}", "Fan", "Pump")
    answer = post(house, incident, word, **{"by": "Ines", **body})
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert house.incident(incident)["merged_into"] is None
    assert len(ids(house, incident)) == 2
    into_itself = post(house, incident, "merge", into=incident, by="Ines")
    assert into_itself.status_code == 422


def test_a_key_splits_once(house: House) -> None:
    incident, key = fire(house, "d1", "Fan", "Pump"), {"idempotency-key": '"part"'}
    path = f"/api/v1/incidents/{incident}/split"
    first, again = (
        house.http.post(path, json={"alerts": ["Fan"], "by": "Ines"}, headers=key) for _ in range(2)
    )  # fmt: skip
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]


# The page.


def test_split_and_merged_from_the_page(house: House) -> None:
    incident = fire(house, "e1", "Fan", "Pump", "Belt")
    path = f"/incidents/{incident}/alerts"
    assert path in house.http.get(f"/incidents/{incident}", headers=HTML).text
    ticks = [one for one in ids(house, incident) if "Pump" not in one]
    page = house.http.get(path, headers=HTML).text
    for name in ("Fan", "Pump", "Belt"):
        assert f"<b>{name}</b>" in page
    nothing = send(house.http, path, "split", by="Ines")
    assert (nothing.status_code, "alerts" in nothing.text) == (422, True)
    form = {**filled(house.http, path, "split", by="Ines", reason="apart"), "alert-1": ticks[0]}
    twice = [house.http.post(path, data=form, headers=HTML) for _ in range(2)]
    assert [one.status_code for one in twice] == [303, 303]
    new = twice[0].headers["location"].rpartition("/")[2]
    assert new != incident
    assert twice[1].headers["location"] == f"/incidents/{new}"
    assert (len(ids(house, incident)), len(ids(house, new))) == (2, 1)
    merged = send(house.http, f"/incidents/{new}/alerts", "merge", into=incident, by="Omar", reason="no, together")
    assert (merged.status_code, merged.headers["location"]) == (303, f"/incidents/{incident}")
    assert len(ids(house, incident)) == 3
    over = house.http.get(f"/incidents/{new}/alerts", headers=HTML).text
    assert f'goes on in <a href="/incidents/{incident}">' in over
    assert [one for one in forms_of(over) if "do" in one] == []


def test_what_cannot_be_is_said_at_the_form(house: House) -> None:
    incident, other = fire(house, "f1", "Fan", "Pump"), fire(house, "f2", "Fan")
    path = f"/incidents/{incident}/alerts"
    form = filled(house.http, path, "split", by="Ines", reason="all of it")
    every = {f"alert-{number}": one for number, one in enumerate(ids(house, incident), 1)}
    answer = house.http.post(path, data={**form, **every}, headers=HTML)
    assert answer.status_code == 409
    assert "nothing would stay" in answer.text[answer.text.index('id="split"') : answer.text.index('id="merge"')]
    assert form_of(answer.text, "split")["reason"] == "all of it"
    merge = filled(house.http, path, "merge", into=other, by="Ines")
    post(house, other, "merge", into=incident, by="Omar")
    late = house.http.post(path, data=merge, headers=HTML)
    assert late.status_code == 409
    assert f"incident {other} is over" in late.text[late.text.index('id="merge"') :]
    assert house.http.get("/incidents/none/alerts", headers=HTML).status_code == 404


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_in_a_browser_without_javascript(house: House, chromium: Chromium, dark: bool) -> None:
    incident = fire(house, f"g{dark:d}", "Fan", "Pump")
    with chromium.page(390, 844, dark=dark, javascript=False) as page:
        page.open(f"{house.url}/incidents/{incident}/alerts")
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.click(".rows li:first-child label")
        page.type("#main form:first-of-type input[name=by]", "Ines")
        page.click("#main form:first-of-type button")
        assert page.url.startswith(f"{house.url}/incidents/")
        assert page.url != f"{house.url}/incidents/{incident}/alerts"
    assert len(ids(house, incident)) == 1
