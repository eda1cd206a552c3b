"""What a site says of one source, beside the parameters of its plug-in: labels, severities, what tells its alerts
apart, how often it is heard, and how much it may send; and what that makes of an alert.

Pure. Never does: read a body, count what came.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from quell.incident.alert import Alert, AlertStatus, Severity, fingerprint_of
from quell.intake.heartbeat import Expected
from quell.intake.matching import spoken
from quell.intake.rules import Section
from quell.runbook.quantities import rate

_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+")
_ELSEWHERE = ("severity", "priority")
"""Where a word for the severity stands besides the label that a source names for it: labels, then details."""
OURS_TOO = ("labels", "tenant")
"""Keys of every source that plug-ins have as parameters, and apply themselves."""


def _by_word(given: Any) -> Any:
    """Words are held against one another without case; a number needs no quotes."""
    if not isinstance(given, Mapping):
        return given
    found: dict[str, Any] = {}
    for word, severity in given.items():
        if (key := _word(word)) in found:
            raise ValueError(f"{key!r} stands there twice; case does not matter")
        if not key:
            raise ValueError("an empty word stands for nothing")
        found[key] = severity
    return found


def _word(given: Any) -> str:
    return str(given).strip().casefold()


class Dedup(Section):
    """Which labels make two alerts of a source the same one: either ``by`` or ``leave_out``."""

    by: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """These, besides the alert's name: ``[service, cluster]``. An alert that has none of them keeps the source's own
    fingerprint."""
    leave_out: Annotated[tuple[str, ...], Field(max_length=50)] = ()
    """All but these: ``[pod, value]``."""

    @field_validator("by", "leave_out")
    @classmethod
    def _have_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(name.strip() for name in value):
            raise ValueError("a label has a name")
        return value

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.by) == bool(self.leave_out):
            raise ValueError("either by or leave_out is expected here, with the names of labels")
        return self


class SourceSettings(Section):
    """What a site says of one source. All keys that are not here are parameters of its type."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str | None = None
    """Which [source](sources.md); by default the entry's name. The other keys are its parameters."""
    path: Annotated[str, Field(max_length=200)] | None = None
    """An address of its own, such as ``/pagerduty/webhook``, beside ``/webhooks/NAME``."""
    tenant: Annotated[str, Field(min_length=1)] | None = None
    """Whose its alerts are; by default the site's ``tenant``."""
    labels: dict[str, Any] | None = None
    """Labels of every alert, where it does not say them itself: ``{team: payments}``. Of the type ``generic``, where
    each of them stands."""
    severities: Annotated[dict[str, Severity], BeforeValidator(_by_word)] = Field(default_factory=dict)
    """What its words for a severity mean here: ``{page: P1, ticket: P3}``. Case does not matter; of another word the
    severity is what it always is."""
    expect: Expected = None
    """How often it is heard at least, ``every 5m``; a source that goes silent becomes an alert."""
    dedup: Dedup | None = None
    """Which labels tell its alerts apart; by default the source's own fingerprint does."""
    max_body_bytes: Annotated[int, Field(ge=1024, le=16 * 1_048_576)] | None = None
    """A longer body is refused (413); by default, and at most, ``server.max_body_bytes``."""
    rate: str | None = None
    """How many alerts each process takes from it: ``100/s``, ``1000/m``. More are refused whole (503 with
    ``Retry-After``), and their sender comes again."""
    burst: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many may come at once after a quiet time; by default as many as ``rate`` names. A delivery of more is let in
    after a quiet time, and those after it wait the longer."""

    @field_validator("path")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        if value is not None and not _PATH.fullmatch(value):
            raise ValueError("a path is / and words of letters, digits and . _ -, such as /pagerduty/webhook")
        return value

    @field_validator("rate")
    @classmethod
    def _is_rate(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                _, per_s = rate(value)
            except ValueError as error:
                raise ValueError(str(error).replace("2/10m", "100/s")) from None
            if per_s <= 0:
                raise ValueError(f"{value!r} is not a rate such as 100/s: in no time nothing can be counted")
        return value

    @field_validator("burst")
    @classmethod
    def _of_a_rate(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("rate", "wrong") is None:
            raise ValueError("it is about a rate, and there is none")
        return value

    @property
    def params(self) -> dict[str, Any]:
        """Those of its type."""
        return dict(self.model_extra or {})

    @property
    def limit(self) -> tuple[int, float, int] | None:
        """So many alerts in so many seconds, and so many at once."""
        if self.rate is None:
            return None
        most, per_s = rate(self.rate)
        return most, per_s, self.burst or most

    def params_for(self, names: Collection[str], tenant: str) -> dict[str, Any]:
        """The parameters of its type, which has parameters of these ``names``. ``tenant``: the site's."""
        ours = {"labels": self.labels, "tenant": self.tenant or tenant}
        return {**self.params, **{key: ours[key] for key in OURS_TOO if key in names and ours[key] is not None}}


