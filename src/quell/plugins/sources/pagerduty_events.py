"""PagerDuty's Events API v2, answered here: whatever can page PagerDuty can page Quell, at ``/v2/enqueue``.

```yaml
sources: {payments: {type: pagerduty_events, routing_keys: [env:PAYMENTS_KEY], service: payment}}
receivers: [{name: quell, pagerduty_configs: [{url: 'http://quell:8470/v2/enqueue', routing_key_file: /etc/key}]}]
```

The routing key says which source an event is for, and so whose it is and about which service; make one of 32 letters
and digits for each sender. ``trigger`` fires, ``acknowledge`` acknowledges, ``resolve`` resolves whatever has the same
``dedup_key``; an event without one is given one. The alert is called what ``custom_details.alertname`` says, else
``class``, else the summary. Labels are ``source``, ``component``, ``group``, ``class``, ``severity``, ``client`` and
the plain values of ``custom_details``. Format: developer.pagerduty.com/docs/send-alert-event.
Never does: take an event without a routing key of ours, take change events.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from quell.errors import InvalidInput, Permanent, Problem
from quell.incident.alert import AlertStatus
from quell.plugins.sources import _body, _credentials
from quell.plugins.sources._fields import Bad, line, plain, time, url
from quell.plugins.sources._labelled import Labelled, listed
from quell.ports import Alert

_MAX_BYTES, _MAX_SUMMARY, _MAX_KEY, _KEY_LENGTH = 512 * 1024, 1_024, 255, 32
_MEANS = {
    "trigger": AlertStatus.FIRING, "acknowledge": AlertStatus.ACKNOWLEDGED, "resolve": AlertStatus.RESOLVED,
}  # fmt: skip
_SEVERITIES = ("critical", "error", "warning", "info")
BY_ID = True
_LABELS = ("source", "component", "group", "class", "severity")
_KEPT = ("client", "client_url", "links", "images")
_OFFSET = re.compile(r"([+-]\d\d)(\d\d)$")


class Params(Labelled):
    """``routing_keys`` are references, any one of which lets in; without one nobody is let in."""

    routing_keys: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), validation_alias=AliasChoices("routing_keys", "routingKeys", "routing_key", "routingKey")
    )
    """What senders show; several while it is being changed."""
    service: str | None = None
    """What its alerts are about, where no label of ``service_labels`` says."""


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, in PagerDuty's words; None when it may post."""
    try:
        given = _event(body).get("routing_key")
    except InvalidInput as error:
        return error.problems[0].message
    if not isinstance(given, str) or not given.strip():
        return "'routing_key' is missing or blank"
    try:
        if _credentials.one_of([given], params.routing_keys, str):
            return None
    except Permanent as error:
        return _credentials.lost(error)
    if len(given) != _KEY_LENGTH:
        return f"Length of 'routing_key' is incorrect (should be {_KEY_LENGTH} characters)"
    return "Invalid routing key"


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    return "routing key"


def parse(
    body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime
) -> tuple[list[Alert], list[tuple[str, Any]]]:
    """One alert. Raises ``InvalidInput`` with all that is wrong: its sender is told, so nothing is set aside."""
    event = _event(body)
    if problems := [Problem(said, "event", path=path) for path, said in _flaws(event)]:
        raise InvalidInput(problems)
    status, payload = _MEANS[event["event_action"]], event.get("payload")
    if status is not AlertStatus.FIRING or not isinstance(payload, dict):
        return [_later(event, status, params, received_at)], []
    return [_fires(event, payload, params, received_at)], []


def _event(body: bytes) -> dict[str, Any]:
    if len(body) > _MAX_BYTES:
        raise _invalid("Event object exceeds the maximum size of 512 KB")
    try:
        return _body.document(body)
    except InvalidInput as error:
        raise _invalid(f"Event object is not valid JSON: {error.problems[0].message}") from None


def _invalid(said: str) -> InvalidInput:
    return InvalidInput([Problem(said, "event")])


# -- what is wrong, as PagerDuty says it


