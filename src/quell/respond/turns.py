"""Whose turn it is among runs that a limit counts: who begins at once, who waits, for whom a person is paged instead.

A run that waits is a row; no workflow is there for it yet. Its turn comes in the transaction that starts it. Whoever
changes a turn holds its incident. Never does: say what the limits are, cut off what runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

import sqlalchemy as sa
import structlog

from quell.errors import Unavailable
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.incident import ENDED, Incident
from quell.respond import escalate, interpreter
from quell.respond.change import Change, Commit
from quell.respond.concurrency import Share, State, Turn, asked_of, moves, overdue, why_queued
from quell.respond.means import Context, Means
from quell.runbook.plan import Escalation, Plan
from quell.runbook.quantities import spoken
from quell.store import events, queries, turns
from quell.store.schema import runs

_log = structlog.get_logger("quell")
_PRIORITY, _LAST = {"P1": 1, "P2": 2, "P3": 3}, 4
"""Which incident goes first where there is no place for all."""


def start(means: Means, connection: sa.Connection, context: Context, plan: Plan, why: str) -> list[NewEvent]:
    """Begin a run, or have it wait for its turn; with what that tells of its incident, which the caller appends. The
    run's row is there."""
    asked = None if context.rehearsed else asked_of(plan, _share(means, context.tenant))
    if asked is None:
        return [_begin(means, connection, context, plan, why)]
    context = context.model_copy(update={"limited": True})
    turns.in_turn(connection, context.tenant)
    turn = Turn(
        context.incident, context.run, context.tenant, plan.id, State.QUEUED, _priority(context),
        means.database.now_us(connection), 0, asked.timeout, asked.most, asked.size,
    )  # fmt: skip
    share, others = _share(means, context.tenant), [_turn(row) for row in turns.of_tenant(connection, context.tenant)]
    todo = moves([*others, turn], share)
    full = next((reason for one, reason in todo.full if one == turn), "")
    if turn in todo.begin:
        _put(connection, context, turn, State.WORKING)
        return [_begin(means, connection, context, plan, why)]
    told = _told(context, plan, why_queued(turn, others, share))
    new = [NewEvent(kind=EventKind.RUN_QUEUED, payload=told, key=f"{context.run_id}/queued")]
    if full:
        new.append(_not_begun(means, connection, context, "escalated", full))
    else:
        _put(connection, context, turn, State.QUEUED)
    if full or plan.escalation.immediately:
        _page(means, connection, context, plan.escalation, full or f"{context.severity}: paged immediately")
    return new


def hurry(connection: sa.Connection, incident: Incident) -> None:
    """It may be more severe than when it began to wait. Whoever calls this holds it."""
    if incident.queued:
        turns.hurry(connection, incident.id, _PRIORITY.get(incident.severity, _LAST))


def _share(means: Means, tenant: str) -> Share | None:
    return means.shares.of(tenant) if means.shares else None


def _priority(context: Context) -> int:
    return _PRIORITY.get(context.severity, _LAST)


def _turn(row: Mapping[str, Any]) -> Turn:
    return Turn(**{name: row[name] for name in Turn.__slots__ if name != "state"}, state=State(row["state"]))


def _put(connection: sa.Connection, context: Context, turn: Turn, state: State) -> None:
    own = {name: getattr(turn, name) for name in Turn.__slots__}
    place = {"environment": context.environment, "region": context.region}
    turns.put(connection, {**own, **place, "state": state.value, "request": context.model_dump_json()})


def _told(context: Context, plan: Plan, why: str) -> dict[str, Any]:
    return {"number": context.run, "plan": plan.hash, "reason": why, "runbook": plan.id, "mode": context.mode}


def _begin(means: Means, connection: sa.Connection, context: Context, plan: Plan, why: str) -> NewEvent:
    means.durable.start_in(
        connection, interpreter.WORKFLOW, context.run_id, context.model_dump(mode="json"), priority=_priority(context)
    )
    return NewEvent(kind=EventKind.RUN_STARTED, payload=_told(context, plan, why), key=f"{context.run_id}/started")


def _not_begun(means: Means, connection: sa.Connection, context: Context, outcome: str, why: str) -> NewEvent:
    mine = (runs.c.incident == context.incident, runs.c.number == context.run)
    connection.execute(runs.update().where(*mine).values(ended_at=means.database.now_us(connection), outcome=outcome))
    payload = {"number": context.run, "outcome": outcome, "reason": why}
    return NewEvent(kind=EventKind.RUN_ENDED, payload=payload, key=f"{context.run_id}/ended")


def _page(
    means: Means, connection: sa.Connection, context: Context, escalation: Escalation, why: str, *, again: bool = False
) -> None:  # fmt: skip
    page = escalate.Page(context=context, escalation=escalation, reason=why, again=again)
    means.durable.start_in(connection, escalate.WORKFLOW, page.key, page.model_dump(mode="json"))


