"""Each limit of the guardrails by itself, as it is written: typed, unknown keys refused, nothing guessed.

Never does: judge (the guard does), count (the ledger does), know one another.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from quell.runbook.calendar import Period
from quell.runbook.quantities import rate, seconds

Seconds = Annotated[float, BeforeValidator(seconds)]


def _share(value: Any) -> Any:
    """``50%`` or 0.5."""
    if isinstance(value, bool):
        raise ValueError("a part such as 50% or 0.5 is needed")
    if isinstance(value, str) and (found := re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*", value)):
        return float(found[1]) / 100
    return value


Share = Annotated[float, BeforeValidator(_share), Field(gt=0, le=1)]
"""A part of a whole: ``50%`` or 0.5."""


class Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ParameterRule(Rule):
    """What values a parameter may have. ``pattern`` must match the whole text."""

    one_of: tuple[Any, ...] | None = None
    """The values it may have."""
    min: float | None = None
    """The smallest number."""
    max: float | None = None
    """The largest number."""
    pattern: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return pattern

    def broken_by(self, value: Any) -> str | None:
        """What the value breaks, in words."""
        if self.one_of is not None and value not in self.one_of:
            return f"must be one of {', '.join(map(str, self.one_of))}"
        if self.pattern is not None and not re.fullmatch(self.pattern, str(value)):
            return f"must match {self.pattern}"
        if self.min is not None or self.max is not None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                return "must be a number"
            if self.min is not None and value < self.min:
                return f"must be at least {self.min:g}"
            if self.max is not None and value > self.max:
                return f"must be at most {self.max:g}"
        return None


class BlastRadius(Rule):
    """How much may be away at once. What is not said has no limit."""

    targets: Annotated[int, Field(ge=1)] | None = None
    """So many of a service's replicas."""
    share: Share | None = None
    """Such a part of its replicas: ``50%``."""
    regions: Annotated[int, Field(ge=1)] | None = None
    """So many regions, over every incident."""
    tenants: Annotated[int, Field(ge=1)] | None = None
    """So many tenants, over every incident."""
    keep_last: bool = True
    """Of a service with several replicas the last one that is healthy is left alone."""

    def over(self, wider: BlastRadius) -> BlastRadius:
        """With what this one says instead of what the other says."""
        return over(wider, self)


class ActionRule(Rule):
    """The limits of one action type. ``rate``: permits per target, as ``2/10m``."""

    allow: bool = True
    """Whether it may run at all."""
    requires_approval: bool = False
    """Somebody must agree, whatever the runbook says."""
    approvers: tuple[str, ...] = ()
    """Groups, schedules or people of whom alone a yes counts, beside those that the runbook asks for."""
    people: Annotated[int, Field(ge=1, le=10)] | None = None
    """So many must agree, where somebody must."""
    not_requester: bool = False
    """Whoever started it by hand, or gave it back, may not say yes."""
    max_magnitude: float | None = None
    """How much of it at once: replicas added, sessions ended."""
    rate: str | None = None
    max_release_age: Annotated[float, BeforeValidator(seconds)] | None = None
    """A release that was deployed longer ago, or nobody knows when, is not rolled back by itself."""
    blast_radius: BlastRadius | None = None
    """How much of a service at once, instead of what holds for every action."""
    parameters: dict[str, ParameterRule] = Field(default_factory=dict)
    """What values each parameter may have."""

    @field_validator("rate")
    @classmethod
    def _is_rate(cls, value: str | None) -> str | None:
        if value is not None:
            rate(value)
        return value

    @property
    def limit(self) -> tuple[int, float] | None:
        return rate(self.rate) if self.rate else None


DEFAULT_ACTIONS: dict[str, ActionRule] = {
    "restart_service": ActionRule(rate="2/10m"),
    "scale_up": ActionRule(max_magnitude=3),
    "rollback": ActionRule(max_release_age=3600.0),
    "failover_db": ActionRule(requires_approval=True),
}
"""What holds unless the configuration says otherwise for that action."""


class _Applies(Period):
    """For whom a period counts; what is not said counts for all."""

    name: str
    """What people call it; it is what a refusal names."""
    tenants: tuple[str, ...] = ()
    """Only these tenants."""
    environments: tuple[str, ...] = ()
    """Only these environments."""
    services: tuple[str, ...] = ()
    """Only actions on these services."""
    actions: tuple[str, ...] = ()
    """Only these actions."""

    def applies(self, tenant: str, environment: str, service: str | None, action: str) -> bool:
        asked = ((self.tenants, tenant), (self.environments, environment), (self.services, service),
                 (self.actions, action))  # fmt: skip
        return all(not names or name in names for names, name in asked)


class Freeze(_Applies):
    """While it lasts nothing is changed: the end of the year, the weekend of the sale."""

    reason: str = ""
    """Why; a refusal tells it."""
    exempt: tuple[str, ...] = ()
    """Actions that may run all the same."""
    ask: bool = False
    """Somebody may agree, instead of a refusal."""

    def applies(self, tenant: str, environment: str, service: str | None, action: str) -> bool:
        return action not in self.exempt and super().applies(tenant, environment, service, action)


class Hours(_Applies):
    """What it applies to is changed only while it lasts: in business hours, when somebody is there to look."""

    ask: bool = False
    """Outside of it somebody may agree, instead of a refusal."""


class Breaker(Rule):
    """What was repaired again and again is not repaired: after so many remediations of a service somebody is asked."""

    enabled: bool = True
    """False counts nothing."""
    after: Annotated[int, Field(ge=1, le=1000)] = 3
    """So many of them, and the next one asks."""
    within: Seconds = 86_400.0
    """Of how long they are counted."""
    counts: tuple[Literal["done", "failed", "undone"], ...] = ("done", "failed", "undone")
    """Which of them: the third restart that healed it today is one too many as well."""


class Ownership(Rule):
    """Whose runbooks may act on whose services."""

    enforced: bool = True
    """A runbook acts only on services of its owner, and on those that nobody owns."""
    also: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Further services by owner of the runbook, ``*`` for all: ``{platform: ['*']}``."""

    def allows(self, owner: str, service: str, owned_by: str) -> bool:
        more = self.also.get(owner, ())
        return not self.enforced or not owned_by or owner == owned_by or service in more or "*" in more


R = TypeVar("R", bound=Rule)


def over(wider: R, closer: R) -> R:
    """The closer one where it says something, the wider one where it does not."""
    return wider.model_copy(update={name: getattr(closer, name) for name in closer.model_fields_set})
