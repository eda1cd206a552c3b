"""A silence: until it ends, alerts that it matches open nothing and page nobody. They are recorded all the same.

Never does: match, read a clock.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from quell.incident.matcher import Matcher


class SilenceState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


class Silence(BaseModel):
    """Times are UTC; ``ends_at`` is the moment from which it holds nothing any more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    tenant: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    by: str
    comment: str

    def state(self, now: datetime) -> SilenceState:
        if now >= self.ends_at:
            return SilenceState.EXPIRED
        return SilenceState.ACTIVE if now >= self.starts_at else SilenceState.PENDING

    @property
    def what(self) -> str:
        """Its matchers as people write them."""
        return "{" + ", ".join(str(one) for one in self.matchers) + "}"

    @property
    def held_as(self) -> str:
        """What an alert that it holds names as what holds it."""
        return f"silence {self.id}"

    @property
    def says(self) -> str:
        """For a person."""
        return f"silenced until {self.ends_at:%Y-%m-%d %H:%M} UTC by {self.by}: {self.comment}"