UNSAID = SourceSettings()
"""Of a source that the site says nothing of."""
KEYS = tuple(SourceSettings.model_fields)


def flaws_of_labels(labels: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(label, what is wrong): for a source whose type does not read ``labels`` itself."""
    for name, value in labels.items():
        if not name:
            yield name, "a label has a name"
        elif not isinstance(value, str):
            quotes = "; write it in quotes" if isinstance(value, int | float) else ""
            yield name, f"a text is expected here{quotes}"


def as_said(
    alert: Alert, said: SourceSettings, *, severity_label: str = "severity", labels: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The fields of an alert that are others by what its site says. ``labels``: those that it lacks so far.

    A word that names its alert alone (an acknowledgement, an end) says no label, and is given none: what is stored
    says what it is about.
    """
    found: dict[str, Any] = {}
    if labels and (alert.labels or alert.status is AlertStatus.FIRING) and not labels.keys() <= alert.labels.keys():
        found["labels"] = {**labels, **alert.labels}
    if said.severities and (severity := severity_by(alert, said.severities, severity_label, found)) != alert.severity:
        found["severity"] = severity
    if said.dedup is not None and alert.labels:
        now = alert.model_copy(update=found) if found else alert
        if (fingerprint := fingerprint_by(now, said.dedup)) != alert.fingerprint:
            found["fingerprint"] = fingerprint
    return found


def severity_by(
    alert: Alert, severities: Mapping[str, Severity], label: str, changed: Mapping[str, Any] | None = None
) -> Severity | None:
    """By the first word of its that means something here; else as it is."""
    labels = (changed or {}).get("labels", alert.labels)
    places = [*dict.fromkeys((label, *_ELSEWHERE))]
    words = [labels.get(place) for place in places] + [alert.details.get(place) for place in _ELSEWHERE]
    words.append(alert.severity.value if alert.severity else None)
    meant = (severities.get(_word(word)) for word in words if isinstance(word, str))
    return next((severity for severity in meant if severity is not None), alert.severity)


def fingerprint_by(alert: Alert, dedup: Dedup) -> str:
    """What tells an alert apart; its own where nothing of what is asked for is there."""
    if dedup.by:
        labels = spoken(alert)
        found = {name: labels[name] for name in dedup.by if labels.get(name)}
        return fingerprint_of({"alertname": alert.name, **found}) if found else alert.fingerprint
    own = {"alertname": alert.name, **({"service": alert.service} if alert.service else {}), **alert.labels}
    left = {name: value for name, value in own.items() if name not in dedup.leave_out}
    return fingerprint_of(left) if left else alert.fingerprint


def as_one(alerts: Sequence[Alert]) -> list[Alert]:
    """Of those in one delivery that are one by now: while one of them fires, that another one resolved is no end."""
    firing = {_place(alert) for alert in alerts if alert.status is AlertStatus.FIRING}
    return [one for one in alerts if one.status is not AlertStatus.RESOLVED or _place(one) not in firing]


def _place(alert: Alert) -> tuple[str, ...]:
    return alert.tenant, alert.environment, alert.region, alert.fingerprint
