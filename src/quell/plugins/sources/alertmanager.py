"""Alertmanager's webhook, version 4: many alerts of one group in one body.

```yaml
sources: {alertmanager: {token: env:ALERTMANAGER_TOKEN, service_labels: [service, app], labels: {region: eu-west-1}}}
receivers: [{name: quell, webhook_configs: [{url: 'http://quell:8470/webhooks/alertmanager', send_resolved: true}]}]
```

An alert that is wrong is quarantined with the place of its fault, and its siblings go on; a body that is wrong as a
whole is ``InvalidInput``. Format: prometheus.io/docs/alerting/latest/configuration, webhook_config.
Never does: guess a severity that the labels do not say, drop anything in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from quell.plugins.sources import _body, _credentials
from quell.plugins.sources._group import Read, counted, each, group, placed, said
from quell.plugins.sources._labelled import Labelled
from quell.ports import Alert

_KEPT = (
    "receiver", "groupKey", "groupLabels", "externalURL", "truncatedAlerts", "notification_reason", "routeLabels",
)  # fmt: skip


class Params(Labelled):
    """``token`` (bearer) and ``password`` (basic) are secret references; with neither, a token of Quell's own is asked
    for."""

    token: str | None = None
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    return _credentials.token_or_password(headers, params.token, params.username, params.password)


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    return _credentials.shown_by(headers, params.token, params.password)


def count(body: bytes) -> int | None:
    """How many alerts a body brings that ``parse`` would read."""
    return counted(body, "4")


def parse(body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime) -> Read:
    """The alerts, and what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the body as a whole."""
    document = group(body, "4")
    shared = _body.kept(document, _KEPT)

    def alert(path: str, entry: Any) -> Alert:
        read = said(path, entry, params)
        return Alert(source="alertmanager", received_at=received_at, details=dict(shared), **read)

    return each(placed(document["alerts"]), alert)
