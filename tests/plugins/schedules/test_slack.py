"""The Slack user group against a fake of the Web API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from quell.errors import Permanent, Transient
from quell.plugins.schedules import slack
from quell.ports import Connection, OnCall
from tests.fakes.serving import Fault
from tests.fakes.slack_api import FakeSlackApi
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
ANNA = OnCall("Anna Meier", ("anna@example.org", "anna", "UANNA"))


@pytest.fixture
def api() -> Iterator[FakeSlackApi]:
    with FakeSlackApi() as api:
        api.add_user("UANNA", "anna", "Anna Meier", "anna@example.org")
        api.add_user("UGONE", "gone", "Gone", "gone@example.org", deleted=True)
        api.add_user("UBOT", "rota-bot", "Rota", "", is_bot=True)
        api.groups["SROTA"] = ["UANNA", "UGONE", "UBOT"]
        yield api


async def ask(api: FakeSlackApi, group: str = "SROTA", token: str | None = None) -> tuple[OnCall, ...]:
    there = Connection("bot", "slack_api", api.api, password=api.token if token is None else token)
    async with probe_over(there) as probe:
        return await slack.on_call(slack.Params(group=group), probe, NOON)


async def test_people_with_every_name_but_the_one_they_make_up(api: FakeSlackApi) -> None:
    assert await ask(api) == (ANNA,)


async def test_without_the_scope_for_it_there_is_no_address(api: FakeSlackApi) -> None:
    api.scopes.discard("users:read.email")
    assert await ask(api) == (OnCall("Anna Meier", ("anna", "UANNA")),)


async def test_an_empty_group_is_nobody(api: FakeSlackApi) -> None:
    api.groups["SROTA"] = ["UGONE"]
    assert await ask(api) == ()
    api.groups["SROTA"] = []
    assert await ask(api) == ()


@pytest.mark.parametrize(
    ("word", "error_class"),
    [
        ("invalid_auth", "denied"), ("account_inactive", "denied"), ("plan_upgrade_required", "denied"),
        ("something_new", "failed"),
    ],
)  # fmt: skip
async def test_an_error_with_status_200_is_an_error(api: FakeSlackApi, word: str, error_class: str) -> None:
    api.fail_with(word)
    with pytest.raises(Permanent, match=f"slack: {word}$") as told:
        await ask(api)
    assert told.value.error_class == error_class


@pytest.mark.parametrize(("word", "error_class"), [("ratelimited", "exhausted"), ("internal_error", "busy")])
async def test_what_passes_is_transient(api: FakeSlackApi, word: str, error_class: str) -> None:
    api.fail_with(word)
    with pytest.raises(Transient, match=word) as told:
        await ask(api)
    assert told.value.error_class == error_class


async def test_a_group_that_does_not_exist_is_missing(api: FakeSlackApi) -> None:
    with pytest.raises(Permanent, match="no_such_subteam") as told:
        await ask(api, "SNONE")
    assert told.value.error_class == "missing"


async def test_a_scope_that_is_missing_is_named(api: FakeSlackApi) -> None:
    api.scopes.discard("usergroups:read")
    with pytest.raises(Permanent, match=r"missing_scope \(needed: usergroups:read\)") as told:
        await ask(api)
    assert told.value.error_class == "denied"


async def test_one_member_who_cannot_be_read_is_an_error(api: FakeSlackApi) -> None:
    """With the others alone, the group would seem to be smaller than it is."""
    api.groups["SROTA"].append("UELSE")
    with pytest.raises(Permanent, match="user_not_found"):
        await ask(api)


async def test_a_throttle_says_when_to_come_back(api: FakeSlackApi) -> None:
    api.inject(Fault.refuse(429, retry_after=30))
    with pytest.raises(Transient, match="HTTP 429 ratelimited") as told:
        await ask(api)
    assert (told.value.error_class, told.value.retry_after) == ("exhausted", 30.0)


async def test_a_wrong_token_is_not_shown(api: FakeSlackApi) -> None:
    with pytest.raises(Permanent, match="invalid_auth") as told:
        await ask(api, token="xoxb-other")
    assert "xoxb-other" not in str(told.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{}", "neither ok nor an error"),
        (b'{"ok": 1, "users": []}', "neither ok nor an error"),
        (b'{"ok": false, "error": "xoxb-1-secret!"}', "an error that is no word"),
        (b'{"ok": true}', "without a list of users"),
        (b'{"ok": true, "users": [7]}', "without a list of users"),
    ],
)
async def test_an_answer_that_is_none_is_not_nobody(api: FakeSlackApi, body: bytes, says: str) -> None:
    api.inject(Fault.malformed(body))
    with pytest.raises(Permanent, match=says):
        await ask(api)


async def test_a_whole_company_is_no_rota(api: FakeSlackApi) -> None:
    api.groups["SROTA"] = ["UANNA"] * 51
    with pytest.raises(Permanent, match="51 members") as told:
        await ask(api)
    assert (told.value.error_class, len(api.requests)) == ("too_large", 1)


async def test_a_connection_without_a_token_is_refused(api: FakeSlackApi) -> None:
    with pytest.raises(Permanent, match="no token"):
        await ask(api, token="")


def test_a_handle_is_no_group() -> None:
    with pytest.raises(ValidationError):
        slack.Params(group="@oncall")
