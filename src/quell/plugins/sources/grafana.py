"""Grafana Alerting's webhook (version 1 of its body): many alerts of one group in one body.

```yaml
sources:
  grafana: {secret: env:GRAFANA_HMAC, timestamp_header: X-Grafana-Alerting-Timestamp, service_labels: [service, app]}
```

In Grafana: a contact point of the integration Webhook, its URL ``https://quell.example/webhooks/grafana``, under "HMAC
Signature" the secret and, for ``timestamp_header``, the same name. A payload template of one's own there is for the
source [generic](#generic).

Grafana tells of a rule that finds no data or cannot be evaluated in an alert ``DatasourceNoData`` or
``DatasourceError``, with the rule's name in the label ``rulename``. It stays that alert and never becomes the rule's
own, since nobody knows what the rule would have said; a runbook that is for it has a trigger with that name, and
``labels: {rulename: …}`` where it is for one rule.

An alert that is wrong is quarantined with the place of its fault, and its siblings go on; a body that is wrong as a
whole is ``InvalidInput``. Of a group that Grafana truncated ("Max Alerts"), each alert keeps how many did not come.
Format: grafana.com/docs/grafana/latest/alerting, "Configure webhook notifications".
Never does: guess a severity that the labels do not say, take "Resolved" for an alert that did not come.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from quell.plugins.sources import _body, _credentials
from quell.plugins.sources._group import Read, counted, each, group, placed, said
from quell.plugins.sources._labelled import Labelled
from quell.plugins.sources._signed import HeaderName, too_old, unsigned
from quell.ports import Alert, at_fault

SIGNATURE = "X-Grafana-Alerting-Signature"
_SHARED = ("receiver", "groupKey", "groupLabels", "externalURL", "truncatedAlerts", "orgId")
_OWN = ("values", "valueString", "silenceURL", "dashboardURL", "panelURL", "imageURL", "orgId")
_NOT_THE_RULE = {"DatasourceNoData": "found no data", "DatasourceError": "cannot be evaluated"}
_DURATION = re.compile(r"([0-9]{1,6})(s|m|h)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: object) -> object:
    """``5m`` → 300.0; a number is seconds already. Raises ValueError."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value.strip())
    if not found:
        raise ValueError(f"not a duration: {value[:64]!r}; write one as 90s or 5m")
    return int(found[1]) * _SECONDS[found[2]]


class Params(Labelled):
    """``secret`` (HMAC), ``token`` (bearer) and ``password`` (basic) are secret references; without any, a token of
    Quell's own is asked for. With a secret and one of the others, both must be right."""

    secret: str | None = None
    signature_header: HeaderName = SIGNATURE
    """The header of the signature, as the contact point names it."""
    timestamp_header: HeaderName = ""
    """The contact point's timestamp header. With it, what is signed is the moment and the body, and an old moment is
    refused; without it, whoever recorded a body can post it again."""
    max_age: Annotated[float, BeforeValidator(seconds), Field(ge=1, le=86_400)] = 300.0
    """How far that moment may be from now."""
    token: str | None = None
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None

    @model_validator(mode="after")
    def _a_moment_is_signed(self) -> Self:
        if self.timestamp_header and not self.secret:
            raise at_fault(("timestamp_header",), "it is a part of the signature, and there is no secret")
        if not self.signature_header:
            raise at_fault(("signature_header",), "must not be empty")
        return self


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    return refused(headers, body, params, time.time())


def refused(headers: Mapping[str, str], body: bytes, params: Params, now: float) -> str | None:
    """As ``verify``, at a moment (seconds since 1970)."""
    if params.secret:
        signed, moment = body, ""
        if params.timestamp_header:
            moment = _credentials.header(headers, params.timestamp_header.lower()).strip()
            signed = moment.encode("utf-8", "replace") + b":" + body
        if why := unsigned(headers, signed, params.secret, params.signature_header):
            return why
        if params.timestamp_header and (why := too_old(moment, params.max_age, now)):
            return why
    return _credentials.token_or_password(headers, params.token, params.username, params.password)


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    shown = _credentials.shown_by(headers, params.token, params.password)
    of = "moment and body" if params.timestamp_header else "body"
    signed = f"signature of its {of} in {params.signature_header} verified" if params.secret else ""
    return " and ".join(part for part in (signed, shown) if part)


def count(body: bytes) -> int | None:
    """How many alerts a body brings that ``parse`` would read."""
    return counted(body, "1")


def parse(body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime) -> Read:
    """The alerts, and what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the body as a whole."""
    document = group(body, "1")
    shared = _body.kept(document, _SHARED)

    def alert(path: str, entry: Any) -> Alert:
        read = said(path, entry, params)
        read["annotations"] = _annotations(read["labels"], read["annotations"])
        details = {**shared, **_body.kept(entry, _OWN)}
        return Alert(source="grafana", received_at=received_at, details=details, **read)

    return each(placed(document["alerts"]), alert)


def _annotations(labels: Mapping[str, str], given: dict[str, str]) -> dict[str, str]:
    """The annotations of an alert about a rule are the rule's own, and would say what nobody knows."""
    why, rule = _NOT_THE_RULE.get(labels["alertname"]), labels.get("rulename")
    if not why or not rule:
        return given
    said_by_the_rule = given.get("summary") or given.get("description")
    summary = f"the rule {rule!r} {why}" + (f"; what it is about: {said_by_the_rule}" if said_by_the_rule else "")
    return {**given, "summary": summary}
