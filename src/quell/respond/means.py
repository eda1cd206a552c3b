"""What the stages work with: the database, the engine, the world, the rules. Made once, by ``app``.

Never does: a stage's work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from quell.engine.durable import Durable
from quell.incident.alert import Alert
from quell.incident.event import Event, NewEvent, Stream
from quell.incident.incident import Incident
from quell.probe import World
from quell.respond.concurrency import Shares
from quell.respond.rails import Guardrails
from quell.respond.shapes import Shape
from quell.runbook.plan import HANDS_OFF, Plan
from quell.store import events, queries
from quell.store.database import Database

TELL = "tell"
"""The workflow that gives a message to whoever a runbook's escalation names first."""


class Context(BaseModel):
    """What a run is about; small, JSON, part of every workflow's request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    incident: str
    tenant: str = "default"
    environment: str = ""
    region: str = ""
    run: int = 1
    plan: str = ""
    mode: str = "auto"
    title: str = ""
    severity: str = "P3"
    service: str | None = None
    alert: Alert | None = None
    variables: dict[str, Any] = Field(default_factory=dict)
    limited: bool = Field(default=False, exclude_if=lambda limited: not limited)
    """Whether a limit counts it. Left out where none does: a process of the version before reads it then."""

    @property
    def run_id(self) -> str:
        return f"run:{self.incident}.{self.run}"

    @property
    def hands_off(self) -> bool:
        """Whether nothing is changed, asked of anybody as a step, or waited for: it is only said what would be."""
        return self.mode in HANDS_OFF

    @property
    def rehearsed(self) -> bool:
        """A dry run that somebody asked for: there is no alert, and nobody to page. One that goes on with an incident
        is none."""
        return self.mode == "dry_run" and self.alert is None and self.run == 1

    @property
    def view(self) -> dict[str, Any]:
        """The incident as conditions and templates read it."""
        return {
            "id": self.incident, "severity": self.severity, "service": self.service or "", "title": self.title,
            "run": self.run,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class NotifierChoice:
    """A configured notifier: its plug-in and that plug-in's parameters."""

    type: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScheduleChoice:
    """A configured schedule: its plug-in and that plug-in's parameters."""

    type: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Means:
    """Everything a stage may use."""

    database: Database
    durable: Durable
    world: World
    rails: Guardrails = Guardrails()
    environment: str = ""
    notifiers: Mapping[str, NotifierChoice] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    schedules: Mapping[str, ScheduleChoice] = field(default_factory=dict)
    default_escalation: str = ""
    base_url: str = ""
    on_events: Callable[[Sequence[Event]], None] = lambda events: None
    plans: dict[str, Plan] = field(default_factory=dict)
    shares: Shares | None = None
    turn_free: asyncio.Event = field(default_factory=asyncio.Event)
    """Set in the event loop when the turn of a run that waits may have come."""

    async def record(self, context: Context, *new: NewEvent) -> list[Event]:
        """Append to the incident's log; a repeated key appends once."""
        return await self.transact(context, lambda connection: None, *new)

    async def conclude(self, context: Context, *new: NewEvent) -> None:
        """As ``record``, by a step that does nothing after it: where it can be, in one transaction with its answer."""
        if not self.durable.ends_with(lambda connection: self.append(connection, context, new), self.on_events):
            await self.record(context, *new)

    async def transact(self, context: Context, work: Callable[[sa.Connection], Any], *new: NewEvent) -> list[Event]:
        """Do ``work`` and append, together or not at all."""

        def both(connection: sa.Connection) -> list[Event]:
            work(connection)
            return self.append(connection, context, new)

        told = await self.database.write(both)
        self.on_events(told)
        return told

    def append(self, connection: sa.Connection, context: Context, new: Sequence[NewEvent]) -> list[Event]:
        return events.append(
            connection, context.tenant, Stream.INCIDENT, context.incident, new,
            place=(context.environment, context.region),
        )  # fmt: skip

    def environment_of(self, service: str | None) -> str:
        """Where a service runs, by the catalogue, else this installation's. Never what an alert says of itself: the
        limits of another environment may be wider."""
        known = self.world.services.get(service or "")
        return known.environment if known and known.environment else self.environment

    def shapes(self, context: Context) -> Sequence[Shape] | None:
        """What commands the checks of an incident may run; None: any."""
        return self.rails.of(context.tenant, self.environment_of(context.service)).commands

    async def incident(self, context: Context) -> Incident:
        return await self.database.glance(lambda connection: queries.incident(connection, context.incident))

    async def plan(self, digest: str) -> Plan:
        """The stored Plan; kept, since a hash never changes its meaning."""
        if digest not in self.plans:
            self.plans[digest] = await self.database.read(lambda connection: queries.plan(connection, digest))
        return self.plans[digest]
