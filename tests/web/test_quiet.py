"""Silences and maintenance over HTTP and from their page: made, seen with what they hold, ended, refused."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.servers.chromium import Chromium
from tests.servers.process import wait_until
from tests.web.formed import HTML, form_of, forms_of, send
from tests.web.house import House

SILENCES = "/api/v1/silences"
MOVE = {"matchers": ['alertname="Disk"', 'env=~"dev|stage"'], "for": "2h", "reason": "the disks are changed",
        "by": "Ines"}  # fmt: skip
MAINTENANCE = """
maintenance:
- {name: move, matchers: 'env="moving"', from: 2020-01-01, until: 2120-01-01}
- {name: nights, matchers: 'env="lab"', from: 2120-01-02T02:00, for: 2h, repeat: FREQ=DAILY, timezone: Europe/Zurich}
- {name: past, matchers: 'env="old"', from: 2020-01-01, until: 2020-01-02}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with House(tmp_path_factory.mktemp("house"), more=MAINTENANCE) as house:
        yield house


@pytest.fixture
def loud(house: House) -> Iterator[House]:
    """Whatever a test silences is ended."""
    yield house
    for one in on(house):
        house.http.post(f"{SILENCES}/{one['id']}/end", json={"by": "Ines"})


def on(house: House) -> list[dict[str, Any]]:
    return list(house.http.get(SILENCES).json()["silences"])


def fire(house: House, name: str, **labels: str) -> list[str]:
    """The incidents that an alert led to."""
    body = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": name, **labels}}]}
    answer = house.http.post("/webhooks/alertmanager", json=body)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["incidents"])


def row(house: House, name: str) -> dict[str, Any]:
    return next(one for one in house.http.get("/api/v1/alerts").json()["alerts"] if one["name"] == name)


# Over HTTP.


def test_what_is_silenced_opens_nothing_until_the_silence_ends(loud: House) -> None:
    made = loud.http.post(SILENCES, json=MOVE)
    assert made.status_code == 201, made.text
    silence = made.json()
    assert (silence["what"], silence["state"]) == ('{alertname="Disk", env=~"dev|stage"}', "active")
    assert (silence["by"], silence["reason"], silence["holds"]) == ("Ines", "the disks are changed", 0)
    assert fire(loud, "Disk", env="dev") == []
    assert fire(loud, "Disk", env="stage") == []
    assert len(fire(loud, "Disk", env="prod")) == 1
    (listed,) = on(loud)
    assert (listed["id"], listed["holds"]) == (silence["id"], 2)
    assert loud.http.get(f"{SILENCES}/{silence['id'][:8]}").json()["holds"] == 2
    ended = loud.http.post(f"{SILENCES}/{silence['id'][:8]}/end", json={"by": "Omar"})
    assert (ended.status_code, ended.json()["id"], ended.json()["state"]) == (200, silence["id"], "expired")
    wait_until(
        lambda: all(one["incident"] for one in loud.http.get("/api/v1/alerts").json()["alerts"]), "both are told"
    )
    assert on(loud) == []
    kept = loud.http.get(SILENCES, params={"ended": "true"}).json()["silences"]
    assert (silence["id"], "expired") in [(one["id"], one["state"]) for one in kept]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"matchers": ["alertname=~"]}, 422, "match every alert"),
        ({"matchers": ['alertname="Disk']}, 422, "column 11"),
        ({"matchers": ["a=b", "env ? prod"]}, 422, "column 5"),
        ({"matchers": ['a=~"("']}, 422, "a=~"),
        ({"matchers": []}, 422, "which alerts"),
        ({"for": "soon"}, 422, "not a duration"),
        ({"for": "0s"}, 422, "ends before it begins"),
        ({"for": "400d"}, 422, "366 days"),
        ({"reason": " "}, 422, "say why"),
        ({"by": " "}, 422, "say who you are"),
        ({"alert": "Disk"}, 422, "not both"),
        ({"alert": "Nothing", "matchers": []}, 404, "no alert 'Nothing'"),
        ({"mathcers": []}, 422, "matchers"),
    ],
)
def test_what_is_wrong_is_said(loud: House, change: dict[str, Any], status: int, said: str) -> None:
    answer = loud.http.post(SILENCES, json={**MOVE, **change})
    assert answer.status_code == status, answer.text
    assert said in answer.text
    assert on(loud) == []


