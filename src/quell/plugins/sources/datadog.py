"""Datadog's webhook: one alert in a body, as JSON or "Encode as form", in the template below.

```yaml
sources: {datadog: {token: env:DATADOG_HOOK, header: X-Quell-Token, service_labels: [service]}}
```

In Datadog: Integrations, Webhooks, New; the URL ``https://quell.example/webhooks/datadog``, the template below as the
payload, the token in a custom header (or ``Authorization: Bearer …``), then ``@webhook-NAME`` in each monitor. An alert
is one from its trigger to its recovery (``$ALERT_CYCLE_KEY``); without that key, one monitor and one scope are one
alert. Tags ``a:b`` become labels, those of the scope go before. Priority, or else the alert's type, gives the severity;
Warn and No Data fire like Triggered. What Datadog left unfilled (``$HOSTNAME`` as it stands) was not sent.

Datadog's default template is read as well, but says little: neither key nor monitor nor tags, so the title in its
fixed form (``[Triggered on {host:a}] Disk full``) must tell the alerts apart, and a title that says neither trigger nor
recovery is quarantined. Format: docs.datadoghq.com/integrations/webhooks.
Never does: take a message that does not say how the alert is for a recovery.

```json
{
  "alert_cycle_key": "$ALERT_CYCLE_KEY", "alert_id": "$ALERT_ID", "alert_transition": "$ALERT_TRANSITION",
  "alert_title": "$ALERT_TITLE", "alert_type": "$ALERT_TYPE", "alert_priority": "$ALERT_PRIORITY",
  "alert_scope": "$ALERT_SCOPE", "alert_status": "$ALERT_STATUS", "alert_metric": "$ALERT_METRIC",
  "alert_query": "$ALERT_QUERY", "event_title": "$EVENT_TITLE", "event_type": "$EVENT_TYPE", "event_id": "$ID",
  "message": "$TEXT_ONLY_MSG", "tags": "$TAGS", "hostname": "$HOSTNAME", "link": "$LINK", "snapshot": "$SNAPSHOT",
  "date": "$DATE", "last_updated": "$LAST_UPDATED", "org": {"id": "$ORG_ID", "name": "$ORG_NAME"}
}
```
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from quell.errors import InvalidInput, Problem
from quell.incident.alert import AlertStatus, Severity, fingerprint_of, severity_of
from quell.plugins.sources import _body, _credentials
from quell.plugins.sources._body import short
from quell.plugins.sources._fields import MAX_NAME, Bad, fingerprint, texts, url
from quell.plugins.sources._group import Read, each
from quell.plugins.sources._scalars import moment, prose, text
from quell.plugins.sources._shared_secret import SharedSecret
from quell.ports import Alert

MAX_FIELDS = 200
_NAMES: Mapping[str, tuple[str, ...]] = {
    "cycle": ("alert_cycle_key",), "monitor": ("alert_id", "monitor_id"), "transition": ("alert_transition",),
    "title": ("event_title", "title", "alert_title"), "type": ("alert_type",),
    "priority": ("alert_priority", "severity"), "scope": ("alert_scope", "scopes"), "link": ("link", "url"),
    "message": ("message", "body", "event_msg"), "tags": ("tags",), "hostname": ("hostname",), "date": ("date",),
    "last_updated": ("last_updated",), "org": ("org", "org_id"),
}  # fmt: skip
"""What is read, and the names under which our template and those in use send it."""
_KEPT = ("alert_query", "alert_status", "alert_metric", "alert_transition", "event_type", "snapshot", "org")
_UNFILLED = re.compile(r"\$[A-Z][A-Z0-9_]*(?:\[[^\]]*\])?")
_HEAD = re.compile(r"\s*(?:\[P[1-5]\]\s*)?\[(?P<how>[A-Za-z][A-Za-z -]{0,30}?)(?: on \{(?P<scope>[^\]]*)\})?\]\s*")
_FIRST = {"triggered", "nodata", "warn"}
_FIRING = {*_FIRST, "retriggered", "renodata", "rewarn", "renotify"}
_RECOVERED = "recovered"
_BY_TYPE = {"error": AlertStatus.FIRING, "warning": AlertStatus.FIRING, "success": AlertStatus.RESOLVED}
_SILENT = ("", "null")
_LAST_PRIORITY = "P5"


class Params(SharedSecret):
    environment_label: str = "env"
    """The tag that names the environment."""


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    return params.refuses(headers)


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    return params.shown_by(headers)


def parse(body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime) -> Read:
    """The alert, or its fault as (reason, fragment). Raises ``InvalidInput`` for what is no JSON and no form."""
    read = _form(body) if _is_form(headers) else _body.document(body)

    def alert(path: str, entry: Any) -> Alert:
        return _alert(entry, _filled(entry), params, received_at)

    return each({"": read}, alert)


# -- the body as a whole


def _is_form(headers: Mapping[str, str]) -> bool:
    return _credentials.header(headers, "content-type").strip().lower().startswith("application/x-www-form-urlencoded")


def _form(body: bytes) -> dict[str, Any]:
    """Each field by its name, or the JSON in the only field ``payload``."""
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        problem = Problem("too many fields in one form", "too_many", expected=f"≤ {MAX_FIELDS}")
        raise InvalidInput([problem]) from None
    if not pairs:
        raise InvalidInput([Problem("the form has no fields", "form", found="nothing", expected="name=value&…")])
    fields = dict(pairs)
    return _body.document(fields["payload"].encode("utf-8", "replace")) if list(fields) == ["payload"] else fields


def _filled(sent: Mapping[str, Any]) -> dict[str, Any]:
    """Without what Datadog left as the template has it, also one level below."""
    whole = {
        name: _filled(value) if name == "org" and isinstance(value, dict) else value for name, value in sent.items()
    }
    return {name: value for name, value in whole.items() if not _is_unfilled(value)}


def _is_unfilled(value: Any) -> bool:
    return value in (None, "", {}) or (isinstance(value, str) and _UNFILLED.fullmatch(value.strip()) is not None)


# -- the alert


def _alert(template: Mapping[str, Any], sent: Mapping[str, Any], params: Params, received_at: datetime) -> Alert:
    name_of = {what: _called(names, sent, template) for what, names in _NAMES.items()}
    given = {
        what: text(name, sent.get(name)) for what, name in name_of.items() if what not in ("message", "tags", "org")
    }
    title, head = given["title"], _head(given["title"])
    name = title[head.end() :] if head else title
    if not name:
        raise Bad(f"{name_of['title']}: {'says only how it is, not what' if head else 'missing'}")
    how = given["transition"] or (head["how"] if head else "")
    status = _status(how, given["type"], name_of)
    scope = given["scope"] or (head["scope"] if head and head["scope"] else "")
    labels = {**params.labels, **_labels(name_of, sent.get(name_of["tags"]), scope, given)}
    at = moment(name_of["last_updated"], given["last_updated"]) or moment(name_of["date"], given["date"])
    place = params.place(labels)
    return Alert(
        source="datadog",
        name=name,
        status=status,
        fingerprint=_fingerprint(name_of, given, scope, name, prose(sent.get(name_of["org"]))),
        **{**place, "severity": _severity(given["priority"], place["severity"], given["type"])},
        labels=labels,
        annotations=_annotations(title, prose(sent.get(name_of["message"]))),
        starts_at=at if _letters(how) in _FIRST else None,
        ends_at=at if status is AlertStatus.RESOLVED else None,
        received_at=received_at,
        url=url(name_of["link"], given["link"]),
        details=_body.kept(sent, _KEPT),
    )


def _called(names: Sequence[str], *bodies: Mapping[str, Any]) -> str:
    """The name that is in use: of what was sent, else of what only the template has."""
    return next((name for body in bodies for name in names if name in body), names[0])


def _head(title: str) -> re.Match[str] | None:
    """What Datadog puts before a title; brackets of somebody's own belong to it."""
    found = _HEAD.match(title)
    return found if found and _letters(found["how"]) in {*_FIRING, _RECOVERED} else None


