"""The hub: wires the house together and offers one short method per use case. Faces call it; nobody else does.

Never does: hold a rule. Rules live in intake, respond and runbook.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from pydantic import ValidationError

from quell import __version__
from quell.engine import liveness
from quell.engine.durable import Durable
from quell.errors import Conflict, InvalidInput, NotFound, Problem, Refused
from quell.incident.alert import Alert, AlertStatus
from quell.incident.event import Event, EventKind, NewEvent
from quell.incident.incident import Incident
from quell.intake import accept
from quell.intake.correlate import Join, Open, Resolve
from quell.intake.thresholds import SOURCE, Place, Thresholds
from quell.library import Library, load_library
from quell.ports import SourceType
from quell.probe import World, make_client, resolve_secret
from quell.registry import Registry
from quell.respond import approve, escalate, frame, interpreter
from quell.respond.begin import Beginning, begin
from quell.respond.means import Context, Means, NotifierChoice
from quell.runbook.plan import Plan
from quell.runbook.vocabulary import Vocabulary
from quell.settings import Settings
from quell.store import queries
from quell.store.database import Database, now_us
from quell.store.migrate import migrate
from quell.vocabulary_of import vocabulary_of

__all__ = ["App", "Context", "Receipt"]

_log = structlog.get_logger("quell")
After = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a webhook's alerts. All of it is on disk."""

    accepted: int
    incidents: tuple[str, ...]
    quarantined: tuple[str, ...] = ()