def test_all_that_is_wrong_is_said_at_once_in_the_words_of_the_body(loud: House) -> None:
    first = loud.http.post(SILENCES, json={"matchers": ["a", "b=c", "d?"], "for": "soon", "reason": "x"})
    assert [one["path"] for one in first.json()["problems"]] == ["matchers.0", "matchers.2", "for"]
    then = loud.http.post(SILENCES, json={**MOVE, "for": "400d", "reason": "", "by": ""})
    assert [one["path"] for one in then.json()["problems"]] == ["for", "by", "reason"]


def test_by_an_alert_whatever_has_its_labels_is_silenced(loud: House) -> None:
    assert fire(loud, "Fan", env="prod", host="a")
    made = loud.http.post(
        SILENCES, json={"alert": row(loud, "Fan")["fingerprint"], "for": "1h", "reason": "known", "by": "Ines"}
    )
    assert made.json()["what"] == '{alertname="Fan", env="prod", host="a"}'


def test_a_key_makes_one_silence_however_often_it_is_sent(loud: House) -> None:
    key = {"idempotency-key": '"once-and-for-all"'}
    first, again = (loud.http.post(SILENCES, json=MOVE, headers=key) for _ in range(2))
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    (made,) = on(loud)
    path, key = f"{SILENCES}/{made['id']}/end", {"idempotency-key": '"over"'}
    told = [loud.http.post(path, json={"by": "Ines"}, headers=key).status_code for _ in range(2)]
    assert told == [200, 200]


def test_of_two_who_end_it_at_once_one_is_told_that_it_has_ended(loud: House) -> None:
    silence = loud.http.post(SILENCES, json=MOVE).json()["id"]
    assert fire(loud, "Disk", env="dev", host="twice") == []
    begin, told = threading.Barrier(2), []

    def end(by: str) -> None:
        begin.wait(10)
        told.append(httpx.post(f"{loud.url}{SILENCES}/{silence}/end", json={"by": by}, timeout=30))

    both = [threading.Thread(target=end, args=(by,)) for by in ("Ines", "Omar")]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(30)
    assert sorted(one.status_code for one in told) == [200, 409]
    assert (
        next(one for one in told if one.status_code == 409).json()["error"].startswith(f"silence {silence} ended at ")
    )
    nobody = loud.http.post(f"{SILENCES}/none/end", json={"by": "Ines"})
    assert (nobody.status_code, nobody.json()["error"]) == (404, "no silence 'none'")


def test_maintenance_says_what_is_on_and_what_comes(house: House) -> None:
    assert fire(house, "Door", env="moving") == []
    told = house.http.get("/api/v1/maintenance").json()["maintenance"]
    assert [(one["name"], one["on"], one["until"], one["next"], one["holds"]) for one in told] == [
        ("move", True, "2120-01-01T00:00:00Z", None, 1),
        ("nights", False, None, "2120-01-02T01:00:00Z", 0),
        ("past", False, None, None, 0),
    ]
    assert told[0]["what"] == '{env="moving"}'


# The page.


def test_made_and_ended_from_the_page(loud: House) -> None:
    assert "Nothing is silenced" in loud.http.get("/silences", headers=HTML).text
    typed = {"matchers": ' alertname="Pump", env=~"dev|<b>" ', "for": "2h", "reason": "by <hand>", "by": "Ines"}
    answer = send(loud.http, "/silences", "silence", **typed)
    assert (answer.status_code, answer.headers["location"]) == (303, "/silences")
    assert fire(loud, "Pump", env="dev") == []
    page = loud.http.get("/silences", headers=HTML).text
    for said in ("1 silence<", "env=~&#34;dev|&lt;b&gt;&#34;", "by &lt;hand&gt;", "by Ines", "holds 1 alert now",
                 "ends by itself in 1 h 59"):  # fmt: skip
        assert said in page, said
    (made,) = on(loud)
    answer = send(loud.http, "/silences", "end", made["id"], by="Omar")
    assert (answer.status_code, answer.headers["location"]) == (303, "/silences")
    assert on(loud) == []
    over = loud.http.get("/silences?ended=1", headers=HTML).text
    assert made["id"][:8] in over[over.index('id="ended"') :]


