"""Opsgenie's outgoing webhook: Create and UnAcknowledge fire, Acknowledge acknowledges, Close resolves.

```yaml
sources: {opsgenie: {token: env:OPSGENIE_SECRET, header: X-Quell-Secret, service_labels: [service, entity]}}
```

Every other action (notes, tags, snoozing, owners, actions of your own) is taken, and answered with ``"ignored"`` and
its name. The alias tells alerts apart, the alert's id where there is none. Labels are ``entity``, ``source``,
``priority`` and ``team``, the plain values of ``details``, and tags written ``name:value``; all tags are in ``tags``.
P5 is P4 here. Format: support.atlassian.com/opsgenie/docs/integrate-opsgenie-with-webhook.
Never does: ask Opsgenie anything, open an incident for a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from quell.errors import InvalidInput, Problem
from quell.incident.alert import AlertStatus, fingerprint_of, severity_of
from quell.plugins.sources import _body
from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._fields import MAX_NAME, Bad, line, plain
from quell.plugins.sources._shared_secret import SharedSecret
from quell.ports import Alert

BY_ID = True
_MAX_TITLE = 1_024
_MEANS = {
    "Create": AlertStatus.FIRING, "UnAcknowledge": AlertStatus.FIRING, "Acknowledge": AlertStatus.ACKNOWLEDGED,
    "Close": AlertStatus.RESOLVED,
}  # fmt: skip
_KEPT = ("integrationId", "integrationName", "source")
_OF_ALERT = (
    "alertId", "tinyId", "tags", "teams", "recipients", "responders", "username", "userId", "description", "details",
)  # fmt: skip
_UNITS = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
"""Below this, a time is so many microseconds a piece: seconds, milliseconds, microseconds. Beyond are nanoseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Params(SharedSecret):
    """``token`` (bearer, or alone in ``header``) and ``password`` (basic) are secret references; with neither,
    a token of Quell's own is asked for."""


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    return params.refuses(headers)


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    return params.shown_by(headers)


def parse(
    body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime
) -> tuple[list[Alert], list[tuple[str, Any]]]:
    """At most one alert, or what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the whole body."""
    read = _document(body)
    status = _MEANS.get(read["action"])
    if status is None:
        return [], []
    try:
        return [_alert(read, status, params, received_at)], []
    except Bad as fault:
        return [], [(str(fault), _body.fragment(read))]


def ignored(body: bytes) -> str | None:
    """The action, when it is none of those that say how an alert is."""
    action: str = _document(body)["action"]
    return None if action in _MEANS else line(action)


def _document(body: bytes) -> dict[str, Any]:
    read = _body.document(body)
    action = read.get("action")
    if not isinstance(action, str) or not line(action):
        found = short(action) if "action" in read else "nothing"
        raise InvalidInput([Problem("action must be a text", "type", path="action", found=found, expected="text")])
    return read


def _alert(read: Mapping[str, Any], status: AlertStatus, params: Params, received_at: datetime) -> Alert:
    alert = read.get("alert")
    if not isinstance(alert, dict):
        raise Bad(f"alert: {kind_of(alert)}, not an object")
    title = line(alert.get("message"), _MAX_TITLE)
    if not title:
        raise Bad("alert.message: missing")
    labels = {**params.labels, **_labels(alert), "alertname": title}
    place = params.place(labels)
    by = {"by": who} if (who := line(alert.get("username"))) else {}
    return Alert(
        source="opsgenie",
        name=title,
        status=status,
        fingerprint=_fingerprint(alert),
        **{**place, **params.place_by_site(), "severity": _severity(alert.get("priority")) or place["severity"]},
        labels=labels,
        annotations={"summary": title},
        starts_at=_moment("alert.createdAt", alert.get("createdAt")),
        ends_at=_moment("alert.updatedAt", alert.get("updatedAt")) if status is AlertStatus.RESOLVED else None,
        received_at=received_at,
        details={**_body.kept(read, _KEPT), **_body.kept(alert, _OF_ALERT), **by},
    )


def _fingerprint(alert: Mapping[str, Any]) -> str:
    """An alias may have 512 signs of any kind; one that is no short text is told by its digest."""
    for name in ("alias", "alertId"):
        given = alert.get(name)
        if isinstance(given, str) and given:
            return given if len(given) <= MAX_NAME and given.isprintable() else fingerprint_of({name: given})
    raise Bad("alert.alias: missing, and so is alert.alertId")


def _labels(alert: Mapping[str, Any]) -> dict[str, str]:
    listed = alert.get("tags")
    tags = [text for tag in (listed if isinstance(listed, list) else []) if (text := line(tag))]
    teams = alert.get("teams")
    found = {
        "entity": line(alert.get("entity")), "source": line(alert.get("source")),
        "priority": _priority(alert.get("priority")), "tags": line(", ".join(tags), 1_000),
        "team": _team(teams[0]) if isinstance(teams, list) and teams else "",
    }  # fmt: skip
    pairs = (tag.partition(":") for tag in tags)
    tagged = plain({name.strip(): value.strip() for name, colon, value in pairs if colon})
    return {**tagged, **plain(alert.get("details")), **{name: text for name, text in found.items() if text}}


def _team(team: Any) -> str:
    return line(team.get("name")) or line(team.get("id")) if isinstance(team, dict) else line(team)


def _priority(given: Any) -> str:
    """``P1`` to ``P5``, which some integrations write as a number."""
    return f"P{given}" if isinstance(given, int) and not isinstance(given, bool) else line(given)


def _severity(priority: Any) -> Any:
    spoken = _priority(priority)
    return severity_of("P4" if spoken.upper() == "P5" else spoken)


def _moment(path: str, value: Any) -> datetime | None:
    """Since 1970 in seconds, milliseconds, microseconds or nanoseconds, by how many there are of them. Whole numbers:
    of nanoseconds, a floating point number would be wrong by a hundred of them, and the digits it shows are none."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Bad(f"{path}: {short(value)}, not a time such as 1502709956288")
    micros = next((value * each for most, each in _UNITS if value < most), value // 1_000)
    try:
        return _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise Bad(f"{path}: {short(value)}, no such time") from None
