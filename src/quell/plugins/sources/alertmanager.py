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

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from quell.errors import InvalidInput, Problem
from quell.incident.alert import AlertStatus
from quell.plugins.sources import _body, _credentials
from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._fields import Bad, fingerprint, texts, time, url
from quell.plugins.sources._labelled import Labelled
from quell.ports import Alert

MAX_ALERTS = 2_000
_KEPT = (
    "receiver", "groupKey", "groupLabels", "externalURL", "truncatedAlerts", "notification_reason", "routeLabels",
)  # fmt: skip


class Params(Labelled):
    """``token`` (bearer) and ``password`` (basic) are secret references; with neither, everybody may post."""

    token: str | None = None
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    return _credentials.token_or_password(headers, params.token, params.username, params.password)


def parse(
    body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime
) -> tuple[list[Alert], list[tuple[str, Any]]]:
    """The alerts, and what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the body as a whole."""
    document = _document(body)
    shared = _body.kept(document, _KEPT)
    good: list[Alert] = []
    bad: list[tuple[str, Any]] = []
    for index, entry in enumerate(document["alerts"]):
        try:
            good.append(_alert(f"alerts[{index}]", entry, shared, params, received_at))
        except Bad as fault:
            bad.append((str(fault), _body.fragment(entry)))
    return good, bad


# -- the body as a whole


def _document(body: bytes) -> dict[str, Any]:
    read = _body.document(body)
    if problems := list(_flaws(read)):
        raise InvalidInput(problems)
    return read


def _flaws(document: Mapping[str, Any]) -> Iterator[Problem]:
    version = document.get("version")
    if version != "4":
        yield Problem("the version must be 4", "version", path="version", found=short(version), expected='"4"')
    alerts = document.get("alerts")
    if not isinstance(alerts, list):
        found = kind_of(alerts) if "alerts" in document else "nothing"
        yield Problem("alerts must be a list", "type", path="alerts", found=found, expected="list")
    elif len(alerts) > MAX_ALERTS:
        yield Problem(
            "too many alerts in one body", "too_many", path="alerts", found=str(len(alerts)), expected=f"≤ {MAX_ALERTS}"
        )


# -- one alert


def _alert(path: str, entry: Any, shared: Mapping[str, Any], params: Params, received_at: datetime) -> Alert:
    if not isinstance(entry, dict):
        raise Bad(f"{path}: {kind_of(entry)}, not an object")
    labels = {**params.labels, **texts(f"{path}.labels", entry.get("labels"))}
    name = labels.get("alertname")
    if not name:
        raise Bad(f"{path}.labels.alertname: missing")
    status = entry.get("status")
    if status not in ("firing", "resolved"):
        raise Bad(f"{path}.status: {short(status)}, not firing or resolved")
    return Alert(
        source="alertmanager",
        name=name,
        status=AlertStatus(status),
        fingerprint=fingerprint(f"{path}.fingerprint", entry.get("fingerprint"), labels),
        **params.place(labels),
        labels=labels,
        annotations=texts(f"{path}.annotations", entry.get("annotations") or {}),
        starts_at=time(f"{path}.startsAt", entry.get("startsAt")),
        ends_at=time(f"{path}.endsAt", entry.get("endsAt")),
        received_at=received_at,
        url=url(f"{path}.generatorURL", entry.get("generatorURL")),
        details=dict(shared),
    )
