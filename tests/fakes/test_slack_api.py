"""Two methods of Slack's Web API: errors with status 200, scopes, throttling."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.serving import Fault
from tests.fakes.slack_api import FakeSlackApi


@pytest.fixture
def api() -> Iterator[FakeSlackApi]:
    with FakeSlackApi() as api:
        api.add_user("UANNA", "anna", "Anna Meier", "anna@example.org")
        api.groups["SROTA"] = ["UANNA"]
        yield api


def call(api: FakeSlackApi, method: str, **arguments: str) -> httpx.Response:
    return httpx.get(f"{api.api}/{method}", params=arguments, headers={"Authorization": f"Bearer {api.token}"})


def test_a_group_and_a_user(api: FakeSlackApi) -> None:
    assert call(api, "usergroups.users.list", usergroup="SROTA").json() == {"ok": True, "users": ["UANNA"]}
    assert call(api, "users.info", user="UANNA").json()["user"]["profile"]["email"] == "anna@example.org"
    api.scopes.discard("users:read.email")
    assert "email" not in call(api, "users.info", user="UANNA").json()["user"]["profile"]


@pytest.mark.parametrize(
    ("method", "arguments", "word"),
    [
        ("usergroups.users.list", {"usergroup": "SNONE"}, "no_such_subteam"),
        ("usergroups.users.list", {}, "missing_argument"),
        ("users.info", {"user": "UNONE"}, "user_not_found"),
        ("chat.postMessage", {}, "unknown_method"),
    ],
)
def test_an_error_comes_with_200(api: FakeSlackApi, method: str, arguments: dict[str, str], word: str) -> None:
    answer = call(api, method, **arguments)
    assert (answer.status_code, answer.json()) == (200, {"ok": False, "error": word})


def test_who_may_not(api: FakeSlackApi) -> None:
    assert httpx.get(f"{api.api}/users.info").json()["error"] == "not_authed"
    strange = httpx.get(f"{api.api}/users.info", headers={"Authorization": "Bearer other"})
    assert strange.json()["error"] == "invalid_auth"
    api.scopes.discard("usergroups:read")
    assert call(api, "usergroups.users.list", usergroup="SROTA").json()["needed"] == "usergroups:read"
    api.fail_with("account_inactive")
    assert call(api, "users.info", user="UANNA").json()["error"] == "account_inactive"


def test_throttling(api: FakeSlackApi) -> None:
    api.inject(Fault.refuse(429, retry_after=30))
    throttled = call(api, "users.info", user="UANNA")
    assert (throttled.status_code, throttled.headers["retry-after"]) == (429, "30")