def _flaws(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    action, key = event.get("event_action"), event.get("dedup_key")
    if not action:
        yield "event_action", "'event_action' is missing or blank"
    elif not isinstance(action, str) or action not in _MEANS:
        yield (
            "event_action",
            ("'event_action' is invalid (must be one of the following: 'trigger', 'acknowledge' or 'resolve')"),
        )
    if not key and action in ("acknowledge", "resolve"):
        yield "dedup_key", "'dedup_key' is missing or blank"
    elif key and (not isinstance(key, str) or "\0" in key):
        yield "dedup_key", "'dedup_key' is invalid (must be a string)"
    elif key and len(key) > _MAX_KEY:
        yield "dedup_key", f"'dedup_key' is too long (maximum is {_MAX_KEY} characters)"
    if action == "trigger":
        yield from _flaws_of_payload(event.get("payload"))
        yield from _flaws_of_links(event)


def _flaws_of_payload(payload: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(payload, dict) or not payload:
        yield "payload", "'payload' is missing or blank"
        return
    for name in ("summary", "source", "severity"):
        if not payload.get(name):
            yield f"payload.{name}", f"'payload.{name}' is missing or blank"
        elif not line(payload[name], _MAX_SUMMARY):
            yield f"payload.{name}", f"'payload.{name}' is invalid (must be a string)"
    severity, summary = payload.get("severity"), payload.get("summary")
    if line(severity) and severity not in _SEVERITIES:
        said = "must be one of the following: 'critical', 'warning', 'error' or 'info'"
        yield "payload.severity", f"'payload.severity' is invalid ({said})"
    if isinstance(summary, str) and len(summary) > _MAX_SUMMARY:
        yield "payload.summary", f"'payload.summary' is too long (maximum is {_MAX_SUMMARY} characters)"
    try:
        _when(payload)
    except Bad:
        yield "payload.timestamp", "'payload.timestamp' is invalid (must be ISO 8601)"


def _flaws_of_links(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, needed in (("links", "href"), ("images", "src")):
        given = event.get(name) or []
        if not isinstance(given, list):
            yield name, f"'{name}' is invalid (must be an array)"
            continue
        for number, one in enumerate(given):
            if not isinstance(one, dict) or not one.get(needed):
                yield f"{name}[{number}].{needed}", f"'{name}[{number}].{needed}' is missing or blank"


# -- the alert


def _fires(event: Mapping[str, Any], payload: Mapping[str, Any], params: Params, received_at: datetime) -> Alert:
    summary, details = line(payload["summary"], _MAX_SUMMARY), plain(payload.get("custom_details"))
    name = details.get("alertname") or line(payload.get("class")) or summary
    said = {label: text for label in _LABELS if (text := line(payload.get(label)))}
    client = {"client": text} if (text := line(event.get("client"))) else {}
    labels = {**params.labels, **details, **said, **client, "alertname": name}
    place = {**params.place(labels), **params.place_by_site()}
    return Alert(
        source="pagerduty_events",
        name=name,
        status=AlertStatus.FIRING,
        fingerprint=_fingerprint(event) or uuid.uuid4().hex,
        **{**place, "service": place["service"] or params.service},
        labels=labels,
        annotations={"summary": summary},
        starts_at=_when(payload),
        received_at=received_at,
        url=_link(event.get("client_url")),
        details={**_body.kept(event, _KEPT), **_body.kept(payload, ("custom_details",))},
    )


def _later(event: Mapping[str, Any], status: AlertStatus, params: Params, received_at: datetime) -> Alert:
    """It names its alert by the key alone; what that is has been said when it fired."""
    key = _fingerprint(event)
    by = {"by": who} if (who := line(event.get("client"))) else {}
    return Alert(
        source="pagerduty_events", name=line(key) or "event", status=status, fingerprint=key, tenant=params.tenant,
        **params.place_by_site(), service=params.service, received_at=received_at, details=by,
    )  # fmt: skip


def _fingerprint(event: Mapping[str, Any]) -> str:
    return event.get("dedup_key") or ""


def _when(payload: Mapping[str, Any]) -> datetime | None:
    """ISO 8601 as PagerDuty takes it: an offset may lack its colon. Raises ``Bad``."""
    given = payload.get("timestamp")
    return time("payload.timestamp", _OFFSET.sub(r"\1:\2", given) if isinstance(given, str) else given)


def _link(given: Any) -> str | None:
    try:
        return url("client_url", given)
    except Bad:
        return None
