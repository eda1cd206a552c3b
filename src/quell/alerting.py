"""What people and systems ask about alerts, and do to them: silences, merges, splits, why, and what would follow.

One short method per use case, reached as ``app.alerting``. Never does: hold a rule, take in what sources send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from quell.errors import Conflict, NotFound
from quell.incident.alert import Alert, AlertStatus
from quell.incident.event import EventKind
from quell.incident.incident import Incident
from quell.incident.matcher import Matcher
from quell.incident.silence import Silence
from quell.intake import accept, matching, silencing
from quell.intake.correlate import Open
from quell.intake.planned import Planned, planned
from quell.intake.silencing import Wanted
from quell.reception import Reception
from quell.respond import regroup
from quell.respond.change import Change, Commit
from quell.respond.means import Means
from quell.runbook.plan import Plan
from quell.settling import opened, settle
from quell.store import queries, reported, silences
from quell.store.events import to_us, when
from quell.telling.why import MOST_ALERTS, Why, WhyIncident, alerts_of, why_alert, why_incident

__all__ = ["Alerting", "Firing", "Wanted", "chosen"]

_log = structlog.get_logger("quell")
T = TypeVar("T")
AT_ONCE = 100
"""Alerts that are looked at again in one transaction: those that come in wait no longer than that takes."""
Before = tuple[datetime, str]
HISTORY_US = 5 * 86_400 * 1_000_000
"""How long silences that have ended are still listed."""
MOST_FIRING = 10_000
"""Alerts that fire and are listed at once, the newest first."""


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fires now. ``labels``: those that matchers see; ``held``: what keeps it quiet, if anything;
    ``unseen``: it is accepted, and waits to be looked at."""

    alert: Alert
    labels: Mapping[str, str]
    held: str
    incident: str | None
    began_at: datetime
    said_at: datetime
    unseen: bool


