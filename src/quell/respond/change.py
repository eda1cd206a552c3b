"""One change to incidents, while its transaction is open: what it tells, and what it leaves to do once committed.

Never does: commit (the app does), decide what to change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from quell.incident.alert import Alert
from quell.incident.event import Event, EventKind, NewEvent
from quell.incident.incident import Incident
from quell.respond import approve, escalate
from quell.respond.means import TELL, Context, Means
from quell.store import queries, reported

T = TypeVar("T")
After = Callable[[], Coroutine[Any, Any, Any]]


class Commit(Protocol):
    """Does work in a transaction, and afterwards what it asked for; as the app does."""

    def __call__(self, work: Callable[[Change], T]) -> Awaitable[T]: ...


@dataclass(slots=True)
class Change:
    """``told`` are the events appended so far, ``after`` what to do once they are on disk."""

    means: Means
    connection: sa.Connection
    told: list[Event] = field(default_factory=list)
    after: list[After] = field(default_factory=list)

    def incident(self, incident: str) -> Incident:
        """Raises ``NotFound``. A unique beginning of the id is enough."""
        return queries.incident(self.connection, incident)

    def tell(self, incident: str, kind: EventKind, payload: dict[str, Any], actor: str = "quell") -> None:
        """Append one event to an incident. Raises ``NotFound``."""
        self._tell(self.incident(incident), kind, payload, actor)

    def _tell(self, known: Incident, kind: EventKind, payload: dict[str, Any], actor: str = "quell") -> None:
        context = Context(incident=known.id, tenant=known.tenant)
        new = NewEvent(kind=kind, payload=payload, actor=actor)
        self.told += self.means.append(self.connection, context, [new])

    def tell_alert(
        self, incident: str, kind: EventKind, alert_id: str, alert: Alert, why: str, *, severity: str | None = None
    ) -> None:
        """That an alert joined or resolved: by its name, and by what sets it apart from another of the incident.
        ``severity``: that of the incident now that it has joined, where it is not the alert's own."""
        known = self.incident(incident)
        other = next((one for one in (*known.firing, *known.resolved_alerts) if one != alert_id), None)
        labels = alert.apart_from(reported.alert_of(self.connection, other) if other else None)
        told = {"alert": alert_id, "name": alert.name, "labels": labels, "why": why}
        severity = severity or (alert.severity.value if alert.severity else None)
        if kind is EventKind.ALERT_JOINED and severity:
            told["severity"] = severity
        self._tell(known, kind, told)

    def answered(self, row: Mapping[str, Any], state: str, by: str, reason: str) -> None:
        """Tell that an approval has its answer, or one of several; the run hears of it after the commit."""
        if state == "waiting":
            payload = {"text": f"{by} approved {row['id']}; another person is needed", "by": by, "approval": row["id"]}
            self.tell(row["incident"], EventKind.NOTED, payload, by)
            return
        context = Context(incident=row["incident"], tenant=row["tenant"])
        self.told += self.means.append(self.connection, context, [approve.answered_event(row, state, by, reason)])
        self.after.append(partial(approve.tell, self.means, row))

    def withdraw(self, incident: str, reason: str) -> None:
        """Take back every question of an incident that nobody has answered."""
        for waiting in queries.waiting_approvals(self.connection, incident):
            row, state = approve.settle(self.connection, waiting["id"], "withdrawn", "quell", reason)
            self.answered(row, state, "quell", reason)

    def message(self, known: Incident, text: str, *, whom: str = "", kind: str = "update") -> None:
        """Tell whoever is paged first and, where that leads somewhere, ``whom``; once it is on disk."""
        key = f"tell:{known.id}.{known.seq}"
        run = queries.run_of(self.connection, known.id, known.run)
        context = Context(incident=known.id, tenant=known.tenant, run=known.run, plan=run["plan"] if run else "")
        telling = escalate.Telling(context=context, text=text, kind=kind, key=key, whom=whom)
        self.means.durable.start_in(self.connection, TELL, key, telling.model_dump(mode="json"))

    def seen_by(self, known: Incident, by: str) -> None:
        """Whoever is being paged about it need not page the next one."""
        for name in escalate.pages_of(known):
            self.after.append(partial(escalate.acknowledge, self.means, name, by, known.seq))
