"""What was looked at, what was found, what is expected, what to do: one row of the report, and the report.

Pure. Never does: draw, choose an exit code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Judgement:
    """``check`` is the short name of the rule, ``looked_at`` what it was held against. ``expected`` and ``advice`` are
    empty where all is well."""

    check: str
    looked_at: str
    level: Level
    found: str
    expected: str = ""
    advice: str = ""


def ok(check: str, looked_at: str, found: str) -> Judgement:
    return Judgement(check, looked_at, Level.OK, found)


def warning(check: str, looked_at: str, found: str, expected: str, advice: str) -> Judgement:
    return Judgement(check, looked_at, Level.WARNING, found, expected, advice)


def error(check: str, looked_at: str, found: str, expected: str, advice: str) -> Judgement:
    return Judgement(check, looked_at, Level.ERROR, found, expected, advice)


@dataclass(frozen=True, slots=True)
class Report:
    """All judgements, in the order of the families. ``seconds``: how long it took to ask."""

    judgements: tuple[Judgement, ...]
    seconds: float = 0.0

    def count(self, level: Level) -> int:
        return sum(one.level is level for one in self.judgements)

    def is_sound(self, *, strict: bool = False) -> bool:
        """No error; ``strict``: no warning either."""
        return not self.count(Level.ERROR) and not (strict and self.count(Level.WARNING))


def listed(names: Iterable[str], most: int = 4) -> str:
    """A few names, and how many more."""
    every = list(names)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
