"""All checks of a Plan, side by side as their needs allow. One step of the run, however many checks there are.

What each found is in the log as soon as it is known, what ends together in one transaction. A step that runs again
after a crash reads the log and asks only what is not there: a check changes nothing, so asking twice is no harm.
Never does: judge one (``look`` does), decide what follows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.finding import Finding, Health
from quell.respond.look import look
from quell.respond.means import Means
from quell.respond.state import Run
from quell.runbook.plan import Check
from quell.store import events, folds


async def diagnose(means: Means, run: Run) -> dict[str, Any]:
    """Every check's finding of this visit as JSON, in the order of the Plan."""
    diagnosis = Diagnosis(means, run)
    await diagnosis.go()
    return {name: diagnosis.found[name].model_dump(mode="json") for name in diagnosis.checks if name in diagnosis.found}


class Diagnosis:
    """One visit of all checks while it runs."""

    def __init__(self, means: Means, run: Run) -> None:
        self.means, self.run = means, run
        self.checks = {check.id: check for check in run.plan.checks}
        self._needs = {name: [e.source for e in run.plan.edges if e.target == name] for name in self.checks}
        self.found: dict[str, Finding] = {}
        self._asked: dict[asyncio.Task[Finding], str] = {}
        self._telling: asyncio.Task[None] | None = None
        self._untold: list[str] = []

    async def go(self) -> None:
        self.found = await self._told()
        try:
            while self._ask():
                # What is being written at this moment holds up no check: both are waited for.
                writing = [self._telling] if self._telling else []
                await asyncio.wait([*self._asked, *writing], return_when=asyncio.FIRST_COMPLETED)
                self._collect()
            if self._telling is not None:
                await self._telling
            await self._tell()
        finally:
            for task in (*self._asked, *([self._telling] if self._telling else [])):
                task.cancel()

    def _ask(self) -> bool:
        """Ask whatever can be asked now. False when everything has ended."""
        busy = {*self.found, *self._asked.values()}
        self._asked |= {asyncio.create_task(self._look(check)): check.id for check in self._ready(busy)}
        return bool(self._asked)

    def _collect(self) -> None:
        """What has ended, to be written as soon as nothing else is."""
        for task in [task for task in self._asked if task.done()]:
            name = self._asked.pop(task)
            self.found[name] = task.result()
            self._untold.append(name)
        if self._telling is not None and self._telling.done():
            self._telling.result()
            self._telling = None
        if self._telling is None and self._untold:
            self._telling = asyncio.create_task(self._tell())

    def _ready(self, busy: Iterable[str]) -> list[Check]:
        """Whose needs are all found, and which are not asked yet."""
        return [
            check for name, check in self.checks.items()
            if name not in busy and all(source in self.found for source in self._needs[name])
        ]  # fmt: skip

    async def _look(self, check: Check) -> Finding:
        run = self.run
        seen = Run(run.context, run.plan, findings={**run.findings, **self.found}, outcomes=run.outcomes)
        shapes = self.means.shapes(run.context)
        return await look(self.means.world, run.plan, check, seen.environment(), self._key(check.id), shapes)

    def _key(self, check: str) -> str:
        return f"{self.run.context.run_id}/{check}/{self.run.visit}/"

    async def _told(self) -> dict[str, Finding]:
        """What the log knows of this visit."""
        context = self.run.context
        keys = {f"{self._key(name)}/found": name for name in self.checks}
        fold = folds.of(context.incident)
        if fold is not None and fold.lacks(frozenset(keys)):
            return {}  # written by us so far, and none of these: should another have been here, we only ask again
        told = await self.means.database.glance(
            lambda c: events.by_key(c, context.tenant, Stream.INCIDENT, context.incident, keys)
        )
        return {keys[key]: Finding.model_validate(event.payload["finding"]) for key, event in told.items()}

    async def _tell(self) -> None:
        """All that has ended since the last time, in one transaction."""
        names, self._untold = self._untold, []
        if names:
            await self.means.record(self.run.context, *(self._event(name) for name in names))

    def _event(self, name: str) -> NewEvent:
        key = self._key(name)
        payload = {"finding": self.found[name].model_dump(mode="json"), "visit": self.run.visit}
        return NewEvent(kind=EventKind.CHECK_FINISHED, payload=payload, node=key, key=f"{key}/found")


def overall(findings: Mapping[str, Finding]) -> Health:
    """The worst of what the checks found: critical, then warning, then not knowing; healthy only when all are.

    Where nothing was asked, nothing is known.
    """
    if not findings:
        return Health.NO_DATA
    statuses = [finding.status for finding in findings.values()]
    for status in (Health.CRITICAL, Health.WARNING, Health.ERROR, Health.NO_DATA):
        if status in statuses:
            return status
    return Health.HEALTHY
