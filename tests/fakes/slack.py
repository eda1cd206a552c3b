"""A fake of Slack's incoming webhooks: POST /services/T…/B…/<secret>, with Block Kit checked.

Success is `ok` in plain text; an error is one word in plain text under the status that Slack documents for
it (changelog of 2016-05-17 on webhook errors; "Handling errors" of the incoming webhooks page). Block Kit
limits are those of the block reference. What Slack refuses with one word is explained in `violations`.

It never renders anything, and knows no Web API method.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from tests.fakes.blockkit import problems
from tests.fakes.serving import FakeServer, Fault, Reply, Request

ERRORS = {
    "invalid_payload": 400,
    "no_text": 400,
    "user_not_found": 400,
    "invalid_blocks": 400,
    "invalid_blocks_format": 400,
    "too_many_attachments": 400,
    "invalid_token": 403,
    "action_prohibited": 403,
    "posting_to_general_channel_denied": 403,
    "channel_not_found": 404,
    "no_service": 404,
    "no_active_hooks": 404,
    "no_team": 404,
    "channel_is_archived": 410,
    "rollup_error": 500,
}
WEBHOOK = re.compile(r"/services/(T\w+)/(B\w+)/(\w+)")
MAX_ATTACHMENTS = 100


@dataclass(frozen=True)
class Message:
    """One accepted message."""

    webhook: str
    payload: dict[str, Any]

    @property
    def text(self) -> str:
        """The fallback text, empty when only blocks were sent."""
        return str(self.payload.get("text", ""))

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The blocks, empty when there are none."""
        return list(self.payload.get("blocks") or [])


class FakeSlack(FakeServer):
    """Accepts messages on `webhook_url`; another secret is 403 invalid_token, another team 404 no_team."""

    def __init__(self, *, team: str = "T0000", bot: str = "B0000", secret: str = "XXXXsecret") -> None:
        super().__init__()
        self.path = f"/services/{team}/{bot}/{secret}"
        self.messages: list[Message] = []
        self.violations: list[str] = []
        self._state: str | None = None

    @property
    def webhook_url(self) -> str:
        """The full address of the webhook, secret included."""
        return self.url + self.path

    def fail_with(self, error: str | None) -> None:
        """From now on every post is refused with this word of ERRORS (None: healthy again)."""
        assert error is None or error in ERRORS, f"Slack has no error {error!r}"
        self._state = error

    def refusal(self, request: Request, fault: Fault) -> Reply:
        """An injected status in Slack's words."""
        words = {429: "rate_limited", 503: "service_unavailable"}
        words = {status: error for error, status in reversed(ERRORS.items())} | words
        return Reply.text(words.get(fault.status, "rollup_error"), fault.status)

    def answer(self, request: Request) -> Reply:
        """Check the address, then the payload, then keep the message."""
        match = WEBHOOK.fullmatch(request.path)
        if match is None:
            return _error("no_service")
        if request.method != "POST":
            return Reply.text("method_not_allowed", 405)
        ours = WEBHOOK.fullmatch(self.path)
        assert ours is not None
        if match[1] != ours[1]:
            return _error("no_team")
        if match[2] != ours[2]:
            return _error("no_service")
        if match[3] != ours[3]:
            return _error("invalid_token")
        if self._state:
            return _error(self._state)
        payload = _payload(request)
        error = "invalid_payload" if payload is None else self._refused(payload)
        if error or payload is None:
            return _error(error or "invalid_payload")
        with self._changed:
            self.messages.append(Message(request.path, payload))
        return Reply.text("ok")

    def _refused(self, payload: dict[str, Any]) -> str | None:
        blocks, attachments = payload.get("blocks"), payload.get("attachments") or []
        if len(attachments) > MAX_ATTACHMENTS:
            return "too_many_attachments"
        if blocks is not None and not isinstance(blocks, list):
            return "invalid_blocks_format"
        found = problems(blocks or [])
        for attachment in attachments:
            found += problems(attachment.get("blocks") or [])
        if found:
            self.violations += found
            return "invalid_blocks"
        return None if payload.get("text") or blocks or attachments else "no_text"


def _payload(request: Request) -> dict[str, Any] | None:
    """The JSON object, sent as the body or as the form field `payload`."""
    try:
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            fields = parse_qs(request.body.decode())
            request = Request(0, "POST", "", {}, {}, fields.get("payload", [""])[0].encode(), 0.0)
        document = request.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _error(word: str) -> Reply:
    return Reply.text(word, ERRORS[word])
