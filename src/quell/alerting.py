"""What people and systems ask about alerts, and do to them: silences, merges, splits, why, and what would follow.

One short method per use case, reached as ``app.alerting``. Never does: hold a rule, take in what sources send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
import structlog

from quell.errors import Conflict, NotFound
from quell.incident.alert import Alert, AlertStatus
from quell.incident.event import EventKind
from quell.incident.incident import Incident
from quell.incident.silence import Silence
from quell.intake import accept, silencing
from quell.intake.correlate import Open
from quell.intake.silencing import Wanted
from quell.reception import Reception
from quell.respond import regroup
from quell.respond.change import Change
from quell.respond.means import Means
from quell.runbook.plan import Plan
from quell.settling import opened, settle
from quell.store import queries, silences
from quell.store.events import to_us, when
from quell.telling.why import MOST_ALERTS, Why, WhyIncident, alerts_of, why_alert, why_incident

_log = structlog.get_logger("quell")
T = TypeVar("T")
AT_ONCE = 100
"""Alerts that are looked at again in one transaction: those that come in wait no longer than that takes."""
Before = tuple[datetime, str]
HISTORY_US = 5 * 86_400 * 1_000_000
"""How long silences that have ended are still listed."""


class Commit(Protocol):
    def __call__(self, work: Callable[[Change], T]) -> Awaitable[T]: ...


class Alerting:
    def __init__(self, means: Means, reception: Reception, commit: Commit, plans: Callable[[], Iterable[Plan]]) -> None:
        self._means, self._reception, self._commit, self._plans = means, reception, commit, plans
        self._database = means.database
        self._tenant = reception.settings.tenant
        self._raise_at = reception.settings.correlation.raise_at

    # What is held.

    async def look_again(self) -> None:
        """At alerts that were held until now: what kept them quiet may have ended."""
        while True:
            names = await self._database.read(
                lambda c: accept.due(c, self._database.now_us(c), AT_ONCE)
            )  # fmt: skip
            if not names:
                return
            await self._commit(lambda change, names=names: self._look_again(change, names))  # type: ignore[misc]
            if len(names) < AT_ONCE:
                return

    def _look_again(self, change: Change, names: Sequence[str]) -> None:
        accept.in_turn(change.connection, self._tenant)
        intake = self._reception.intake(change, self._plans())
        still = set(accept.due(change.connection, to_us(intake.now), 10 * AT_ONCE))
        for name in (one for one in names if one in still):  # another process may have been here
            if (alert := accept.stored(change.connection, name, intake.now)) is not None:
                settle(change, intake.place(alert, again=True), self._raise_at)

    # Silences.

    async def silence(self, wanted: Wanted, tenant: str | None = None) -> Silence:
        """Raises ``InvalidInput`` with every fault, ``NotFound`` (the one that it replaces)."""

        def work(change: Change) -> Silence:
            now = when(self._database.now_us(change.connection))
            made, told = silencing.make(change.connection, tenant or self._tenant, wanted, now)
            change.told += told
            return made

        made: Silence = await self._commit(work)
        _log.warning("silenced", silence=made.id, what=made.what, until=made.ends_at.isoformat(), by=made.by)
        return made

    async def unsilence(self, silence: str, by: str, tenant: str | None = None) -> Silence:
        """Raises ``NotFound``, ``Conflict`` when it has ended already."""

        def work(change: Change) -> Silence:
            now = when(self._database.now_us(change.connection))
            ended, told = silencing.end(change.connection, tenant or self._tenant, silence, by, now)
            change.told += told
            return ended

        ended: Silence = await self._commit(work)
        _log.warning("unsilenced", silence=ended.id, what=ended.what, by=by)
        return ended

    async def silences(self, tenant: str | None = None, *, ended: bool = False) -> list[Silence]:
        """Those that have not ended; with ``ended`` those of the last days too. The last to end first."""
        of = tenant or self._tenant
        past = HISTORY_US if ended else 0
        return await self._database.read(lambda c: silences.listed(c, of, self._database.now_us(c) - past))

    async def find_silence(self, silence: str, tenant: str | None = None) -> Silence:
        """Raises ``NotFound``. A unique beginning of the id is enough."""
        return await self._database.read(lambda c: silences.find(c, tenant or self._tenant, silence))

    # What belongs together.

    async def merge(
        self, incident: str, into: str, by: str, reason: str = "", tenant: str | None = None
    ) -> Incident:  # fmt: skip
        """One incident goes on in another. Raises ``NotFound``, ``InvalidInput``, ``Conflict``. The other, as it is
        then."""

        def work(change: Change) -> str:
            for one in (incident, into):
                self._owned(change, one, tenant)
            accept.in_turn(change.connection, self._tenant)
            gone, stays = regroup.merge(change, incident, into, by, reason)
            why = f"incident {gone.id} was merged into it by {by}"
            for one in (*gone.firing, *gone.resolved_alerts):
                accept.moved(change.connection, one, stays.id, why)
            return stays.id

        stays = await self._commit(work)
        return await self._database.read(lambda c: queries.incident(c, stays))

    async def split(
        self, incident: str, alerts: Sequence[str], by: str, reason: str = "", tenant: str | None = None
    ) -> Incident:  # fmt: skip
        """Alerts of an incident become one of their own. Raises ``NotFound``, ``InvalidInput``, ``Conflict``."""

        def work(change: Change) -> str:
            self._owned(change, incident, tenant)
            accept.in_turn(change.connection, self._tenant)
            known, chosen = regroup.to_split(change, incident, alerts, by)
            intake = self._reception.intake(change, self._plans())
            why = f"split from incident {known.id} by {by}" + (f": {reason}" if reason else "")
            new = ""
            # Those that fire first: what begins with one that has resolved would begin with nothing.
            for name in sorted(chosen, key=lambda one: one not in known.firing):
                alert = accept.stored(change.connection, name, intake.now)
                if alert is None:
                    raise NotFound("alert", name)
                placed = accept.as_meant(intake.place(alert, again=True), Open(why))
                if not new:
                    # What comes of its group from now on is the new one's, unless that is the old one's group too.
                    group, of = placed.group_key, queries.group_of(change.connection, known.id)
                    new = opened(change, placed, group if group != of else f"{group}#{known.seq}")
                else:
                    change.tell_alert(new, EventKind.ALERT_JOINED, name, alert, why)
                if alert.status is AlertStatus.RESOLVED:
                    change.tell_alert(new, EventKind.ALERT_RESOLVED, name, alert, "it had resolved before")
                accept.belongs(change.connection, placed, new)
            regroup.leave(change, known.id, chosen, new, by, why)
            change.tell(new, EventKind.NOTED, {"text": why, "by": by}, by)
            return new

        new = await self._commit(work)
        return await self._database.read(lambda c: queries.incident(c, new))

    def _owned(self, change: Change, incident: str, tenant: str | None) -> None:
        if tenant is not None and change.incident(incident).tenant != tenant:
            raise NotFound("incident", incident)

    # Why.

    async def alert(self, name: str, tenant: str | None = None) -> dict[str, Any]:
        """Its row. ``name``: an alert's id, its fingerprint or the beginning of one, or its name when only one is
        called so. Raises ``NotFound``, ``Conflict`` with what it may be."""
        found = await self._database.read(lambda c: queries.find_alerts(c, tenant or self._tenant, name))
        if not found:
            raise NotFound("alert", name)
        if len(found) > 1:
            names = ", ".join(f"{one['fingerprint']} ({one['name']}, {one['source']})" for one in found[:5])
            raise Conflict(f"{len(found)} alerts are called {name!r}; name one by its fingerprint: {names}")
        return found[0]

    async def why(self, name: str, tenant: str | None = None) -> Why:
        """Everything that decided about an alert, and what followed from it. Raises as ``alert``."""
        row = await self.alert(name, tenant)
        return await self._database.read(lambda c: why_alert(row, *queries.told_of_alert(c, row)))

    async def why_incident(self, incident: str) -> WhyIncident:
        """Why an incident is what it is: its alerts, its runbook, its guards. Raises ``NotFound``."""

        def look(connection: sa.Connection) -> WhyIncident:
            known = queries.incident(connection, incident)
            rows = queries.alerts_by_id(connection, alerts_of(known)[:MOST_ALERTS])
            return why_incident(known, queries.timeline(connection, known.tenant, known.id), rows)

        return await self._database.read(look)

    async def alerts(
        self, tenant: str | None = None, *, limit: int = 100, status: str | None = None, before: Before | None = None
    ) -> tuple[list[dict[str, Any]], Before | None]:  # fmt: skip
        """The newest with what became of them, and what to ask with as ``before`` for those that come after, if any
        do: when the last one was heard of, and its id, so that of those of one moment none is left out."""
        of, at, name = tenant or self._tenant, to_us(before[0]) if before else None, before[1] if before else ""
        found = await self._database.read(
            lambda c: queries.recent_alerts(c, of, limit + 1, status=status, before_us=at, before_id=name)
        )
        if len(found) <= limit:
            return found, None
        last = found[limit - 1]
        return found[:limit], (datetime.fromisoformat(last["last_at"]), last["id"])

    async def would(self, alert: Alert) -> Why:
        """What would follow from an alert if it came now. Nothing is stored, nobody is paged."""
        settings = self._reception.settings
        alert = alert.model_copy(
            update={
                "environment": alert.environment or settings.environment, "region": alert.region or settings.region,
                "received_at": datetime.now(UTC),
            }
        )  # fmt: skip
        return await self._database.read(lambda c: self._reception.would(self._means, c, alert, self._plans()))
