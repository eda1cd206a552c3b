"""The hub: wires the house together and offers one short method per use case. Faces call it; nobody else does.

Never does: hold a rule. Rules live in intake, respond and runbook.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from pydantic import ValidationError

from quell import __version__
from quell.engine import liveness
from quell.engine.aside import aside
from quell.engine.durable import Durable
from quell.errors import InvalidInput, NotFound, Problem, Refused
from quell.incident.alert import Alert, AlertStatus
from quell.incident.event import Event, EventKind
from quell.incident.incident import Incident
from quell.intake import accept
from quell.intake.correlate import Join, Open, Resolve, in_order
from quell.intake.thresholds import SOURCE, Place, Thresholds
from quell.library import Library, State, load_library
from quell.life import Errands, Kick, stay_alive, watch
from quell.ports import SourceType, spellings
from quell.probe import World, make_client, resolve_secret
from quell.registry import Registry
from quell.respond import escalate, frame, interpreter, oblige, people
from quell.respond.begin import Beginning, begin, next_run
from quell.respond.change import Change
from quell.respond.guard import ActionWords, Guardrails
from quell.respond.means import TELL, Context, Means, NotifierChoice
from quell.runbook.lint.addresses import fault_of
from quell.runbook.plan import Plan
from quell.runbook.vocabulary import Vocabulary, nearest
from quell.settings import Settings
from quell.store import queries
from quell.store.database import Database
from quell.store.migrate import migrate
from quell.vocabulary_of import vocabulary_of

__all__ = ["App", "Context", "Receipt"]

_log = structlog.get_logger("quell")
T = TypeVar("T")
DRAIN_S = 10.0
"""How long a stop waits for actions in flight."""
CLOSE_S = 3.0
"""How long it waits then for a database that may be away: at most for the engine, for our goodbye, and to let go."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a webhook's alerts. All of it is on disk."""

    accepted: int
    incidents: tuple[str, ...]
    quarantined: tuple[str, ...] = ()


