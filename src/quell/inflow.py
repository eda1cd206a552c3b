"""Alerts on their way in: at once while there are few, by way of letters and the inbox when they are many.

A sender hears a 2xx when all of what it sent is on disk. In quiet times that includes what followed from it. In a storm
it does not: where a body need not be read to be believed it is kept as it came, a letter; letters are opened into the
inbox; and what waits in the inbox is looked at in its turn, the most severe first and each source with its share. So
taking in waits neither for reading nor for what follows. When too many wait, a sender is told to come again.
Never does: hold a rule about alerts, lose what it has accepted.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import structlog

from quell import opening
from quell.delivery import Delivery, Letter, Receipt
from quell.errands import Errands
from quell.errors import Unavailable
from quell.incident.alert import Alert
from quell.intake import accept
from quell.once import asked
from quell.opening import Opened, rows_of
from quell.posting import Post, Posting, Room
from quell.reception import Reception
from quell.respond.change import Change, Commit
from quell.runbook.plan import Plan
from quell.settling import settle
from quell.store import inbox, letters
from quell.store.database import Database

_log = structlog.get_logger("quell")
AT_ONCE = 2
"""Deliveries whose alerts are looked at while their sender waits; while more come, they go to the inbox."""
LARGE = 20
"""A delivery of more alerts goes to the inbox: looking at each would keep its sender, and everybody else, waiting."""
LEAST_LARGE = 8_192
"""Bytes below which a delivery is not large, so that nobody counts its alerts."""
BATCH_BUSY, BATCH = 10, 100
"""Alerts that are looked at in one transaction at most, while others come and while none do."""
TURN_S = 0.012
"""While alerts come in, how long the inbox is worked on in one go: so long what comes in waits for the disk."""
OPEN_BUSY, OPEN = 40, 1_000
"""Alerts whose letters are opened in one transaction, while deliveries come and while none do."""
STEP_S = 0.015
"""How often it is seen whether others still come."""
CLOSED_S = 1.0
"""How long letters may stay closed while others come: most storms are over by then."""
BEHIND = 8_000
"""Alerts in letters that nobody can see yet, which takes less than a second to change; then what comes has to wait."""
FOLLOWS = 2.5
"""What follows from an alert (its run, its page) costs that much more than looking at it."""
PUT_S = 0.001
"""What taking in one delivery costs, and more: were it less than it is, what has come would crowd out what comes."""
LEAST_DUTY = 0.1
"""The share of its time that a process works on the inbox even then: the most severe goes first."""


class Inflow:
    """Of one process. ``most``: alerts that may wait."""

    def __init__(
        self, database: Database, reception: Reception, commit: Commit, plans: Callable[[], Iterable[Plan]],
        errands: Errands, most: int,
    ) -> None:  # fmt: skip
        self._database, self._reception, self._commit, self._plans = database, reception, commit, plans
        self._errands, self.room = errands, Room(most, len(reception.settings.tenants))
        self._posting = Posting(
            database, reception.settings.tenant, errands, self.room, ready=self._caught_up, stored=self._follow
        )  # fmt: skip
        self._opening = self._draining = False
        self._looking = 0
        self._sealed = 0
        """Alerts in letters, about."""
        self._opened = asyncio.Event()

    def may_wait(self, size: int) -> bool:
        """Whether a body of so many bytes need not be read at once."""
        return size >= LEAST_LARGE or not self._is_calm()

    async def keep(self, letter: Letter) -> Receipt | None:
        """It is on disk, and will be read; None: there is time to read it now. Raises ``Unavailable`` when the database
        is away or too many wait."""
        if asked() is not None or (self._is_calm() and letter.size <= LARGE):
            return None
        self._reception.accept(letter)
        await self._posting.put(Post((letter.tenant, letter.source), letter.size, letter=letter.row))
        return Receipt(letter.size, (), queued=True)

    async def take_in(self, delivery: Delivery) -> Receipt:
        """Raises ``Unavailable`` when the database is away or too many wait."""
        # What is sent under a name or a key has one effect: it is looked at, and the name kept, in one transaction.
        few = self._is_calm() and len(delivery.alerts) <= LARGE
        if delivery.name is not None or asked() is not None or few:
            self._looking += 1
            try:
                told = await self._commit(lambda change: self._look(change, delivery))
            finally:
                self._looking -= 1
            if told.get("queued"):
                self._start_draining()
            return Receipt.of(told)
        return await self._put(delivery)

    def _is_calm(self) -> bool:
        storm = self._posting.is_running or self._opening or self._draining
        return not storm and self._looking < AT_ONCE

    def _look(self, change: Change, delivery: Delivery) -> dict[str, Any]:
        """At once, unless others wait: what came later must not overtake them."""
        tenant = self._reception.settings.tenant
        accept.in_turn(change.connection, tenant)
        nobody_waits = inbox.is_empty(change.connection) and letters.is_empty(change.connection)
        if delivery.name is not None or nobody_waits:
            return self._reception.take_in(change, delivery, self._plans())
        inbox.put(change.connection, rows_of(delivery))
        accept.set_aside(change.connection, tenant, delivery.source, delivery.bad)
        return receipt_of(delivery)

    async def _put(self, delivery: Delivery) -> Receipt:
        rows = rows_of(delivery)
        tenant = rows[0]["tenant"] if rows else self._reception.settings.tenant
        await self._posting.put(Post((tenant, delivery.source), len(rows), rows=rows, bad=delivery.bad))
        return Receipt.of(receipt_of(delivery))

    def _follow(self, posts: Sequence[Post]) -> None:
        """What is on disk now is seen to."""
        self._sealed += sum(post.size for post in posts if post.letter is not None)
        if self._sealed:
            self._start_opening()
        self._start_draining()

    # Out of letters.

    def _start_opening(self) -> None:
        if not self._opening:
            self._opening = True
            self._errands.start(self._open())

    async def _caught_up(self) -> None:
        """So many letters may be closed, and no more: what was accepted is to be seen within a second."""
        while self._sealed > BEHIND and self._opening:
            self._opened.clear()
            await self._opened.wait()

    async def _open(self) -> None:
        try:
            began = time.monotonic()
            await _pause(CLOSED_S, self._is_pressed)
            began = time.monotonic()
            while opened := await self._opened_some():
                self._sealed = max(self._sealed - sum(one.size for one in opened), 0)
                self._opened.set()
                self._start_draining()
                if self._is_pressed():
                    await _pause((time.monotonic() - began) * (1 / self._beside() - 1), self._is_pressed)
                began = time.monotonic()
            self._sealed = 0
        finally:
            self._opening = False
            self._opened.set()

    def _is_pressed(self) -> bool:
        """While others come, letters may stay closed, up to so many."""
        return not self._posting.is_quiet() and self._sealed <= BEHIND

    async def _opened_some(self) -> list[Opened]:
        """One letter that cannot be opened is set aside, and keeps no other closed."""
        many = OPEN_BUSY if self._is_pressed() else OPEN
        try:
            return self._counted(
                await self._database.write(lambda c: opening.open_next(c, self._reception, many))
            )  # fmt: skip
        except Unavailable:
            raise  # they are opened at the next poll
        except Exception as error:
            _log.error("letters_not_opened", error=f"{type(error).__name__}: {error}")
        opened = list[Opened]()
        for row in await self._database.read(lambda c: letters.next_of(c, OPEN_BUSY)):
            try:
                mine = await self._database.write(
                    lambda c, row=row: opening.open_next(c, self._reception, OPEN_BUSY, only=row["id"])  # type: ignore[misc]
                )
                opened += self._counted(mine)
            except Unavailable:
                raise
            except Exception as error:
                why = f"it could not be read: {type(error).__name__}: {error}"
                await self._database.write(lambda c, row=row, why=why: opening.aside(c, self._reception, row, why))  # type: ignore[misc]
                opened += self._counted([Opened((row["tenant"], row["source"]), row["size"], ())])
        return opened

    def _counted(self, opened: list[Opened]) -> list[Opened]:
        """What waited in letters waits in the inbox."""
        for one in opened:
            self.room.add(one.key, -one.size)
            for key in one.rows:
                self.room.add(key, 1)
            if one.lives:
                self._reception.heard.lived(one.key[1])
        return opened

    # Out of the inbox.

    def _start_draining(self) -> None:
        if not self._draining:
            self._draining = True
            self._errands.start(self._drain())

    async def look(self) -> None:
        """At what a process that has ended, or another one, has left in letters and in the inbox."""
        puts, on_its_way = self._posting.puts, self._posting.is_running
        closed, found = await self._database.read(lambda c: (letters.waiting(c), inbox.waiting(c)))
        if puts == self._posting.puts and not on_its_way:  # what is put meanwhile is counted here, and was not there
            both = {key: closed.get(key, 0) + found.get(key, 0) for key in {*closed, *found}}
            self.room.found(both)
            self._sealed = sum(closed.values())
        if closed:
            self._start_opening()
        if found:
            self._start_draining()

    async def _drain(self) -> None:
        try:
            began = time.monotonic()
            while await self._turned():
                await _pause((time.monotonic() - began) * (FOLLOWS / self._duty() - 1), self._is_busy)
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
        return self._opening or self._posting.is_running or self._posting.rate() > 0

    def _duty(self) -> float:
        """The share of the time that may go to what has come, beside what comes."""
        if self._opening:
            return LEAST_DUTY  # what is most severe may be in a letter yet
        return self._beside()

    def _beside(self) -> float:
        """What there is time for beside what comes."""
        return max(LEAST_DUTY, 1 - self._posting.rate() * PUT_S)

    def _turn(self, change: Change, busy: bool, only: str | None = None) -> list[Mapping[str, Any]]:
        """A batch, or while others come as much of it as there is time for. The words that were looked at."""
        accept.in_turn(change.connection, self._reception.settings.tenant)
        words = inbox.next_of(change.connection, BATCH_BUSY if busy else BATCH)
        if only is not None:
            words = [row for row in words if row["alert_id"] == only]
        if not words:
            return []
        intake, began = self._reception.intake(change, self._plans()), time.monotonic()
        raise_at, done = self._reception.settings.correlation.raise_at, list[Mapping[str, Any]]()
        for said in one_by_one(words):
            alert = Alert.model_validate_json(said[-1]["alert"])
            times = sum(row["times"] for row in said)
            settle(change, intake.place(alert, signature=said[-1]["signature"], times=times), raise_at)
            done += said
            if busy and time.monotonic() - began > TURN_S:
                break
        inbox.drop(change.connection, [row["id"] for row in done])
        return done

    def _less(self, gone: Sequence[Mapping[str, Any]]) -> int:
        """So many wait no more."""
        for row in gone:
            self.room.add((row["tenant"], row["source"]), -1)
        return len(gone)


async def _pause(most_s: float, holds: Callable[[], bool]) -> None:
    """So long, or until it does not hold any more."""
    for _ in range(math.ceil(most_s / STEP_S)):
        if not holds():
            return
        await asyncio.sleep(STEP_S)


def _aside(change: Change, row: Mapping[str, Any], why: str) -> None:
    accept.set_aside(change.connection, row["tenant"], row["source"], [(why, row["alert"])])
    inbox.drop(change.connection, [row["id"]])


def one_by_one(words: Iterable[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    """Of each alert's words in a row those that say the same become one, as it was said last."""
    for _, same in groupby(words, key=lambda row: (row["alert_id"], row["status"])):
        yield list(same)


def receipt_of(delivery: Delivery) -> dict[str, Any]:
    """Of what waits in the inbox."""
    return {
        "accepted": len(delivery.alerts), "incidents": [], "quarantined": [reason for reason, _ in delivery.bad],
        "fingerprints": [alert.fingerprint for alert in delivery.alerts], "queued": bool(delivery.alerts),
    }  # fmt: skip
