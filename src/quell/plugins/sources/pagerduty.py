"""PagerDuty's webhooks, version 3: an incident there is an alert here, and so is whoever acknowledges it.

```yaml
sources: {pagerduty: {secrets: [env:PAGERDUTY_WEBHOOK_SECRET], labels: {environment: production}}}
```

Triggered, reopened, unacknowledged and escalated incidents fire, resolved ones resolve, and an acknowledgement is told
with the name of who gave it. Whatever else PagerDuty tells (notes, priorities, ``pagey.ping``) is taken, and answered
with ``"ignored"`` and its name. The same event sent again within 48 hours has no second effect. Labels are what
there is of ``service``, ``service_id``, ``urgency``, ``priority``, ``escalation_policy`` and ``team``, and the plain
values of ``custom_details``; the priority says how bad it is, else the urgency. An incident under ``event.incident``
instead of ``event.data`` is read too. Format: developer.pagerduty.com/docs/webhooks-overview.
Never does: ask PagerDuty anything, open an incident for a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from quell.errors import InvalidInput, Permanent, Problem
from quell.incident.alert import AlertStatus, severity_of
from quell.plugins.sources import _body, _credentials
from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._fields import Bad, fingerprint, line, plain, time, url
from quell.plugins.sources._labelled import Labelled, listed
from quell.ports import Alert

BY_ID = True
SIGNATURE, DELIVERY = "x-pagerduty-signature", "x-webhook-id"
_MAX_TITLE = 1_024
_MEANS = {
    "incident.triggered": AlertStatus.FIRING, "incident.reopened": AlertStatus.FIRING,
    "incident.unacknowledged": AlertStatus.FIRING, "incident.escalated": AlertStatus.FIRING,
    "incident.acknowledged": AlertStatus.ACKNOWLEDGED, "incident.resolved": AlertStatus.RESOLVED,
}  # fmt: skip
_BY_STATUS = {"acknowledged": AlertStatus.ACKNOWLEDGED, "resolved": AlertStatus.RESOLVED}
"""Of an event that does not say what it is; any other status fires."""
_OF_EVENT = ("id", "event_type", "occurred_at", "client")
_OF_INCIDENT = (
    "number", "status", "incident_key", "assignees", "teams", "priority", "resolve_reason", "custom_details",
)  # fmt: skip


class Params(Labelled):
    """``secrets`` sign the body, ``token`` is a bearer's; all are references. Either lets in, but a signature that is
    there must fit; with none, a token of Quell's own is asked for."""

    secrets: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        default=(), validation_alias=AliasChoices("secrets", "secret")
    )
    """The webhook's secret; several while it is being changed."""
    token: str | None = None


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. While secrets are changed, PagerDuty sends several signatures:
    one of them must fit one of ours."""
    signatures = _credentials.header(headers, SIGNATURE)
    if not params.secrets or (params.token and not signatures):
        return _credentials.token_or_password(headers, params.token, "", None)
    given = [part.strip()[3:].lower() for part in signatures.split(",") if part.strip().startswith("v1=")]
    try:
        good = _credentials.one_of(given, params.secrets, lambda secret: _credentials.hmac_sha256(secret, body))
    except Permanent as error:
        return _credentials.lost(error)
    return None if good else _credentials.WRONG


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    if not params.secrets or (params.token and not _credentials.header(headers, SIGNATURE)):
        return _credentials.shown_by(headers, params.token, None)
    return "signature v1 verified"


def parse(
    body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime
) -> tuple[list[Alert], list[tuple[str, Any]]]:
    """At most one alert, or what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the whole body."""
    event = _event(body)
    status = _status(event)
    if status is None:
        return [], []
    try:
        return [_alert(event, status, params, received_at)], []
    except Bad as fault:
        return [], [(str(fault), _body.fragment(event))]


def delivery(headers: Mapping[str, str], body: bytes) -> str | None:
    """The event's own id, which is signed, else the header's; with what it says, so that an id hides nothing else."""
    event = _event(body)
    name = line(event.get("id")) or line(_credentials.header(headers, DELIVERY))
    _, incident = _incident(event)
    return "/".join((name, _kind(event), line(incident.get("id")), line(incident.get("status")))) if name else None


def ignored(body: bytes) -> str | None:
    """The event's type, when it is none of those that say anything of an alert."""
    event = _event(body)
    return _kind(event) if _status(event) is None else None


