"""Alertmanager's webhook, version 4: many alerts of one group in one body.

```yaml
sources: {alertmanager: {token: env:ALERTMANAGER_TOKEN, service_labels: [service, app], labels: {region: eu-west-1}}}
receivers: [{name: quell, webhook_configs: [{url: 'http://quell:8080/webhooks/alertmanager', send_resolved: true}]}]
```

An alert that is wrong is quarantined with the place of its fault, and its siblings go on; a body that is wrong as a
whole is ``InvalidInput``. Format: prometheus.io/docs/alerting/latest/configuration, webhook_config.
Never does: guess a severity that the labels do not say, drop anything in silence.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from pydantic import Field

from quell.errors import InvalidInput, Permanent, Problem
from quell.incident.alert import AlertStatus, fingerprint_of, severity_of
from quell.plugins.sources import _secret
from quell.ports import Alert
from quell.ports import Params as PortParams

MAX_ALERTS, MAX_DEPTH = 2_000, 32
MAX_NAME, MAX_VALUE, MAX_LABELS, MAX_URL = 256, 4_096, 128, 8_192
_FRAGMENT = 2_048
_DEFAULT_SERVICE_LABELS = ("service",)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,12}))?(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII
)
_KEPT = (
    "receiver", "groupKey", "groupLabels", "externalURL", "truncatedAlerts", "notification_reason", "routeLabels",
)  # fmt: skip


class Params(PortParams):
    """``token`` (bearer) and ``password`` (basic) are secret references; with neither, everybody may post.

    ``labels`` are added where an alert lacks them; ``service_labels``: the first that is there names the service.
    """

    token: str | None = None
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None
    tenant: str = "default"
    """The tenant of its alerts."""
    labels: dict[str, str] = Field(default_factory=dict)
    severity_label: str = "severity"
    """The label that says how bad it is: critical, warning, P1, …"""
    service_labels: tuple[str, ...] = _DEFAULT_SERVICE_LABELS
    environment_label: str = "environment"
    """The label that names the environment."""
    region_label: str = "region"
    """The label that names the region."""


class _Bad(ValueError):
    """One alert is wrong; the text names the place and the fault."""


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    if not params.token and not params.password:
        return None
    given = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    scheme, _, credentials = given.partition(" ")
    try:
        if params.token and scheme.lower() == "bearer":
            good = _same(credentials.strip(), _secret.resolve(params.token))
        elif params.password and scheme.lower() == "basic":
            good = _same(_decoded(credentials), f"{params.username}:{_secret.resolve(params.password)}")
        else:
            good = False
    except Permanent as error:
        return f"the webhook's own secret cannot be read: {error}"
    return None if good else "missing or wrong credentials"


def _same(given: str, wanted: str) -> bool:
    return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _decoded(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def parse(
    body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime
) -> tuple[list[Alert], list[tuple[str, Any]]]:
    """The alerts, and what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the body as a whole."""
    document = _document(body)
    shared = _shared(document)
    good: list[Alert] = []
    bad: list[tuple[str, Any]] = []
    for index, entry in enumerate(document["alerts"]):
        try:
            good.append(_alert(f"alerts[{index}]", entry, shared, params, received_at))
        except _Bad as fault:
            bad.append((str(fault), _fragment(entry)))
    return good, bad


# -- the body as a whole


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput([_unreadable(body, error)]) from None
    if _too_deep(document):
        raise InvalidInput([Problem(f"nested deeper than {MAX_DEPTH}", "too_deep", expected=f"≤ {MAX_DEPTH} levels")])
    if not isinstance(document, dict):
        raise InvalidInput([Problem("the body is not an object", "type", found=_kind(document), expected="object")])
    problems = list(_flaws(document))
    if problems:
        raise InvalidInput(problems)
    return document


def _unreadable(body: bytes, error: orjson.JSONDecodeError) -> Problem:
    """Says NaN and Infinity by name: they are the usual reason why a body that looks right is not JSON (RFC 8259)."""
    near = body[max(0, error.pos - 10) : error.pos + 12].decode("utf-8", "replace")
    word = next((word for word in ("NaN", "Infinity") if word in near), None)
    message = f"{word} is not JSON" if word else f"not JSON: {error.msg}"
    return Problem(message, "json", line=error.lineno, column=error.colno, found=repr(near))


def _flaws(document: Mapping[str, Any]) -> Iterator[Problem]:
    version = document.get("version")
    if version != "4":
        yield Problem("the version must be 4", "version", path="version", found=_short(version), expected='"4"')
    alerts = document.get("alerts")
    if not isinstance(alerts, list):
        found = _kind(alerts) if "alerts" in document else "nothing"
        yield Problem("alerts must be a list", "type", path="alerts", found=found, expected="list")
    elif len(alerts) > MAX_ALERTS:
        yield Problem(
            "too many alerts in one body", "too_many", path="alerts", found=str(len(alerts)), expected=f"≤ {MAX_ALERTS}"
        )


def _too_deep(document: Any) -> bool:
    """Level by level, only through what has levels below it."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _shared(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the body says about all its alerts. Each alert keeps a copy, so a big one is cut."""
    kept: dict[str, Any] = {}
    for key in _KEPT:
        if not document.get(key):
            continue
        text = orjson.dumps(document[key])
        if len(text) > MAX_VALUE or b"\\u0000" in text:
            kept[key] = text[:_FRAGMENT].decode("utf-8", "replace") + "…"
        else:
            kept[key] = document[key]
    return kept


