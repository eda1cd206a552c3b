"""Sources that are expected to be heard: what came of each is written down now and again, and one that goes silent
becomes an alert, which resolves when it is heard again.

Any process hears; servers look who is late, and of several one says so. An alert and what is known of its source are
one transaction, so it is raised once. Never does: hold a rule about what is late (``intake.heartbeat`` does), give an
alert another way than that of every alert.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog

from quell import source_of
from quell.errors import NotFound
from quell.incident.alert import Alert
from quell.intake import accept, heartbeat
from quell.intake.correlate import alert_id
from quell.intake.heard import News
from quell.intake.heartbeat import Expect, Judged, Seen, State
from quell.reception import Reception
from quell.respond.change import Change, Commit
from quell.respond.means import Means
from quell.runbook.plan import Plan
from quell.settling import settle
from quell.store import sources
from quell.store.events import when
from quell.store.sources import At, Known

_log = structlog.get_logger("quell")
AGAIN = timedelta(seconds=60)
"""How often it is said again that a source is silent: its incident may have ended in between."""
REST_S = 5.0
"""At most so long nobody asks the database who is late: another process may know more."""
AWAY_S = 15.0
"""Who has not looked for so long was away, and could hear nobody."""

BACK = "is heard again"


@dataclass(frozen=True, slots=True)
class Source:
    """A source as people see it. ``state``: ok | due | late | never heard, None where nothing is expected. ``came_at``:
    its last delivery; ``heard_at``: its last sign of life; ``expected``: how often it is heard at least; ``late_at``:
    until when it is to be heard. ``refused``: deliveries of which nothing was taken. ``alert``: the one that fires
    because it is late."""

    name: str
    type: str
    tenant: str
    state: State | None
    came_at: datetime | None
    heard_at: datetime | None
    expected: str | None
    every_s: float | None
    grace_s: float | None
    late_at: datetime | None
    deliveries: int
    alerts: int
    refused: int
    alert: str | None


class Heartbeats:
    """Of one process. ``clock``: seconds that go on while the machine sleeps."""

    def __init__(
        self, means: Means, reception: Reception, commit: Commit, plans: Callable[[], Iterable[Plan]],
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._means, self._reception, self._commit, self._plans = means, reception, commit, plans
        self._database, self._clock, settings = means.database, clock, reception.settings
        self._heard, self._tenant = reception.heard, settings.tenant
        self._slack_s = 2 * settings.engine.poll
        self._away_s = max(AWAY_S, 3 * settings.engine.poll)
        self._expected: dict[At, Expect] = {
            self._at(name): said.expect for name, said in settings.sources.items() if said.expect is not None
        }  # fmt: skip
        self._writing = asyncio.Lock()
        self._begun = False
        self._listening: datetime | None = None
        self._looked_at = self._rested_at = 0.0
        self._rests_s = 0.0

    def _at(self, name: str) -> At:
        settings = self._reception.settings
        said = settings.sources.get(name)
        tenant = said.tenant if said is not None and said.tenant else settings.tenant
        return At(tenant, settings.environment, settings.region, name)

    # What came.

    async def kept(self) -> None:
        """Returns when what was heard until now is on disk: many who wait are one transaction. Raises
        ``Unavailable``."""
        # In a context of its own: of a request with a key it is no effect, and it goes on when the sender has gone.
        context = contextvars.Context()
        await asyncio.shield(asyncio.get_running_loop().create_task(self._keep(), context=context))

    async def _keep(self) -> None:
        async with self._writing:
            news = self._heard.take()
            if not news:
                return
            try:
                await self._commit(lambda change: self._note(change, news))
            except BaseException:
                self._heard.put_back(news)
                raise

    def _note(self, change: Change, news: Mapping[str, News]) -> None:
        connection = change.connection
        accept.in_turn(connection, self._tenant)
        now_us, here = self._database.now_us(connection), self._heard.clock()

        def at(heard: float | None) -> int | None:
            """By the clock of the database."""
            return None if heard is None else now_us - int((here - heard) * 1_000_000)

        for name, one in sorted(news.items()):
            sources.note(
                connection, self._at(name), deliveries=one.deliveries, alerts=one.alerts, refused=one.refused,
                came_at=at(one.came), heard_at=at(one.lives),
            )  # fmt: skip
        if lives := {self._at(name) for name, one in news.items() if one.lives is not None} & self._expected.keys():
            for known in self._known(connection).values():
                if known.at in lives and known.missing is not None:
                    sources.back(connection, known.at)
                    self._resolve(change, known.missing, when(now_us), BACK)

    def _resolve(self, change: Change, missing: Alert, now: datetime, why: str) -> None:
        alert = heartbeat.returned(missing, now, why)
        self._settle(change, alert)
        _log.warning("heartbeat_back", source=alert.source, why=why)

    def _settle(self, change: Change, alert: Alert) -> None:
        intake = self._reception.intake(change, self._plans())
        settle(change, intake.place(alert, signature="Quell's own"), self._reception.settings.correlation.raise_at)

    # Who is late.

    async def look(self) -> None:
        """Write down what came, and say who is late. Asks the database only when somebody may be."""
        await self._keep()
        if not self._expected and self._begun:
            return
        before = self._clock()
        if not 0 <= before - self._looked_at <= self._away_s:
            self._listening, self._rests_s = None, 0.0
        if not self._begun:
            await self._commit(self._begin)
            self._begun = True
        if not 0 <= before - self._rested_at < self._rests_s:
            await self._look()
            self._rested_at = before
        self._looked_at = self._clock()

    def _begin(self, change: Change) -> None:
        """What is expected is known from now on, over restarts; what is expected otherwise than before begins anew."""
        connection = change.connection
        accept.in_turn(connection, self._tenant)
        now, known = when(self._database.now_us(connection)), self._known(connection)
        for at, expect in self._expected.items():
            before = known.get(at)
            if before is None or before.expectation != expect.digest:
                self._anew(change, at, before, expect.digest, now, "is expected otherwise now")
        mine = {self._tenant, *(at.tenant for at in map(self._at, self._reception.settings.sources))}
        for at, before in known.items():
            if before.expectation and at.tenant in mine and at not in self._expected:
                self._anew(change, at, before, "", now, "is not expected any more")

    def _anew(self, change: Change, at: At, before: Known | None, digest: str, now: datetime, why: str) -> None:
        sources.expect(change.connection, at, digest, now if digest else None)
        if before is not None and before.missing is not None:
            self._resolve(change, before.missing, now, why)

    async def _look(self) -> None:
        now, known = await self._database.read(lambda c: (when(self._database.now_us(c)), self._known(c)))
        self._listening = self._listening or now
        if any(at not in known or known[at].since is None for at in self._expected):
            self._begun = False  # another process, which expects nothing of it, has said so since
            return
        judged = {at: self._judge(at, known[at], now) for at in self._expected}
        due = [at for at, one in judged.items() if one.state is State.LATE and _to_say(known[at], now)]
        if due or any(_is_back(self._expected[at], known[at], now) for at in self._expected):
            await self._commit(lambda change: self._say(change, due))
        ahead = [(one.late_at - now).total_seconds() for one in judged.values() if one.state is not State.LATE]
        self._rests_s = min([REST_S, *ahead])

    def _judge(self, at: At, known: Known, now: datetime) -> Judged:
        return heartbeat.judge(self._expected[at], _seen(known), now, self._listening, self._slack_s)

    def _say(self, change: Change, due: Sequence[At]) -> None:
        """Looked at once more, now that nobody else can say it: another process may have, or may have heard it."""
        connection = change.connection
        accept.in_turn(connection, self._tenant)
        now, found = when(self._database.now_us(connection)), self._known(connection)
        for at, expect in self._expected.items():
            known = found.get(at)
            if known is not None and known.missing is not None and _is_back(expect, known, now):
                sources.back(connection, at)
                self._resolve(change, known.missing, now, BACK)
        for at in due:
            known = found.get(at)
            if known is None or known.since is None or not _to_say(known, now):
                continue
            if self._judge(at, known, now).state is not State.LATE:
                continue
            if self._heard.lives(at.name):  # it came this very moment
                continue
            place = source_of.place_of(self._reception.settings, self._reception.registry, at.name)
            expect, seen = self._expected[at], _seen(known)
            if known.missing is None:
                alert = heartbeat.missing(place, expect, seen, now)
                _log.warning("heartbeat_missing", source=at.name, expected=expect.spoken, heard_at=str(seen.heard_at))
            else:
                alert = heartbeat.again(known.missing, place, expect, seen, now)
            sources.late(connection, at, alert, now)
            self._settle(change, alert)

    def _known(self, connection: sa.Connection) -> dict[At, Known]:
        settings = self._reception.settings
        return sources.here(connection, settings.environment, settings.region)

    # What people see.

    async def listed(self, tenant: str | None = None) -> list[Source]:
        """Those that are configured, and those that something came of; of one tenant, or all. Those that are late come
        first."""
        await self.kept()
        now, known = await self._database.read(lambda c: (when(self._database.now_us(c)), self._known(c)))
        names = [self._at(name) for name in self._reception.settings.sources]
        names += [at for at in sorted(known, key=lambda one: one.name) if at == self._at(at.name)]
        found = [self._shown(at, known.get(at), now) for at in dict.fromkeys(names) if tenant in (None, at.tenant)]
        order = [State.LATE, State.DUE, State.NEVER, State.OK, None]
        return sorted((one for one in found if one is not None), key=lambda one: order.index(one.state))

    def _shown(self, at: At, known: Known | None, now: datetime) -> Source | None:
        said = self._reception.settings.sources.get(at.name)
        try:
            kind = self._reception.kind_of(at.name).name
        except NotFound:  # it is not configured any more
            return None
        expect = said.expect if said is not None else None
        seen = _seen(known) if known is not None and (known.since or known.heard_at) else None
        missing = known.missing if known is not None and expect is not None else None
        late_at = heartbeat.judge(expect, seen, now).late_at if expect is not None and seen is not None else None
        counts: dict[str, Any] = {
            name: getattr(known, name) if known is not None else None for name in ("came_at", "heard_at")
        } | {name: getattr(known, name) if known is not None else 0 for name in ("deliveries", "alerts", "refused")}
        return Source(
            name=at.name, type=kind, tenant=at.tenant, state=heartbeat.shown(expect, seen, now),
            expected=expect.spoken if expect is not None else None, every_s=expect.every if expect else None,
            grace_s=expect.grace if expect else None, late_at=late_at,
            alert=alert_id(missing) if missing is not None else None, **counts,
        )  # fmt: skip


def _seen(known: Known) -> Seen:
    since = known.since or known.heard_at
    assert since is not None, f"nothing is expected of {known.at.name}"
    return Seen(since, known.heard_at, fires=known.missing is not None)


def _is_back(expect: Expect, known: Known, now: datetime) -> bool:
    """Whether it was heard by a process that did not know that it was missed."""
    if known.missing is None or known.since is None:
        return False
    return heartbeat.judge(expect, Seen(known.since, known.heard_at), now).state in (State.OK, State.DUE)


def _to_say(known: Known, now: datetime) -> bool:
    return known.missing is None or known.said_at is None or now - known.said_at >= AGAIN
