"""The kill switch over HTTP and from its page: pulled, seen on every answer and page, released; breakers reset."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.chromium import Chromium
from tests.web.formed import HTML, form_of, forms_of, send
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


# The page.


def pauses(house: House) -> list[dict[str, Any]]:
    return list(house.http.get(PAUSES).json()["pauses"])


def test_paused_and_resumed_from_the_page(calm: House) -> None:
    assert "Nothing is paused" in calm.http.get("/guardrails", headers=HTML).text
    pulled = {"scope": "service", "name": " shop ", "for": "2h", "reason": "by <hand>", "by": "Ines"}
    answer = send(calm.http, "/guardrails", "pause", **pulled)
    assert (answer.status_code, answer.headers["location"]) == (303, "/guardrails")
    (pause,) = pauses(calm)
    assert (pause["scope"], pause["name"], pause["by"], pause["reason"]) == ("service", "shop", "Ines", "by <hand>")
    page = calm.http.get("/guardrails", headers=HTML).text
    for said in (
        "1 pause is on",
        "every action of service shop",
        "by &lt;hand&gt;",
        "by Ines",
        "ends by itself in 1 h 59",
    ):
        assert said in page, said
    assert 'class="notice stop"' not in page, "it is not told twice"
    answer = send(calm.http, "/guardrails", "resume", pause["id"], reason="done", by="Omar")
    assert (answer.status_code, answer.headers["location"]) == (303, "/guardrails")
    assert pauses(calm) == []


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ({"for": "soon"}, 422, "&#39;soon&#39; is not a duration"),
        ({"for": "soon", "scope": "everything"}, 422, "Input should be"),
        ({"for": "90d"}, 422, "within 30 days"),
        ({"reason": " "}, 422, "say why"),
        ({"by": " "}, 422, "say who you are"),
        ({"scope": "service"}, 422, "what is paused: service"),
        ({"scope": "service", "name": "shpo"}, 404, "did you mean &#39;shop&#39;?"),
    ],
)
def test_what_is_wrong_is_said_at_the_form_which_keeps_what_was_typed(
    calm: House, typed: dict[str, str], status: int, said: str
) -> None:
    given = {"reason": "we move the network", "by": "Ines", **typed}
    answer = send(calm.http, "/guardrails", "pause", **given)
    assert answer.status_code == status
    form = answer.text[answer.text.index('id="pause"') : answer.text.index('id="breakers"')]
    assert said in form
    assert 'role="alert"' in form
    assert "autofocus" in form, "it is where one looks next"
    again, kept = form_of(answer.text, "pause"), {name: one for name, one in given.items() if one != "everything"}
    assert {name: again[name] for name in kept} == kept
    assert pauses(calm) == []


def test_a_pause_that_has_ended_meanwhile_is_told(calm: House) -> None:
    send(calm.http, "/guardrails", "pause", reason="we move", by="Ines")
    (pause,) = pauses(calm)
    form = form_of(calm.http.get("/guardrails", headers=HTML).text, "resume", pause["id"])
    calm.http.post(f"{PAUSES}/resume", json={"by": "Omar"})
    answer = calm.http.post("/guardrails", data={**form, "by": "Ines"}, headers=HTML)
    assert answer.status_code == 404
    assert f"no pause &#39;{pause['id']}&#39;" in answer.text
    program = calm.http.post("/guardrails", data={**form, "by": "Ines", "once": "another"})
    assert (program.status_code, program.json()["error"]) == (404, f"no pause '{pause['id']}'")


def test_a_breaker_is_reset_from_the_page(calm: House) -> None:
    for pod in ("a", "b", "c"):
        calm.set(errors="12.4")
        calm.until(calm.alert("ShopErrors", pod=pod), "resolved")
    page = calm.http.get("/guardrails", headers=HTML).text
    assert "<b>shop</b> was repaired 3 times" in page
    assert "asks a person" in page
    answer = send(calm.http, "/guardrails", "reset", "shop", reason="  ", by="Ines")
    assert answer.status_code == 422
    assert "say what was found" in answer.text[answer.text.index('id="breakers"') :]
    answer = send(calm.http, "/guardrails", "reset", "shop", reason="the leak is fixed", by="Ines")
    assert answer.status_code == 303
    page = calm.http.get("/guardrails", headers=HTML).text
    assert "No service was repaired lately" in page
    assert [one.get("do") for one in forms_of(page) if "do" in one] == ["pause"]


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_in_a_browser_without_javascript(calm: House, chromium: Chromium, dark: bool) -> None:
    with chromium.page(390, 844, dark=dark, javascript=False) as page:
        page.open(f"{calm.url}/guardrails")
        page.type("form.card input[name=reason]", "we move the network")
        page.type("form.card input[name=by]", "Ines")
        page.type("form.card input[name=for]", "x")
        page.click("form.card button")
        assert "is not a duration" in page.text("form.card [role=alert]")
        assert page.eval("document.activeElement.name") == "for"
        assert page.eval("document.querySelector('form.card [name=reason]').value") == "we move the network"
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.type("form.card input[name=for]", "\ue010\ue003")
        page.click("form.card button")
        assert page.url == f"{calm.url}/guardrails"
        assert page.text("h1") == "1 pause is on"
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.click(".rows form button")
        assert page.text("h1") == "Nothing is paused"
