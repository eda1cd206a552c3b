"""Who may do what over HTTP, on a server as it comes: roles, tenants, names, sessions, and no token anywhere."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog

from quell.incident.access import Role
from quell.web.needs import KINDS, NEEDS, PUBLIC
from tests.servers.chromium import Chromium
from tests.servers.process import wait_until
from tests.web.house import alerts
from tests.web.secured import Secured

HTML = {"accept": "text/html"}
MORE = "sources: {alertmanager: {type: alertmanager}, acme: {type: alertmanager, tenant: acme}}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    with Secured(folder, more=MORE, insecure=False) as house:
        house.runbook("shop-two", alert="ShopTwo", approval="approval: {expires: 10m, people: 2}")
        for name in ("Named", "Foreigner", "Shown", "Clicked"):  # one incident each
            house.runbook(f"shop-{name}", alert=name, approval="approval: {expires: 10m}")
        free = (house.folder / "runbooks" / "shop-Shown.yaml").read_text().replace("service: shop", "service: till")
        (house.folder / "runbooks" / "till.yaml").write_text(
            free.replace("shop-Shown", "till").replace("Shown", "Till")
        )
        house.http.post("/api/v1/reload")
        yield house


@pytest.fixture(scope="module")
def texts(house: Secured) -> dict[Role, str]:
    """A token of each role, named as it."""
    return {role: house.token(f"a {role}", role) for role in Role}


def ask(house: Secured, name: str) -> str:
    """An incident that waits for an answer."""
    house.set(errors="12.4")
    incident = house.alert(name)
    house.until(incident, "waiting_approval")
    return incident


def filled(key: str) -> tuple[str, str]:
    """A route of the table with something in its place that is not there."""
    method, _, path = key.partition(" ")
    return method, path.replace("{", "no-").replace("}", "")


@pytest.mark.parametrize("key", sorted(NEEDS))
def test_every_route_asks_for_its_role(house: Secured, texts: dict[Role, str], key: str) -> None:
    needed, (method, path) = NEEDS[key], filled(key)
    if key in ("GET /live", "POST /sign-out", *KINDS) or needed is PUBLIC or "/webhooks/" in key:
        return  # a stream without end, or what other tests look at
    unknown = httpx.request(method, house.url + path)
    assert unknown.status_code == 401, key
    assert unknown.headers["www-authenticate"].startswith("Bearer")
    assert "x-quell-paused" not in unknown.headers
    for role, text in texts.items():
        # Nothing changes: what is asked for is not there, or the body is not one.
        answer = httpx.request(method, house.url + path, headers={"authorization": f"Bearer {text}"}, content=b"[")
        if role.covers(needed):
            assert answer.status_code not in (401, 403) or answer.json()["rule"] == "csrf", (key, role, answer.text)
        else:
            assert answer.status_code == 403, (key, role)
            told = answer.json()
            assert (told["rule"], told["value"], told["limit"]) == ("role", role.value, needed.value)
            assert told["error"] == f"this needs the role {needed}; a {role} is {role}"


def test_who_one_is(house: Secured, texts: dict[Role, str]) -> None:
    told = httpx.get(f"{house.url}/api/v1/me", headers={"authorization": f"Bearer {texts[Role.VIEWER]}"}).json()
    assert (told["name"], told["role"], told["proxy"]) == ("a viewer", "viewer", False)
    assert house.http.get("/api/v1/me").json()["role"] == "admin"


def test_monitoring_on_this_machine_needs_nothing(house: Secured) -> None:
    body = alerts({"alertname": "Nobody", "service": "shop"})
    assert httpx.post(f"{house.url}/webhooks/alertmanager", json=body).status_code == 200
    told = [{"labels": {"alertname": "NobodyEither", "service": "shop"}}]
    assert httpx.post(f"{house.url}/api/v2/alerts", json=told).status_code == 200
    assert httpx.get(f"{house.url}/api/v2/alerts").status_code == 401
    (one,) = [one for one in house.http.get("/api/v1/alerts").json()["alerts"] if one["name"] == "NobodyEither"]
    assert one["source"] == "alertmanager_api"


@pytest.mark.parametrize("given", ["x", "quell_00000000_" + "0" * 43, "quell_zz_x", "Bearer", "ü"])
def test_what_is_no_token_is_401(house: Secured, given: str) -> None:
    headers = [(b"authorization", f"Bearer {given}".encode())]
    assert httpx.get(f"{house.url}/readyz", headers=headers).status_code == 401


# Names.


def test_nobody_answers_in_anothers_name(house: Secured, texts: dict[Role, str]) -> None:
    incident = ask(house, "Named")
    with house.as_(texts[Role.RESPONDER], **{"x-quell-user": "Ines"}) as responder:
        assert responder.post(f"/api/v1/incidents/{incident}/ack", json={"by": "Omar"}).status_code == 200
    assert house.incident(incident)["acknowledged_by"] == "a responder"
    with house.as_(texts[Role.ADMIN], **{"x-quell-user": "Ines"}) as admin:
        answer = admin.post(f"/api/v1/approvals/{incident}/deny", json={"by": "Omar"})
    assert answer.json()["by"] == "a admin", "an admin is somebody too"


def test_one_who_speaks_for_others_names_them(house: Secured) -> None:
    incident = house.alert("Spoken")
    with house.as_(house.token("gateway", Role.ADMIN, proxy=True), **{"x-quell-user": "Ines"}) as gateway:
        assert gateway.post(f"/api/v1/incidents/{incident}/take", json={"by": "Omar"}).json()["assignee"] == "Ines"


def test_two_people_are_two_people(house: Secured) -> None:
    incident = ask(house, "ShopTwo")
    path = f"/api/v1/approvals/{incident}/approve"
    with house.as_(house.token("Pat Lee", Role.APPROVER)) as pat, house.as_(house.token("Kim", Role.APPROVER)) as kim:
        assert pat.post(path, json={"by": "Kim"}).json()["answer"] == "waiting"
        again = pat.post(path, json={"by": "Sam"}, headers={"x-quell-user": "Sam"})
        assert again.status_code == 409
        assert again.json()["winner"] == "Pat Lee"
        spelled = house.http.post(path, json={"by": "pat  LEE"})
        assert spelled.status_code == 409, "another spelling is nobody else"
        assert kim.post(path).json() | {"approval": ""} == {
            "approval": "", "incident": incident, "answer": "approved", "by": "Kim"
        }  # fmt: skip
    house.until(incident, "resolved")


# Tokens over the API.


def test_tokens_are_made_listed_and_revoked(house: Secured) -> None:
    text = house.token("temp", Role.VIEWER, **{"for": "1h"})
    with house.as_(text) as temp:
        assert temp.get("/readyz").status_code == 200
        listed = {one["name"]: one for one in house.http.get("/api/v1/tokens").json()["tokens"]}
        assert (listed["temp"]["state"], listed["temp"]["created_by"]) == ("valid", "root")
        assert "digest" not in listed["temp"]
        taken = house.http.post("/api/v1/tokens", json={"name": "TEMP", "role": "viewer"})
        assert taken.status_code == 409
        gone = house.http.request("DELETE", "/api/v1/tokens/temp", json={"by": "root", "reason": "test"})
        assert gone.json()["state"] == "revoked"
        assert temp.get("/readyz").status_code == 401, "here at once"
    assert house.http.delete("/api/v1/tokens/temp").status_code == 409
    assert house.http.delete("/api/v1/tokens/nobody at all").status_code == 404


@pytest.mark.parametrize(
    "change", [{"role": "king"}, {"name": ""}, {"for": "400d"}, {"proxy": True}, {"rol": "viewer"}]
)
def test_what_cannot_be_is_422(house: Secured, change: dict[str, Any]) -> None:
    body = {"name": "new", "role": "viewer", **change}
    assert house.http.post("/api/v1/tokens", json=body).status_code == 422


def test_revoked_beside_the_server_it_ends_within_seconds(house: Secured) -> None:
    """As another process would: nobody here is told."""
    with house.as_(house.token("remote", Role.VIEWER)) as remote:
        assert remote.get("/readyz").status_code == 200
        with contextlib.closing(sqlite3.connect(house.folder / "quell.db", timeout=10)) as other, other:
            other.execute("update quell_tokens set revoked_at = 1 where name = 'remote'")
        begun = time.monotonic()
        wait_until(lambda: remote.get("/readyz").status_code == 401, "the end", 10)
        assert time.monotonic() - begun < 5


def test_a_token_is_made_by_whom_the_gateway_names(house: Secured) -> None:
    gateway = house.token("nameless", Role.ADMIN, proxy=True)
    with house.as_(gateway, **{"x-quell-user": "Ines"}) as named:
        made = named.post("/api/v1/tokens", json={"name": "by Ines", "role": "viewer"})
    assert made.json()["created_by"] == "Ines"


# Sessions.


def test_a_browser_signs_in_and_out(house: Secured, texts: dict[Role, str]) -> None:
    answer = httpx.post(f"{house.url}/sign-in", data={"token": texts[Role.VIEWER], "back": "/alerts"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts")
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert f"max-age={12 * 3600}" in said
    with house.browser(texts[Role.VIEWER]) as browser:
        page = browser.get("/", headers=HTML)
        assert "a viewer · viewer" in page.text
        assert browser.get("/sign-in").status_code == 303
        copy = dict(browser.cookies)
        assert browser.post("/sign-out", data={"csrf": "forged"}).status_code == 403
        left = browser.post("/sign-out", data={"csrf": browser.cookies["quell_csrf"]})
        assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
        assert "quell_session" not in browser.cookies
        assert browser.get("/readyz").status_code == 401
    assert httpx.get(f"{house.url}/readyz", cookies=copy).status_code == 401, "a copy of it is over too"
    assert 'action="/sign-in"' in httpx.get(f"{house.url}/sign-in", headers=HTML).text


def test_a_session_ends_with_its_token(house: Secured) -> None:
    text = house.token("leaver", Role.RESPONDER)
    with house.browser(text) as browser:
        assert browser.get("/readyz").status_code == 200
        house.http.delete("/api/v1/tokens/leaver")
        assert browser.get("/readyz").status_code == 401
    assert httpx.post(f"{house.url}/sign-in", data={"token": text}).status_code == 401


def test_the_link_of_the_start_signs_in_once(house: Secured) -> None:
    with httpx.Client(base_url=house.url) as browser:
        path = house.link.removeprefix(house.url)
        assert path.startswith("/sign-in?token=")
        first = browser.get(path)
        assert (first.status_code, first.headers["location"]) == (303, "/")
        assert browser.get("/api/v1/me").json()["role"] == "admin"
        second = httpx.get(house.link, headers=HTML)
        assert second.status_code == 401
        assert "quell_session" not in second.cookies


def test_a_token_in_an_address_is_nothing(house: Secured, texts: dict[Role, str]) -> None:
    for text in (texts[Role.ADMIN], house.key):
        assert httpx.get(f"{house.url}/sign-in", params={"token": text}).status_code == 401
        assert httpx.get(f"{house.url}/readyz", params={"token": text}).status_code == 401


def test_a_link_is_for_whom_asked_for_it(house: Secured, texts: dict[Role, str]) -> None:
    with house.as_(texts[Role.RESPONDER]) as responder, httpx.Client(base_url=house.url) as browser:
        browser.get(responder.post("/api/v1/sign-in-links").json()["path"])
        assert browser.get("/api/v1/me").json() | {"token": ""} == {
            "name": "a responder", "role": "responder", "tenant": None, "proxy": False, "token": ""
        }  # fmt: skip


def test_from_another_sites_link_one_goes_on(house: Secured) -> None:
    """The cookie is not sent along from there."""
    abroad = httpx.get(f"{house.url}/alerts", headers={**HTML, "sec-fetch-site": "cross-site"})
    assert abroad.status_code == 401
    assert '<a href="/alerts">I am signed in: go on</a>' in abroad.text
    assert "go on" not in httpx.get(f"{house.url}/alerts", headers=HTML).text


@pytest.mark.parametrize("path", ["/live", "/api/v1/incidents/{incident}/events", "/incidents/{incident}/live"])
def test_a_stream_ends_with_whoever_watches(house: Secured, path: str) -> None:
    name = f"watcher of {len(path)}"
    incident = house.alert(f"Watched{len(path)}")
    house.until(incident, "escalated")
    with house.as_(house.token(name, Role.VIEWER)) as watcher:
        with watcher.stream("GET", path.replace("{incident}", incident)) as answer:
            lines = answer.iter_lines()
            next(lines)
            house.http.delete(f"/api/v1/tokens/{name}")
            house.http.post(f"/api/v1/incidents/{incident}/take", json={"by": "Zoe"})
            rest = list(lines)
        assert not any("Zoe" in line for line in rest)


# Tenants.


@pytest.fixture(scope="module")
def two(house: Secured) -> tuple[str, str]:
    """An incident of ours, one of acme's."""
    body = alerts({"alertname": "Foreign", "service": "shop"})
    told = house.http.post("/webhooks/acme", json=body).json()
    ours, theirs = house.alert("Ours"), str(told["incidents"][0])
    assert house.incident(theirs)["tenant"] == "acme"
    return ours, theirs


