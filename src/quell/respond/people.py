"""What people do to an incident: answer, take over, give back, acknowledge, hand over, resolve and close by hand.

Each works inside an open ``Change`` and in somebody's name: without one it raises ``InvalidInput``. Of two who do the
same at once, one gets it and the other learns who.
Never does: ask anybody, commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from quell.errors import Conflict, InvalidInput, NotFound, Problem
from quell.incident.access import same_person
from quell.incident.event import Event, EventKind
from quell.incident.incident import ENDED, Incident, Status
from quell.incident.obligation import Obligation
from quell.respond import approve, oblige
from quell.respond.begin import next_run
from quell.respond.change import Change
from quell.respond.means import Context
from quell.store import queries, reported
from quell.store.events import when

LONGEST_OVERRIDE_S = 4 * 3600.0
MOST_LINES, LINE_CHARS = 20, 300
"""Of each kind, in what is handed over."""


def answer(
    change: Change, approval: str, said: str, by: str, reason: str, names: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """``approval`` is its id, its hash, or the incident when only one waits. Whether their yes counts, ``approvers``
    have said before; ``names``: by which others that same person is known.

    Raises ``NotFound``, ``InvalidInput``, and ``Conflict`` with the winner.
    """
    named(by)
    row, state = approve.settle(change.connection, waiting(change.connection, approval), said, by, reason, names)
    change.answered(row, state, by, reason)
    return {"approval": row["id"], "incident": row["incident"], "answer": state, "by": by}


def named(by: str) -> None:
    """Whoever answers for it must be known: "web" or "api" in the log would tell nobody whom to ask."""
    if not by.strip():
        raise InvalidInput([Problem("say who you are: the log keeps who did it", "no-name", expected="a name as by")])


def waiting(connection: sa.Connection, name: str) -> str:
    """The approval's id. Raises ``NotFound``, and ``Conflict`` when several wait for an incident."""
    try:
        return str(queries.approval(connection, name)["id"])
    except NotFound:
        found = queries.waiting_approvals(connection, queries.incident(connection, name).id)
    if len(found) == 1:
        return str(found[0]["id"])
    if found:
        names = ", ".join(one["id"] for one in found)
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
    accepts = known.handed_to is not None and same_person(by, known.handed_to)
    if known.assignee and not accepts and not same_person(by, known.assignee):
        raise Conflict(f"already taken by {known.assignee}", winner=known.assignee)
    if accepts and known.assignee and not reason:
        reason = f"handed over by {known.assignee}"
    change.tell(known.id, EventKind.TAKEN, {"by": by, "reason": reason}, by)
    change.withdraw(known.id, f"{by} took over")
    change.seen_by(known, by)
    return known.id


def give_back(change: Change, incident: str, by: str, reason: str) -> str:
    """Back to Quell: it is looked at again, by a run of its own."""
    named(by)
    known = _open(change, incident)
    if not known.run:
        raise Conflict("no runbook is for it, so nobody would have it: hand it over, or resolve it")
    change.tell(known.id, EventKind.RETURNED, {"by": by, "reason": reason}, by)
    known = change.incident(known.id)  # as it is now that nobody else writes to it
    if known.outcome is not None:
        change.told += _again(change, known, f"given back by {by}")
    return known.id


def acknowledge(change: Change, incident: str, by: str) -> str:
    """Somebody is on it: the secondary is not paged."""
    named(by)
    known = change.incident(incident)
    change.tell(known.id, EventKind.ACKNOWLEDGED, {"by": by}, by)
    change.seen_by(known, by)
    return known.id


def hand_over(change: Change, incident: str, by: str, to: str, note: str) -> str:
    """At a shift's end: with what was tried, what is pending and what is left in place. ``to`` accepts it by taking it
    or, of an incident that nobody has taken, by acknowledging it; until then it stays with ``by``.

    Raises ``Conflict`` with whoever has it.
    """
    named(by)
    if not to.strip():
        raise InvalidInput([Problem("say to whom", "no-name", path="to", expected="a name")])
    known = _open(change, incident)
    has = known.assignee or known.acknowledged_by
    if has is None:
        raise Conflict("nobody has it: take or acknowledge it first")
    if not same_person(has, by):
        raise Conflict(f"{has} has it, who alone can hand it over", winner=has)
    if same_person(to, by):
        raise Conflict(f"{by} has it already", winner=by)
    owed = queries.open_obligations(change.connection, incident=known.id)
    payload = {"by": by, "to": to, "note": note, **handed(known, owed)}
    change.tell(known.id, EventKind.HANDED_OVER, payload, by)
    known = change.incident(known.id)
    change.message(known, f"{by} hands this incident over to {to}" + (f": {note}" if note else ""), whom=to)
    return known.id


def handed(incident: Incident, owed: Sequence[Obligation]) -> dict[str, list[str]]:
    """What whoever takes over must know. ``owed``: obligations that are open."""
    tried = [
        f"{deed.call or deed.action}: {deed.result or 'running'} {deed.summary}" for deed in incident.deeds.values()
    ]
    tried += [f"{one['action']} not run: {one['reason']}" for one in incident.refusals]
    tried += [f"{one.name or one.step}, by {one.by}: {one.result} {one.note}" for one in incident.steps]
    pending = [f"{one.call} (approve {one.approval})" for one in incident.waiting]
    told = {"tried": tried, "pending": pending, "left": [one.says for one in owed]}
    return {name: [line.strip()[:LINE_CHARS] for line in lines[-MOST_LINES:]] for name, lines in told.items()}


