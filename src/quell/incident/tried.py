"""One rule that was held against an alert, and what decided: what ``why`` shows. Never does: judge."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tried:
    """``rule``: what was asked (``service``, ``silence 3f2a``, ``runbook pool``); ``held``: whether it took effect."""

    rule: str
    held: bool
    why: str

    @classmethod
    def of(cls, stored: Any) -> Tried:
        """As it stands in an event; those of older versions are sentences."""
        if isinstance(stored, str):
            return cls("", True, stored)
        return cls(str(stored["rule"]), bool(stored["held"]), str(stored["why"]))

    @property
    def stored(self) -> dict[str, Any]:
        return asdict(self)
