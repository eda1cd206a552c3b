"""A body in Alertmanager's manner: its version and many alerts of one group, which Grafana's is as well.

An alert that is wrong is quarantined with the place of its fault, and its siblings go on; a body that is wrong as a
whole is ``InvalidInput``. Never does: know what one sender says beside the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from quell.errors import InvalidInput, Problem
from quell.incident.alert import AlertStatus
from quell.plugins.sources import _body
from quell.plugins.sources._body import kind_of, short
from quell.plugins.sources._fields import Bad, fingerprint, texts, time, url
from quell.plugins.sources._labelled import Labelled
from quell.ports import Alert

MAX_ALERTS = 2_000
Read = tuple[list[Alert], list[tuple[str, Any]]]
"""The alerts, and what was quarantined as (reason, fragment)."""


def group(body: bytes, version: str) -> dict[str, Any]:
    """The body, once it has this version and a list of alerts. Raises ``InvalidInput``."""
    read = _body.document(body)
    if problems := list(_flaws(read, version)):
        raise InvalidInput(problems)
    return read


def counted(body: bytes, version: str) -> int | None:
    """How many alerts a body brings that ``group`` would read; None of any other."""
    try:
        read = _body.json_of(body)
    except InvalidInput:
        return None
    alerts = read.get("alerts") if isinstance(read, dict) and read.get("version") == version else None
    return len(alerts) if isinstance(alerts, list) and len(alerts) <= MAX_ALERTS else None


def _flaws(document: Mapping[str, Any], wanted: str) -> Iterator[Problem]:
    version = document.get("version")
    if version != wanted:
        yield Problem(
            f"the version must be {wanted}", "version", path="version", found=short(version), expected=f'"{wanted}"'
        )
    alerts = document.get("alerts")
    if isinstance(alerts, list):
        yield from too_many("alerts", alerts)
    else:
        found = kind_of(alerts) if "alerts" in document else "nothing"
        yield Problem("alerts must be a list", "type", path="alerts", found=found, expected="list")


def too_many(path: str, entries: Sequence[Any]) -> Iterator[Problem]:
    if len(entries) > MAX_ALERTS:
        message, found, expected = "too many alerts in one body", str(len(entries)), f"≤ {MAX_ALERTS}"
        yield Problem(message, "too_many", path=path, found=found, expected=expected)


def each(entries: Mapping[str, Any], alert: Callable[[str, Any], Alert | None]) -> Read:
    """``entries``: by their places. ``alert`` reads one, raises ``Bad`` for one that is wrong, and gives None for one
    that is none."""
    good: list[Alert] = []
    bad: list[tuple[str, Any]] = []
    for path, entry in entries.items():
        try:
            if (read := alert(path, entry)) is not None:
                good.append(read)
        except Bad as fault:
            bad.append((str(fault), _body.fragment(entry)))
    return good, bad


def placed(entries: Sequence[Any], path: str = "alerts") -> dict[str, Any]:
    return {f"{path}[{index}]": entry for index, entry in enumerate(entries)}


def said(path: str, entry: Any, params: Labelled) -> dict[str, Any]:
    """What an entry says of its alert, by the alert's fields. Raises ``Bad``."""
    if not isinstance(entry, dict):
        raise Bad(f"{path}: {kind_of(entry)}, not an object")
    labels = {**params.labels, **texts(f"{path}.labels", entry.get("labels"))}
    name = labels.get("alertname")
    if not name:
        raise Bad(f"{path}.labels.alertname: missing")
    status = entry.get("status")
    if status not in ("firing", "resolved"):
        raise Bad(f"{path}.status: {short(status)}, not firing or resolved")
    return {
        "name": name, "status": AlertStatus(status), "labels": labels, **params.place(labels),
        "fingerprint": fingerprint(f"{path}.fingerprint", entry.get("fingerprint"), labels),
        "annotations": texts(f"{path}.annotations", entry.get("annotations") or {}),
        "starts_at": time(f"{path}.startsAt", entry.get("startsAt")),
        "ends_at": time(f"{path}.endsAt", entry.get("endsAt")),
        "url": url(f"{path}.generatorURL", entry.get("generatorURL")),
    }  # fmt: skip