def chosen(matchers: Sequence[Matcher]) -> Callable[[Mapping[str, str]], bool]:
    """Tells whether every one of them holds for labels. Raises ``ValueError`` for a pattern that cannot be used."""
    matching.usable(matchers)
    return lambda labels: matching.decide(matchers, labels)[0]


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

    # What fires.

    async def firing(self, tenant: str | None = None) -> list[Firing]:
        """Whatever fires now, of all sources; one that was to fire until a moment ago does not any more."""

        def read(connection: Any) -> tuple[list[dict[str, Any]], datetime]:
            of, status = tenant or self._tenant, AlertStatus.FIRING.value
            now = when(self._database.now_us(connection))
            return reported.recent(connection, of, MOST_FIRING, status=status), now

        rows, now = await self._database.read(read)
        found = [_firing(row) for row in rows]
        return [one for one in found if one.alert.ends_at is None or one.alert.ends_at > now]

    # Silences.

    async def silence(self, wanted: Wanted, tenant: str | None = None) -> Silence:
        """Raises ``InvalidInput`` with every fault, ``NotFound`` (the one that it replaces)."""
        return await self._silence(lambda now: wanted, tenant)

    async def silence_for(
        self, matchers: Sequence[Matcher], for_s: float, by: str, comment: str, tenant: str | None = None
    ) -> Silence:
        """From now on, by the clock of the database. Raises as ``silence``."""
        return await self._silence(
            lambda now: Wanted(matchers, now, now + timedelta(seconds=for_s), by, comment), tenant
        )

    async def _silence(self, wanted: Callable[[datetime], Wanted], tenant: str | None) -> Silence:
        def work(change: Change) -> Silence:
            now = self._in_turn(change)
            made, told = silencing.make(change.connection, tenant or self._tenant, wanted(now), now)
            change.told += told
            return made

        made: Silence = await self._commit(work)
        _log.warning("silenced", silence=made.id, what=made.what, until=made.ends_at.isoformat(), by=made.by)
        return made

    def _in_turn(self, change: Change) -> datetime:
        """Now, when nobody else ends a silence and no alert that comes in is held by one that ends."""
        accept.in_turn(change.connection, self._tenant)
        return when(self._database.now_us(change.connection))

    async def unsilence(self, silence: str, by: str, tenant: str | None = None) -> Silence:
        """Raises ``NotFound``, ``Conflict`` when it has ended already."""

        def work(change: Change) -> Silence:
            now = self._in_turn(change)
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

    async def held(self, tenant: str | None = None) -> dict[str, int]:
        """How many alerts are held now, by what holds them: ``silence <id>``, ``maintenance <name>``."""
        return await self._database.read(lambda c: silences.held(c, tenant or self._tenant))

    async def matchers_of(self, name: str, tenant: str | None = None) -> tuple[Matcher, ...]:
        """Matchers that an alert fits, and whatever has its labels. Raises as ``alert``."""
        return matching.matchers_of(Alert.model_validate((await self.alert(name, tenant))["alert"]))

    async def maintenance(self) -> list[Planned]:
        """Every window of the configuration, and where it stands now."""
        now = await self._database.read(lambda c: when(self._database.now_us(c)))
        return planned(self._reception.settings.maintenance, now)

    # What belongs together.

    async def alerts_in(self, incident: str, limit: int, tenant: str | None = None) -> list[dict[str, Any]]:
        """The alerts of an incident, the newest first. Raises ``NotFound``."""

        def look(connection: sa.Connection) -> list[dict[str, Any]]:
            known = queries.incident(connection, incident)
            if tenant is not None and known.tenant != tenant:
                raise NotFound("incident", incident)
            return reported.of_incident(connection, known.id, limit)

        return await self._database.read(look)

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
        found = await self._database.read(lambda c: reported.find(c, tenant or self._tenant, name))
        if not found:
            raise NotFound("alert", name)
        if len(found) > 1:
            names = ", ".join(f"{one['fingerprint']} ({one['name']}, {one['source']})" for one in found[:5])
            raise Conflict(f"{len(found)} alerts are called {name!r}; name one by its fingerprint: {names}")
        return found[0]

    async def why(self, name: str, tenant: str | None = None) -> Why:
        """Everything that decided about an alert, and what followed from it. Raises as ``alert``."""
        row = await self.alert(name, tenant)
        return await self._database.read(lambda c: why_alert(row, *reported.told_of(c, row)))

    async def why_incident(self, incident: str) -> WhyIncident:
        """Why an incident is what it is: its alerts, its runbook, its guards. Raises ``NotFound``."""

        def look(connection: sa.Connection) -> WhyIncident:
            known = queries.incident(connection, incident)
            rows = reported.by_id(connection, alerts_of(known)[:MOST_ALERTS])
            return why_incident(known, queries.timeline(connection, known.tenant, known.id), rows)

        return await self._database.read(look)

    async def alerts(
        self, tenant: str | None = None, *, limit: int = 100, status: str | None = None, before: Before | None = None,
        name: str | None = None,
    ) -> tuple[list[dict[str, Any]], Before | None]:  # fmt: skip
        """The newest with what became of them, and what to ask with as ``before`` for those that come after, if any
        do: when the last one was heard of, and its id, so that of those of one moment none is left out."""
        of, at, after = tenant or self._tenant, to_us(before[0]) if before else None, before[1] if before else ""
        found = await self._database.read(
            lambda c: reported.recent(c, of, limit + 1, status=status, before_us=at, before_id=after, name=name)
        )
        if len(found) <= limit:
            return found, None
        last = found[limit - 1]
        return found[:limit], (datetime.fromisoformat(last["last_at"]), last["id"])

    async def count(self, tenant: str | None = None, name: str | None = None) -> int:
        """How many there are, those that wait to be looked at with them."""
        return await self._database.read(lambda c: reported.count(c, tenant or self._tenant, name))

    async def would(self, alert: Alert) -> Why:
        """What would follow from an alert if it came now. Nothing is stored, nobody is paged."""
        alert = self._reception.ours(alert.model_copy(update={"received_at": datetime.now(UTC)}))
        return await self._database.read(lambda c: self._reception.would(self._means, c, alert, self._plans()))


def _firing(row: Mapping[str, Any]) -> Firing:
    alert = Alert.model_validate(row["alert"])
    return Firing(
        alert, matching.spoken(alert, row["service"]), row["held"], row["incident"],
        datetime.fromisoformat(row["first_at"]), datetime.fromisoformat(row["last_at"]),
        unseen=row["reason"] == reported.WAITS,
    )  # fmt: skip
