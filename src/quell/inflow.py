"""Alerts on their way in: at once while there are few, by way of the inbox when they are many.

A sender hears a 2xx when all of what it sent is on disk. In quiet times that includes what followed from it; in a storm
the alerts wait in the inbox, the most severe first and each source with its share, and are looked at from there, so
that taking in never waits for what follows. When too many wait, a sender is told to come again. Never does: hold a rule
about alerts, lose what it has accepted.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from quell.errands import Errands
from quell.errors import Unavailable
from quell.incident.alert import Alert
from quell.intake import accept
from quell.intake.correlate import alert_id, in_order
from quell.once import asked
from quell.reception import Delivery, Receipt, Reception
from quell.respond.change import Change, Commit
from quell.runbook.plan import Plan
from quell.settling import settle
from quell.store import inbox
from quell.store.database import Database
from quell.store.events import to_us

_log = structlog.get_logger("quell")
T = TypeVar("T")
AT_ONCE = 4
"""Deliveries whose alerts are looked at while their sender waits; while more come, they go to the inbox."""
LARGE = 20
"""A delivery of more alerts goes to the inbox: looking at each would keep its sender, and everybody else, waiting."""
BATCH = 100
"""Alerts that are looked at in one transaction, at most."""
TURN_S = 0.012
"""While alerts come in, how long the inbox is worked on in one go: so long what comes in waits for the disk."""
FOLLOWS = 2.5
"""What follows from an alert (its run, its page) costs that much more than looking at it."""
PUT_S = 0.001
"""What taking in one alert costs, about: at a thousand a second there is hardly time for anything else."""
LEAST_DUTY = 0.1
"""The share of its time that a process works on the inbox even then: the most severe goes first."""
BUSY_S = 0.25
"""Over how long it is counted what comes in."""
RETRY_AFTER_S = 5.0
_PRIORITY = {"P1": 1, "P2": 2, "P3": 3, "P4": 4}
_UNSAID = 3
"""Of an alert that does not say how severe it is."""


@dataclass(slots=True)
class _Letter:
    """A delivery that waits to be put on disk."""

    rows: list[dict[str, Any]]
    bad: Delivery
    stored: asyncio.Future[None]


class Inflow:
    """Of one process. ``most``: words that may wait; a source alone may have half of them."""

    def __init__(
        self, database: Database, reception: Reception, commit: Commit, plans: Callable[[], Iterable[Plan]],
        errands: Errands, most: int,
    ) -> None:  # fmt: skip
        self._database, self._reception, self._commit, self._plans = database, reception, commit, plans
        self._errands, self._most = errands, most
        self._letters: list[_Letter] = []
        self._posting = self._draining = False
        self._looking = 0
        self._waiting: dict[tuple[str, str], int] = {}
        self._puts = 0
        self._came: deque[tuple[float, int]] = deque(maxlen=10_000)
        """When alerts went to the inbox, and how many."""

    async def take_in(self, delivery: Delivery) -> Receipt:
        """Raises ``Unavailable`` when the database is away or too many wait."""
        # What is sent under a name or a key has one effect: it is looked at, and the name kept, in one transaction.
        if delivery.name is not None or asked() is not None or self._is_calm(delivery):
            self._looking += 1
            try:
                told = await self._commit(lambda change: self._look(change, delivery))
            finally:
                self._looking -= 1
            if told.get("queued"):
                self._start_draining()
            return Receipt.of(told)
        return await self._put(delivery)

    def _is_calm(self, delivery: Delivery) -> bool:
        storm = bool(self._letters) or self._posting or self._draining
        return not storm and self._looking < AT_ONCE and len(delivery.alerts) <= LARGE

    def _look(self, change: Change, delivery: Delivery) -> dict[str, Any]:
        """At once, unless others wait: what came later must not overtake them."""
        tenant = self._reception.settings.tenant
        accept.in_turn(change.connection, tenant)
        if delivery.name is not None or inbox.is_empty(change.connection):
            return self._reception.take_in(change, delivery, self._plans())
        inbox.put(change.connection, rows_of(delivery))
        accept.set_aside(change.connection, tenant, delivery.source, delivery.bad)
        return receipt_of(delivery)

    # Onto disk.

    async def _put(self, delivery: Delivery) -> Receipt:
        rows = rows_of(delivery)
        self._bound(delivery.source, rows)
        self._puts += 1
        letter = _Letter(rows, delivery, asyncio.get_running_loop().create_future())
        self._letters.append(letter)
        if not self._posting:
            self._posting = True
            self._errands.start(self._post())
        await asyncio.shield(letter.stored)
        return Receipt.of(receipt_of(delivery))

    def _bound(self, source: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Raises ``Unavailable`` when there is no room: nothing of the delivery is taken then."""
        if not rows:
            return
        mine = self._waiting.get((rows[0]["tenant"], source), 0)
        if sum(self._waiting.values()) + len(rows) > self._most or mine + len(rows) > max(self._most // 2, 1):
            raise Unavailable(
                f"{mine} alerts of {source} wait to be looked at, and there is no room for more",
                retry_after=RETRY_AFTER_S,
            )
        key = (rows[0]["tenant"], source)
        self._waiting[key] = mine + len(rows)

    async def _post(self) -> None:
        """Whatever has come, in one commit; then what has come meanwhile."""
        try:
            while self._letters:
                letters, self._letters = self._letters, []
                self._came.append((time.monotonic(), sum(len(letter.rows) for letter in letters)))
                try:
                    await self._database.write(lambda connection, letters=letters: self._store(connection, letters))  # type: ignore[misc]
                except BaseException as error:
                    for letter in letters:
                        self._forget(letter)
                        if not letter.stored.done():
                            letter.stored.set_exception(error)
                    if not isinstance(error, Exception):
                        raise
                    continue
                for letter in letters:
                    if not letter.stored.done():
                        letter.stored.set_result(None)
        finally:
            self._posting = False
        self._start_draining()

    def _forget(self, letter: _Letter) -> None:
        if letter.rows:
            key = (letter.rows[0]["tenant"], letter.bad.source)
            self._waiting[key] = max(self._waiting.get(key, 0) - len(letter.rows), 0)

    def _store(self, connection: sa.Connection, letters: Sequence[_Letter]) -> None:
        if rows := [row for letter in letters for row in letter.rows]:
            inbox.put(connection, rows)
        for letter in letters:
            accept.set_aside(connection, self._reception.settings.tenant, letter.bad.source, letter.bad.bad)

    # Out of the inbox.

    def _start_draining(self) -> None:
        if not self._draining:
            self._draining = True
            self._errands.start(self._drain())

    async def look(self) -> None:
        """At what a process that has ended, or another one, has left in the inbox."""
        puts = self._puts
        found = await self._database.read(inbox.waiting)
        if puts == self._puts:  # what was put meanwhile is counted here, and was not there
            self._waiting = found
        if found:
            self._start_draining()

    async def _drain(self) -> None:
        try:
            began = time.monotonic()
            while await self._turned():
                if self._is_busy():
                    await asyncio.sleep((time.monotonic() - began) * (FOLLOWS / self._duty() - 1))
                began = time.monotonic()
        finally:
            self._draining = False

    async def _turned(self) -> int:
        """How many words were looked at. One that cannot be looked at is set aside, and keeps nobody else waiting."""
        # Counted here, in the event loop and once it is on disk: the turn itself runs in the thread that writes.
        busy = self._is_busy()
        try:
            return self._less(await self._commit(lambda change: self._turn(change, busy)))
        except Unavailable:
            raise  # it is looked at again at the next poll
        except Exception as error:
            _log.error("inbox_batch_failed", error=f"{type(error).__name__}: {error}")
        looked = 0
        for row in await self._database.read(lambda c: inbox.next_of(c, BATCH)):
            try:
                done = await self._commit(lambda change, row=row: self._turn(change, False, only=row["alert_id"]))  # type: ignore[misc]
                looked += self._less(done)
            except Unavailable:
                raise
            except Exception as error:
                why = f"it could not be looked at: {type(error).__name__}: {error}"
                await self._commit(lambda change, row=row, why=why: _aside(change, row, why))  # type: ignore[misc]
                looked += self._less([row])
        return looked

    def _is_busy(self) -> bool:
        return bool(self._letters) or self._rate() > 0

    def _duty(self) -> float:
        """The share of the time that may go to what has come, beside what comes."""
        return max(LEAST_DUTY, 1 - self._rate() * PUT_S)

    def _rate(self) -> float:
        """Alerts that went to the inbox lately, by the second."""
        since = time.monotonic() - BUSY_S
        while self._came and self._came[0][0] < since:
            self._came.popleft()
        return sum(count for _, count in self._came) / BUSY_S

    def _turn(self, change: Change, busy: bool, only: str | None = None) -> list[Mapping[str, Any]]:
        """A batch, or while others come as much of it as there is time for. The words that were looked at."""
        accept.in_turn(change.connection, self._reception.settings.tenant)
        words = inbox.next_of(change.connection, BATCH)
        if only is not None:
            words = [row for row in words if row["alert_id"] == only]
        if not words:
            return []
        intake, began = self._reception.intake(change, self._plans()), time.monotonic()
        raise_at, done = self._reception.settings.correlation.raise_at, list[Mapping[str, Any]]()
        for said in one_by_one(words):
            alert = Alert.model_validate_json(said[-1]["alert"])
            settle(change, intake.place(alert, signature=said[-1]["signature"], times=len(said)), raise_at)
            done += said
            if busy and time.monotonic() - began > TURN_S:
                break
        inbox.drop(change.connection, [row["id"] for row in done])
        return done

    def _less(self, gone: Sequence[Mapping[str, Any]]) -> int:
        """So many wait no more."""
        for row in gone:
            key = (row["tenant"], row["source"])
            self._waiting[key] = max(self._waiting.get(key, 0) - 1, 0)
        return len(gone)


def _aside(change: Change, row: Mapping[str, Any], why: str) -> None:
    accept.set_aside(change.connection, row["tenant"], row["source"], [(why, row["alert"])])
    inbox.drop(change.connection, [row["id"]])


def one_by_one(words: Iterable[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    """Of each alert's words in a row those that say the same become one, as it was said last."""
    for _, same in groupby(words, key=lambda row: (row["alert_id"], row["status"])):
        yield list(same)


def rows_of(delivery: Delivery) -> list[dict[str, Any]]:
    """A delivery's alerts as they wait in the inbox."""
    return [
        {
            "tenant": alert.tenant, "environment": alert.environment, "region": alert.region, "source": alert.source,
            "priority": _PRIORITY[alert.severity.value] if alert.severity else _UNSAID, "alert_id": alert_id(alert),
            "name": alert.name, "status": alert.status.value, "received_at": to_us(alert.received_at),
            "signature": delivery.signature,
            "alert": alert.model_dump_json(),
        }
        for alert in in_order(delivery.alerts)
    ]  # fmt: skip


def receipt_of(delivery: Delivery) -> dict[str, Any]:
    """Of what waits in the inbox."""
    return {
        "accepted": len(delivery.alerts), "incidents": [], "quarantined": [reason for reason, _ in delivery.bad],
        "fingerprints": [alert.fingerprint for alert in delivery.alerts], "queued": bool(delivery.alerts),
    }  # fmt: skip