# -- one alert


def _alert(path: str, entry: Any, shared: Mapping[str, Any], params: Params, received_at: datetime) -> Alert:
    if not isinstance(entry, dict):
        raise _Bad(f"{path}: {_kind(entry)}, not an object")
    labels = {**params.labels, **_texts(f"{path}.labels", entry.get("labels"), MAX_LABELS)}
    name = labels.get("alertname")
    if not name:
        raise _Bad(f"{path}.labels.alertname: missing")
    status = entry.get("status")
    if status not in ("firing", "resolved"):
        raise _Bad(f"{path}.status: {_short(status)}, not firing or resolved")
    return Alert(
        source="alertmanager",
        name=name,
        status=AlertStatus(status),
        fingerprint=_fingerprint(path, entry.get("fingerprint"), labels),
        tenant=params.tenant,
        environment=labels.get(params.environment_label, ""),
        region=labels.get(params.region_label, ""),
        service=next((labels[key] for key in params.service_labels if labels.get(key)), None),
        severity=severity_of(labels.get(params.severity_label)),
        labels=labels,
        annotations=_texts(f"{path}.annotations", entry.get("annotations") or {}, MAX_LABELS),
        starts_at=_time(f"{path}.startsAt", entry.get("startsAt")),
        ends_at=_time(f"{path}.endsAt", entry.get("endsAt")),
        received_at=received_at,
        url=_url(f"{path}.generatorURL", entry.get("generatorURL")),
        details=dict(shared),
    )


def _texts(path: str, value: Any, most: int) -> dict[str, str]:
    """Names with texts, each within its limit."""
    if not isinstance(value, dict):
        raise _Bad(f"{path}: {_kind(value)}, not an object")
    if len(value) > most:
        raise _Bad(f"{path}: {len(value)} entries, more than {most}")
    for name, text in value.items():
        if not name or len(name) > MAX_NAME:
            raise _Bad(f"{path}: a name of {len(name)} characters, not 1 to {MAX_NAME}")
        if not isinstance(text, str):
            raise _Bad(f"{path}.{name}: {_kind(text)}, not a text")
        if len(text) * 4 > MAX_VALUE and len(text.encode()) > MAX_VALUE:
            raise _Bad(f"{path}.{name}: {len(text.encode())} bytes, more than {MAX_VALUE}")
        if "\0" in text or "\0" in name:
            raise _Bad(f"{path}.{name!r}: has a NUL in it")
    return value


def _fingerprint(path: str, given: Any, labels: Mapping[str, str]) -> str:
    if given is None or given == "":
        return fingerprint_of(labels)
    if not isinstance(given, str) or len(given) > MAX_NAME or not given.isprintable():
        raise _Bad(f"{path}.fingerprint: {_short(given)}, not a short text")
    return given


def _time(path: str, value: Any) -> datetime | None:
    """RFC 3339 with up to nanoseconds, cut to microseconds. Go's zero time means "not known"."""
    if value is None or value == "":
        return None
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise _Bad(f"{path}: {_short(value)}, not a time such as 2026-01-02T03:04:05Z")
    if found[1] == "0001":
        return None
    micros = int((found[7] or "0")[:6].ljust(6, "0"))
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
        offset = timedelta(hours=int(found[10] or 0), minutes=int(found[11] or 0))
        return moment + offset if found[9] == "-" else moment - offset
    except (ValueError, OverflowError):
        raise _Bad(f"{path}: {_short(value)}, no such time") from None


def _url(path: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_URL:
        raise _Bad(f"{path}: not a text of at most {MAX_URL} characters")
    # A link that a person clicks later: anything but http is left out, the alert stays.
    return value if value.startswith(("http://", "https://")) else None


# -- words


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)


def _short(value: Any) -> str:
    text = orjson.dumps(value).decode() if not isinstance(value, float) or math.isfinite(value) else str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _fragment(entry: Any) -> Any:
    """The faulty alert, or the beginning of its text when it is big."""
    text = orjson.dumps(entry)
    return entry if len(text) <= _FRAGMENT else text[:_FRAGMENT].decode("utf-8", "replace") + "…"
