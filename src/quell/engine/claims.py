"""Which workflows run in this process, by the claim they run under: one execution of each at a time.

The database says who has claimed a workflow; whether anything still runs under that claim only the process knows. A
claim that nothing runs under is *given back*, and then nothing may begin under it any more, however late it comes.
An execution whose claim is somebody else's by now is *astray*: it ends, or whoever has the claim, here too, would wait
for it. All of it happens in the event loop, between two awaits: looking and marking are one. Never does: ask the
database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Mapping


class GivenBack(Exception):
    """The claim was given back before anything began under it: whoever has the next one carries the workflow out."""


class Fenced(Exception):
    """Somebody else has the work by now, since this process was silent for too long: it must not act any more."""


class _Execution:
    """``over`` is set when it has ended."""

    def __init__(self, claim: str | None) -> None:
        self.claim, self.over, self.task = claim, asyncio.Event(), asyncio.current_task()


class Claims:
    """Of one process."""

    def __init__(self) -> None:
        self._running: dict[str, _Execution] = {}
        self._missing: Mapping[str, str | None] = {}
        self._given_back: set[tuple[str, str | None]] = set()

    @contextlib.asynccontextmanager
    async def held(self, workflow_id: str, claim: str | None) -> AsyncIterator[None]:
        """Around one execution. Waits while another one of the same workflow runs here. Raises ``GivenBack``.

        The other one runs under a claim that is lost: it ends when it wants to keep something.
        """
        while (other := self._running.get(workflow_id)) is not None:
            await other.over.wait()
        if (workflow_id, claim) in self._given_back:
            raise GivenBack(workflow_id)
        mine = self._running[workflow_id] = _Execution(claim)
        try:
            yield
        finally:
            del self._running[workflow_id]
            mine.over.set()

    def running(self) -> dict[str, str | None]:
        """What runs here now, each with the claim that it runs under."""
        return {workflow_id: one.claim for workflow_id, one in self._running.items()}

    def end_astray(
        self, running: Mapping[str, str | None], claimed: Mapping[str, str | None], spares: Callable[[str], bool]
    ) -> list[str]:
        """End what ran here when it was ``running`` and is not ``claimed``, asked later, under that claim any more.

        A claim is in the database before anything runs under it, so what is not there has been taken over. ``spares``:
        what is not to be cut off in the middle; it ends by itself.
        """
        astray = [
            workflow_id
            for workflow_id, claim in running.items()
            if (workflow_id, claim) not in claimed.items() and not spares(workflow_id)
        ]
        ended = []
        for workflow_id in astray:
            one = self._running.get(workflow_id)
            if one is not None and one.claim == running[workflow_id] and one.task is not None:
                one.task.cancel()
                ended.append(workflow_id)
        return ended

    async def end(self, claims: Mapping[str, str | None]) -> None:
        """End what runs here under these claims, and wait until it has: it is nobody's by now."""
        running = [(self._running.get(name), claim) for name, claim in claims.items()]
        ending = [one for one, claim in running if one is not None and one.claim == claim]
        for one in ending:
            if one.task is not None:
                one.task.cancel()
        for one in ending:
            await one.over.wait()

    def lost(self, claimed: Mapping[str, str | None], active: Collection[str]) -> dict[str, str | None]:
        """What nothing runs under, of what is ``claimed`` for this process: from now on nothing will.

        ``active`` are those whose execution is about to begin or to be kept. A claim is lost when it was idle at the
        look before, too: what was claimed a moment ago is still on its way.
        """
        begun = frozenset(active)  # as a list, thousands that wait would hold up the event loop
        idle = {
            workflow_id: claim
            for workflow_id, claim in claimed.items()
            if workflow_id not in begun and workflow_id not in self._running
        }
        before, self._missing = self._missing, idle
        lost = {one: claim for one, claim in idle.items() if one in before and before[one] == claim}
        self._given_back.update(lost.items())
        return lost
