"""What this process remembers of incidents: each as its log tells it up to an event, known by the hash of that event.

The hash stands for one history only, so what is remembered is right or it fits nowhere: whoever uses it asks the
database to move on from just that hash. Never does: ask the database.
"""

from __future__ import annotations

from dataclasses import dataclass

from quell.incident.incident import Incident

KEPT = 256


@dataclass(frozen=True, slots=True)
class Fold:
    """An incident after the event number ``seq``, whose hash is ``hash``."""

    seq: int
    hash: str
    incident: Incident
    keys: frozenset[str] | None = None
    """Every idempotency key up to there; None when the beginning was not seen here."""

    def lacks(self, keys: frozenset[str]) -> bool:
        """Whether none of these keys is there, as far as the fold goes; False where nobody here can tell."""
        return self.keys is not None and not self.keys & keys


_folds: dict[str, Fold] = {}


def of(incident: str) -> Fold | None:
    return _folds.get(incident)


def keep(fold: Fold) -> None:
    if len(_folds) >= KEPT:
        _folds.clear()  # rarely, and safe beside other threads
    _folds[fold.incident.id] = fold


def forget(incident: str) -> None:
    """Its log is not what it tells any more."""
    _folds.pop(incident, None)