@pytest.mark.parametrize(
    ("typed", "said", "field"),
    [
        ({"matchers": "alertname=Disk, env ?"}, "column 21", "matchers"),
        ({"matchers": "", "for": "x"}, "not a duration", "for"),
        ({"matchers": ""}, "which alerts", "matchers"),
        ({"for": "999d"}, "366 days", "for"),
        ({"reason": " "}, "say why", "reason"),
        ({"by": " "}, "say who you are", ""),
    ],
)
def test_what_is_wrong_is_said_at_the_form_which_keeps_what_was_typed(
    loud: House, typed: dict[str, str], said: str, field: str
) -> None:
    given = {"matchers": "a=b", "for": "1h", "reason": "why", "by": "Ines", **typed}
    answer = send(loud.http, "/silences", "silence", **given)
    assert answer.status_code == 422
    form = answer.text[answer.text.index('id="silence"') : answer.text.index('id="maintenance"')]
    assert said in form
    assert 'role="alert"' in form
    assert re.findall(r'<input name="(\w+)"[^>]* aria-invalid', form) == [field][: bool(field)]
    kept = form_of(answer.text, "silence")
    assert {name: kept[name] for name in given} == given
    assert on(loud) == []


def test_a_silence_that_has_ended_meanwhile_is_told(loud: House) -> None:
    send(loud.http, "/silences", "silence", matchers="a=b", reason="we move", by="Ines")
    (made,) = on(loud)
    form = form_of(loud.http.get("/silences", headers=HTML).text, "end", made["id"])
    loud.http.post(f"{SILENCES}/{made['id']}/end", json={"by": "Omar"})
    answer = loud.http.post("/silences", data={**form, "by": "Ines"}, headers=HTML)
    assert answer.status_code == 409
    assert f"silence {made['id']} ended at " in answer.text
    assert len([one for one in forms_of(answer.text) if "do" in one]) == 1


def test_the_form_begins_with_the_labels_of_an_alert(loud: House) -> None:
    fire(loud, "Belt", env="prod", line="2")
    page = loud.http.get("/silences", params={"alert": row(loud, "Belt")["fingerprint"]}, headers=HTML)
    assert form_of(page.text, "silence")["matchers"] == 'alertname="Belt", env="prod", line="2"'
    assert loud.http.get("/silences?alert=none", headers=HTML).status_code == 404
    assert "/silences" in loud.http.get("/alerts", headers=HTML).text


@pytest.mark.parametrize("dark", [False, True])
def test_the_page_in_a_browser_without_javascript(loud: House, chromium: Chromium, dark: bool) -> None:
    with chromium.page(390, 844, dark=dark, javascript=False) as page:
        page.open(f"{loud.url}/silences")
        page.type("form.card input[name=matchers]", "alertname=Disk, env ?")
        page.type("form.card input[name=reason]", "we move the disks")
        page.type("form.card input[name=by]", "Ines")
        page.click("form.card button")
        assert "column 21" in page.text("form.card [role=alert]")
        assert page.eval("document.activeElement.name") == "matchers"
        assert page.eval("document.querySelector('form.card [name=reason]').value") == "we move the disks"
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.type("form.card input[name=matchers]", "\ue010\ue003=dev")
        page.click("form.card button")
        assert page.url == f"{loud.url}/silences"
        assert page.text("h1") == "1 silence"
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.click(".rows form button")
        assert page.text("h1") == "Nothing is silenced"
