"""Runbooks that watch a metric themselves: ``metric_threshold`` triggers, asked on a schedule, become alerts.

An alert fires when its threshold was crossed for the trigger's ``for``, again every minute while that lasts (its
incident may have ended in between), and resolves when the metric says otherwise.
No answer, or no data, is neither: what fired goes on firing. Never does: open an incident (the alert's way does).
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from quell.errors import NotFound, Permanent, Transient
from quell.incident.alert import Alert, AlertStatus, Severity, fingerprint_of
from quell.intake.correlate import alert_id
from quell.probe import World
from quell.runbook.plan import Plan, Trigger

SOURCE = "metric_threshold"
CHECK = "prometheus_query"
QUERY_TIMEOUT_S = 10.0
AGAIN_S = 60.0
"""How often a threshold that stays crossed is said again."""
_log = structlog.get_logger("quell.thresholds")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip


@dataclass(slots=True)
class _Memory:
    """What is remembered of one trigger. ``firing`` None: not known yet, ask what is stored. ``said``: when last."""

    since: datetime | None = None
    firing: bool | None = None
    said: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where these alerts are from."""

    tenant: str = "default"
    environment: str = ""
    region: str = ""


@dataclass(slots=True)
class Thresholds:
    """``is_firing`` tells what is stored of an alert; ``take_in`` is the way of every alert."""

    world: World
    place: Place
    is_firing: Callable[[str], Awaitable[bool]]
    take_in: Callable[[list[Alert]], Awaitable[object]]
    _memory: dict[str, _Memory] = field(default_factory=dict)

    async def look(self, plans: Iterable[Plan]) -> None:
        """Ask every trigger once, side by side; one that cannot be asked delays and hides no other."""
        asked = [(plan, trigger) for plan in plans for trigger in plan.triggers if trigger.type == SOURCE]
        answers = await asyncio.gather(*(self._look(plan, trigger) for plan, trigger in asked), return_exceptions=True)
        for (plan, _), answer in zip(asked, answers, strict=True):
            if isinstance(answer, Exception):
                _log.error("threshold_failed", runbook=plan.id, error=f"{type(answer).__name__}: {answer}")

    async def _look(self, plan: Plan, trigger: Trigger) -> None:
        alert = alert_of(plan, trigger, self.place, self.world.clock())
        memory = self._memory.setdefault(alert.fingerprint, _Memory())
        if memory.firing is None:
            memory.firing = await self.is_firing(alert_id(alert))
        value = await self._ask(plan, trigger)
        if value is None:
            return
        now, crossed = self.world.clock(), crosses(trigger, value)
        memory.since = (memory.since or now) if crossed else None
        held = memory.since is not None and (now - memory.since).total_seconds() >= trigger.for_s
        silent_s = (now - memory.said).total_seconds() if memory.said else AGAIN_S
        if held and (not memory.firing or silent_s >= AGAIN_S):
            await self.take_in([_said(alert, AlertStatus.FIRING, value, memory.since)])
            memory.firing, memory.said = True, now
        elif not crossed and memory.firing:
            await self.take_in([_said(alert, AlertStatus.RESOLVED, value, None)])
            memory.firing = False

    async def _ask(self, plan: Plan, trigger: Trigger) -> float | None:
        try:
            kind = self.world.registry.check(CHECK)
            params = kind.params.model_validate({"query": trigger.metric_query})
            probe = self.world.probe(timeout_s=QUERY_TIMEOUT_S, key=f"threshold/{plan.id}")
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                reading = await kind.run(params, probe)
        except (Transient, Permanent, NotFound, TimeoutError) as error:
            _log.warning("threshold_not_known", runbook=plan.id, error=str(error))
            return None
        values = [reading.facts.get("max" if trigger.operator.startswith(">") else "min"), reading.facts.get("value")]
        return next((float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)), None)


def crosses(trigger: Trigger, value: float) -> bool:
    """Whether a value is on the bad side; of several series the worst counts."""
    return trigger.threshold is not None and _COMPARE[trigger.operator](value, trigger.threshold)


def alert_of(plan: Plan, trigger: Trigger, place: Place, now: datetime) -> Alert:
    """The alert of a trigger, not yet saying anything; the same trigger always has the same fingerprint."""
    labels = {"alertname": plan.name, "runbook": plan.id, "query": trigger.metric_query or ""}
    if plan.service:
        labels["service"] = plan.service
    return Alert(
        source=SOURCE, name=plan.name, status=AlertStatus.RESOLVED, fingerprint=fingerprint_of(labels),
        tenant=place.tenant, environment=place.environment, region=place.region, service=plan.service,
        severity=Severity(plan.severity), labels=labels, received_at=now,
    )  # fmt: skip


def _said(alert: Alert, status: AlertStatus, value: float, since: datetime | None) -> Alert:
    words = {"summary": f"{alert.labels['query']} is {value:g}"}
    return alert.model_copy(update={"status": status, "annotations": words, "starts_at": since})
