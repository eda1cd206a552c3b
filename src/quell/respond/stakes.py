"""What a person weighs before a yes: what users feel now, and how it went the times before.

Read from the log and the ledger, never guessed: a signal that nobody could read is not a healthy one.
Never does: ask the world, decide.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from quell.incident.action import Asks
from quell.incident.event import Event
from quell.incident.finding import Health
from quell.incident.incident import Incident
from quell.respond.means import Context, Means
from quell.respond.view import trigger_finding
from quell.runbook.plan import Act, Approve, Plan
from quell.store import queries
from quell.store.queries import Past

MOST_SIGNALS = 8
MESSAGE_CHARS = 200
_TRIGGER = "trigger"
_FINE = "no signal shows any: all that verification watches are healthy"
_OUTCOMES = ("resolved", "mitigated", "escalated", "stopped", "healthy")
"""How runs end, in the order in which they are told."""


async def stakes(means: Means, context: Context, node: Act | Approve, asks: Asks) -> dict[str, str]:
    """``impact`` and ``history`` of an approval request. A manual step leaves no trace in the ledger: no history."""
    plan = await means.plan(context.plan)

    def read(connection: sa.Connection) -> tuple[Incident, Event | None, Past]:
        known = queries.incident(connection, context.incident)
        watched = queries.newest_verification(connection, context.tenant, context.incident)
        return (
            known,
            watched,
            queries.past_of(connection, context.tenant, context.environment, plan.id, node.id, but=context.run_id),
        )

    incident, watched, past = await means.database.read(read)
    told = {"impact": impact(plan, incident, watched)}
    return told if asks is Asks.STEP else {**told, "history": history(past)}


def impact(plan: Plan, incident: Incident, watched: Event | None) -> str:
    """The signals that are not healthy, each by the newest that is known of it."""
    bad = list(_bad(plan, incident, watched))
    shown = "; ".join(bad[:MOST_SIGNALS])
    return f"{shown}; and {len(bad) - MOST_SIGNALS} more" if len(bad) > MOST_SIGNALS else shown or _FINE


def _bad(plan: Plan, incident: Incident, watched: Event | None) -> Iterator[str]:
    for name in plan.verify.signals:
        if name == _TRIGGER:
            if incident.firing:
                yield trigger_finding(incident.firing, known=True).message
            continue
        seen = _newest(name, incident.findings.get(name), watched)
        if seen["status"] != Health.HEALTHY:
            node, message = plan.by_id.get(name), " ".join(str(seen["message"]).split())
            said = f"{(node.name if node else '') or name}: {seen['status'].replace('_', ' ')}"
            cut = message if len(message) <= MESSAGE_CHARS else message[: MESSAGE_CHARS - 1] + "…"
            yield f"{said}, {cut}" if cut else said


def _newest(name: str, finding: Mapping[str, Any] | None, watched: Event | None) -> Mapping[str, Any]:
    """What the last verification saw of a signal, unless it was diagnosed again since."""
    signal = watched.payload.get("signals", {}).get(name) if watched else None
    looked_at = finding.get("looked_at") if finding else None
    if watched and signal and (looked_at is None or datetime.fromisoformat(looked_at) < watched.at):
        return {"status": signal["now"], "message": signal.get("message", "")}
    return finding or {"status": Health.NO_DATA, "message": "not looked at"}


def history(past: Past) -> str:
    """``done 4 times before with this runbook: 3 resolved, 1 escalated``."""
    if not past.done and not past.not_done:
        return "never done before"
    said = "tried before with this runbook and never done"
    if done := sum(past.done.values()):
        said = f"done {_times(done)} before with this runbook: {_counted(past.done)}"
    return said + (f"; {_times(past.not_done)} it failed or nobody knows" if past.not_done else "")


def _times(count: int) -> str:
    more = "at least " if count >= queries.MOST_PAST else ""
    return more + ("once" if count == 1 else f"{count} times")


def _counted(done: Mapping[str, int]) -> str:
    order = sorted(done, key=lambda outcome: (_OUTCOMES.index(outcome) if outcome in _OUTCOMES else 99, outcome))
    return ", ".join(f"{done[outcome]} {outcome or 'not over yet'}" for outcome in order)
