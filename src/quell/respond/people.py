"""What people do to an incident: answer, take over, give back, acknowledge, resolve by hand.

Each works inside an open ``Change`` and in somebody's name: without one it raises ``InvalidInput``. Of two who do the
same at once, one gets it and the other learns who.
Never does: ask anybody, commit.
"""

from __future__ import annotations

from typing import Any

from quell.errors import Conflict, InvalidInput, NotFound, Problem
from quell.incident.event import EventKind
from quell.incident.incident import ENDED, Incident
from quell.respond import approve
from quell.respond.begin import next_run
from quell.respond.change import Change
from quell.store import queries


def answer(change: Change, approval: str, said: str, by: str, reason: str) -> dict[str, Any]:
    """``approval`` is its id, its hash, or the incident when only one waits.

    Raises ``NotFound``, ``InvalidInput``, and ``Conflict`` with the winner.
    """
    named(by)
    row, state = approve.settle(change.connection, _one_waiting(change, approval), said, by, reason)
    change.answered(row, state, by, reason)
    return {"approval": row["id"], "incident": row["incident"], "answer": state, "by": by}


def named(by: str) -> None:
    """Whoever answers for it must be known: "web" or "api" in the log would tell nobody whom to ask."""
    if not by.strip():
        raise InvalidInput([Problem("say who you are: the log keeps who did it", "no-name", expected="a name as by")])


def _one_waiting(change: Change, name: str) -> str:
    try:
        return str(queries.approval(change.connection, name)["id"])
    except NotFound:
        waiting = queries.waiting_approvals(change.connection, change.incident(name).id)
    if len(waiting) == 1:
        return str(waiting[0]["id"])
    if waiting:
        names = ", ".join(one["id"] for one in waiting)
        raise Conflict(f"several approvals wait for incident {name}; name one of {names}")
    raise NotFound("waiting approval", name)


def _open(change: Change, incident: str) -> Incident:
    """Raises ``Conflict`` for an incident that has ended: there is nothing left to take or to resolve."""
    known = change.incident(incident)
    if known.status in ENDED:
        raise Conflict(f"already {known.status.value}: {known.reason}")
    return known


def take(change: Change, incident: str, by: str, reason: str) -> str:
    """No new action of this incident starts; approvals that wait are withdrawn. Raises ``Conflict`` with who has it."""
    named(by)
    known = _open(change, incident)
    if known.assignee and known.assignee != by:
        raise Conflict(f"already taken by {known.assignee}", winner=known.assignee)
    change.tell(known.id, EventKind.TAKEN, {"by": by, "reason": reason}, by)
    change.withdraw(known.id, f"{by} took over")
    change.seen_by(known, by)
    return known.id


def give_back(change: Change, incident: str, by: str, reason: str) -> str:
    """Back to Quell: it is looked at again, by a run of its own."""
    named(by)
    known = _open(change, incident)
    change.tell(known.id, EventKind.RETURNED, {"by": by, "reason": reason}, by)
    known = change.incident(known.id)  # as it is now that nobody else writes to it
    if known.outcome is not None:
        alert = queries.alert_of(change.connection, known.firing[0]) if known.firing else None
        change.told += next_run(change.means, change.connection, known, alert, f"given back by {by}")
    return known.id


def acknowledge(change: Change, incident: str, by: str) -> str:
    """Somebody is on it: the secondary is not paged."""
    named(by)
    known = change.incident(incident)
    change.tell(known.id, EventKind.ACKNOWLEDGED, {"by": by}, by)
    change.seen_by(known, by)
    return known.id


def resolve(change: Change, incident: str, by: str, reason: str) -> str:
    """By hand: nothing more is done by itself. Raises ``Conflict`` when it has ended already."""
    named(by)
    known = _open(change, incident)
    change.tell(known.id, EventKind.RESOLVED, {"reason": reason or f"resolved by {by}", "by": by}, by)
    change.withdraw(known.id, f"{by} resolved the incident")
    change.seen_by(known, by)
    return known.id
