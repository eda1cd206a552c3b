"""Runs the demo: breaks the world, watches Quell repair it through its own webhook, measures, cleans up.

Quell itself is not told anything: it hears of a fault from the alert, like everybody. Never does: repair.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quell.app import App
from quell.demo.score import Score, Users, score
from quell.demo.site import settings_for
from quell.demo.world.faults import FAULTS, Injection, inject, reset
from quell.demo.world.world import UsersView, World
from quell.errors import Conflict
from quell.incident.event import Event, EventKind
from quell.incident.parts import Approval
from quell.web.run import serve_here

NOTICED_WITHIN_S = 15.0
HANDLED_WITHIN_S = 90.0
BEFORE_S = 2.0


@dataclass(frozen=True, slots=True)
class Pace:
    """In seconds: between two scrapes, how long users are watched after the end, and a pause to read before the next
    fault."""

    scrape: float
    after: float
    pause: float


PACES = {"slow": Pace(0.5, 2.0, 3.0), "fast": Pace(0.25, 0.5, 0.0)}

Ask = Callable[[Approval], Awaitable[tuple[str, str]]]
"""Asks about an approval: ``approved`` or ``denied``, and who says so."""


class Director:
    """The world, and Quell beside it, on loopback ports and in one folder."""

    def __init__(self, folder: Path, pace: Pace, ask: Ask) -> None:
        self.folder, self.pace, self._ask = folder, pace, ask
        self.listeners: list[Callable[[Sequence[Event]], None]] = []
        self._incident: str | None = None
        self._ended = asyncio.Event()
        self._opened = asyncio.Event()
        self._close = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()

    world: World
    app: App
    address: str = ""
    serving: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self.world = World(self.folder / "world", scrape=self.pace.scrape)
        await asyncio.to_thread(self.world.start)
        try:
            self.app = App(settings_for(self.world, self.folder, 0), on_events=self._heard)
            await self.app.start()
            await self._serve()
            self.world.alert_webhook = f"{self.address}/webhooks/alertmanager"
        except BaseException:
            await asyncio.to_thread(self.world.stop)
            raise
        return self

    async def _serve(self) -> None:
        """The page and the webhook, on a free port. Raises ``Unavailable``."""
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.serving = asyncio.create_task(
            serve_here(self.app, "127.0.0.1", 0, started=True, on_address=listening.set_result, stop=self._close)
        )
        waited: set[asyncio.Future[Any]] = {listening, self.serving}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not listening.done():
            self.serving.result()
        self.address = listening.result()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._answers:
            task.cancel()
        try:
            self._close.set()
            await self.serving
            await self.app.stop()
        finally:
            await asyncio.shield(asyncio.to_thread(self.world.stop))

    async def play(self, fault: str) -> Score:
        """One fault, from injection to users that are back, or to giving up on it."""
        self._incident = None
        self._opened.clear()
        self._ended.clear()
        before = await self._users(time.time() - BEFORE_S, time.time())
        injection = await asyncio.to_thread(inject, self.world, fault)
        handled = await self._until_handled()
        ended_at = time.time()
        if handled:
            await asyncio.sleep(self.pace.after)
        events: list[Event] = await self.app.timeline(self._incident) if self._incident else []
        users = Users(
            before.success_rate,
            (await self._users(injection.began_at, ended_at)).success_rate,
            (await self._users(ended_at, time.time())).success_rate,
        )
        return score(fault, self._injected_at(injection), events, users)

    @staticmethod
    def _injected_at(injection: Injection) -> float:
        """When it was wholly in force: a deployment takes its time, replica by replica."""
        return injection.done_at

    async def _until_handled(self) -> bool:
        try:
            await asyncio.wait_for(self._opened.wait(), NOTICED_WITHIN_S)
            await asyncio.wait_for(self._ended.wait(), HANDLED_WITHIN_S)
        except TimeoutError:
            return False
        return True

    async def clean_up(self) -> None:
        """The world as it was, between two faults."""
        await asyncio.to_thread(reset, self.world)

    async def _users(self, since: float, until: float) -> UsersView:
        return await asyncio.to_thread(self.world.users_between, since, max(until, since + 0.1))

    def _heard(self, told: Sequence[Event]) -> None:
        for event in told:
            if event.kind is EventKind.OPENED and self._incident is None:
                self._incident = event.stream_id
                self._opened.set()
            if event.stream_id == self._incident and event.kind is EventKind.RUN_ENDED:
                self._ended.set()
            if event.kind is EventKind.APPROVAL_REQUESTED:
                task = asyncio.ensure_future(self._answer(event.stream_id, event.payload["approval"]))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
        for listener in self.listeners:
            listener(told)

    async def _answer(self, incident: str, approval: str) -> None:
        known = await self.app.incident(incident)
        answer, by = await self._ask(known.approvals[approval])
        with contextlib.suppress(Conflict):  # its alert has resolved in the meantime
            await self.app.answer(approval, answer, by=by)


def faults() -> list[str]:
    """The names of the faults, in the order in which the demo plays them."""
    return list(FAULTS)
