"""Any JSON, by a mapping that the site writes: where alerts stand in a body, and where each field stands in an alert.

```yaml
sources:
  mine:
    type: generic
    items: alerts
    unless: {state: [test, heartbeat]}
    name: labels.name
    status: {path: state, firing: [open, alert], resolved: [ok, closed]}
    fingerprint: [id]
    service: {path: labels.app, default: ''}
    severity: {path: level, words: {disaster: P1}}
    labels: {team: meta.team, cluster: $.cluster}
    summary: text
    starts_at: since
    secret: env:MINE_HMAC
    signature_header: X-Mine-Signature
    signature_prefix: sha256=
```

It listens at ``/webhooks/mine``. A path leads from the item, or from the body when it begins with ``$``; numbers and
truth values are taken as texts. What a mapping names must be there: an item that lacks it is quarantined with its path,
and its siblings go on; with a ``default`` it need not be. A mapping that is wrong stops the start.

As it is, without configuration, it reads ``{"name": "DiskFull", "status": "firing"}`` or a list of such.
Never does: guess a field that the mapping does not name, take an unknown status for anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self

from pydantic import Field, model_validator

from quell.errors import InvalidInput, Problem
from quell.incident.alert import AlertStatus, fingerprint_of
from quell.plugins.sources import _body, _credentials
from quell.plugins.sources._body import kind_of
from quell.plugins.sources._fields import MAX_NAME, Bad, texts, url
from quell.plugins.sources._group import Read, each, placed, too_many
from quell.plugins.sources._mapped import Conditions, Item, Mapped, MappedSeverity, MappedStatus, Paths
from quell.plugins.sources._paths import NOWHERE, PathText, at, shown
from quell.plugins.sources._scalars import moment, prose, text
from quell.plugins.sources._signed import HeaderName, unsigned
from quell.ports import Alert, at_fault
from quell.ports import Params as Strict


class Params(Strict):
    """``token`` (bearer), ``password`` (basic) and ``secret`` (HMAC-SHA256 of the body, as hexadecimal) are secret
    references; without any, a token of Quell's own is asked for. With a secret and one of the others, both
    must be right."""

    tenant: str = "default"
    """Whose its alerts are; left out, the site's ``tenant``."""
    items: PathText | None = None
    """The path of the list of alerts; without it, the body is the alert, or the list of them."""
    when: Conditions = Field(default_factory=dict)
    """Path → words: an item is an alert only when each path has one of its words; nothing there quarantines it."""
    unless: Conditions = Field(default_factory=dict)
    """Path → words: an item for which one of these holds is no alert."""
    name: Mapped = Mapped(path="name")
    """What runbooks call it in ``alert_name``; by default, what stands at ``name``."""
    status: MappedStatus = MappedStatus()
    """Whether it goes on; by default, ``firing`` or ``resolved`` at ``status``."""
    fingerprint: Paths = ()
    """What tells alerts apart and stays the same until the end of one; without it, name, service and labels do."""
    service: Mapped | None = None
    """The service it is about, by a name of the catalogue."""
    environment: Mapped | None = None
    """Where it is."""
    region: Mapped | None = None
    """In which region."""
    severity: MappedSeverity | None = None
    """How bad it is."""
    labels: dict[str, Mapped] = Field(default_factory=dict)
    """Label → where it stands."""
    labels_from: Paths = ()
    """Paths of objects whose every name is a label; the others go before. One may be missing."""
    summary: Mapped | None = None
    """One line for people."""
    annotations: dict[str, Mapped] = Field(default_factory=dict)
    """More for people, by name."""
    starts_at: Mapped | None = None
    """Since when: RFC 3339, or seconds or milliseconds since 1970."""
    ends_at: Mapped | None = None
    """Until when."""
    url: Mapped | None = None
    """Where people see more."""
    by: Mapped | None = None
    """Who acknowledged it."""
    token: str | None = None
    username: str = ""
    """The user of basic authentication."""
    password: str | None = None
    secret: str | None = None
    signature_header: HeaderName = ""
    """The header of the signature."""
    signature_prefix: str = ""
    """What stands before the signature in that header, such as ``sha256=``."""

    @model_validator(mode="after")
    def _a_secret_signs(self) -> Self:
        if self.secret and not self.signature_header:
            raise at_fault(("signature_header",), "missing: with a secret, it says where the signature comes")
        for name in ("signature_header", "signature_prefix"):
            if getattr(self, name) and not self.secret:
                raise at_fault((name,), "it is about a signature, and there is no secret")
        return self


def verify(headers: Mapping[str, str], body: bytes, params: Params) -> str | None:
    """Why the sender is refused, None when it may post. Compared in constant time; a lost secret lets nobody in."""
    if params.secret and (
        why := unsigned(headers, body, params.secret, params.signature_header, params.signature_prefix)
    ):
        return why
    return _credentials.token_or_password(headers, params.token, params.username, params.password)


