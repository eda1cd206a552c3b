"""The hub: wires the house together and offers one short method per use case. Faces call it; nobody else does.

Longer than most files: there are many use cases, and one place to find them all.

Never does: hold a rule. Rules live in intake, respond and runbook.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from quell import __version__
from quell.access import Access
from quell.alerting import Alerting, Before
from quell.configured import configured
from quell.delivery import Delivery, Receipt
from quell.engine import liveness, workers
from quell.engine.aside import aside
from quell.engine.durable import Durable
from quell.engine.workers import Kind, Worker, differ
from quell.errands import Errands, Kick, again
from quell.errors import NotFound, QuellError
from quell.heartbeats import Heartbeats
from quell.housekeeping import keep_house
from quell.incident.alert import AlertStatus
from quell.incident.event import Event
from quell.incident.incident import Incident
from quell.incident.keys import incidents_of
from quell.incident.obligation import Obligation
from quell.incident.pause import Pause, Scope
from quell.incident.shadow import Record, records
from quell.inflow import Inflow
from quell.intake.thresholds import SOURCE, Place, Thresholds
from quell.library import Library, State, load_library
from quell.life import stay_alive, watch
from quell.once import Once, asked
from quell.probe import World, learn_references, make_client, resolve_secret
from quell.reception import PROOF_S, Reception
from quell.registry import Registry
from quell.respond import approvers, brake, escalate, frame, interpreter, oblige, people, permit, shadow
from quell.respond.begin import Beginning, begin
from quell.respond.change import Change
from quell.respond.means import TELL, Context, Means, NotifierChoice
from quell.respond.permit import Repaired
from quell.respond.turns import Turns
from quell.respond.windows import longest_s
from quell.retention import Pruning, Retention
from quell.runbook.lint.addresses import fault_of
from quell.runbook.plan import Plan
from quell.runbook.vocabulary import Vocabulary, nearest
from quell.settings import Settings
from quell.store import pauses, queries, reported
from quell.store.database import Database
from quell.store.events import to_us
from quell.store.migrate import migrate
from quell.vocabulary_of import vocabulary_of

__all__ = ["App", "Context", "Kind", "Receipt", "Worker", "differ"]

_log = structlog.get_logger("quell")
T = TypeVar("T")
CLOSE_S = 3.0
"""How long a stop waits for a database that may be away: at most for the engine, for our goodbye, and to let go."""


class App:
    """One process of Quell. ``start`` it inside an event loop, ``stop`` it at the end."""

    def __init__(
        self, settings: Settings, *, registry: Registry | None = None,
        on_events: Callable[[Sequence[Event]], None] | None = None, kind: Kind = Kind.RUN,
    ) -> None:  # fmt: skip
        """``kind``: servers and workers stay, and keep house besides; a worker watches no thresholds."""
        self.settings = settings
        self.kind = kind
        self.registry = registry or Registry()
        # Where no action is loaded, runbooks that name some are still read, diagnosed and recommended.
        words = Registry() if self.registry.observe_only else self.registry
        self.vocabulary: Vocabulary = vocabulary_of(
            words, services=settings.services or None, connections=settings.connections, notifiers=settings.notifiers,
            circles=settings.circles, sources=settings.sources,
            variables=settings.variables, scrape_s=settings.scrape_interval, misfit=settings.guardrails.misfit,
        )  # fmt: skip
        self.library = Library()
        self.reception = Reception(settings, self.registry)
        self.listeners: list[Callable[[Sequence[Event]], None]] = [on_events] if on_events else []
        self._errands = Errands()
        self.paused: tuple[Pause, ...] = ()
        """What the kill switch covers here, as of a moment ago; before an action the database is asked."""

    # Life.

    async def start(self) -> None:
        """Open the database, launch the engine, load the runbooks. Raises ``InvalidInput``, ``Unavailable``."""
        settings = self.settings
        given = configured(settings, self.registry)
        self.database = Database(settings.database)
        self.database.prepare(migrate)
        self.access = Access(self.database, settings.tenant, self._errands)
        self.once = Once(self.database, settings.tenant)
        self.executor_id = liveness.new_executor_id()
        self.durable = Durable(
            self.database.engine, steps=self.database.steps, executor_id=self.executor_id, poll_s=settings.engine.poll,
            places=settings.engine.places, park_after_s=settings.engine.park,
            keep=self.database.keep if self.database.is_sqlite else None,
        )  # fmt: skip
        self.world = World(self.registry, make_client(settings.network.allow), settings.catalogue, given.connections)
        self.means = Means(
            self.database, self.durable, self.world, rails=given.rails, environment=settings.environment,
            notifiers={name: NotifierChoice(one.type, one.params) for name, one in settings.notifiers.items()},
            schedules=given.schedules, groups=settings.groups,
            default_escalation=settings.escalation, base_url=settings.server.base_url, on_events=self.publish,
            shares=settings.rate_limit,
        )  # fmt: skip
        self.durable.workflow(interpreter.WORKFLOW, interpreter.Interpreter(self.means).run, in_place=True)
        self._frame = frame.Frame(self.means)
        self.durable.in_flight = self._frame.performer.in_flight.has
        self.durable.workflow(frame.WORKFLOW, self._frame.run, in_place=True)
        self.durable.workflow(oblige.WORKFLOW, oblige.Reverter(self.means).run)
        self.durable.workflow(shadow.WORKFLOW, shadow.Comparer(self.means).run)
        pager = escalate.Pager(self.means)
        self.durable.workflow(escalate.WORKFLOW, pager.run)
        self.durable.workflow(TELL, pager.tell)
        lease_us = int(settings.engine.lease * 1_000_000)
        await self.database.write(
            lambda c: liveness.enter(
                c, self.executor_id, __version__, self.database.now_us(c), lease_us, kind=self.kind,
                configuration=settings.digest,
            )
        )  # fmt: skip
        await self.durable.launch()
        await self.reload()
        self._kick = Kick(self._errands, self.durable.kick)
        self.alerting = Alerting(self.means, self.reception, self._commit, self._plans)
        self._errands.start(again(self.alerting.look_again, settings.engine.poll, "held_alerts_not_looked_at"))
        self._errands.start(
            again(Turns(self.means, self._commit).look, settings.engine.poll, "turns_not_looked_at",
                  sooner=self.means.turn_free)
        )  # fmt: skip
        self.inflow = Inflow(
            self.database, self.reception, self._commit, self._plans, self._errands, settings.engine.inbox
        )  # fmt: skip
        self._errands.start(again(self.inflow.look, settings.engine.poll, "inbox_not_looked_at", first_s=0.0))
        self.heartbeats = Heartbeats(self.means, self.reception, self._commit, self._plans)
        # Who takes no signals cannot tell who is late.
        looks = self.heartbeats.look if self.kind is Kind.SERVER else self.heartbeats.kept
        self._errands.start(again(looks, settings.engine.poll, "heartbeats_not_looked_at", first_s=0.0))
        # What is loaded now lives as long as the process; walking it again cost 100 ms pauses in the middle of runs.
        gc.collect()
        gc.freeze()
        self._errands.start(stay_alive(self.means, self.executor_id, lease_us))
        await self._look_at_pauses()
        self._errands.start(again(self._look_at_pauses, settings.engine.poll, "pauses_unknown"))
        if self.kind is not Kind.WORKER:
            self._errands.start(watch(self._thresholds(), self._plans, settings.scrape_interval))
        if self.kind is not Kind.RUN:
            keep_house(settings, self._errands, self.prune, self.once.forget)

    async def stop(self) -> None:
        """Let go cleanly: whatever waits or runs is found again at the next start, or goes on elsewhere."""
        self.durable.drain()
        await self._frame.performer.in_flight.close(self.settings.engine.drain)
        await self._errands.stop()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_S):
                await self.heartbeats.kept()
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
        await asyncio.to_thread(learn_references, self.settings, self.library.plans)
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
        return Thresholds(self.world, place, self._fires, lambda alerts: self.take_in(Delivery(SOURCE, alerts)))

    def _plans(self) -> Iterable[Plan]:
        """Those of the library as it is now: a reload puts another in its place."""
        return self.library.plans.values()

    async def _fires(self, alert: str) -> bool:
        known = await self.database.read(lambda c: reported.alert_of(c, alert))
        return known is not None and known.status is AlertStatus.FIRING

    def publish(self, told: Sequence[Event]) -> None:
        """Tell whoever shows incidents live. Called in the event loop."""
        for listener in list(self.listeners):
            try:
                contextvars.Context().run(listener, told)  # not in the context of the workflow that told it
            except Exception as error:  # what is on disk is on disk, whoever cannot show it
                _log.error("listener_failed", error=f"{type(error).__name__}: {error}")

    async def _commit(self, work: Callable[[Change], T]) -> T:
        """A transaction, then what it asked for afterwards. On behalf of a request with a key: once, whoever asks."""
        request = asked()

        def run(connection: sa.Connection) -> tuple[Change, T]:
            change = Change(self.means, connection)
            return change, request.carry_out(change, work) if request else work(change)

        change, result = await self.database.write(run)
        self.publish(change.told)
        for after in change.after:
            self._errands.start(after())
        self._kick()
        return result

    # Alerts.

    async def receive(self, source: str, headers: Mapping[str, str], body: bytes, sender: str = "") -> Receipt:
        """A webhook. Raises ``NotFound`` (source), ``Refused`` (signature), ``InvalidInput``, ``Unavailable``."""
        if self.inflow.may_wait(len(body)):
            letter = self.reception.letter(source, headers, body, sender)
            if letter is not None and (kept := await self.inflow.keep(letter)) is not None:
                return kept
        probe = self.world.probe(timeout_s=PROOF_S)
        return await self.take_in(await self.reception.read(source, headers, body, probe, sender))

    def addressed(self, kind: str, headers: Mapping[str, str], body: bytes) -> str:
        """The source of this type that the credentials belong to. Raises ``Refused``, ``Unavailable``."""
        return self.reception.addressed(kind, headers, body)

    def guards_itself(self, source: str) -> bool:
        """Whether that webhook asks for credentials of its own: it refuses a request that has none."""
        return self.reception.guards_itself(source)

    async def take_in(self, delivery: Delivery) -> Receipt:
        """Alerts onto disk, and what follows from them: at once, or in a storm in their turn."""
        if delivery.beats:
            await self.heartbeats.kept()
        if delivery.says_no_more:
            return delivery.told(Receipt(0, ()))
        if delivery.ignored is not None or delivery.noted is not None:
            return Receipt(0, (), ignored=delivery.ignored, noted=delivery.noted)
        return delivery.told(await self.inflow.take_in(delivery))

    # Incidents by hand.

    async def trigger(
        self, runbook: str | Plan, *, service: str | None = None, alert_name: str = "", variables: Any = None,
        actor: str = "api", mode: str | None = None, tenant: str | None = None,
    ) -> Context:  # fmt: skip
        """Start a runbook now, for a tenant. Raises ``NotFound`` (runbook, service) with the nearest name."""
        plan = runbook if isinstance(runbook, Plan) else self.library.plan(runbook)
        owned = self.world.services_of(tenant)
        if service is not None and service not in (plan.service, *owned):
            raise NotFound("service", service, nearest(service, owned))
        if (about := service or plan.service) in self.world.services and about not in owned:
            raise NotFound("service", about or "")
        settings = self.settings
        beginning = Beginning(
            title=plan.name, severity=plan.severity, tenant=tenant or settings.tenant, environment=settings.environment,
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
        self, *, limit: int = 50, status: str | None = None, ended: bool | None = None, tenant: str | None = None
    ) -> list[Incident]:
        """Newest first; ``ended``: only those that have, or only those that have not."""
        of = tenant or self.settings.tenant
        return await self.database.read(
            lambda c: queries.recent_incidents(c, of, limit=limit, status=status, ended=ended)
        )

    async def incidents_page(
        self, limit: int, *, status: str | None = None, ended: bool | None = None, before: Before | None = None,
        tenant: str | None = None,
    ) -> tuple[list[Incident], Before | None]:  # fmt: skip
        """The same, and what to ask with as ``before`` for those that come after, if any do."""
        of, (at, name) = tenant or self.settings.tenant, before or (None, "")
        us = to_us(at) if at else None
        found = await self.database.read(
            lambda c: queries.recent_incidents(
                c, of, limit=limit + 1, before_us=us, before_id=name, status=status, ended=ended
            )
        )  # fmt: skip
        if len(found) <= limit:
            return found, None
        last = found[limit - 1]
        assert last.opened_at is not None
        return found[:limit], (last.opened_at, last.id)

    async def count_incidents(self, most: int, *, ended: bool, tenant: str | None = None) -> int:
        """How many have ended, or have not; ``most`` of more than that."""
        of = tenant or self.settings.tenant
        return await self.database.read(lambda c: queries.how_many(c, of, most, ended=ended))

    async def incident(self, incident: str) -> Incident:
        """Raises ``NotFound``. A unique beginning of the id is enough."""
        return await self.database.read(lambda c: queries.incident(c, incident))

    async def timeline(self, incident: str, after: int = 0) -> list[Event]:
        known = await self.incident(incident)
        return await self.database.read(lambda c: queries.timeline(c, known.tenant, known.id, after))

    async def plan_of(self, incident: Incident) -> Plan | None:
        """The Plan its run carries out."""
        return await self.means.plan(incident.plan) if incident.plan else None

    async def alerts(self, limit: int = 100, tenant: str | None = None) -> list[dict[str, Any]]:
        return await self.database.read(lambda c: reported.recent(c, tenant or self.settings.tenant, limit))

    async def quarantine(self, limit: int = 100, tenant: str | None = None) -> list[dict[str, Any]]:
        return await self.database.read(lambda c: reported.quarantined(c, tenant or self.settings.tenant, limit))

    # People.

    async def answer(self, approval: str, answer: str, by: str, reason: str = "") -> dict[str, Any]:
        """Approve or deny; ``approval`` is its id, its hash, or the incident when only one waits.

        Raises ``NotFound``, ``Conflict`` with the winner when somebody was faster, and ``Refused`` when their yes does
        not count.
        """
        name, names, no = approval, frozenset[str](), None
        try:
            # From here on by its id: what an incident is waiting for may be something else in a moment.
            row = await self.database.read(lambda c: queries.approval(c, people.waiting(c, approval)))
            name, names = row["id"], await approvers.allow(self.means, row, by) if answer in approvers.YES else names
        except QuellError as error:
            no = error  # told in the transaction: a request that is sent again hears what came of it the first time

        def work(change: Change) -> dict[str, Any]:
            if no is not None:
                raise no
            return people.answer(change, name, answer, by, reason, names)

        return await self._commit(work)

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

    async def close(self, incident: str, by: str, reason: str = "") -> Incident:
        """For good. Raises ``Conflict`` while something is still kept for now."""
        return await self.incident(await self._commit(lambda change: people.close(change, incident, by, reason)))

    async def hand_over(self, incident: str, by: str, to: str, note: str = "") -> Incident:
        """At a shift's end. ``to`` accepts by taking it."""
        return await self.incident(await self._commit(lambda change: people.hand_over(change, incident, by, to, note)))

    async def step(self, incident: str, by: str, what: str, result: str, note: str = "") -> Incident:
        """What a person did by hand: ``done`` or ``failed``."""
        return await self.incident(
            await self._commit(lambda change: people.step(change, incident, by, what, result, note))
        )

    async def break_glass(self, incident: str, by: str, reason: str, for_s: float) -> Incident:
        """For this incident no pause, freeze or window of hours counts until the time is over."""
        known = await self._commit(lambda change: people.break_glass(change, incident, by, reason, for_s))
        _log.warning("glass_broken", incident=known, by=by, reason=reason)
        return await self.incident(known)

    async def obligations(self, tenant: str | None = None) -> list[Obligation]:
        """What is kept for now, what is due first coming first."""
        return await self.database.read(lambda c: queries.open_obligations(c, tenant=tenant))

    async def settle_obligation(self, obligation: str, how: str, by: str, tenant: str | None = None) -> Incident:
        """``kept`` for good, or ``reverted`` by hand. Raises ``NotFound``, also for another tenant's."""
        return await self.incident(
            await self._commit(lambda change: people.settle_obligation(change, obligation, how, by, tenant))
        )

    async def shadows(self, tenant: str | None = None) -> list[Record]:
        """How the runbooks that ran in shadow mode compare with what people did."""
        return list(records(await self.database.read(lambda c: queries.shadow_runs(c, tenant or self.settings.tenant))))

    # Guardrails.

    async def pause(self, scope: Scope, name: str, *, for_s: float, by: str, reason: str) -> Pause:
        """The kill switch. Raises ``InvalidInput``, and ``NotFound`` with the nearest name: a pause of nothing guards
        nothing."""
        name = self._known(scope, name) if name else name
        tenant = self.settings.tenant
        pulled = await self._commit(
            lambda change: brake.pause(change, tenant, scope, name, for_s=for_s, by=by, reason=reason)
        )
        await self._look_at_pauses()
        _log.warning("paused", pause=pulled.id, what=pulled.what, until=pulled.until.isoformat(), by=by, reason=reason)
        return pulled

    def _known(self, scope: Scope, name: str) -> str:
        """The thing's own name. An action may be called by an alias."""
        if scope is Scope.ACTION:
            return Registry().action(name).name
        known: set[str] = {
            Scope.SERVICE: self._services(),
            Scope.RUNBOOK: {entry.runbook for entry in self.library.entries if entry.runbook},
            Scope.TENANT: self.settings.tenants,
        }.get(scope, {name})
        if name not in known:
            raise NotFound(scope.value, name, nearest(name, known))
        return name

    async def resume(
        self, pause: str | None, scope: Scope | None, name: str, *, by: str, reason: str = ""
    ) -> list[Pause]:
        """Raises ``NotFound`` when no such pause is on."""
        tenant = self.settings.tenant
        ended = await self._commit(
            lambda change: brake.resume(change, tenant, pause, scope, name, by=by, reason=reason)
        )
        await self._look_at_pauses()
        for one in ended:
            _log.warning("resumed", pause=one.id, what=one.what, by=by, reason=reason)
        return ended

    async def pauses(self) -> list[Pause]:
        """Those that are on."""
        return list(await self.database.read(lambda c: pauses.on(c, self.database.now_us(c))))

    async def reset(self, service: str, by: str, reason: str) -> None:
        """A service that was repaired too often may be repaired again. Raises ``NotFound``, ``InvalidInput``."""
        name, tenant = self._known(Scope.SERVICE, service), self.settings.tenant
        await self._commit(lambda change: brake.reset(change, tenant, name, by, reason))
        _log.warning("breaker_reset", service=name, by=by, reason=reason)

    async def breakers(self) -> list[Repaired]:
        """Services that were repaired lately, the one that was most often first."""
        found = await self.database.read(lambda c: list(permit.repaired(self.means, c, sorted(self._services()))))
        return sorted(found, key=lambda one: -one.count)

    def _services(self) -> set[str]:
        """Those of the catalogue, and those that runbooks are for."""
        return {*self.world.services, *(plan.service for plan in self._plans() if plan.service)}

    async def workers(self, tenant: str | None = None) -> list[Worker]:
        """The processes that share this database, those that are alive first; with a tenant's own incidents alone."""
        own = set(await self.database.read(lambda c: queries.open_ids(c, tenant, 1000))) if tenant else None
        claimed = await self.durable.running(interpreter.WORKFLOW)
        found = {name: incidents_of(runs, own) for name, runs in claimed.items()}
        return await self.database.read(lambda c: workers.listed(c, self.database.now_us(c), found))

    async def _look_at_pauses(self) -> None:
        self.paused = tuple(await self.pauses())

    async def prune(
        self, older_s: float, by: str, *, tenant: str | None = None, dry_run: bool = False,
        told: Callable[[Mapping[str, int]], None] = lambda erased: None,
    ) -> Pruning:  # fmt: skip
        """Erase what ended longer ago, or say what would be. Needs no start. Raises ``InvalidInput``, ``NotFound``."""
        retention = Retention(self.settings, longest_s(self.settings.guardrails, self._plans()), tenant)
        if dry_run:
            return await asyncio.to_thread(retention.look, older_s)
        return await asyncio.to_thread(retention.prune, older_s, by, told)

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