def test_what_is_another_tenants_is_not_there(house: Secured, two: tuple[str, str]) -> None:
    ours, theirs = two
    with house.as_(house.token("acme approver", Role.APPROVER, tenant="acme")) as acme:
        for key, needed in NEEDS.items():
            method, _, path = key.partition(" ")
            if "{incident}" not in path or needed is PUBLIC or not Role.APPROVER.covers(needed):
                continue
            foreign = acme.request(method, path.replace("{incident}", ours).replace("{deed}", "take"))
            assert foreign.status_code == 404, key
            assert foreign.json() == acme.request(
                method, path.replace("{incident}", ours[:-1] + "~").replace("{deed}", "take")
            ).json() | {"error": f"no incident {ours!r}"}, key
        assert acme.get(f"/api/v1/incidents/{theirs}").status_code == 200
        assert acme.get(f"/api/v1/incidents/{theirs}/timeline").status_code == 200
        assert acme.get(f"/incidents/{theirs}", headers=HTML).status_code == 200


def test_lists_hold_what_is_ones_own(house: Secured, two: tuple[str, str]) -> None:
    ours, theirs = two
    with house.as_(house.token("acme viewer", Role.VIEWER, tenant="acme")) as acme:
        for path in ("/api/v1/incidents", "/incidents", "/"):
            text = acme.get(path, headers=HTML if path == "/" else {}).text
            assert theirs in text, path
            assert ours not in text, path
        assert {one["tenant"] for one in acme.get("/api/v1/alerts").json()["alerts"]} == {"acme"}
        for path in ("/api/v1/workers", "/workers"):
            assert ours not in acme.get(path, headers=HTML if path == "/workers" else {}).text, path
        assert "Foreign" in acme.get("/alerts", headers=HTML).text
        assert "Ours" not in acme.get("/alerts", headers=HTML).text
        with acme.stream("GET", "/live") as stream:
            lines = stream.iter_lines()
            data = next(line for line in lines if line.startswith("data:"))
        assert theirs in data
        assert ours not in data