# -- the body as a whole


def _event(body: bytes) -> dict[str, Any]:
    read = _body.document(body)
    event = read.get("event")
    if not isinstance(event, dict):
        found = kind_of(event) if "event" in read else "nothing"
        raise InvalidInput([Problem("event must be an object", "type", path="event", found=found, expected="object")])
    kind = event.get("event_type")
    if kind is None and not _incident(event)[1]:
        raise InvalidInput([
            Problem("the event does not say what it is", "type", path="event.event_type", found="nothing",
                    expected="a type such as incident.triggered, or an incident")
        ])  # fmt: skip
    if kind is not None and not line(kind):
        found = short(kind)
        raise InvalidInput([Problem("not a type", "type", path="event.event_type", found=found, expected="text")])
    return event


def _kind(event: Mapping[str, Any]) -> str:
    return line(event.get("event_type"))


def _status(event: Mapping[str, Any]) -> AlertStatus | None:
    if event.get("event_type") is not None:
        return _MEANS.get(_kind(event))
    return _BY_STATUS.get(line(_incident(event)[1].get("status")), AlertStatus.FIRING)


def _incident(event: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Where it stands, and what it is; empty when there is none."""
    for name in ("data", "incident"):
        if isinstance(event.get(name), dict) and event[name]:
            return f"event.{name}", event[name]
    return "event.data", {}


# -- the alert


def _alert(event: Mapping[str, Any], status: AlertStatus, params: Params, received_at: datetime) -> Alert:
    path, incident = _incident(event)
    if not incident:
        raise Bad(f"{path}: {kind_of(event.get('data'))}, not an incident")
    title = line(incident.get("title"), _MAX_TITLE) or line(incident.get("summary"), _MAX_TITLE)
    if not title:
        raise Bad(f"{path}.title: missing")
    if not incident.get("id"):
        raise Bad(f"{path}.id: missing")
    labels = {**params.labels, **_labels(incident, title)}
    place = params.place(labels)
    spoken = severity_of(labels.get("priority")) or place["severity"] or severity_of(labels.get("urgency"))
    when = time("event.occurred_at", event.get("occurred_at"))
    by = {"by": who} if (who := _named(event.get("agent"))) else {}
    return Alert(
        source="pagerduty",
        name=title,
        status=status,
        fingerprint=fingerprint(f"{path}.id", incident["id"], labels),
        **{**place, **params.place_by_site(), "severity": spoken},
        labels=labels,
        annotations={"summary": title},
        starts_at=time(f"{path}.created_at", incident.get("created_at")) or when,
        ends_at=when if status is AlertStatus.RESOLVED else None,
        received_at=received_at,
        url=url(f"{path}.html_url", incident.get("html_url")),
        details={**_body.kept(event, _OF_EVENT), **_body.kept(incident, _OF_INCIDENT), **by},
    )


def _labels(incident: Mapping[str, Any], title: str) -> dict[str, str]:
    service, teams = incident.get("service"), incident.get("teams")
    found = {
        "alertname": title,
        "service": _named(service),
        "service_id": line(service.get("id")) if isinstance(service, dict) else "",
        "urgency": line(incident.get("urgency")),
        "priority": _named(incident.get("priority")),
        "escalation_policy": _named(incident.get("escalation_policy")),
        "team": _named(teams[0]) if isinstance(teams, list) and teams else "",
    }
    return {**plain(incident.get("custom_details")), **{name: text for name, text in found.items() if text}}


def _named(reference: Any) -> str:
    """How PagerDuty calls what it refers to."""
    if not isinstance(reference, dict):
        return line(reference)
    return line(reference.get("summary")) or line(reference.get("name"))
