"""Tokens from their page: made and shown once, listed, revoked, and what is wrong said at the form."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from quell.incident.access import Role
from tests.servers.chromium import Chromium
from tests.web.formed import HTML, filled, form_of, forms_of, send
from tests.web.secured import Secured


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with Secured(tmp_path_factory.mktemp("tokens"), insecure=False) as house:
        yield house


@pytest.fixture(scope="module")
def boss(house: Secured) -> Iterator[httpx.Client]:
    """An admin in a browser."""
    with house.browser(house.token("the boss", Role.ADMIN)) as browser:
        yield browser


def text_of(page: str) -> str:
    """The secret that a page shows."""
    _, _, rest = page.partition('class="secret"')
    return rest.partition(">")[2].partition("<")[0]


def test_made_shown_once_and_revoked(house: Secured, boss: httpx.Client) -> None:
    form = filled(boss, "/tokens", "create", name="Ann Lee", role="responder", tenant="acme", **{"for": "12h"})
    made = boss.post("/tokens", data=form, headers=HTML)
    assert made.status_code == 200
    text = text_of(made.text)
    assert text.startswith("quell_")
    assert made.headers["cache-control"] == "no-store"
    with house.as_(text) as ann:
        me = ann.get("/api/v1/me").json()
        assert (me["name"], me["role"], me["tenant"]) == ("Ann Lee", "responder", "acme")
        listed = boss.get("/tokens", headers=HTML).text
        assert "<b>Ann Lee</b> responder, of tenant acme alone" in listed
        assert "made by the boss" in listed
        assert text not in listed
        assert text.rpartition("_")[2] not in listed
        gone = send(boss, "/tokens", "revoke", me["token"], reason="has left")
        assert (gone.status_code, gone.headers["location"]) == (303, "/tokens")
        assert ann.get("/api/v1/me").status_code == 401, "here at once"
    page = boss.get("/tokens", headers=HTML).text
    assert "revoked by the boss" in page
    assert not [one for one in forms_of(page) if one.get("of") == me["token"]]


def test_a_second_click_shows_the_secret_that_the_first_one_made(house: Secured, boss: httpx.Client) -> None:
    form = filled(boss, "/tokens", "create", name="Twice")
    pages = [boss.post("/tokens", data=form, headers=HTML).text for _ in range(2)]
    assert text_of(pages[0]) == text_of(pages[1]) != ""
    assert len([one for one in house.http.get("/api/v1/tokens").json()["tokens"] if one["name"] == "Twice"]) == 1
    with house.browser(house.token("another boss", Role.ADMIN)) as other:
        stolen = {**form, "csrf": form_of(other.get("/tokens", headers=HTML).text, "create")["csrf"]}
        answer = other.post("/tokens", data=stolen, headers=HTML)
        assert (answer.status_code, text_of(answer.text)) == (409, ""), "it is for whoever made it"


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ({"name": "the  Boss"}, 422, "one line without a blank"),
        ({"name": "The Boss"}, 409, "revoke it first"),
        ({"name": "local"}, 422, "means somebody else in the log"),
        ({"role": "king", "for": "soon"}, 422, "not a duration"),
        ({"for": "400d"}, 422, "366d"),
        ({"role": "admin", "tenant": "acme"}, 422, "of the whole installation"),
        ({"role": "viewer", "proxy": "on"}, 422, "speak for others"),
    ],
)
def test_what_is_wrong_is_said_at_the_form_which_keeps_what_was_typed(
    boss: httpx.Client, typed: dict[str, str], status: int, said: str
) -> None:
    given = {"name": "Kim", **typed}
    answer = send(boss, "/tokens", "create", **given)
    assert answer.status_code == status
    assert said in answer.text[answer.text.index('id="create"') : answer.text.index('id="local"')]
    again, kept = form_of(answer.text, "create"), {name: value for name, value in given.items() if value != "king"}
    assert {name: again.get(name) for name in kept} == kept
    assert text_of(answer.text) == ""


def test_what_somebody_else_has_revoked_is_told(house: Secured, boss: httpx.Client) -> None:
    house.token("gone", Role.VIEWER)
    (ident,) = [one["id"] for one in house.http.get("/api/v1/tokens").json()["tokens"] if one["name"] == "gone"]
    form = filled(boss, "/tokens", "revoke", ident)
    house.http.delete(f"/api/v1/tokens/{ident}")
    answer = boss.post("/tokens", data=form, headers=HTML)
    assert answer.status_code == 409
    assert f"token {ident} was revoked" in answer.text


def test_sessions_that_links_began_end(house: Secured, boss: httpx.Client) -> None:
    with httpx.Client(base_url=house.url, timeout=30) as linked:
        linked.get(house.http.post("/api/v1/sign-in-links").json()["path"])
        assert linked.get("/readyz").status_code == 200
        assert send(boss, "/tokens", "revoke", "local").status_code == 303
        assert linked.get("/readyz").status_code == 401


@pytest.mark.parametrize("role", [Role.VIEWER, Role.RESPONDER, Role.APPROVER])
def test_only_an_admin_is_offered_what_only_an_admin_may(house: Secured, role: Role) -> None:
    with house.browser(house.token(f"some {role}", role)) as browser:
        for path in ("/tokens", "/past"):
            refused = browser.get(path, headers=HTML)
            assert refused.status_code == 403
            assert "needs the role admin" in refused.text
            assert path not in browser.get("/workers", headers=HTML).text
        page = browser.get("/guardrails", headers=HTML).text
        assert not [one for one in forms_of(page) if "do" in one]
        assert "An admin pauses, resumes and resets." in page
        csrf = {"csrf": browser.cookies["quell_csrf"], "do": "pause", "scope": "all", "for": "1h", "reason": "x"}
        for path in ("/guardrails", "/tokens", "/past"):
            assert browser.post(path, data=csrf).json()["rule"] == "role"


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_the_page_in_a_browser_without_javascript(house: Secured, chromium: Chromium, size: tuple[int, int]) -> None:
    name = f"Lee {size[0]}"
    with chromium.page(*size, javascript=False) as page:
        page.open(house.url + house.http.post("/api/v1/sign-in-links").json()["path"])
        page.open(f"{house.url}/tokens")
        page.type("[name=name]", name)
        page.click("#create + form button")
        text = page.text(".secret")
        with house.as_(text) as client:
            assert client.get("/api/v1/me").json()["name"] == name
        assert page.eval("document.documentElement.scrollWidth <= innerWidth")
        page.click("main a[href='/tokens']")
        assert page.count(".secret") == 0
        assert name in page.text(".rows")
