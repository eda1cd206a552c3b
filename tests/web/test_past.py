"""Pruning over HTTP and from its page: told, done, and what is wrong said."""

import pytest

from quell.incident.event import EventKind, NewEvent, Stream
from quell.store import events
from quell.store.database import Database, now_us
from tests.servers.chromium import Chromium
from tests.web.formed import HTML, form_of, forms_of
from tests.web.house import House

PRUNE = "/api/v1/prune"
OPENED = NewEvent(kind=EventKind.OPENED, payload={"title": "down", "severity": "P1"})
RESOLVED = NewEvent(kind=EventKind.RESOLVED, payload={"reason": "well"})


def ended(house: House, name: str, days: int) -> None:
    """An incident that ended so long ago."""
    database = Database(str(house.app.settings.database))
    at = now_us() - days * 86_400 * 1_000_000
    database.write_now(lambda c: events.append(c, "old", Stream.INCIDENT, name, [OPENED, RESOLVED], at_us=at))
    database.close()


def test_told_and_done(house: House) -> None:
    ended(house, "0old", 100)
    dry = house.http.post(PRUNE, json={"older_than": "90d", "dry_run": True, "tenant": "old"})
    assert (dry.status_code, dry.json()["erased"]) == (200, {"incidents": 1, "payloads": 2})
    assert house.http.get("/api/v1/incidents/0old").status_code == 200
    done = house.http.post(PRUNE, json={"older_than": "90d", "by": "Ines"})
    assert (done.status_code, done.json()["erased"]) == (200, {"incidents": 1, "payloads": 2})
    gone = house.http.get("/api/v1/incidents/0old")
    assert gone.status_code == 404
    assert "was pruned at" in gone.json()["error"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "older_than"),
        ({"older_than": "1h", "by": "Ines"}, 422, "a day old"),
        ({"older_than": "soon", "by": "Ines"}, 422, "not a duration"),
        ({"older_than": "90d"}, 422, "who you are"),
        ({"older_than": "90d", "by": "Ines", "tenant": "nobodys"}, 404, "nobodys"),
        ({"older_than": "90d", "dryrun": True, "by": "Ines"}, 422, "dry_run"),
    ],
)
def test_what_is_wrong_is_said(house: House, body: dict[str, object], status: int, said: str) -> None:
    answer = house.http.post(PRUNE, json=body)
    assert answer.status_code == status
    assert said in answer.text


# The page.


def test_looked_at_and_erased_from_the_page(house: House) -> None:
    ended(house, "1old", 200)
    page = house.http.get("/past", headers=HTML).text
    assert "No server prunes by itself" in page
    assert not [one for one in forms_of(page) if one.get("do") == "prune"], "nothing is erased before it is looked at"
    page = house.http.get("/past", params={"older_than": "90d", "tenant": " old "}, headers=HTML).text
    assert "Would erase from before 20" in page
    assert "1 incident, 2 payloads of events" in page
    assert house.http.get("/api/v1/incidents/1old").status_code == 200
    form = form_of(page, "prune")
    assert (form["older_than"], form["tenant"]) == ("90d", "old")
    nobody = house.http.post("/past", data=form, headers=HTML)
    assert nobody.status_code == 422
    assert "say who you are" in nobody.text
    answers = [house.http.post("/past", data={**form, "by": "Ines"}, headers=HTML) for _ in range(2)]
    for answer in answers:
        assert answer.status_code == 200
        assert "Erased from before 20" in answer.text
        assert "1 incident, 2 payloads of events" in answer.text, "a second click says what the first one did"
    gone = house.http.get("/api/v1/incidents/1old")
    assert "was pruned at" in gone.json()["error"]
    page = house.http.get("/past", params={"older_than": "90d"}, headers=HTML).text
    assert "Nothing is left to erase from before" in page
    assert not [one for one in forms_of(page) if one.get("do") == "prune"]


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ({"older_than": "1h"}, 422, "a day old"),
        ({"older_than": "soon"}, 422, "not a duration"),
        ({"older_than": "90d", "tenant": "nobodys"}, 404, "nobodys"),
    ],
)
def test_what_is_wrong_is_said_at_the_form(house: House, typed: dict[str, str], status: int, said: str) -> None:
    answer = house.http.get("/past", params=typed, headers=HTML)
    assert answer.status_code == status
    alert = answer.text[answer.text.index('role="alert"') :]
    assert said in alert[: alert.index("</div>")]
    for name, value in typed.items():
        assert f'name="{name}" value="{value}"' in answer.text
    assert house.http.get("/past", params=typed).json()["error"]


def test_the_page_in_a_browser_without_javascript(house: House, chromium: Chromium) -> None:
    ended(house, "2old", 300)
    with chromium.page(390, 844, javascript=False) as page:
        page.open(f"{house.url}/workers")
        page.click("main a[href='/past']")
        page.click("form[method=get] button")
        assert "Would erase" in page.text("[role=status]")
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.type("input[name=by]", "Ines")
        page.click("form[method=post] .no")
        assert "Erased from before" in page.text("[role=status]")
