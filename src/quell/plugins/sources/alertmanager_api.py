"""Alertmanager's API, answered here: Prometheus posts its alerts to ``/api/v2/alerts``, with nothing in between.

```yaml
sources: {prometheus: {type: alertmanager_api, token: env:PROMETHEUS_TOKEN, service_labels: [service, app]}}
alerting: {alertmanagers: [{static_configs: [{targets: ['quell:8470']}], authorization: {credentials_file: token}}]}
```

Without such a source alerts are taken in as those of ``alertmanager_api``, with what stands below as it is. An alert
fires until its ``endsAt`` and resolves then unless it is said again, as Prometheus does; one whose ``endsAt`` has
passed has resolved; one that does not say fires for ``resolve_timeout``. Its fingerprint is the one that Prometheus and
Alertmanager give these labels. Format: github.com/prometheus/alertmanager, api/v2/openapi.yaml.
Never does: guess a name or a severity that the labels do not say, drop anything in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from quell.errors import InvalidInput, Problem
from quell.plugins.sources import _body, _credentials
from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._fields import Bad, texts, time
from quell.plugins.sources._group import Read, each, placed, said, too_many
from quell.plugins.sources._labelled import Labelled
from quell.ports import Alert

_FNV_OFFSET, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF
_LONGEST_S = 30 * 86_400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d{1,9})(ms|s|m|h|d)")


def _seconds(given: Any) -> Any:
    """As Prometheus writes them: ``5m``, ``1h30m``. Bare numbers are seconds."""
    if not isinstance(given, str) or not re.fullmatch(rf"(?:{_PART.pattern})+", given[:64]):
        return given
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(given[:64]))


class Params(Labelled):
    """``token`` (bearer) and ``password`` (basic) are secret references; with neither, a token of Quell's own is asked
    for."""

    token: str | None = None
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None
    resolve_timeout: Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=_LONGEST_S)] = 300.0
    """How long an alert fires that does not say until when, unless it is said again: ``5m``, or seconds."""


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    return _credentials.token_or_password(headers, params.token, params.username, params.password)


def parse(body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime) -> Read:
    """The alerts, and what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the body as a whole."""
    read = _body.json_of(body)
    if not isinstance(read, list):
        raise InvalidInput([Problem("the body is not a list of alerts", "type", found=kind_of(read), expected="list")])
    if problems := list(too_many("alerts", read)):
        raise InvalidInput(problems)
    return each(placed(read), partial(_alert, params=params, received_at=received_at))


def _alert(path: str, entry: Any, *, params: Params, received_at: datetime) -> Alert:
    if not isinstance(entry, dict):
        raise Bad(f"{path}: {kind_of(entry)}, not an object")
    labels = {name: value for name, value in texts(f"{path}.labels", entry.get("labels")).items() if value}
    starts, ends = (time(f"{path}.{name}", entry.get(name)) for name in ("startsAt", "endsAt"))
    if starts is not None and ends is not None and ends < starts:
        raise Bad(f"{path}.endsAt: {short(entry['endsAt'])}, before startsAt")
    until = ends or received_at + timedelta(seconds=params.resolve_timeout)
    status = "firing" if until > received_at else "resolved"
    told = said(path, {**entry, "labels": labels, "status": status, "fingerprint": fingerprint(labels)}, params)
    told |= {"starts_at": starts or min(until, received_at), "ends_at": until}
    return Alert(source="alertmanager_api", received_at=received_at, **told)


def fingerprint(labels: Mapping[str, str]) -> str:
    """FNV-1a over the sorted labels, each name and each value ended by a byte that UTF-8 does not have
    (github.com/prometheus/common, model/signature.go)."""
    found = _FNV_OFFSET
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            found = ((found ^ byte) * _FNV_PRIME) & _64_BITS
    return f"{found:016x}"