class App:
    """One process of Quell. ``start`` it inside an event loop, ``stop`` it at the end."""

    def __init__(
        self, settings: Settings, *, registry: Registry | None = None,
        on_events: Callable[[Sequence[Event]], None] | None = None,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.registry = registry or Registry()
        # Where no action is loaded, runbooks that name some are still read, diagnosed and recommended.
        words = Registry() if self.registry.observe_only else self.registry
        self.vocabulary: Vocabulary = vocabulary_of(
            words, services=settings.services or None, connections=settings.connections,
            notifiers=settings.notifiers, variables=settings.variables, scrape_s=settings.scrape_interval,
        )  # fmt: skip
        self.library = Library()
        self.listeners: list[Callable[[Sequence[Event]], None]] = [on_events] if on_events else []
        self._errands = Errands()

    # Life.

    async def start(self) -> None:
        """Open the database, launch the engine, load the runbooks. Raises ``InvalidInput``, ``Unavailable``."""
        settings = self.settings
        connections = settings.resolved_connections()
        rails = _named(settings, self.registry)
        self.database = Database(settings.database)
        self.database.prepare(migrate)
        self.executor_id = liveness.new_executor_id()
        self.durable = Durable(
            self.database.engine, steps=self.database.steps, executor_id=self.executor_id, poll_s=settings.engine.poll
        )
        self.world = World(self.registry, make_client(settings.network.allow), settings.catalogue, connections)
        self.means = Means(
            self.database, self.durable, self.world, rails=rails,
            notifiers={name: NotifierChoice(one.type, one.params) for name, one in settings.notifiers.items()},
            default_escalation=settings.escalation, base_url=settings.server.base_url, on_events=self.publish,
        )  # fmt: skip
        self.durable.workflow(interpreter.WORKFLOW, interpreter.Interpreter(self.means).run)
        self._frame = frame.Frame(self.means)
        self.durable.workflow(frame.WORKFLOW, self._frame.run)
        self.durable.workflow(oblige.WORKFLOW, oblige.Reverter(self.means).run)
        pager = escalate.Pager(self.means)
        self.durable.workflow(escalate.WORKFLOW, pager.run)
        self.durable.workflow(TELL, pager.tell)
        lease_us = int(settings.engine.lease * 1_000_000)
        await self.database.write(
            lambda c: liveness.enter(c, self.executor_id, __version__, self.database.now_us(c), lease_us)
        )
        await self.durable.launch()
        await self.reload()
        self._kick = Kick(self._errands, self.durable.kick)
        # What is loaded now lives as long as the process; walking it again cost 100 ms pauses in the middle of runs.
        gc.collect()
        gc.freeze()
        self._errands.start(stay_alive(self.means, self.executor_id, lease_us))
        self._errands.start(watch(self._thresholds(), self._plans, settings.scrape_interval))

    async def stop(self) -> None:
        """Let go cleanly: whatever waits or runs is found again at the next start."""
        await self._frame.in_flight.close(DRAIN_S)
        await self._errands.stop()
        await self.durable.shutdown()
        # Last, so that nobody takes over what still ran here.
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await self.database.write(lambda c: liveness.leave(c, self.executor_id, self.database.now_us(c)))
        await self.world.close()
        if not await aside(self.database.close, CLOSE_S):
            _log.warning("database_left_behind")

    async def reload(self) -> Library:
        """Read the runbooks again. Incidents in flight keep the Plan they started with."""
        self.library = await asyncio.to_thread(load_library, self.settings.runbook_paths, self.vocabulary)
        for entry in self.library.entries:
            if entry.state in (State.BROKEN, State.PROBLEMS):
                told = _log.error if entry.state is State.BROKEN else _log.warning
                problems = [str(problem) for problem in entry.problems if problem.severity == "error"]
                told(f"runbook_{entry.state.value}", file=entry.file, problems=problems)
        fault = fault_of(self.settings.escalation, self.vocabulary) if self.settings.escalation else None
        if fault is not None:
            _log.error("escalation_unreachable", problem=fault.message, expected=fault.expected, nearest=fault.near)
        return self.library

    def _thresholds(self) -> Thresholds:
        place = Place(self.settings.tenant, self.settings.environment, self.settings.region)
        return Thresholds(self.world, place, self._fires, lambda alerts: self.take_in(SOURCE, alerts))

    def _plans(self) -> Iterable[Plan]:
        """Those of the library as it is now: a reload puts another in its place."""
        return self.library.plans.values()

    async def _fires(self, alert: str) -> bool:
        known = await self.database.read(lambda c: queries.alert_of(c, alert))
        return known is not None and known.status is AlertStatus.FIRING

    def publish(self, told: Sequence[Event]) -> None:
        """Tell whoever shows incidents live. Called in the event loop."""
        for listener in list(self.listeners):
            try:
                contextvars.Context().run(listener, told)  # not in the context of the workflow that told it
            except Exception as error:  # what is on disk is on disk, whoever cannot show it
                _log.error("listener_failed", error=f"{type(error).__name__}: {error}")

    async def _commit(self, work: Callable[[Change], T]) -> T:
        """A transaction, then what it asked for afterwards."""

        def run(connection: sa.Connection) -> tuple[Change, T]:
            change = Change(self.means, connection)
            return change, work(change)

        change, result = await self.database.write(run)
        self.publish(change.told)
        for after in change.after:
            self._errands.start(after())
        self._kick()
        return result

    # Alerts.

    async def receive(self, source: str, headers: Mapping[str, str], body: bytes) -> Receipt:
        """A webhook. Raises ``NotFound`` (source), ``Refused`` (signature), ``InvalidInput``, ``Unavailable``."""
        kind, params = self._source(source)
        if refused := kind.verify(headers, body, params):
            raise Refused("signature", refused)
        alerts, bad = kind.parse(body, headers, params, datetime.now(UTC))
        return await self.take_in(source, [self._located(alert) for alert in alerts], bad)

    def _source(self, source: str) -> tuple[SourceType, Any]:
        configured = self.settings.sources.get(source)
        kind = self.registry.source(configured.type or source if configured else source)
        try:
            return kind, kind.params.model_validate(configured.params if configured else {})
        except ValidationError as error:
            raise InvalidInput([Problem(str(error), "settings", path=f"sources.{source}")]) from None

    def guards_itself(self, source: str) -> bool:
        """Whether that webhook asks for credentials of its own: it refuses a request that has none."""
        try:
            kind, params = self._source(source)
        except (NotFound, InvalidInput):
            return False
        return kind.verify({}, b"", params) is not None

    def _located(self, alert: Alert) -> Alert:
        """An alert that names no environment or region is of ours."""
        settings = self.settings
        return alert.model_copy(
            update={"environment": alert.environment or settings.environment, "region": alert.region or settings.region}
        )

    async def take_in(self, source: str, alerts: Sequence[Alert], bad: Sequence[tuple[str, Any]] = ()) -> Receipt:
        """Alerts onto disk, and what follows from them, all in one transaction."""

        def work(change: Change) -> list[str | None]:
            accept.in_turn(change.connection, self.settings.tenant)
            incidents = [self._place(change, alert) for alert in in_order(alerts)]
            accept.set_aside(change.connection, self.settings.tenant, source, bad)
            return incidents

        incidents = [one for one in await self._commit(work) if one is not None]
        return Receipt(len(alerts), tuple(dict.fromkeys(incidents)), tuple(reason for reason, _ in bad))

    def _place(self, change: Change, alert: Alert) -> str | None:
        services, plans = list(self.world.services.values()), self.library.plans.values()
        placed = accept.place(change.connection, alert, services, plans)
        incident: str | None = None
        match placed.meaning:
            case Open():
                context, told = begin(self.means, change.connection, _beginning(placed))
                incident = context.incident
                change.told += told
            case Join(incident=incident) as join:
                _joined(change, placed, join)
            case Resolve(incident=incident) as resolved:
                _resolved(change, placed, resolved)
        accept.belongs(change.connection, placed, incident)
        return incident

    # Incidents by hand.

    async def trigger(
        self, runbook: str | Plan, *, service: str | None = None, alert_name: str = "", variables: Any = None,
        actor: str = "api", mode: str | None = None,
    ) -> Context:  # fmt: skip
        """Start a runbook now. Raises ``NotFound`` (runbook, service) with the nearest name."""
        plan = runbook if isinstance(runbook, Plan) else self.library.plan(runbook)
        if service is not None and service not in (plan.service, *self.world.services):
            raise NotFound("service", service, nearest(service, self.world.services))
        settings = self.settings
        beginning = Beginning(
            title=plan.name, severity=plan.severity, tenant=settings.tenant, environment=settings.environment,
            region=settings.region, service=service or plan.service, service_why="named by the runbook", plan=plan,
            why=f"started by {actor}" + (f" for {alert_name}" if alert_name else ""), variables=variables, mode=mode,
            source="manual", actor=actor,
        )  # fmt: skip

        def work(change: Change) -> Context:
            context, told = begin(self.means, change.connection, beginning)
            change.told += told
            return context

        return await self._commit(work)

    async def incidents(
        self, *, limit: int = 50, status: str | None = None, ended: bool | None = None
    ) -> list[Incident]:
        """Newest first; ``ended``: only those that have, or only those that have not."""
        tenant = self.settings.tenant
        return await self.database.read(
            lambda c: queries.recent_incidents(c, tenant, limit=limit, status=status, ended=ended)
        )

    async def incident(self, incident: str) -> Incident:
        """Raises ``NotFound``. A unique beginning of the id is enough."""
        return await self.database.read(lambda c: queries.incident(c, incident))

    async def timeline(self, incident: str, after: int = 0) -> list[Event]:
        known = await self.incident(incident)
        return await self.database.read(lambda c: queries.timeline(c, known.tenant, known.id, after))

    async def plan_of(self, incident: Incident) -> Plan | None:
        """The Plan its run carries out."""
        return await self.means.plan(incident.plan) if incident.plan else None

    async def alerts(self, limit: int = 100) -> list[dict[str, Any]]:
        return await self.database.read(lambda c: queries.recent_alerts(c, self.settings.tenant, limit))

    async def quarantine(self, limit: int = 100) -> list[dict[str, Any]]:
        return await self.database.read(lambda c: queries.quarantined(c, self.settings.tenant, limit))

    # People.

    async def answer(self, approval: str, answer: str, by: str, reason: str = "") -> dict[str, Any]:
        """Approve or deny; ``approval`` is its id, its hash, or the incident when only one waits.

        Raises ``NotFound``, and ``Conflict`` with the winner when somebody was faster.
        """
        return await self._commit(lambda change: people.answer(change, approval, answer, by, reason))

    async def take(self, incident: str, by: str, reason: str = "") -> Incident:
        """A person takes over: no new action of this incident starts; approvals that wait are withdrawn."""
        return await self.incident(await self._commit(lambda change: people.take(change, incident, by, reason)))

    async def give_back(self, incident: str, by: str, reason: str = "") -> Incident:
        return await self.incident(await self._commit(lambda change: people.give_back(change, incident, by, reason)))

    async def acknowledge(self, incident: str, by: str) -> Incident:
        """Somebody is on it: the secondary is not paged."""
        return await self.incident(await self._commit(lambda change: people.acknowledge(change, incident, by)))

    async def resolve(self, incident: str, by: str, reason: str = "") -> Incident:
        """By hand."""
        return await self.incident(await self._commit(lambda change: people.resolve(change, incident, by, reason)))

    async def changed(self, after: int | None) -> tuple[int, set[str]]:
        """The newest event's id, and the incidents that any process wrote to after the event ``after``."""

        def look(connection: sa.Connection) -> tuple[int, set[str]]:
            if after is None:
                return queries.newest_event_id(connection), set()
            found = queries.changed_since(connection, after)
            return max((row[0] for row in found), default=after), {row[2] for row in found}

        return await self.database.read(look)

    def server_token(self) -> str | None:
        """What a client of the server must show. Raises ``Permanent`` when the reference leads nowhere."""
        return resolve_secret(self.settings.server.token) if self.settings.server.token else None


def _named(settings: Settings, registry: Registry) -> Guardrails:
    """The guardrails under the actions' own names; only those that are named are loaded."""
    known = Registry() if registry.observe_only else registry
    words = {name: _words(known, name) for name in settings.guardrails.actions}
    return settings.guardrails.named_by({name: own for name, own in words.items() if own}, list(known.actions))


def _words(registry: Registry, name: str) -> ActionWords | None:
    try:
        kind = registry.action(name)
    except NotFound:
        return None
    names = spellings(kind.params)
    return ActionWords(kind.name, names, open=bool({"identifiers", "params"} & set(names)))


def _beginning(placed: accept.Placed) -> Beginning:
    alert, plan = placed.alert, placed.route.plan
    severity = alert.severity.value if alert.severity else plan.severity if plan else "P3"
    return Beginning(
        title=alert.summary[:300], severity=severity, tenant=alert.tenant, environment=alert.environment,
        region=alert.region, service=placed.service, service_why=placed.service_why, plan=plan, why=placed.route.why,
        alert=alert, alert_id=placed.id, group_key=placed.group_key, source=alert.source,
    )  # fmt: skip


def _joined(change: Change, placed: accept.Placed, join: Join) -> None:
    change.tell_alert(join.incident, EventKind.ALERT_JOINED, placed.id, placed.alert, join.reason)
    if join.again:
        known, why = change.incident(join.incident), f"alert {placed.alert.name!r} fires, and no run looks after it"
        change.told += next_run(change.means, change.connection, known, placed.alert, why)


def _resolved(change: Change, placed: accept.Placed, resolved: Resolve) -> None:
    change.tell_alert(resolved.incident, EventKind.ALERT_RESOLVED, placed.id, placed.alert, resolved.reason)
    if resolved.closes:
        reason = {"reason": "every alert has resolved", "by": "quell"}
        change.tell(resolved.incident, EventKind.RESOLVED, reason)
    elif resolved.unasked:
        change.withdraw(resolved.incident, "the alert resolved by itself")
