"""What a site says about its alerts: what belongs together, what stays quiet, and when. Typed, all faults at once.

Pure. Never does: judge an alert.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from quell.incident.matcher import Matcher, Matchers
from quell.intake import matching
from quell.runbook.calendar import Period
from quell.runbook.quantities import seconds

Seconds = Annotated[float, BeforeValidator(seconds)]


def _usable(matchers: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
    matching.check(matchers)
    return matchers


Asked = Annotated[Matchers, AfterValidator(_usable)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flapping(Section):
    """An alert that comes and goes is held on to, so that it neither opens nor ends an incident each time."""

    changes: Annotated[int, Field(ge=0, le=10)] = 6
    """So many times it must have changed between firing and resolved; 0: never."""
    within: Annotated[Seconds, Field(gt=0, le=86_400)] = 900.0
    """In how long."""
    quiet: Annotated[Seconds, Field(gt=0, le=86_400)] = 300.0
    """After so long without another change its last word counts."""


class Correlation(Section):
    """Which alerts are one incident."""

    by: Annotated[tuple[str, ...], Field(min_length=1)] = ("service", "runbook")
    """What alerts of one incident have in common: ``service``, ``runbook``, ``alertname``, or the names of labels. An
    alert that lacks one of them is an incident of its own."""
    dependencies: bool = True
    """Whether alerts of services that need one another (``depends_on``) are one incident, when they come close in
    time."""
    window: Annotated[Seconds, Field(gt=0, le=86_400)] = 600.0
    """How close: so long after its last alert an incident still takes those of other services, and an alert whose
    labels have changed is still known again."""
    reopen: Annotated[Seconds, Field(ge=0, le=30 * 86_400)] = 300.0
    """An incident that was resolved no longer ago is opened again when it fires again; 0: a new one is opened."""
    raise_at: Annotated[int, Field(ge=0)] = 3
    """From so many services on, an incident is one step more severe; 0: never."""
    flapping: Flapping = Flapping()
    """When an alert counts as one that comes and goes."""


class Maintenance(Period):
    """A time in which alerts are expected: they are recorded, open nothing and page nobody."""

    name: str
    """How it is called."""
    matchers: Asked
    """Which alerts: ``service="payment"``, ``env=~"stage|dev"``; all must hold."""


class InhibitRule(Section):
    """While an alert fires, others that follow from it stay quiet, as in Alertmanager's ``inhibit_rules``."""

    name: str = ""
    """How it is called; by default what the source matches."""
    source_matchers: Asked
    """The alert that explains the others."""
    target_matchers: Asked
    """The others."""
    equal: tuple[str, ...] = ()
    """Labels that both must have alike."""

    @property
    def called(self) -> str:
        return self.name or "{" + ", ".join(str(one) for one in self.source_matchers) + "}"


class Rules(Section):
    """All of it, as the intake is handed it."""

    correlation: Correlation = Correlation()
    maintenance: tuple[Maintenance, ...] = ()
    inhibit_rules: tuple[InhibitRule, ...] = ()
