"""Incidents as they are, played once each by the App itself: what `bench.stored` copies under other names and times.

Each of them has two alerts, so that a copy may have one or hundreds: whatever tells of the second is told of each more.
Never does: measure.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.loop import DONE, BenchRegistry
from quell.app import App, Kind
from quell.incident.incident import Incident
from quell.incident.matcher import parse_matchers
from quell.intake.silencing import Wanted
from quell.settings import parse_settings
from quell.store.schema import alerts, events, incidents, metadata, plans, streams

STARTED = "2026-01-01T00:00:00"
"""When every alert of the models began, by its source."""
WITHIN_S = 20.0
APART = frozenset({streams, events, incidents, alerts, plans})
"""Tables whose rows are made anew or shared; of all others an incident's rows are copied as they are."""
WORKFLOWS = ("workflow_status", "operation_outputs")
"""The durable library's own, with what a run leaves there for as long as its incident is kept."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table that belong to an incident."""

    table: sa.Table
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Model:
    """An incident as it was played. ``alerts``: the rows of the first alert and of the second; ``told``: the logs of
    the incident and of the two. Without an incident: of alerts that led to none."""

    name: str
    incident: dict[str, Any] | None
    alerts: tuple[dict[str, Any], dict[str, Any]]
    told: tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]
    others: tuple[Rows, ...]

    @property
    def service(self) -> str:
        return service_of(self.name)


def service_of(model: str) -> str:
    return f"service-of-{model}"


def runbook(name: str, fix: str) -> str:
    """Five checks, a decision, an action, and a look whether it helped."""
    checks = "\n".join(
        f"- {{id: c{i}, type: noop, interpret: {{healthy: value == 0, critical: value > 0}}}}" for i in range(5)
    )
    return f"""
id: book-{name}
name: Repair of {name}
service: {service_of(name)}
triggers: [{{type: alert, labels: {{service: {service_of(name)}}}}}]
diagnostics:
{checks}
decision_tree: [{{condition: c0.critical, then: [fix]}}]
remediations: [{{id: fix, type: automated, {fix}action: {{type: noop}}}}]
verify: {{signals: [c1], stable_for: 0s, within: 5s}}
escalation: {{primary: 'log:'}}
"""


BOOKS = {"repaired": "", "asked": "requires_approval: true, ", "waits": "requires_approval: true, "}
PLAYED = ("repaired", "asked", "waits", "passed", "taken", "paged", "quiet")
OPEN = ("waits", "paged")


def play(folder: Path) -> list[Model]:
    """All of them, in a database of their own."""
    return asyncio.run(_play(folder))


async def _play(folder: Path) -> list[Model]:
    book = folder / "book"
    book.mkdir()
    for name, fix in BOOKS.items():
        (book / f"{name}.yaml").write_text(runbook(name, fix))
    services = ", ".join(f"{service_of(name)}: {{}}" for name in PLAYED)
    settings = parse_settings(f"services: {{{services}}}\ncorrelation: {{by: [service]}}\n", "bench", folder)
    settings = settings.model_copy(update={"database": str(folder / "played.db"), "runbooks": (str(book),)})
    app = App(settings, registry=BenchRegistry(), kind=Kind.RUN)
    await app.start()
    try:
        return [await Player(app, name).play() for name in PLAYED]
    finally:
        await app.stop()


def fingerprint(model: str, number: int) -> str:
    """One that nothing else has in it."""
    return f"{number}{PLAYED.index(model)}" * 8


