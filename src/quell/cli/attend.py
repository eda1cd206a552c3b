"""One incident of our own App, watched to its end: events are shown as they come, approvals are answered.

Never does: carry anything out; the App does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from quell.app import App, Context
from quell.cli.answer import HOUSE, Answer, Answerer, asks_of
from quell.cli.follower import Follower
from quell.errors import Conflict, QuellError, Refused
from quell.incident.action import Asks
from quell.incident.event import Event, EventKind

LOOK_S = 1.0
"""How often to look although nothing was heard."""
TELL_WITHIN_S = 60.0
"""How long the people to page may take to be reached once the run has ended."""
_DEAD = frozenset({"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


class RunFailed(QuellError):
    """The run itself broke, which is a defect of Quell and not an outcome."""


class Attendant:
    """Attends one run until it has ended and everybody who had to be told was."""

    def __init__(self, app: App, follower: Follower, answerer: Answerer, *, by: str, dry_run: bool = False) -> None:
        self.app, self.follower, self.answerer, self.by, self.dry_run = app, follower, answerer, by, dry_run
        self.events: list[Event] = []
        self._heard = asyncio.Event()
        self._answering: dict[str, asyncio.Task[None]] = {}
        app.listeners.append(self._hear)

    def _hear(self, told: Sequence[Event]) -> None:
        self._heard.set()

    async def attend(self, context: Context) -> list[Event]:
        """Every event of the incident, in order. Raises ``RunFailed``."""
        try:
            while not await self._look(context):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._heard.wait(), LOOK_S)
                if not self._answering:
                    self.follower.status(self._doing())
        finally:
            self.app.listeners.remove(self._hear)
            for task in self._answering.values():
                task.cancel()
            await asyncio.gather(*self._answering.values(), return_exceptions=True)
            self.follower.status("")
        return self.events

    async def _look(self, context: Context) -> bool:
        """Show what is new and answer what is asked. True when it is over."""
        self._heard.clear()
        new = await self.app.timeline(context.incident, self.events[-1].seq if self.events else 0)
        self.events += new
        for event in new:
            self._withdraw(event)
            self.follower.feed([event])
            if event.kind is EventKind.APPROVAL_REQUESTED:
                if self.dry_run and asks_of(event.payload) is Asks.STEP:
                    return True  # as far as a dry run goes: the next step is a person's
                self._answering[event.payload["approval"]] = asyncio.create_task(self._answer(context, event))
        if not new and await self.app.durable.status(context.run_id) in _DEAD and not self._kinds(EventKind.RUN_ENDED):
            raise RunFailed(f"the run of {context.title!r} broke; its timeline shows how far it came")
        return self._over()

    async def _answer(self, context: Context, asked: Event) -> None:
        answer = await self.answerer.answer(asked.payload)
        with contextlib.suppress(Conflict):  # answered elsewhere; the event that says so is on its way
            if answer.answer == "taken":
                await self.app.take(context.incident, self.by, answer.reason)
            else:
                await self._say(asked.payload["approval"], answer)

    async def _say(self, approval: str, answer: Answer) -> None:
        """A yes that does not count is a no: in a run nobody else is there to give one."""
        try:
            await self.app.answer(approval, answer.answer, answer.by or self.by, answer.reason)
        except Refused as error:
            await self.app.answer(approval, "denied", HOUSE, str(error))

    def _withdraw(self, event: Event) -> None:
        """Nobody needs to answer any more."""
        if event.kind is EventKind.APPROVAL_ANSWERED:
            task = self._answering.pop(event.payload["approval"], None)
            if task is not None:
                task.cancel()

    def _kinds(self, kind: EventKind) -> list[Event]:
        return [event for event in self.events if event.kind is kind]

    def _over(self) -> bool:
        """The run has ended, and whoever it pages has been told or could not be."""
        ended = self._kinds(EventKind.RUN_ENDED)
        if not ended:
            return False
        escalated = self._kinds(EventKind.ESCALATED)
        told = {event.payload["to"] for event in self._kinds(EventKind.NOTIFIED)}
        pages = ended[-1].payload["outcome"] == "escalated"
        reached = all(to in told for event in escalated for to in event.payload.get("to", ()))
        if reached and (escalated or not pages):
            return True
        return time.time() - ended[-1].at.timestamp() > TELL_WITHIN_S

    def _doing(self) -> str:
        """What takes its time, for the passing line of a terminal."""
        if not self.events:
            return ""
        last = self.events[-1]
        since = max(0, int(time.time() - last.at.timestamp()))
        doing = {
            EventKind.VERIFICATION_STARTED: f"verifying, {since} s of at most {last.payload.get('within_s', 0):g} s",
            EventKind.ACTION_INTENDED: f"acting, {since} s",
            EventKind.RUN_QUEUED: f"waiting for its turn, {since} s",
            EventKind.RUN_ENDED: f"telling people, {since} s",
        }.get(last.kind, f"working, {since} s")
        return f"{'':>8} … {doing}" if since else ""
