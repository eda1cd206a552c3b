"""What a database says to a statement: rows, or why not, in the words of the action's errors.

Never does: put a password or a whole address into an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quell.errors import Permanent, Transient

APPLICATION = "quell"
"""What the server's list of sessions calls us."""
CONNECT_WITHIN_S = 10
_PASSING = frozenset({"exhausted", "unreachable", "busy", "locked", "timeout", "lost"})


@dataclass(frozen=True, slots=True)
class Answer:
    """``rows`` are cut at the limit that was asked; ``count`` is what the server counted, -1 when it did not."""

    rows: tuple[dict[str, Any], ...]
    count: int


def failure(name: str, words: str, error_class: str) -> Transient | Permanent:
    text = f"{name}: {words}" if name else words
    return Transient(text, error_class) if error_class in _PASSING else Permanent(text, error_class)


_WORDS = {
    "exhausted": "too many clients: the server has no connection left", "denied": "the login is refused",
    "missing": "the database or the role does not exist", "busy": "the server is starting up or shutting down",
    "dns": "the name of its host cannot be resolved", "timeout": "no answer in time", "tls": "TLS cannot be agreed on",
    "refused": "connection refused", "invalid": "its address cannot be read",
}  # fmt: skip


def not_opened(name: str, error_class: str) -> Transient | Permanent:
    """In fixed words: those of a library or server may repeat parts of an address, and a password is one of them."""
    return failure(name, _WORDS.get(error_class, "cannot connect"), error_class)


def while_running(failure: Transient | Permanent) -> Transient | Permanent:
    """A connection that breaks under a statement leaves open whether it was carried out."""
    if failure.error_class != "unreachable":
        return failure
    return Transient(f"the connection broke; the statement may have been carried out: {failure}", "lost")