def test_an_alert_of_another_tenant_is_not_there(house: Secured, two: tuple[str, str]) -> None:
    mine = house.http.get("/api/v1/alerts/Ours").json()
    with house.as_(house.token("acme reader", Role.VIEWER, tenant="acme")) as acme:
        for name in ("Ours", mine["id"], mine["fingerprint"]):
            for path in (f"/api/v1/alerts/{name}", f"/api/v1/alerts/{name}/why", f"/alerts/{name}"):
                assert acme.get(path).status_code == 404, path
        assert acme.get("/api/v1/alerts/Foreign/why").json()["alert"]["tenant"] == "acme"


def test_approvals_of_another_tenant_are_not_there(house: Secured) -> None:
    incident = ask(house, "Foreigner")
    approval = next(iter(house.incident(incident)["approvals"]))
    with house.as_(house.token("acme boss", Role.APPROVER, tenant="acme")) as acme:
        for name in (approval, approval[:6], incident):
            for path in (f"/api/v1/approvals/{name}/approve", f"/api/v1/approvals/{name}/deny", f"/approvals/{name}"):
                assert acme.post(path).status_code == 404, path
    assert house.incident(incident)["status"] == "waiting_approval"
    house.http.post(f"/api/v1/approvals/{approval}/deny", json={"by": "Ines"})


