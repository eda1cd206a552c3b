"""A fake of PagerDuty's Events API v2: POST /v2/enqueue, with alerts that open, get acknowledged, resolve.

Source: PagerDuty's Events API v2 reference: 202 with the dedup_key, 400 with a list of errors, 429 when
throttled; a body over 512 KB is a 400, since the reference names no other status for it. Events of one
dedup_key make one alert.

It has no REST API, and calls nobody back.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.serving import FakeServer, Fault, Reply, Request

MAX_BYTES = 512 * 1024
MAX_SUMMARY = 1024
MAX_DEDUP_KEY = 255
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "warning", "error", "info")
STATE_AFTER = {"trigger": "triggered", "acknowledge": "acknowledged", "resolve": "resolved"}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)")


@dataclass
class PagedAlert:
    """One alert: its state, and every event that came for it."""

    dedup_key: str
    state: str
    events: list[dict[str, Any]] = field(default_factory=list)


class FakePagerDuty(FakeServer):
    """Accepts events for `routing_key` (32 characters); `alerts` holds what came of them by dedup_key."""

    def __init__(self, routing_key: str = "R" + "0" * 31) -> None:
        super().__init__()
        self.routing_key = routing_key
        self.events: list[dict[str, Any]] = []
        self.alerts: dict[str, PagedAlert] = {}

    def refusal(self, request: Request, fault: Fault) -> Reply:
        """An injected status in PagerDuty's words."""
        if fault.status == 429:
            said = {"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly."}
            return Reply.of(said, 429)
        return Reply.of({"status": "error", "message": "Internal Server Error"}, fault.status)

    def answer(self, request: Request) -> Reply:
        """Check the event, apply it, and say its dedup_key."""
        if request.path != "/v2/enqueue":
            return Reply.text("Not Found", 404)
        if request.method != "POST":
            return Reply.text("Method Not Allowed", 405)
        if len(request.body) > MAX_BYTES:
            return _invalid(["Event object exceeds the maximum size of 512 KB"])
        try:
            event = request.json()
        except ValueError:
            return Reply.of({"status": "invalid event", "message": "Event object is not valid JSON"}, 400)
        if not isinstance(event, dict):
            return _invalid(["Event object is not a JSON object"])
        if errors := _errors(event, self.routing_key):
            return _invalid(errors)
        return self._apply(event)

    def _apply(self, event: dict[str, Any]) -> Reply:
        key = event.get("dedup_key") or uuid.uuid4().hex
        with self._changed:
            self.events.append(event)
            action, alert = event["event_action"], self.alerts.get(key)
            if alert is None or (alert.state == "resolved" and action == "trigger"):
                # Acknowledging or resolving what is not open is accepted, and changes nothing.
                if action == "trigger":
                    self.alerts[key] = PagedAlert(key, "triggered", [event])
            elif alert.state != "resolved":
                alert.events.append(event)
                if action != "trigger":
                    alert.state = STATE_AFTER[action]
        return Reply.of({"status": "success", "message": "Event processed", "dedup_key": key}, 202)


def _errors(event: dict[str, Any], routing_key: str) -> list[str]:
    errors = [f"'{name}' is missing or blank" for name in ("routing_key", "event_action") if not event.get(name)]
    key, action = event.get("routing_key"), event.get("event_action")
    if key and len(str(key)) != 32:
        errors.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    elif key and key != routing_key:
        errors.append("'routing_key' is not valid")
    if action and action not in ACTIONS:
        errors.append("'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')")
    if action in ("acknowledge", "resolve") and not event.get("dedup_key"):
        errors.append("'dedup_key' is missing or blank")
    if len(str(event.get("dedup_key") or "")) > MAX_DEDUP_KEY:
        errors.append(f"'dedup_key' is too long (maximum is {MAX_DEDUP_KEY} characters)")
    if action == "trigger":
        errors += _payload_errors(event.get("payload"))
        errors += [
            f"'links[{i}].href' is missing or blank"
            for i, link in enumerate(event.get("links") or [])
            if not link.get("href")
        ]
    return errors


def _payload_errors(payload: Any) -> list[str]:
    if not isinstance(payload, dict) or not payload:
        return ["'payload' is missing or blank"]
    errors = [f"'payload.{n}' is missing or blank" for n in ("summary", "source", "severity") if not payload.get(n)]
    severity = payload.get("severity")
    if severity and severity not in SEVERITIES:
        allowed = "'critical', 'warning', 'error' or 'info'"
        errors.append(f"'payload.severity' is invalid (must be one of the following: {allowed})")
    if len(str(payload.get("summary") or "")) > MAX_SUMMARY:
        errors.append(f"'payload.summary' is too long (maximum is {MAX_SUMMARY} characters)")
    stamp = payload.get("timestamp")
    if stamp is not None and not TIMESTAMP.fullmatch(str(stamp)):
        errors.append("'payload.timestamp' is invalid (must be ISO 8601)")
    return errors


def _invalid(errors: list[str]) -> Reply:
    said = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return Reply.of(said, 400)
