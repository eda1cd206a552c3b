"""The way in for alerts: a webhook's bytes become alerts, and each alert an incident, or a part of one.

Works inside an open ``Change``. Never does: commit, answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from pydantic import ValidationError

from quell.errors import InvalidInput, NotFound, Permanent, Problem, Refused, Transient, Unavailable
from quell.incident.alert import Alert
from quell.incident.event import EventKind
from quell.intake import accept
from quell.intake.correlate import Acknowledge, Join, Open, Resolve, in_order
from quell.ports import Probe, SourceType
from quell.redact import KNOWN
from quell.registry import Registry
from quell.respond import people
from quell.respond.begin import Beginning, begin, next_run
from quell.respond.change import Change
from quell.runbook.invalid import problems_of
from quell.runbook.plan import Plan
from quell.runbook.source import Document
from quell.settings import Settings

PROOF_S = 10.0
"""How long it may take to find out whether a message may be believed: senders wait for about 15 seconds."""
AGAIN_S = 5.0
_log = structlog.get_logger("quell")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a webhook's alerts. All of it is on disk. ``noted``: what it was, when it was about none."""

    accepted: int
    incidents: tuple[str, ...]
    quarantined: tuple[str, ...] = ()
    noted: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a source was sent, as it was read. ``bad``: (reason, fragment). ``noted``: what it was, if not alerts."""

    alerts: Sequence[Alert] = ()
    bad: Sequence[tuple[str, Any]] = ()
    noted: str | None = None


class Reception:
    """What a site receives, by its settings."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self.settings, self.registry = settings, registry
        self._known: dict[str, tuple[SourceType, Any]] = {}

    def check(self) -> None:
        """Whether every source that is configured can read alerts. Raises ``InvalidInput`` with every fault: later, it
        would be an alert that nobody gets."""
        problems: list[Problem] = []
        for name in self.settings.sources:
            try:
                self._source(name)
            except NotFound as error:
                problems.append(_unknown(name, error, self.registry))
            except InvalidInput as error:
                problems += error.problems
        if problems:
            raise InvalidInput(problems)

    async def read(self, source: str, headers: Mapping[str, str], body: bytes, probe: Probe) -> Delivery:
        """Its alerts, and what cannot be read.

        Raises ``NotFound`` (source), ``Refused`` (signature), ``InvalidInput``, ``Unavailable`` (cannot be proven).
        """
        kind, params = self._verified(source, headers, body)
        if (noted := await _believed(source, kind, params, headers, body, probe)) is not None:
            _log.info("webhook_noted", source=source, noted=noted)
            return Delivery(noted=noted)
        # What went wrong elsewhere may have our secrets in its words.
        alerts, bad = KNOWN.tree(kind.parse(body, headers, params, datetime.now(UTC)))
        return Delivery([self._located(source, alert) for alert in alerts], bad)

    def verify(self, source: str, headers: Mapping[str, str], body: bytes) -> None:
        """Raises ``NotFound`` (source), ``Refused`` (signature)."""
        self._verified(source, headers, body)

    def _verified(self, source: str, headers: Mapping[str, str], body: bytes) -> tuple[SourceType, Any]:
        kind, params = self._source(source)
        if refused := kind.verify(headers, body, params):
            raise Refused("signature", refused)
        return kind, params

    def guards_itself(self, source: str) -> bool:
        """Whether that webhook asks for credentials of its own: it refuses a request that has none."""
        try:
            kind, params = self._source(source)
        except (NotFound, InvalidInput):
            return False
        return kind.verify({}, b"", params) is not None

    def _source(self, source: str) -> tuple[SourceType, Any]:
        if source not in self._known:
            configured = self.settings.sources.get(source)
            kind = self.registry.source(configured.type or source if configured else source)
            given = configured.params if configured else {}
            try:
                self._known[source] = kind, kind.params.model_validate(given)
            except ValidationError as error:
                raise InvalidInput(_faults(error, source, given, kind)) from None
        return self._known[source]

    def _located(self, source: str, alert: Alert) -> Alert:
        """An alert is from the source as the site calls it: two of a kind may have the same fingerprints. One that
        names no environment or region is of ours."""
        settings = self.settings
        environment, region = alert.environment or settings.environment, alert.region or settings.region
        return alert.model_copy(update={"source": source, "environment": environment, "region": region})

    def take_in(
        self,
        change: Change,
        source: str,
        alerts: Sequence[Alert],
        bad: Sequence[tuple[str, Any]],
        plans: Iterable[Plan],
    ) -> list[str | None]:
        """The incident of each alert; what cannot be read is set aside with its reason."""
        accept.in_turn(change.connection, self.settings.tenant)
        known = list(plans)
        incidents = [_place(change, alert, known) for alert in in_order(alerts)]
        accept.set_aside(change.connection, self.settings.tenant, source, bad)
        return incidents


async def _believed(
    source: str, kind: SourceType, params: Any, headers: Mapping[str, str], body: bytes, probe: Probe
) -> str | None:
    """What a message was that is not about alerts. What cannot be proven now is not believed, and may come again."""
    try:
        async with asyncio.timeout(probe.timeout_s):
            if kind.prove is not None and (refused := await kind.prove(headers, body, params, probe)) is not None:
                raise Refused("signature", refused)
            return await kind.answer(headers, body, params, probe) if kind.answer is not None else None
    except TimeoutError:
        why, after = f"no answer within {probe.timeout_s:g} s", AGAIN_S
    except (Transient, Permanent) as error:
        why, after = str(error), getattr(error, "retry_after", None) or AGAIN_S
    _log.warning("webhook_unproven", source=source, why=why)
    raise Unavailable(f"the message cannot be believed now: {why}", retry_after=after)


def _unknown(source: str, error: NotFound, registry: Registry) -> Problem:
    expected = f"one of {', '.join(sorted(registry.sources))}"
    return Problem(
        f"no kind of source is called {error.name!r}", "unknown-source", path=f"sources.{source}.type",
        found=error.name, expected=expected, nearest=error.nearest,
    )  # fmt: skip


def _faults(error: ValidationError, source: str, given: dict[str, Any], kind: SourceType) -> Iterator[Problem]:
    for problem in problems_of(error, Document(given), kind.params):
        yield replace(problem, path=f"sources.{source}.{problem.path}".removesuffix("."))


def _place(change: Change, alert: Alert, plans: Sequence[Plan]) -> str | None:
    means = change.means
    placed = accept.place(change.connection, alert, list(means.world.services.values()), plans)
    incident: str | None = None
    match placed.meaning:
        case Open():
            context, told = begin(means, change.connection, _beginning(placed))
            incident = context.incident
            change.told += told
        case Join(incident=incident) as join:
            _joined(change, placed, join)
        case Resolve(incident=incident) as resolved:
            _resolved(change, placed, resolved)
        case Acknowledge(incident=incident, by=by):
            people.acknowledge(change, incident, by)
    accept.belongs(change.connection, placed, incident)
    return incident


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
