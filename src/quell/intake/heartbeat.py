"""Dead man's switches: what a site expects to hear of a source, whether that is late, and the alert of it.

Pure. Never does: look at a clock, remember what came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator, Field, field_validator

from quell.incident.alert import Alert, AlertStatus, Severity, fingerprint_of
from quell.intake.matching import decide, spoken
from quell.intake.rules import Asked, Seconds, Section
from quell.runbook import quantities

NAME = "HeartbeatMissing"
"""How the alert of a source that has gone silent is called, unless its site says otherwise."""
LABEL = "heartbeat"
"""The label of that alert that names the source."""
LONGEST_S = 366 * 86_400
PATIENCE_S = 900.0
"""At most so long after a start a source that seems late is given to be heard again."""
_EVERY = "every "


def _plain(given: Any) -> Any:
    """``every 5m`` is short for ``{every: 5m}``."""
    if given is None or isinstance(given, Mapping | Expect):
        return given
    if not isinstance(given, str) or not given.strip().lower().startswith(_EVERY):
        raise ValueError("how often it is heard is expected here: every 5m, or {every: 5m, grace: 1m}")
    return {"every": given.strip()[len(_EVERY) :].strip()}


class Expect(Section):
    """How often a source is heard at least. Short: ``expect: every 5m``."""

    every: Annotated[Seconds, Field(gt=0, le=LONGEST_S)]
    """When nothing came for so long, it is late."""
    grace: Annotated[Seconds, Field(ge=0, le=LONGEST_S)] = 0.0
    """So much later it becomes an alert: what a job may take longer than usual."""
    alerts: Asked = ()
    """Only these count, while they fire: ``[alertname=Watchdog]``. They open no incident themselves. Left out, whatever
    comes from the source counts."""
    name: Annotated[str, Field(min_length=1, max_length=200)] = NAME
    """How the alert is called, for ``alert_name`` in a runbook."""
    severity: Severity = Severity.P2
    """How bad it is when it is not heard."""
    service: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The service that the alert is about, by a name of the catalogue."""
    labels: dict[Annotated[str, Field(min_length=1)], str] = Field(default_factory=dict)
    """Labels of the alert, before those that every alert of the source has."""

    @field_validator("labels")
    @classmethod
    def _ours(cls, value: dict[str, str]) -> dict[str, str]:
        if LABEL in value:
            raise ValueError(f"{LABEL} names the source already")
        return value

    @property
    def spoken(self) -> str:
        grace = f", {quantities.spoken(self.grace)} grace" if self.grace else ""
        return f"every {quantities.spoken(self.every)}{grace}"

    @property
    def digest(self) -> str:
        """Two that are the same expect the same. What is expected anew begins anew."""
        what = {"every": self.every, "grace": self.grace, "alerts": [str(one) for one in self.alerts]}
        return orjson.dumps(what, option=orjson.OPT_SORT_KEYS).decode()


Expected = Annotated[Expect | None, BeforeValidator(_plain)]


class State(StrEnum):
    OK = "ok"
    DUE = "due"
    """It is late, and within its grace."""
    LATE = "late"
    NEVER = "never heard"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of a source. ``since``: when it began to be expected; ``heard_at``: its last sign of life;
    ``fires``: it is late, and that is an alert."""

    since: datetime
    heard_at: datetime | None = None
    fires: bool = False

    @property
    def counted_from(self) -> datetime:
        return max(self.since, self.heard_at or self.since)


@dataclass(frozen=True, slots=True)
class Judged:
    """``late_at``: when it is late unless it is heard before; look again then."""

    state: State
    late_at: datetime


def judge(expect: Expect, seen: Seen, now: datetime, listening: datetime | None = None, slack_s: float = 0.0) -> Judged:
    """``listening``: since when whoever asks could have heard it: what was sent before that nobody could hear, so after
    a start one ``every`` is waited for, ``PATIENCE_S`` at most. ``slack_s``: how late others write down what they
    heard."""
    due_at = seen.counted_from + timedelta(seconds=expect.every)
    counts_at = due_at
    if listening is not None:
        counts_at = max(due_at, listening + timedelta(seconds=min(expect.every, PATIENCE_S)))
    late_at = counts_at + timedelta(seconds=expect.grace + slack_s)
    if seen.fires or now >= late_at:
        return Judged(State.LATE, late_at)
    if seen.heard_at is None:
        return Judged(State.NEVER, late_at)
    return Judged(State.DUE if now >= due_at else State.OK, late_at)


def shown(expect: Expect | None, seen: Seen | None, now: datetime) -> State | None:
    """As people see it: ``late`` from when it is an alert. None: nothing is expected."""
    if expect is None or seen is None:
        return None if expect is None else State.NEVER
    state = judge(expect, seen, now).state
    return State.DUE if state is State.LATE and not seen.fires else state


def counts(expect: Expect | None, alert: Alert) -> bool:
    """Whether an alert is one of those that only say that their source lives: it opens nothing."""
    return expect is not None and bool(expect.alerts) and decide(expect.alerts, spoken(alert))[0]


def apart(expect: Expect | None, alerts: list[Alert]) -> tuple[list[Alert], list[Alert]]:
    """Those that only say that their source lives, and the others."""
    if expect is None or not expect.alerts:
        return [], alerts
    signs = [one for one in alerts if counts(expect, one)]
    return signs, [one for one in alerts if one not in signs] if signs else alerts


def alive(expect: Expect | None, signs: Sequence[Alert]) -> bool:
    """Whether a delivery with these among its alerts is a sign of life. A Watchdog that resolves is none: that is what
    it does when nobody repeats it."""
    if expect is None or not expect.alerts:
        return True
    return any(one.status is not AlertStatus.RESOLVED for one in signs)


@dataclass(frozen=True, slots=True)
class Place:
    """Whose and where a source is. ``labels``: those of every alert of it."""

    source: str
    tenant: str
    environment: str
    region: str
    labels: Mapping[str, str]


def missing(place: Place, expect: Expect, seen: Seen, now: datetime) -> Alert:
    """The alert of a source that has gone silent. The same source always has the same fingerprint."""
    silent = quantities.spoken(round((now - seen.counted_from).total_seconds()))
    ever = "heard" if seen.heard_at is not None else "ever heard"
    return Alert(
        source=place.source, name=expect.name, status=AlertStatus.FIRING,
        fingerprint=fingerprint_of({LABEL: place.source}), tenant=place.tenant, environment=place.environment,
        region=place.region, service=expect.service, severity=expect.severity,
        labels={**place.labels, **expect.labels, LABEL: place.source},
        annotations={"summary": f"nothing {ever} from {place.source} for {silent}; it is expected {expect.spoken}"},
        starts_at=seen.counted_from + timedelta(seconds=expect.every), received_at=now,
    )  # fmt: skip


def again(alert: Alert, place: Place, expect: Expect, seen: Seen, now: datetime) -> Alert:
    """It is silent still: the same alert, as it was when it began to fire."""
    fresh = missing(place, expect, seen, now)
    return alert.model_copy(update={"annotations": fresh.annotations, "received_at": now})


def returned(alert: Alert, now: datetime, why: str) -> Alert:
    """The same alert, resolved."""
    words = {"summary": f"{alert.labels.get(LABEL, alert.source)} {why}"}
    return alert.model_copy(
        update={"status": AlertStatus.RESOLVED, "annotations": words, "ends_at": now, "received_at": now}
    )