def step(change: Change, incident: str, by: str, what: str, result: str, note: str) -> str:
    """What a person did by hand: a step of the runbook by its id, or whatever they call it; ``done`` or ``failed``."""
    named(by)
    problems = []
    if result not in ("done", "failed"):
        problems.append(Problem(f"{result!r} is no result", "result", path="result", expected="done or failed"))
    if not what.strip():
        problems.append(
            Problem("say what was done", "no-name", path="step", expected="a step of the runbook, or words")
        )
    if problems:
        raise InvalidInput(problems)
    known = change.incident(incident)
    if known.status is Status.CLOSED:
        raise Conflict(f"already closed: {known.reason}")
    plan = queries.plan(change.connection, known.plan) if known.plan else None
    node = plan.by_id.get(what) if plan else None
    payload = {"step": what, "result": result, "by": by, "note": note, "name": node.name if node else ""}
    change.tell(known.id, EventKind.STEP_RECORDED, payload, by)
    change.seen_by(known, by)
    return known.id


def break_glass(change: Change, incident: str, by: str, reason: str, for_s: float) -> str:
    """Until the time is over no pause, freeze or window of hours holds this incident's actions up; every other limit
    still does. Recorded, and told to whoever is paged. A run that gave up is started anew.
    """
    named(by)
    problems = []
    if not reason.strip():
        problems.append(Problem("say why: whoever is paged is told", "no-reason", path="reason", expected="a sentence"))
    if not 0 < for_s <= LONGEST_OVERRIDE_S:
        problems.append(
            Problem(
                "it ends by itself", "duration", path="for", found=f"{for_s:g} s", expected="more than 0, at most 4h"
            )
        )
    if problems:
        raise InvalidInput(problems)
    known = _open(change, incident)
    until = when(change.means.database.now_us(change.connection) + int(for_s * 1_000_000))
    change.tell(known.id, EventKind.OVERRIDDEN, {"by": by, "reason": reason, "until": until.isoformat()}, by)
    known = change.incident(known.id)  # as it is now that nobody else writes to it
    change.message(known, f"Break-glass by {by} until {until:%H:%M} UTC: {reason}", kind="page")
    if known.outcome is not None and known.assignee is None:
        change.told += _again(change, known, f"{by} broke the glass: {reason}")
    return known.id


def _again(change: Change, known: Incident, why: str) -> list[Event]:
    alert = reported.alert_of(change.connection, known.firing[0]) if known.firing else None
    return next_run(change.means, change.connection, known, alert, why)


def close(change: Change, incident: str, by: str, reason: str) -> str:
    """For good. Raises ``Conflict`` while it is not resolved, or something is still kept for now."""
    named(by)
    known = change.incident(incident)
    if known.status is Status.CLOSED:
        raise Conflict(f"already closed: {known.reason}")
    if known.status is not Status.RESOLVED:
        raise Conflict(f"it is {known.status.value.replace('_', ' ')}; resolve it first")
    if (known.run and known.outcome is None) or any(deed.result in (None, "unknown") for deed in known.deeds.values()):
        raise Conflict("what was begun for it has not ended yet, or nobody knows how; look again")
    if owed := queries.open_obligations(change.connection, incident=known.id):
        left = ". ".join(one.says for one in owed)
        raise Conflict(f"still kept for now: {left}. Take it back or keep it for good first: quell obligations")
    change.tell(known.id, EventKind.CLOSED, {"reason": reason or f"closed by {by}", "by": by}, by)
    return known.id


def settle_obligation(change: Change, obligation: str, how: str, by: str, tenant: str | None = None) -> str:
    """What was kept for now is ``kept`` for good, or was ``reverted`` by hand. Returns the incident."""
    named(by)
    if how not in ("kept", "reverted"):
        raise InvalidInput([Problem(f"{how!r} ends nothing", "how", path="how", expected="kept or reverted")])
    row = next(iter(queries.open_obligations(change.connection, key=obligation, tenant=tenant)), None)
    if row is None:
        raise NotFound("open obligation", obligation)
    known = change.incident(row.incident)
    context = Context(incident=known.id, tenant=known.tenant)
    change.told += oblige.ended(change.means, change.connection, context, obligation, how, by)
    for asked in queries.waiting_approvals(change.connection, known.id):
        if orjson.loads(asked["request"])["node"].startswith(f"{obligation}/due"):
            settled, state = approve.settle(change.connection, asked["id"], "withdrawn", by, f"{how} by {by}")
            change.answered(settled, state, by, f"{how} by {by}")
    return known.id


def resolve(change: Change, incident: str, by: str, reason: str) -> str:
    """By hand: nothing more is done by itself. Raises ``Conflict`` when it has ended already."""
    named(by)
    known = _open(change, incident)
    change.tell(known.id, EventKind.RESOLVED, {"reason": reason or f"resolved by {by}", "by": by}, by)
    change.withdraw(known.id, f"{by} resolved the incident")
    change.seen_by(known, by)
    return known.id