def test_what_a_tenant_starts_is_its_own(house: Secured) -> None:
    with house.as_(house.token("acme responder", Role.RESPONDER, tenant="acme")) as acme:
        foreign = acme.post("/incidents/trigger", json={"runbookId": "shop-ask"})
        assert foreign.status_code == 404, "shop is the default tenant's"
        assert acme.post("/incidents/trigger", json={"runbookId": "shop-ask", "service": "shop"}).status_code == 404
        made = acme.post("/incidents/trigger", json={"runbookId": "till"}).json()["execution"]["incidentId"]
        assert acme.get(f"/api/v1/incidents/{made}").json()["tenant"] == "acme"
        assert made in acme.get("/incidents").text
    assert made not in house.http.get("/incidents").text


# Nowhere a token.


def test_no_token_is_anywhere(house: Secured, texts: dict[Role, str], capfd: pytest.CaptureFixture[str]) -> None:
    structlog.reset_defaults()
    text = house.token("canary", Role.RESPONDER)
    incident = house.alert("Canary")
    shown: list[str] = []
    with house.as_(text) as bearer, house.browser(text) as browser:
        for path in ("/", f"/incidents/{incident}", "/alerts", "/api/v1/me", "/api/v1/tokens", "/nothing"):
            shown += [client.get(path, headers=HTML).text for client in (bearer, browser)]
            shown.append(bearer.get(path).text)
        shown.append(bearer.post(f"/api/v1/incidents/{incident}/take", json={"reason": "x"}).text)
        shown.append(bearer.post("/api/v1/pauses").text)
        shown.append(house.http.get(f"/api/v1/incidents/{incident}/timeline").text)
        shown.append(house.http.get("/api/v1/tokens").text)
        cookie = browser.cookies["quell_session"]
    house.http.delete("/api/v1/tokens/canary")
    for wrong in (text, text + "x", text[:-1]):
        answer = httpx.post(f"{house.url}/sign-in", data={"token": wrong}, headers=HTML)
        shown += [answer.text, json.dumps(dict(answer.headers))]
    logged = capfd.readouterr()
    assert "signed_in" in logged.out + logged.err, "the log is looked at"
    with contextlib.closing(sqlite3.connect(house.folder / "quell.db", timeout=10)) as database:
        kept = "\n".join(database.iterdump())
    assert "canary" in kept
    secrets = {text.rpartition("_")[2], cookie, house.key, *(one.rpartition("_")[2] for one in texts.values())}
    for secret in secrets:
        assert len(secret) == 43
        for place in (*shown, logged.out, logged.err, kept):
            assert secret not in place


