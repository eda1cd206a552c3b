"""What a check saw and what it means.

A check gives a ``Reading`` (facts, no judgement); diagnosis turns it into a ``Finding`` by the runbook's conditions.
Never does: judge by itself, read a clock, talk to a system. Unknown is never healthy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

FINDING_SCHEMA = 1


class Health(StrEnum):
    """The five things a finding can say. ``no_data``: nothing there to judge by; ``error``: could not look."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"
    NO_DATA = "no_data"
    ERROR = "error"


WORST_FIRST = (Health.CRITICAL, Health.ERROR, Health.NO_DATA, Health.WARNING, Health.HEALTHY)


def worst(statuses: list[Health]) -> Health:
    """The status of a check with several targets is that of its worst target; of none, ``no_data``."""
    return next((status for status in WORST_FIRST if status in statuses), Health.NO_DATA)


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a fact that was asked for is not there. With an ``error_class`` the finding is an error, else no data.

    ``at_least``: of a number that was counted in part, what is sure all the same. It proves ``>=`` and disproves
    ``<``; whatever it does neither of stays unknown.
    """

    reason: str
    error_class: str | None = None
    at_least: float | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one target (a series, a URL, a replica): ``labels`` say which."""

    target: str
    facts: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, Missing] = field(default_factory=dict)
    summary: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a check saw: facts of the whole and, where the check has targets, of each.

    ``observed_at``: when the evidence is from (a sample's own time, not the time of asking), None when unknown.
    ``evidence``: what a person needs to look again: the exact query, the range, a sample of the answer.
    """

    facts: Mapping[str, Any]
    targets: tuple[Observation, ...] = ()
    missing: Mapping[str, Missing] = field(default_factory=dict)
    summary: str = ""
    observed_at: datetime | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


class _Word(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TargetFinding(_Word):
    """The judgement on one target."""

    target: str
    labels: dict[str, str] = Field(default_factory=dict)
    status: Health
    facts: dict[str, Any] = Field(default_factory=dict)
    message: str = ""
    error_class: str | None = None


class Finding(_Word):
    """The judgement on a check: worst target first, with the evidence. Durations in milliseconds.

    ``at_least``: of the missing facts that were counted in part, how far.
    """

    schema_version: int = FINDING_SCHEMA
    check: str
    name: str = ""
    type: str = ""
    status: Health
    error_class: str | None = None
    message: str = ""
    clause: str = ""
    facts: dict[str, Any] = Field(default_factory=dict)
    missing: dict[str, str] = Field(default_factory=dict)
    at_least: dict[str, float] = Field(default_factory=dict)
    targets: tuple[TargetFinding, ...] = ()
    duration_ms: float = 0.0
    observed_at: datetime | None = None
    looked_at: datetime | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)
