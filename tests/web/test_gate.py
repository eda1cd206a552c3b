"""Who gets in: hosts, tokens, other sites' pages, sizes; and the headers that every answer has."""

import httpx
import pytest
from markupsafe import escape

from tests.web.house import House


def test_a_foreign_host_name_is_421(house: House) -> None:
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "10.0.0.7"):
        answer = house.http.get("/api/v1/incidents", headers={"host": host})
        assert answer.status_code == 421, host
        assert answer.json()["rule"] == "host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:99", "127.0.0.1", "127.8.8.8:1", "[::1]:8470"])
def test_a_loopback_name_is_let_in(house: House, host: str) -> None:
    assert house.http.get("/readyz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
    ],
)
def test_a_change_asked_for_by_another_site_is_403(house: House, headers: dict[str, str]) -> None:
    for path in ("/webhooks/alertmanager", "/incidents/trigger", "/api/v1/reload", "/approvals/x", "/incidents/x/take"):
        answer = house.http.post(path, headers=headers)
        assert answer.status_code == 403, path
        assert answer.json()["rule"] == "csrf"


def test_a_form_without_the_token_of_its_cookie_is_403(house: House) -> None:
    incident = house.alert("Nobody")
    cookie = httpx.get(f"{house.url}/incidents/{incident}").cookies["quell_csrf"]
    for form, sent in (({}, cookie), ({"csrf": "x"}, cookie), ({"csrf": ""}, ""), ({"csrf": cookie}, "")):
        answer = httpx.post(
            f"{house.url}/incidents/{incident}/take", data=form, headers={"cookie": f"quell_csrf={sent}"}
        )
        assert answer.status_code == 403, form
    assert house.incident(incident)["assignee"] is None
    good = httpx.post(
        f"{house.url}/incidents/{incident}/take",
        data={"csrf": cookie, "by": "Ines"},
        headers={"cookie": f"quell_csrf={cookie}"},
    )
    assert good.status_code == 204
    assert house.incident(incident)["assignee"] == "Ines"


def test_a_form_without_a_name_is_422_and_leads_back(house: House) -> None:
    incident = house.alert("Nameless")
    page = f"{house.url}/incidents/{incident}"
    cookie = httpx.get(page).cookies["quell_csrf"]
    sent = {"cookie": f"quell_csrf={cookie}", "accept": "text/html", "referer": page}
    for form in ({"csrf": cookie}, {"csrf": cookie, "by": " \u200b "}):
        answer = httpx.post(f"{page}/take", data=form, headers=sent)
        assert answer.status_code == 422
        assert "say who you are" in answer.text
        assert f'href="/incidents/{incident}"' in answer.text
    elsewhere = httpx.post(f"{page}/take", data={"csrf": cookie}, headers={**sent, "referer": "http://evil.example/x"})
    assert "evil.example" not in elsewhere.text
    assert house.incident(incident)["assignee"] is None


@pytest.mark.parametrize("name", ["Ines", "Ørjan Æ", "李雷; a=b", "O'\"Brien\\"])
def test_a_name_is_remembered_letter_by_letter(house: House, name: str) -> None:
    incident = house.alert(f"For {name.encode().hex()}")
    page = f"{house.url}/incidents/{incident}"
    with httpx.Client() as browser:
        form = {"csrf": browser.get(page).cookies["quell_csrf"], "by": name}
        assert browser.post(f"{page}/take", data=form).status_code == 204
        assert house.incident(incident)["assignee"] == name
        assert f'data-by="{escape(name)}"' in browser.get(page).text


def test_the_cookie_cannot_be_read_or_sent_by_others(house: House) -> None:
    cookie = httpx.get(house.url).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize("path", ["/", "/healthz", "/nothing", "/static/quell.css", "/api/v1/incidents/none"])
def test_every_answer_has_the_security_headers(house: House, path: str) -> None:
    headers = house.http.get(path).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert "server" not in headers


def test_static_files_do_not_lead_out_of_their_folder(house: House) -> None:
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py"):
        assert house.http.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/api/v1/alerts/a%00b", "/api/v1/alerts?name=%00", "/incidents/%00", "/nowhere%00"])
def test_an_address_with_a_nul_is_400(house: House, path: str) -> None:
    """PostgreSQL would break on it, wherever it came by."""
    assert house.http.get(path).status_code == 400
