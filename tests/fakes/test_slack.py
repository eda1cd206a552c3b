"""Slack's incoming webhooks: `ok`, the documented errors, and Block Kit's limits on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.fakes.serving import Fault
from tests.fakes.slack import ERRORS, FakeSlack


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as slack:
        yield slack


def text(words: str, kind: str = "mrkdwn") -> dict[str, str]:
    return {"type": kind, "text": words}


def button(label: str = "Approve", **more: Any) -> dict[str, Any]:
    return {"type": "button", "action_id": "approve", "text": text(label, "plain_text"), **more}


def header(words: str, kind: str = "plain_text") -> dict[str, Any]:
    return {"type": "header", "text": text(words, kind)}


def section(words: str) -> dict[str, Any]:
    return {"type": "section", "text": text(words)}


def fields(count: int, length: int = 1) -> dict[str, Any]:
    return {"type": "section", "fields": [text("x" * length)] * count}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def test_a_message_is_kept_and_answered_ok(slack: FakeSlack) -> None:
    answer = httpx.post(slack.webhook_url, json={"text": "hello"})
    assert (answer.status_code, answer.text) == (200, "ok")
    assert answer.headers["content-type"].startswith("text/plain")
    httpx.post(slack.webhook_url, data={"payload": '{"text": "from a form"}'})
    assert [m.text for m in slack.messages] == ["hello", "from a form"]


FITS = [
    header("x" * 150),
    section("x" * 3000),
    fields(10, 2000),
    actions(button("x" * 75, value="v" * 2000, style="danger")),
    {"type": "divider"},
    {"type": "context", "elements": [text("who"), {"type": "image", "image_url": "https://x/y", "alt_text": "y"}]},
    {"type": "image", "image_url": "https://x/y.png", "alt_text": "a graph"},
    {"type": "markdown", "text": "**bold**"},
    {"type": "rich_text", "elements": []},
    {**section("x"), "accessory": button()},
]


@pytest.mark.parametrize("block", FITS, ids=lambda block: block["type"])
def test_blocks_at_their_limit_are_accepted(slack: FakeSlack, block: dict[str, Any]) -> None:
    answer = httpx.post(slack.webhook_url, json={"text": "fallback", "blocks": [block]})
    assert (answer.text, slack.violations) == ("ok", [])


BREAKS = [
    (header("x" * 151), "blocks/0/text/text: more than 150 characters"),
    (header("x", "mrkdwn"), "blocks/0/text/type: must be plain_text"),
    (section("x" * 3001), "blocks/0/text/text: more than 3000 characters"),
    (section(""), "blocks/0/text/text: must be more than 0 characters"),
    ({"type": "section"}, "blocks/0: text or fields is required"),
    (fields(11), "blocks/0/fields: 1 to 10 items allowed"),
    (fields(1, 2001), "blocks/0/fields/0/text: more than 2000 characters"),
    (actions(button("x" * 76)), "blocks/0/elements/0/text/text: more than 75 characters"),
    (actions(button(value="v" * 2001)), "blocks/0/elements/0/value: more than 2000 characters"),
    (actions(button(style="loud")), "blocks/0/elements/0/style: must be primary or danger"),
    (actions(button(), button()), "blocks/0/elements: action_id is not unique"),
    (actions(), "blocks/0/elements: no more than 25 items allowed"),
    (actions(text("x")), "blocks/0/elements/0/type: unsupported element"),
    (actions(button(confirm={})), "blocks/0/elements/0/confirm/title: missing required field"),
    ({"type": "context", "elements": [text("x")] * 11}, "blocks/0/elements: 1 to 10 items allowed"),
    ({"type": "image", "image_url": "https://x"}, "blocks/0/alt_text: missing required field"),
    ({"type": "divider", "text": "x"}, "blocks/0: additional property text"),
    ({"type": "banner"}, "blocks/0/type: unsupported type: banner"),
    ({"text": "x"}, "blocks/0: not a block"),
    ({**section("x"), "block_id": "b" * 256}, "blocks/0/block_id: more than 255 characters"),
]


@pytest.mark.parametrize(("block", "why"), BREAKS)
def test_blocks_over_their_limit_are_refused_with_one_word(slack: FakeSlack, block: Any, why: str) -> None:
    answer = httpx.post(slack.webhook_url, json={"text": "fallback", "blocks": [block]})
    assert (answer.status_code, answer.text) == (400, "invalid_blocks")
    assert why in slack.violations
    assert not slack.messages


def test_fifty_blocks_and_no_more(slack: FakeSlack) -> None:
    def send(count: int) -> str:
        return httpx.post(slack.webhook_url, json={"blocks": [section("x")] * count}).text

    assert send(50) == "ok"
    assert send(51) == "invalid_blocks"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "invalid_payload"),
        (b"[]", "invalid_payload"),
        (b"{}", "no_text"),
        (b'{"blocks": {}}', "invalid_blocks_format"),
        (b'{"attachments": [{"blocks": [{"type": "nope"}]}]}', "invalid_blocks"),
    ],
)
def test_payloads_that_cannot_be_read(slack: FakeSlack, body: bytes, word: str) -> None:
    answer = httpx.post(slack.webhook_url, content=body)
    assert (answer.status_code, answer.text) == (400, word)


@pytest.mark.parametrize("word", sorted(ERRORS))
def test_every_documented_error_can_be_had(slack: FakeSlack, word: str) -> None:
    slack.fail_with(word)
    answer = httpx.post(slack.webhook_url, json={"text": "x"})
    assert (answer.status_code, answer.text) == (ERRORS[word], word)
    slack.fail_with(None)
    assert httpx.post(slack.webhook_url, json={"text": "x"}).text == "ok"


def test_wrong_addresses(slack: FakeSlack) -> None:
    def post(path: str) -> tuple[int, str]:
        answer = httpx.post(slack.url + path, json={"text": "x"})
        return answer.status_code, answer.text

    assert post("/services/T0000/B0000/wrong") == (403, "invalid_token")
    assert post("/services/T9999/B0000/XXXXsecret") == (404, "no_team")
    assert post("/services/T0000/B9999/XXXXsecret") == (404, "no_service")
    assert httpx.get(slack.webhook_url).status_code == 405


def test_rate_limits_say_when_to_come_back(slack: FakeSlack) -> None:
    slack.inject(Fault.refuse(429, retry_after=1), Fault.refuse(500))
    first, second = (httpx.post(slack.webhook_url, json={"text": "x"}) for _ in range(2))
    assert (first.status_code, first.headers["retry-after"]) == (429, "1")
    assert (second.status_code, second.text) == (500, "rollup_error")