@dataclass(slots=True)
class _Effects:
    """What a transaction leaves to do once it is committed."""

    told: list[Event] = field(default_factory=list)
    after: list[After] = field(default_factory=list)
    incidents: list[str] = field(default_factory=list)


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
            variables=settings.variables, scrape_s=settings.scrape_interval,
        )  # fmt: skip
        self.library = Library()
        self.listeners: list[Callable[[Sequence[Event]], None]] = [on_events] if on_events else []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._kicked = False

    # Life.

    async def start(self) -> None:
        """Open the database, launch the engine, load the runbooks. Raises ``InvalidInput``, ``Unavailable``."""
        settings = self.settings
        connections = settings.resolved_connections()
        self.database = Database(settings.database)
        migrate(self.database.engine)
        self.executor_id = liveness.new_executor_id()
        self.durable = Durable(self.database.engine, executor_id=self.executor_id, poll_s=settings.engine.poll)
        self.world = World(self.registry, make_client(settings.network.allow), settings.catalogue, connections)
        self.means = Means(
            self.database, self.durable, self.world, rails=settings.guardrails,
            notifiers={name: NotifierChoice(one.type, one.params) for name, one in settings.notifiers.items()},
            default_escalation=settings.escalation, base_url=settings.server.base_url, on_events=self.publish,
        )  # fmt: skip
        self.durable.workflow(interpreter.WORKFLOW, interpreter.Interpreter(self.means).run)
        self.durable.workflow(frame.WORKFLOW, frame.Frame(self.means).run)
        self.durable.workflow(escalate.WORKFLOW, escalate.Pager(self.means).run)
        lease_us = int(settings.engine.lease * 1_000_000)
        await self.database.write(
            lambda c: liveness.enter(c, self.executor_id, __version__, self.database.now_us(c), lease_us)
        )
        await self.durable.launch()
        self.reload()
        self._spawn(self._live(lease_us))
        self._spawn(self._watch_thresholds())

    async def stop(self) -> None:
        """Let go cleanly: whatever waits or runs is found again at the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self.database.write(lambda c: liveness.leave(c, self.executor_id, self.database.now_us(c)))
        await self.durable.shutdown()
        await self.world.close()
        self.database.close()

    def reload(self) -> Library:
        """Read the runbooks again. Incidents in flight keep the Plan they started with."""
        self.library = load_library(self.settings.runbook_paths, self.vocabulary)
        for broken in self.library.broken:
            _log.error("runbook_broken", file=broken.file, problems=[str(problem) for problem in broken.problems])
        return self.library

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[Any]) -> None:
        """Nobody waits for these: what goes wrong in one is at least said."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("background_failed", error=f"{type(error).__name__}: {error}")

    async def _live(self, lease_us: int) -> None:
        """Keep our lease, and take over from whoever lost theirs."""
        while True:
            try:
                dead = await self.database.write(lambda c: self._beat(c, lease_us))
                for executor in dead:
                    found = await asyncio.to_thread(self.durable.recover, executor)
                    _log.warning("executor_lost", executor=executor, recovered=found)
                await approve.tell_untold(self.means)
            except Exception as error:  # the next beat tries again; a database that is away comes back
                _log.error("heartbeat_failed", error=str(error))
            await asyncio.sleep(lease_us / 3_000_000)

    async def _watch_thresholds(self) -> None:
        """Ask the metrics that runbooks watch themselves."""
        settings = self.settings
        place = Place(settings.tenant, settings.environment, settings.region)
        thresholds = Thresholds(self.world, place, self._fires, lambda alerts: self.take_in(SOURCE, alerts))
        while True:
            try:
                await thresholds.look(list(self.library.plans.values()))
            except Exception as error:  # the next look tries again
                _log.error("thresholds_failed", error=str(error))
            await asyncio.sleep(max(0.2, settings.scrape_interval))

    async def _fires(self, alert: str) -> bool:
        known = await self.database.read(lambda c: queries.alert_of(c, alert))
        return known is not None and known.status is AlertStatus.FIRING

    def _beat(self, connection: sa.Connection, lease_us: int) -> list[str]:
        clock = self.database.now_us(connection)
        if not liveness.beat(connection, self.executor_id, clock, lease_us):
            _log.error("lease_lost", executor=self.executor_id)
        return liveness.claim_dead(connection, clock)

    def publish(self, told: Sequence[Event]) -> None:
        """Tell whoever shows incidents live. Called in the event loop."""
        for listener in list(self.listeners):
            listener(told)

    async def _commit(self, work: Callable[[sa.Connection, _Effects], Any]) -> _Effects:
        """A transaction, then what it asked for afterwards."""

        def run(connection: sa.Connection) -> _Effects:
            effects = _Effects()
            work(connection, effects)
            return effects

        effects = await self.database.write(run)
        self.publish(effects.told)
        for after in effects.after:
            self._spawn(after())
        self._kick()
        return effects

    def _kick(self) -> None:
        """Start what was enqueued, now, once however many asked."""
        if not self._kicked:
            self._kicked = True
            self._spawn(self._kick_soon())

    async def _kick_soon(self) -> None:
        await asyncio.sleep(0)
        self._kicked = False
        await self.durable.kick()

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

        def work(connection: sa.Connection, effects: _Effects) -> None:
            for alert in alerts:
                self._place(connection, alert, effects)
            accept.set_aside(connection, self.settings.tenant, source, bad)

        effects = await self._commit(work)
        return Receipt(len(alerts), tuple(dict.fromkeys(effects.incidents)), tuple(reason for reason, _ in bad))

    def _place(self, connection: sa.Connection, alert: Alert, effects: _Effects) -> None:
        placed = accept.place(connection, alert, list(self.world.services.values()), self.library.plans.values())
        incident: str | None = None
        match placed.meaning:
            case Open():
                context, told = begin(self.means, connection, _beginning(placed))
                incident = context.incident
                effects.told += told
            case Join(incident=incident, reason=why):
                self._tell(connection, effects, incident, EventKind.ALERT_JOINED, {"alert": placed.id, "why": why})
            case Resolve() as resolved:
                incident = resolved.incident
                self._resolved(connection, effects, placed, resolved)
        accept.belongs(connection, placed, incident)
        if incident is not None:
            effects.incidents.append(incident)

    def _resolved(self, connection: sa.Connection, effects: _Effects, placed: accept.Placed, resolved: Resolve) -> None:
        payload = {"alert": placed.id, "why": resolved.reason}
        self._tell(connection, effects, resolved.incident, EventKind.ALERT_RESOLVED, payload)
        if resolved.closes:
            reason = {"reason": "every alert has resolved", "by": "quell"}
            self._tell(connection, effects, resolved.incident, EventKind.RESOLVED, reason)
        elif resolved.unasked:
            self._withdraw(connection, effects, resolved.incident, "the alert resolved by itself")

    def _tell(
        self, connection: sa.Connection, effects: _Effects, incident: str, kind: EventKind, payload: dict[str, Any],
        actor: str = "quell",
    ) -> None:  # fmt: skip
        known = queries.incident(connection, incident)
        context = Context(incident=incident, tenant=known.tenant)
        effects.told += self.means.append(connection, context, [NewEvent(kind=kind, payload=payload, actor=actor)])

    # Incidents by hand.

    async def trigger(
        self, runbook: str | Plan, *, service: str | None = None, alert_name: str = "", variables: Any = None,
        actor: str = "api", mode: str | None = None,
    ) -> Context:  # fmt: skip
        """Start a runbook now. Raises ``NotFound`` with the nearest name."""
        plan = runbook if isinstance(runbook, Plan) else self.library.plan(runbook)
        settings = self.settings
        beginning = Beginning(
            title=plan.name, severity=plan.severity, tenant=settings.tenant, environment=settings.environment,
            region=settings.region, service=service or plan.service, service_why="named by the runbook", plan=plan,
            why=f"started by {actor}" + (f" for {alert_name}" if alert_name else ""), variables=variables, mode=mode,
            source="manual", actor=actor,
        )  # fmt: skip
        started: list[Context] = []

        def work(connection: sa.Connection, effects: _Effects) -> None:
            context, told = begin(self.means, connection, beginning)
            effects.told += told
            started.append(context)

        await self._commit(work)
        return started[-1]

    async def incidents(self, *, limit: int = 50, status: str | None = None) -> list[Incident]:
        return await self.database.read(
            lambda c: queries.recent_incidents(c, self.settings.tenant, limit=limit, status=status)
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
        result: dict[str, Any] = {}

        def work(connection: sa.Connection, effects: _Effects) -> None:
            row, state = approve.settle(connection, self._one_waiting(connection, approval), answer, by, reason)
            self._answered(connection, effects, row, state, by, reason)
            result.update(approval=row["id"], incident=row["incident"], answer=state, by=by)

        await self._commit(work)
        return result

    def _one_waiting(self, connection: sa.Connection, name: str) -> str:
        try:
            return str(queries.approval(connection, name)["id"])
        except NotFound:
            waiting = queries.waiting_approvals(connection, queries.incident(connection, name).id)
            if len(waiting) == 1:
                return str(waiting[0]["id"])
            if waiting:
                names = ", ".join(one["id"] for one in waiting)
                raise Conflict(f"several approvals wait for incident {name}; name one of {names}") from None
            raise NotFound("waiting approval", name) from None

    def _answered(
        self, connection: sa.Connection, effects: _Effects, row: Mapping[str, Any], state: str, by: str, reason: str
    ) -> None:
        if state == "waiting":
            payload = {"text": f"{by} approved {row['id']}; another person is needed", "by": by}
            self._tell(connection, effects, row["incident"], EventKind.NOTED, payload, by)
            return
        context = Context(incident=row["incident"], tenant=row["tenant"])
        effects.told += self.means.append(connection, context, [approve.answered_event(row, state, by, reason)])
        effects.after.append(partial(approve.tell, self.means, row))

    def _withdraw(self, connection: sa.Connection, effects: _Effects, incident: str, reason: str) -> None:
        for waiting in queries.waiting_approvals(connection, incident):
            row, state = approve.settle(connection, waiting["id"], "withdrawn", "quell", reason)
            self._answered(connection, effects, row, state, "quell", reason)

    async def take(self, incident: str, by: str, reason: str = "") -> Incident:
        """A person takes over: no new action of this incident starts; approvals that wait are withdrawn."""

        def work(connection: sa.Connection, effects: _Effects) -> None:
            known = queries.incident(connection, incident)
            if known.assignee and known.assignee != by:
                raise Conflict(f"already taken by {known.assignee}", winner=known.assignee)
            self._tell(connection, effects, known.id, EventKind.TAKEN, {"by": by, "reason": reason}, by)
            self._withdraw(connection, effects, known.id, f"{by} took over")
            self._acknowledge(effects, known, by)

        await self._commit(work)
        return await self.incident(incident)

    async def give_back(self, incident: str, by: str, reason: str = "") -> Incident:
        await self._mark(incident, EventKind.RETURNED, {"by": by, "reason": reason}, by)
        return await self.incident(incident)

    async def acknowledge(self, incident: str, by: str) -> Incident:
        """Somebody is on it: the secondary is not paged."""

        def work(connection: sa.Connection, effects: _Effects) -> None:
            known = queries.incident(connection, incident)
            self._tell(connection, effects, known.id, EventKind.ACKNOWLEDGED, {"by": by}, by)
            self._acknowledge(effects, known, by)

        await self._commit(work)
        return await self.incident(incident)

    def _acknowledge(self, effects: _Effects, known: Incident, by: str) -> None:
        for name in (f"page:{known.id}.{max(known.run, 1)}", f"page:{known.id}.{max(known.run, 1)}.again"):
            effects.after.append(partial(self._tell_pager, name, by))

    async def _tell_pager(self, workflow: str, by: str) -> None:
        if await self.durable.status(workflow) in ("PENDING", "ENQUEUED"):
            await self.durable.send(workflow, {"by": by}, topic=escalate.TOPIC, key=f"{workflow}/acknowledged")

    async def resolve(self, incident: str, by: str, reason: str = "") -> Incident:
        """By hand."""

        def work(connection: sa.Connection, effects: _Effects) -> None:
            known = queries.incident(connection, incident)
            payload = {"reason": reason or f"resolved by {by}", "by": by}
            self._tell(connection, effects, known.id, EventKind.RESOLVED, payload, by)
            self._withdraw(connection, effects, known.id, f"{by} resolved the incident")
            self._acknowledge(effects, known, by)

        await self._commit(work)
        return await self.incident(incident)

    async def _mark(self, incident: str, kind: EventKind, payload: dict[str, Any], by: str) -> None:
        await self._commit(
            lambda connection, effects: self._tell(
                connection, effects, queries.incident(connection, incident).id, kind, payload, by
            )
        )

    async def changed(self, after: int | None) -> tuple[int, set[str]]:
        """The newest event's id, and the incidents that any process wrote to after the event ``after``."""

        def look(connection: sa.Connection) -> tuple[int, set[str]]:
            if after is None:
                return queries.event_time_of_newest(connection), set()
            found = queries.changed_since(connection, after)
            return max((row[0] for row in found), default=after), {row[2] for row in found}

        return await self.database.read(look)

    def server_token(self) -> str | None:
        """What a client of the server must show. Raises ``Permanent`` when the reference leads nowhere."""
        return resolve_secret(self.settings.server.token) if self.settings.server.token else None

    def now_us(self) -> int:
        return now_us()


def _beginning(placed: accept.Placed) -> Beginning:
    alert, plan = placed.alert, placed.route.plan
    severity = alert.severity.value if alert.severity else plan.severity if plan else "P3"
    return Beginning(
        title=alert.summary[:300], severity=severity, tenant=alert.tenant, environment=alert.environment,
        region=alert.region, service=placed.service, service_why=placed.service_why, plan=plan, why=placed.route.why,
        alert=alert, alert_id=placed.id, group_key=placed.group_key, source=alert.source,
    )  # fmt: skip