def _status(how: str, kind: str, name_of: Mapping[str, str]) -> AlertStatus:
    word = _letters(how)
    if word in _FIRING:
        return AlertStatus.FIRING
    if word == _RECOVERED:
        return AlertStatus.RESOLVED
    if (status := _BY_TYPE.get(kind.lower())) is not None and word in _SILENT:
        return status
    found = f"{short(how)}, neither a trigger nor a recovery" if how else "missing, and the title does not say it"
    raise Bad(f"{name_of['transition']}: {found}")


def _letters(how: str) -> str:
    """``Re-No Data`` → ``renodata``."""
    return "".join(letter for letter in how.lower() if letter.isalpha())


def _fingerprint(name_of: Mapping[str, str], given: Mapping[str, str], scope: str, name: str, org: str) -> str:
    if given["cycle"]:
        return fingerprint(name_of["cycle"], given["cycle"], {})
    if given["monitor"]:
        return fingerprint_of({"monitor": given["monitor"], "scope": scope})
    return fingerprint_of({"org": org, "title": name, "scope": scope})


def _severity(priority: str, spoken: Severity | None, kind: str) -> Severity | None:
    """P5 is Datadog's own. The type of a recovery is "success", which says nothing."""
    return Severity.P4 if priority.upper() == _LAST_PRIORITY else severity_of(priority) or spoken or severity_of(kind)


def _labels(name_of: Mapping[str, str], tags: Any, scope: str, given: Mapping[str, str]) -> dict[str, str]:
    listed = [one for one in tags if isinstance(one, str)] if isinstance(tags, list) else prose(tags).split(",")
    found = {**_of_tags(listed), **_of_tags(scope.split(","))}
    for label, what in (("host", "hostname"), ("monitor_id", "monitor")):
        if given[what]:
            found.setdefault(label, given[what])
    return texts(name_of["tags"], found)


def _of_tags(tags: list[str]) -> dict[str, str]:
    """A tag that is there twice has both its values: neither is the one."""
    values: dict[str, list[str]] = {}
    for name, value in _pairs(tags):
        values.setdefault(name, []).append(value)
    return {name: ",".join(dict.fromkeys(some)) for name, some in values.items()}


def _pairs(tags: list[str]) -> Iterator[tuple[str, str]]:
    for tag in tags:
        name, colon, value = tag.strip().partition(":")
        if colon and name and value and len(name) <= MAX_NAME:
            yield name, value


def _annotations(title: str, message: str) -> dict[str, str]:
    return {"summary": title, **({"description": message} if message else {})}