class Player:
    """One incident from its alerts to its end, as far as it comes."""

    def __init__(self, app: App, name: str) -> None:
        self._app, self._name = app, name
        self._incident = ""

    async def play(self) -> Model:
        DONE.clear()
        await {"repaired": self._repaired, "asked": self._asked, "waits": self._waits, "passed": self._passed,
               "taken": self._taken, "paged": self._paged, "quiet": self._quiet}[self._name]()  # fmt: skip
        return await self._app.database.read(self._model)

    # What happens.

    async def _repaired(self) -> None:
        await self._fires()
        await self._until(lambda now: now.outcome is not None)
        await self._ends()

    async def _asked(self) -> None:
        await self._waits()
        await self._app.answer(self._incident, "approved", "ann", "go on")
        await self._until(lambda now: now.outcome is not None)
        await self._ends()

    async def _waits(self) -> None:
        await self._fires()
        await self._until(lambda now: bool(now.waiting))

    async def _passed(self) -> None:
        await self._paged()
        await self._ends()

    async def _paged(self) -> None:
        await self._fires()
        await self._until(lambda now: bool(now.escalated_to))

    async def _taken(self) -> None:
        """Its alerts go on: nobody has told their source."""
        await self._paged()
        one = self._incident
        deeds: list[Awaitable[Incident]] = [
            self._app.acknowledge(one, "ann"), self._app.take(one, "ann", "I have seen this before"),
            self._app.step(one, "ann", "the disk was full; old logs are gone", "done"),
            self._app.resolve(one, "ann", "there is room again"), self._app.close(one, "bob", "written up"),
        ]  # fmt: skip
        for deed in deeds:
            await deed

    async def _quiet(self) -> None:
        now = datetime.now(UTC)
        matchers = parse_matchers(f"service={service_of(self._name)}")
        await self._app.alerting.silence(Wanted(matchers, now, now + timedelta(hours=1), "ann", "it is known"))
        await self._post("firing")
        await self._post("resolved")

    # How.

    async def _fires(self) -> None:
        self._incident = (await self._post("firing")).incidents[0]

    async def _ends(self) -> None:
        await self._post("resolved")

    async def _post(self, status: str) -> Any:
        said = [alert(self._name, number, status) for number in (0, 1)]
        return await self._app.receive("alertmanager", {}, webhook(said))

    async def _until(self, holds: Callable[[Incident], bool]) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not holds(now := await self._app.incident(self._incident)):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._name} stays {now.status}")
            await asyncio.sleep(0.02)

    # What is left of it.

    def _model(self, connection: sa.Connection) -> Model:
        def rows(table: sa.Table, *where: Any) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(sa.select(table).where(*where)).mappings()]

        of = [rows(alerts, alerts.c.fingerprint == fingerprint(self._name, number))[0] for number in (0, 1)]
        log = [
            rows(events, events.c.stream_id == one) for one in (self._incident, *(alert["id"] for alert in of))
        ]  # fmt: skip
        known = rows(incidents, incidents.c.id == self._incident)
        theirs = sa.MetaData()
        theirs.reflect(connection, only=WORKFLOWS)
        tables = [*(set(metadata.tables.values()) - APART), *theirs.tables.values()] if known else []
        others = [Rows(table, tuple(one for one in rows(table) if self._tells(one))) for table in tables]
        return Model(
            self._name, known[0] if known else None, (of[0], of[1]), (log[0], log[1], log[2]),
            tuple(one for one in others if one.rows),
        )  # fmt: skip

    def _tells(self, row: dict[str, Any]) -> bool:
        return any(isinstance(value, str) and self._incident in value for value in row.values())


def alert(model: str, number: int, status: str) -> dict[str, Any]:
    """As an Alertmanager posts it."""
    service = service_of(model)
    labels = {"alertname": f"Alert{number}Of-{model}", "service": service, "severity": "error", "cluster": "eu-1",
              "instance": f"10.1.2.3:{9100 + number}", "job": f"{service}-exporter", "namespace": "shop"}  # fmt: skip
    said = {"summary": f"Alert{number}Of-{model} on {service}: 5xx at 12.5 % of requests for 5 minutes",
            "description": "More than 10 % of requests have failed for 5 minutes; customers see it.",
            "runbook_url": f"https://runbooks.example.com/{service}"}  # fmt: skip
    return {"status": status, "labels": labels, "annotations": said, "startsAt": f"{STARTED}Z",
            "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-01-01T00:20:00Z",
            "generatorURL": f"https://prometheus.example.com/graph?g0.expr={service}",
            "fingerprint": fingerprint(model, number)}  # fmt: skip


def webhook(said: list[dict[str, Any]]) -> bytes:
    return json.dumps(
        {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "quell", "groupLabels": {},
         "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": said}
    ).encode()  # fmt: skip
