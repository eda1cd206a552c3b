"""The maintenance windows of a configuration as people ask for them: what is on, until when, what comes next. Pure.

Never does: hold alerts (``suppress`` does), read a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from quell.intake.rules import Maintenance


@dataclass(frozen=True, slots=True)
class Planned:
    """``until``: when it ends, while it is on; ``next``: when it begins next. UTC; None: not on, never again."""

    name: str
    what: str
    until: datetime | None
    next: datetime | None

    @property
    def on(self) -> bool:
        return self.until is not None

    @property
    def held_as(self) -> str:
        """What an alert that it holds names as what holds it."""
        return f"maintenance {self.name}"


def planned(windows: Iterable[Maintenance], now: datetime) -> list[Planned]:
    """Those that are on first, the one that ends last leading; then by when they begin; what is over comes last."""
    found = [
        Planned(
            one.name, "{" + ", ".join(str(matcher) for matcher in one.matchers) + "}", one.end_of(now), one.next_of(now)
        )
        for one in windows
    ]  # fmt: skip
    return sorted(found, key=_order)


def _order(one: Planned) -> tuple[int, float, str]:
    if one.until is not None:
        return 0, -one.until.timestamp(), one.name
    return (1, one.next.timestamp(), one.name) if one.next is not None else (2, 0.0, one.name)
