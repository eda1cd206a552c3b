"""The errors of the house, as one tree.

QuellError
├── Transient            a plug-in's failure that may pass: the engine may try again
├── Permanent            a plug-in's failure that will not pass: trying again is useless
├── InvalidInput         something a person or a system handed us is wrong; carries every Problem found
├── NotFound             the thing asked for does not exist
│   └── Pruned           it did, and was erased when its time was over; says when
├── Conflict             somebody else was first; says who and what
├── Refused              a rule forbids it; names the rule, the value and the limit
└── Unavailable          a part we need (the database, say) is away for now

Never does: format for a terminal or a page; faces do that from the fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

ERROR_CLASSES = frozenset(
    {
        "refused",
        "timeout",
        "lost",
        "denied",
        "exhausted",
        "unreachable",
        "invalid",
        "ambiguous",
        "too_large",
        "missing",
        "failed",
        "tls",
        "dns",
        "locked",
        "busy",
        "cancelled",
        "internal",
    }
)
"""Why a check or an action failed, in one word that conditions may read as ``error_class``."""
MAY_HAVE_HAPPENED = frozenset({"timeout", "lost", "internal"})
"""After a failure of one of these, what was asked for may or may not have been carried out: the answer did not come,
or got lost on the way. After any other, whoever failed knows how it ended."""


class QuellError(Exception):
    """Any error that Quell raises on purpose."""


class Transient(QuellError):
    """May pass by itself. ``retry_after`` is in seconds, when the other side named it."""

    def __init__(self, message: str, error_class: str = "failed", *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.retry_after = retry_after


class Permanent(QuellError):
    """Will not pass by itself."""

    def __init__(self, message: str, error_class: str = "failed") -> None:
        super().__init__(message)
        self.error_class = error_class


class NotFound(QuellError):
    """``kind`` and ``name`` say what was looked for; ``nearest`` is the closest existing name, if any."""

    def __init__(self, kind: str, name: str, nearest: str | None = None) -> None:
        hint = f"; did you mean {nearest!r}?" if nearest else ""
        super().__init__(f"no {kind} {name!r}{hint}")
        self.kind, self.name, self.nearest = kind, name, nearest


class Pruned(NotFound):
    """It was there, and was erased when its time was over. ``at``: when."""

    def __init__(self, kind: str, name: str, at: datetime) -> None:
        super().__init__(kind, name)
        self.args = (f"{kind} {name!r} was pruned at {at:%Y-%m-%d %H:%M} UTC; its log is in the audit, erased",)
        self.at = at


class Conflict(QuellError):
    """Somebody or something else was first. ``winner`` says who; ``retry_after``, in seconds, when it will be over."""

    def __init__(self, message: str, *, winner: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.winner, self.retry_after = winner, retry_after


class Refused(QuellError):
    """A rule forbids it."""

    def __init__(self, rule: str, message: str, *, value: object = None, limit: object = None) -> None:
        super().__init__(message)
        self.rule, self.value, self.limit = rule, value, limit


class Unavailable(QuellError):
    """A part we need is away. ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what somebody wrote.

    ``path`` is the place in the document (``remediations[2].action.type``); ``line`` and ``column`` start at 1,
    0 when unknown. ``rule`` is the short name of the check that found it.
    """

    message: str
    rule: str = "invalid"
    file: str = ""
    line: int = 0
    column: int = 0
    path: str = ""
    found: str | None = None
    expected: str | None = None
    nearest: str | None = None
    severity: str = "error"

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part) or "input"
        text = f"{place}: {self.severity}: {self.message} [{self.rule}]"
        if self.path:
            text += f" at {self.path}"
        if self.found is not None:
            text += f"; found {self.found}"
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if self.nearest is not None:
            text += f"; nearest {self.nearest!r}"
        return text


class InvalidInput(QuellError):
    """Carries every problem found, not just the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems) or "invalid input")