# Pages.


def test_a_page_offers_what_one_may(house: Secured, texts: dict[Role, str], chromium: Chromium) -> None:
    incident = ask(house, "Shown")
    seen = "(q => [...document.querySelectorAll(q)].filter(e => e.offsetParent).map(e => e.textContent.trim()))"
    others, you = "Waiting for an approver: approve “Roll back", "Waiting for you: approve “Roll back"
    for role, says, offers in (
        (Role.VIEWER, others, []),
        (Role.RESPONDER, others, ["Take over"]),
        (Role.APPROVER, you, ["Approve", "Deny", "Take over"]),
    ):
        with chromium.page() as page:
            link = house.as_(texts[role]).post("/api/v1/sign-in-links").json()["path"]
            page.open(house.url + link)
            page.open(house.url)
            assert page.text(f"#list a[href='/incidents/{incident}'] .says").startswith(says), role
            page.open(f"{house.url}/incidents/{incident}")
            assert page.text("h1").startswith(says), role
            assert page.title.startswith(says), role
            assert page.eval(f"{seen}('#asks button')") == offers, role
            assert bool(page.eval(f"{seen}('#asks .buttons')")) is bool(offers), "no bar without a button"
            assert page.eval(f"{seen}('.me span')") == [f"a {role} · {role}"]
            assert page.eval(f"{seen}('label.who')") == [], "the name is the token's"
            assert house.alert("Shown", pod=role.value) == incident
            page.wait_for(f"document.querySelector('#timeline').textContent.includes('pod={role}')")
            assert page.text("h1").startswith(says), "also what arrives later"
            assert page.eval("document.querySelector('[role=status]').textContent").startswith(says)
    house.http.post(f"/api/v1/approvals/{incident}/deny", json={"by": "Ines"})


def test_in_a_browser_one_approves_in_ones_own_name_and_leaves(
    house: Secured, texts: dict[Role, str], chromium: Chromium
) -> None:
    incident = ask(house, "Clicked")
    with chromium.page() as page:
        page.open(house.url + house.as_(texts[Role.APPROVER]).post("/api/v1/sign-in-links").json()["path"])
        page.open(f"{house.url}/incidents/{incident}")
        page.eval("document.querySelector('#asks button[value=denied]').click()")
        wait_until(lambda: house.incident(incident)["status"] != "waiting_approval", "the answer")
        (told,) = house.incident(incident)["approvals"].values()
        assert told["by"] == "a approver"
        page.eval("document.querySelector('.me button').click()")
        page.wait_for("document.querySelector('h1')?.textContent === 'Sign in'")


def test_a_key_is_whose_it_is_and_a_secret_is_kept_by_nobody(house: Secured) -> None:
    """Whoever else sends it gets no answer that was another's; what is answered with a token is not on disk."""
    kept = {"idempotency-key": "the-same-one"}
    made = [
        house.http.post("/api/v1/tokens", json={"name": name, "role": "admin", "by": "root"}, headers=kept)
        for name in ("key ann", "key ann", "key bob")
    ]
    assert [one.status_code for one in made] == [201, 409, 201], "sent again: that name is taken"
    texts = [str(one.json()["text"]) for one in made if one.status_code == 201]
    with house.as_(texts[0]) as ann, house.as_(texts[1]) as bob:
        first = ann.post("/api/v1/reload", headers=kept)
        assert (first.status_code, "idempotency-replayed" in first.headers) == (200, False)
        assert "idempotency-replayed" in ann.post("/api/v1/reload", headers=kept).headers
        assert bob.post("/api/v1/reload", headers=kept).status_code == 422
    disk = b"".join(path.read_bytes() for path in house.folder.glob("*.db*"))
    assert b"the-same-one" in disk
    assert not any(text.encode() in disk for text in texts)