class Turns:
    """Looks after those that wait, and those that work for too long. One per process; several do no harm."""

    def __init__(self, means: Means, commit: Commit) -> None:
        self._means, self._commit = means, commit

    async def look(self) -> None:
        """Once. Whose turn has come begins; for whom there is no place any more, or whose time is over, a person is
        paged."""
        self._means.turn_free.clear()
        for turn in await self._means.database.read(self._ripe):
            try:
                await self._commit(lambda change, turn=turn: self._settle(change, turn))  # type: ignore[misc]
            except Unavailable:
                raise  # it is looked at again at the next poll
            except Exception as error:
                _log.error("turn_not_given", run=f"{turn.incident}.{turn.number}", exc_info=error)
                why = f"it could not be begun: {type(error).__name__}: {error}"
                await self._commit(lambda change, turn=turn, why=why: self._given_up(change, turn, why))  # type: ignore[misc]

    def _ripe(self, connection: sa.Connection) -> list[Turn]:
        return list(self._todo(turns.everybody(connection), self._means.database.now_us(connection)))

    def _todo(self, rows: Iterable[Mapping[str, Any]], now: int) -> Iterable[Turn]:
        """Those of which something is to be done, whoever goes before those who get their places."""
        found = sorted(rows, key=lambda row: str(row["tenant"]))
        for tenant, of_tenant in groupby(found, key=lambda row: str(row["tenant"])):
            known = [(_turn(row), row["ended_at"] is not None) for row in of_tenant]
            yield from (turn for turn, ended in known if overdue(turn, now) or (ended and turn.state is State.QUEUED))
            todo = moves((turn for turn, _ in known), _share(self._means, tenant))
            yield from (turn for turn, _ in todo.full)
            yield from todo.begin

    def _settle(self, change: Change, turn: Turn) -> None:
        """As it is by now: others may have been here."""
        connection, name = change.connection, (turn.incident, turn.number)
        turns.in_turn(connection, turn.tenant)
        # Whoever has it may wait for the turns themselves: it is looked at again at the next poll.
        if not events.hold_if_free(connection, turn.tenant, Stream.INCIDENT, turn.incident):
            return
        rows, now = turns.of_tenant(connection, turn.tenant), self._means.database.now_us(connection)
        row = next((one for one in rows if (one["incident"], one["number"]) == name), None)
        if row is None:
            return
        turn, share = _turn(row), _share(self._means, turn.tenant)
        context = Context.model_validate_json(turns.request_of(connection, *name))
        todo, known = moves(map(_turn, rows), share), change.incident(turn.incident)
        if turn.state is State.QUEUED and (known.status in ENDED or known.assignee is not None):
            why = known.reason if known.status in ENDED else f"{known.assignee} has it"
            self._drop(change, context, "stopped", why)
        elif overdue(turn, now):
            self._overdue(change, context, turn)
        elif full := next((why for one, why in todo.full if one == turn), ""):
            self._paged_instead(change, context, full)
        elif turn in todo.begin:
            plan = queries.plan(connection, context.plan)
            turns.begin(connection, *name, now)
            mine = (runs.c.incident == context.incident, runs.c.number == context.run)
            connection.execute(runs.update().where(*mine).values(started_at=now))
            waited = spoken(max(1, round((now - turn.since) / 1_000_000)))
            begun = _begin(self._means, connection, context, plan, f"its turn has come, after {waited}")
            change.told += self._means.append(connection, context, [begun])

    def _given_up(self, change: Change, turn: Turn, why: str) -> None:
        """A person's, and in nobody's way. What works goes on."""
        known = change.incident(turn.incident)
        events.hold(change.connection, turn.tenant, Stream.INCIDENT, turn.incident)
        if turns.is_queued(change.connection, turn.incident, turn.number):
            context = Context(incident=known.id, tenant=known.tenant, run=turn.number)
            self._drop(change, context, "escalated", why)
            _page(self._means, change.connection, context, Escalation(), why)

    def _overdue(self, change: Change, context: Context, turn: Turn) -> None:
        allowed = spoken(round(turn.timeout / 1_000_000))
        if turn.state is State.QUEUED:
            self._paged_instead(change, context, f"it has waited {allowed} for its turn, and it did not come")
            return
        turns.over(change.connection, turn.incident, turn.number)
        why = f"it is worked on for longer than {allowed}, which is the most; nothing more is begun for it"
        self._page(change, context, why)

    def _paged_instead(self, change: Change, context: Context, why: str) -> None:
        self._drop(change, context, "escalated", why)
        self._page(change, context, why)

    def _page(self, change: Change, context: Context, why: str) -> None:
        """As its runbook says; a second page, where everybody was paged as it came."""
        given = queries.plan(change.connection, context.plan).escalation
        _page(self._means, change.connection, context, given, why, again=given.immediately)

    def _drop(self, change: Change, context: Context, outcome: str, why: str) -> None:
        turns.end(change.connection, context.incident, context.run)
        over = _not_begun(self._means, change.connection, context, outcome, why)
        change.told += self._means.append(change.connection, context, [over])