def proof(headers: Mapping[str, str], body: bytes, params: Params) -> str:
    """How whoever ``verify`` let in was known."""
    shown = _credentials.shown_by(headers, params.token, params.password)
    signed = f"signature in {params.signature_header} verified" if params.secret else ""
    return " and ".join(part for part in (signed, shown) if part)


def parse(body: bytes, headers: Mapping[str, str], params: Params, received_at: datetime) -> Read:
    """The alerts, and what was quarantined as (reason, fragment). Raises ``InvalidInput`` for the body as a whole."""
    read = _body.json_of(body)
    return each(_items(read, params.items), lambda place, value: _alert(Item(place, value, read), params, received_at))


# -- the body as a whole


def _items(body: Any, path: str | None) -> dict[str, Any]:
    """By their places. An object is one item."""
    found = body if path is None else at(path, body, body)
    place = "" if path is None else shown("", path)
    if isinstance(found, list):
        if problems := list(too_many(place, found)):
            raise InvalidInput(problems)
        return placed(found, place)
    if isinstance(found, dict):
        return {place: found}
    kind = "nothing" if found is NOWHERE else kind_of(found)
    raise InvalidInput([Problem("no alerts are there", "type", path=place, found=kind, expected="list or object")])


# -- one item


def _alert(item: Item, params: Params, received_at: datetime) -> Alert | None:
    if not isinstance(item.value, dict):
        raise Bad(f"{item.place}: {kind_of(item.value)}, not an object")
    if not _is_meant(item, params):
        return None
    name = params.name.of(item)
    if not name:
        raise Bad(f"{_place_of(item, params.name)}: empty, and it is the alert's name")
    status = params.status.of(item)
    labels = texts(f"{item.place}.labels".removeprefix("."), _labels(item, params))
    level = params.severity.of(item) if params.severity else ""
    service, environment, region = (_optional(item, one) for one in (params.service, params.environment, params.region))
    return Alert(
        source="generic",
        name=name,
        status=status,
        fingerprint=_fingerprint(item, params, {"alertname": name, "service": service, **labels}),
        tenant=params.tenant,
        environment=environment,
        region=region,
        service=service or None,
        severity=params.severity.severity(item) if params.severity else None,
        labels=labels,
        annotations=_annotations(item, params),
        starts_at=_moment(item, params.starts_at),
        ends_at=_moment(item, params.ends_at),
        received_at=received_at,
        url=url(_place_of(item, params.url), _optional(item, params.url)) if params.url else None,
        details={
            **_body.kept({"item": item.value}, ("item",)),
            **_by(item, params, status),
            **({"severity": level[:MAX_NAME]} if level else {}),
        },
    )


def _is_meant(item: Item, params: Params) -> bool:
    for path, words in params.when.items():
        meant = item.is_one_of(path, words)
        if meant is None:
            raise Bad(f"{item.shown(path)}: missing, and `when` asks for it")
        if not meant:
            return False
    return not any(item.is_one_of(path, words) for path, words in params.unless.items())


def _labels(item: Item, params: Params) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in reversed(params.labels_from):
        entries = item.at(path)
        if entries is NOWHERE or entries is None:
            continue
        if not isinstance(entries, dict):
            raise Bad(f"{item.shown(path)}: {kind_of(entries)}, not an object")
        found |= {name: text(f"{item.shown(path)}.{name}", value) for name, value in entries.items() if name}
    found |= {label: mapped.of(item) for label, mapped in params.labels.items()}
    return {label: value for label, value in found.items() if value}


def _fingerprint(item: Item, params: Params, otherwise: dict[str, str]) -> str:
    """One short text as it is, so that people find it again where it comes from; else of all that there is."""
    if not params.fingerprint:
        return fingerprint_of(otherwise)
    parts: dict[str, str] = {}
    for path in params.fingerprint:
        if not (part := item.text(path)):
            raise Bad(f"{item.shown(path)}: {'missing' if part is None else 'empty'}, and it tells alerts apart")
        parts[path] = part
    only = next(iter(parts.values()))
    return only if len(parts) == 1 and len(only) <= MAX_NAME and only.isprintable() else fingerprint_of(parts)


def _annotations(item: Item, params: Params) -> dict[str, str]:
    mapped = {**params.annotations, **({"summary": params.summary} if params.summary else {})}
    return {name: said for name, one in mapped.items() if (said := _prose(item, one))}


def _prose(item: Item, mapped: Mapped) -> str:
    found = item.at(mapped.path) if mapped.path is not None else NOWHERE
    return mapped.of(item) if found is NOWHERE or found is None else prose(found)


def _moment(item: Item, mapped: Mapped | None) -> datetime | None:
    return moment(_place_of(item, mapped), mapped.of(item)) if mapped else None


def _optional(item: Item, mapped: Mapped | None) -> str:
    return mapped.of(item) if mapped else ""


def _by(item: Item, params: Params, status: AlertStatus) -> dict[str, str]:
    by = _optional(item, params.by) if status is AlertStatus.ACKNOWLEDGED else ""
    return {"by": by} if by else {}


def _place_of(item: Item, mapped: Mapped) -> str:
    return item.shown(mapped.path) if mapped.path is not None else item.place
