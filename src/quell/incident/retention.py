"""What of the past may be erased: an incident that has ended, is quiet, and to which nothing is owed any more.

Pure: the folded incident, the moment before which everything may go, and what is known beside the log. Never does:
erase, or read a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from quell.incident.action import Result
from quell.incident.incident import ENDED, Incident


class Spared(StrEnum):
    """Why an incident is kept."""

    OPEN = "it has not ended"
    YOUNG = "something happened in it since"
    WAITS = "somebody is asked about it"
    OWES = "a change is kept for now"
    UNSETTLED = "nobody knows how an action ended"
    RUNS = "something of it still runs"


@dataclass(frozen=True, slots=True)
class Ties:
    """What holds an incident beside its log: rows about it that are not at their end."""

    asked: bool = False
    owed: bool = False
    unsettled: bool = False
    running: bool = False


def spared(incident: Incident, before: datetime, ties: Ties) -> Spared | None:
    """Why it is kept; None when it may be pruned. ``before``: its end and its newest event must be older."""
    last = incident.updated_at
    if incident.status not in ENDED:
        return Spared.OPEN
    if incident.ended_at is None or incident.ended_at >= before or last is None or last >= before:
        return Spared.YOUNG
    if ties.asked or incident.waiting:
        return Spared.WAITS
    if ties.owed or incident.obligations:
        return Spared.OWES
    if ties.unsettled or any(deed.result in (None, Result.UNKNOWN.value) for deed in incident.deeds.values()):
        return Spared.UNSETTLED
    return Spared.RUNS if ties.running else None
