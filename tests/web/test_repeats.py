"""A POST with an Idempotency-Key that is sent again: one effect, the same answer; whatever dies in between."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.process import wait_until
from tests.web.house import RUNBOOK, SETTINGS, House, alerts
from tests.web.served import Served

MOVE = {"scope": "service", "name": "shop", "for": "2h", "reason": "we move the network", "by": "Ines"}


def keyed(key: str | None = None, **more: str) -> dict[str, str]:
    return {"idempotency-key": key or f'"{secrets.token_hex(16)}"', **more}


def count(http: httpx.Client) -> int:
    return len(http.get("/api/v1/incidents", params={"limit": 500}).json()["incidents"])


def replayed(answer: httpx.Response) -> bool:
    return answer.headers.get("idempotency-replayed") == "true"


def asking(house: House) -> str:
    """An incident that waits for an answer."""
    answer = house.http.post("/incidents/trigger", json={"runbookId": "shop-ask"})
    name = str(answer.json()["execution"]["incidentId"])
    house.until(name, "waiting_approval")
    return name


# What a repeat gets.


def test_a_repeat_gets_the_answer_of_the_first(house: House) -> None:
    headers, body = keyed(), {"runbookId": "shop-ask"}
    first = house.http.post("/incidents/trigger", json=body, headers=headers)
    known = count(house.http)
    again = house.http.post("/incidents/trigger", json=body, headers=headers)
    assert (first.status_code, replayed(first), replayed(again)) == (200, False, True)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert [again.headers[name] for name in ("content-type", "location")] == [
        first.headers[name] for name in ("content-type", "location")
    ]
    assert again.headers["x-content-type-options"] == "nosniff"
    assert count(house.http) == known


def test_without_a_key_it_is_another_one(house: House) -> None:
    known = count(house.http)
    for _ in range(2):
        assert house.http.post("/incidents/trigger", json={"runbookId": "shop-ask"}).status_code == 200
    assert count(house.http) == known + 2


def test_what_people_do_is_done_once(house: House) -> None:
    name = asking(house)
    headers, path = keyed(**{"x-quell-user": "Ines"}), f"/api/v1/approvals/{name}/deny"
    first, again = (house.http.post(path, headers=headers) for _ in range(2))
    assert (first.json()["by"], again.json()) == ("Ines", first.json())
    late = [house.http.post(path, headers=keyed("late-1", **{"x-quell-user": "Omar"})) for _ in range(2)]
    assert [(one.status_code, replayed(one)) for one in late] == [(404, False), (404, True)]
    assert late[0].json() == late[1].json()


def test_the_loser_is_told_who_won_as_often_as_he_asks(house: House) -> None:
    name = asking(house)
    path, lost = f"/api/v1/incidents/{name}/take", keyed(**{"x-quell-user": "Omar"})
    assert house.http.post(path, headers=keyed(**{"x-quell-user": "Ines"})).status_code == 200
    first, again = (house.http.post(path, headers=lost) for _ in range(2))
    assert (first.status_code, first.json()["winner"], replayed(again)) == (409, "Ines", True)
    assert again.json() == first.json()


def test_a_webhook_that_is_delivered_twice_counts_once(house: House) -> None:
    body, headers = alerts({"alertname": "Twice", "service": "shop"}), keyed()
    first, again = (house.http.post("/webhooks/alertmanager", json=body, headers=headers) for _ in range(2))
    assert (first.json(), replayed(again)) == (again.json(), True)
    told = next(one for one in house.http.get("/api/v1/alerts").json()["alerts"] if one["name"] == "Twice")
    assert told["count"] == 1


def test_the_switch_is_pulled_and_released_once(house: House) -> None:
    pull, free = keyed(), keyed()
    made = [house.http.post("/api/v1/pauses", json=MOVE, headers=pull) for _ in range(2)]
    assert [one.status_code for one in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert len(house.http.get("/api/v1/pauses").json()["pauses"]) == 1
    body = {"scope": "service", "name": "shop", "by": "Ines"}
    freed = [house.http.post("/api/v1/pauses/resume", json=body, headers=free) for _ in range(2)]
    assert freed[0].json() == freed[1].json()
    assert len(freed[1].json()["resumed"]) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/reload", None),
        ("/api/v1/breakers/shop/reset", {"by": "Ines", "reason": "it was the cable"}),
    ],
)
def test_every_other_post_takes_a_key_too(house: House, path: str, body: Any) -> None:
    headers = keyed()
    first, again = (house.http.post(path, json=body, headers=headers) for _ in range(2))
    assert (first.status_code, again.content, replayed(again)) == (200, first.content, True)


def test_an_answer_that_is_too_long_to_keep_is_made_again_without_a_second_effect(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quell.web.repeats.LONGEST_BODY", 10)
    headers, body = keyed(), {"runbookId": "shop-ask"}
    first, again = (house.http.post("/incidents/trigger", json=body, headers=headers) for _ in range(2))
    assert (again.json()["execution"]["incidentId"], replayed(again)) == (
        first.json()["execution"]["incidentId"], True
    )  # fmt: skip


# What is refused.


@pytest.mark.parametrize(
    "change",
    [{"json": {"runbookId": "shop-errors"}}, {"params": {"a": "b"}}, {"headers": {"x-quell-user": "Omar"}},
     {"url": "/api/v1/reload"}],
)  # fmt: skip
def test_the_same_key_for_another_request_is_422(house: House, change: dict[str, Any]) -> None:
    headers = keyed()
    asked: dict[str, Any] = {"url": "/incidents/trigger", "json": {"runbookId": "shop-ask"}}
    assert house.http.post(**asked, headers=headers).status_code == 200
    known = count(house.http)
    other = house.http.post(**{**asked, **change, "headers": headers | change.get("headers", {})})
    assert other.status_code == 422
    assert other.json()["problems"][0]["rule"] == "key-reused"
    assert count(house.http) == known


@pytest.mark.parametrize(
    "key", ["", '""', '"a', 'a"b', "a b", "ä", "a" * 256, '"' + "a" * 256 + '"', '"a", "b"', '"\\a"']
)
def test_a_malformed_key_is_400(house: House, key: str) -> None:
    known = count(house.http)
    headers = {"idempotency-key": key.encode()}
    answer = house.http.post("/incidents/trigger", json={"runbookId": "shop-ask"}, headers=headers)
    assert (answer.status_code, answer.json()["problems"][0]["rule"]) == (400, "key-malformed")
    assert count(house.http) == known


def test_two_keys_are_none(house: House) -> None:
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    assert house.http.post("/api/v1/reload", headers=headers).status_code == 400


def test_a_key_is_the_same_with_and_without_quotes(house: House) -> None:
    key = secrets.token_hex(16)
    assert not replayed(house.http.post("/api/v1/reload", headers=keyed(key)))
    assert replayed(house.http.post("/api/v1/reload", headers=keyed(f'"{key}"')))
    odd = r'"a \"b\" \\c' + key + '"'
    assert [replayed(house.http.post("/api/v1/reload", headers=keyed(odd))) for _ in range(2)] == [False, True]


def test_what_was_not_let_in_takes_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUELL_TEST_TOKEN", "right")
    path = tmp_path / "quell.yaml"
    path.write_text(
        f"database: {tmp_path}/quell.db\nserver: {{token: 'env:QUELL_TEST_TOKEN'}}\n"
        "sources: {alertmanager: {token: 'env:QUELL_TEST_TOKEN'}}\n"
    )
    body, right = alerts({"alertname": "Twice", "service": "shop"}), {"authorization": "Bearer right"}
    with Served(path) as served, httpx.Client(base_url=served.url, timeout=60) as http:
        for to in ("/api/v1/reload", "/webhooks/alertmanager"):
            headers = keyed()
            assert http.post(to, json=body, headers=headers).status_code == 401
            known = http.post(to, json=body, headers=headers | right)
            assert (known.status_code, replayed(known)) == (200, False)
            assert http.post(to, json=body, headers=headers).status_code == 401
            assert replayed(http.post(to, json=body, headers=headers | right))


# At once.


def at_once(*posts: Callable[[], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(posts)) as pool:
        return [one.result() for one in [pool.submit(post) for post in posts]]


def test_many_at_once_have_one_effect(house: House) -> None:
    known, headers = count(house.http), keyed()

    def post() -> httpx.Response:
        return house.http.post("/incidents/trigger", json={"runbookId": "shop-ask"}, headers=headers)

    answers = at_once(*[post] * 8)
    assert count(house.http) == known + 1
    assert {one.status_code for one in answers} <= {200, 409}
    assert len({one.content for one in answers if one.status_code == 200}) == 1


def test_while_the_first_is_under_way_it_is_409(house: House) -> None:
    release, known, headers = house.folder / "release", count(house.http), keyed()
    release.unlink()
    os.mkfifo(release)  # its check ends when somebody writes

    def post(runbook: str = "shop-ask") -> httpx.Response:
        return house.http.post("/incidents/trigger", json={"runbookId": runbook}, headers=headers)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(post)
        wait_until(lambda: count(house.http) > known, "an incident")
        early, other = post(), post("shop-errors")
        release.write_text("2")
        assert first.result(60).status_code == 200
    release.unlink()
    house.set(release="2")
    assert (early.status_code, other.status_code) == (409, 422)
    assert int(early.headers["retry-after"]) >= 1
    assert "under way" in early.json()["error"]
    assert post().content == first.result().content
    assert count(house.http) == known + 1


def test_of_two_processes_one_has_the_effect_and_both_tell_of_it(tmp_path: Path, postgres_url: str) -> None:
    settings = furnished(tmp_path, postgres_url)
    with Served(settings) as here, Served(settings) as there, httpx.Client(timeout=60) as http:
        one_url, other_url = here.url, there.url  # of the log only the end is looked at, and it grows
        for _ in range(4):
            headers = keyed()

            def post(url: str, headers: dict[str, str] = headers) -> httpx.Response:
                return http.post(f"{url}/incidents/trigger", json={"runbookId": "shop-ask"}, headers=headers)

            answers = at_once(lambda: post(one_url), lambda: post(other_url))
            assert [one.status_code for one in answers] == [200, 200]
            assert len({one.json()["execution"]["incidentId"] for one in answers}) == 1
            assert sorted(replayed(one) for one in answers) == [False, True]
        assert len(http.get(f"{one_url}/api/v1/incidents").json()["incidents"]) == 4


# kill -9 between the commit and the answer.


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    url = str(tmp_path / "quell.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return furnished(tmp_path, url)


def furnished(folder: Path, database: str) -> Path:
    """A settings file, and what it names."""
    (folder / "runbooks").mkdir()
    for name, text in (("errors", "12.4"), ("release", "2"), ("zero", "0")):
        (folder / name).write_text(text)
    book = RUNBOOK.format(
        folder=folder, id="shop-ask", alert="ShopAsk", mode="auto", approval="approval: {expires: 10m}"
    )
    (folder / "runbooks" / "shop-ask.yaml").write_text(book)
    path = folder / "quell.yaml"
    path.write_text(SETTINGS.format(database=database, folder=folder, more="engine: {lease: 900ms, poll: 0.1s}"))
    return path


def killed(settings: Path, at: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    """Post to a server that dies once that event is committed; nobody gets an answer."""
    with Served(settings, dies_at=at) as served:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(f"{served.url}{path}", json=body, headers=headers, timeout=60)
        wait_until(lambda: not served.running, "the end")


@pytest.fixture
def http(settings: Path) -> Iterator[Callable[[], httpx.Client]]:
    """A server that lives, from when it is asked for."""
    opened: list[tuple[Served, httpx.Client]] = []

    def start() -> httpx.Client:
        served = Served(settings).__enter__()
        opened.append((served, httpx.Client(base_url=served.url, timeout=60)))
        return opened[-1][1]

    yield start
    for served, client in opened:
        client.close()
        served.__exit__(None, None, None)


Start = Callable[[], httpx.Client]


def test_an_incident_is_opened_once_and_told_of(settings: Path, http: Start) -> None:
    body, headers = {"runbookId": "shop-ask", "context": {"a": 1}}, keyed()
    killed(settings, "incident.opened", "/incidents/trigger", body, headers)
    client = http()
    answers = [client.post("/incidents/trigger", json=body, headers=headers) for _ in range(2)]
    incidents = client.get("/api/v1/incidents").json()["incidents"]
    assert len(incidents) == 1
    assert [(one.status_code, replayed(one)) for one in answers] == [(200, True), (200, True)]
    assert answers[0].json()["execution"]["incidentId"] == incidents[0]["id"]
    assert answers[0].json()["execution"]["diagnosticResults"]
    assert answers[1].content == answers[0].content
    other = client.post("/incidents/trigger", json={**body, "context": {"a": 2}}, headers=headers)
    assert other.status_code == 422


def test_when_its_runbook_is_gone_it_is_told_all_the_same(settings: Path, http: Start) -> None:
    body, headers = {"runbookId": "shop-ask"}, keyed()
    killed(settings, "incident.opened", "/incidents/trigger", body, headers)
    (settings.parent / "runbooks" / "shop-ask.yaml").unlink()
    client = http()
    answers = [client.post("/incidents/trigger", json=body, headers=headers) for _ in range(2)]
    incident = client.get("/api/v1/incidents").json()["incidents"][0]["id"]
    for answer in answers:
        assert (answer.status_code, answer.json()["incidents"], replayed(answer)) == (200, [incident], True)
        assert "had its effect" in answer.json()["message"]
        assert answer.json()["events"][0]["kind"] == "incident.opened"


def test_an_alert_counts_once(settings: Path, http: Start) -> None:
    body, headers = alerts({"alertname": "Twice", "service": "shop"}), keyed()
    killed(settings, "incident.opened", "/webhooks/alertmanager", body, headers)
    client = http()
    answer = client.post("/webhooks/alertmanager", json=body, headers=headers)
    known = client.get("/api/v1/alerts").json()["alerts"]
    assert [one["count"] for one in known] == [1]
    assert answer.json() == {"accepted": 1, "incidents": [known[0]["incident"]], "quarantined": []}
    assert replayed(answer)


def test_the_switch_is_pulled_once_and_its_pause_is_told(settings: Path, http: Start) -> None:
    headers = keyed()
    killed(settings, "actions.paused", "/api/v1/pauses", MOVE, headers)
    client = http()
    answer = client.post("/api/v1/pauses", json=MOVE, headers=headers)
    assert (answer.status_code, [answer.json()]) == (201, client.get("/api/v1/pauses").json()["pauses"])


def test_an_approval_is_answered_once(settings: Path, http: Start) -> None:
    with Served(settings) as served, httpx.Client(base_url=served.url, timeout=60) as first:
        body = alerts({"alertname": "ShopAsk", "service": "shop"})
        name = first.post("/webhooks/alertmanager", json=body).json()["incidents"][0]
        wait_until(lambda: waits(first, name), "an approval")
    headers, word = keyed(), {"by": "Ines", "reason": "not now"}
    killed(settings, "approval.answered", f"/api/v1/approvals/{name}/deny", word, headers)
    client = http()
    answer = client.post(f"/api/v1/approvals/{name}/deny", json=word, headers=headers)
    assert (answer.status_code, replayed(answer)) == (200, True)
    assert {key: answer.json()[key] for key in ("incident", "answer", "by")} == {
        "incident": name, "answer": "denied", "by": "Ines",
    }  # fmt: skip
    events = client.get(f"/api/v1/incidents/{name}/timeline").json()["events"]
    assert json.dumps(events).count('"approval.answered"') == 1


def waits(http: httpx.Client, incident: str) -> bool:
    return bool(http.get(f"/api/v1/incidents/{incident}").json()["status"] == "waiting_approval")
