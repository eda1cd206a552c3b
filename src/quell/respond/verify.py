"""Did it help? The signals are asked again until one of the five verdicts is true, or the time is over.

``recovered`` and ``worse`` can be told early: every signal healthy for ``stable_for``, or a signal worse for as long.
The rest is told at the end of ``within``. Before ``earliest`` the signals still show the past: until then no verdict
but ``recovered``, and that only of signals that were bad and have turned.
Never does: act on the verdict (the interpreter does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quell.incident.action import ActionOutcome, Verdict
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.finding import Finding, Health
from quell.incident.incident import ENDED
from quell.respond.look import look
from quell.respond.means import Context, Means
from quell.respond.verdict import Signal, classify, limits_of, turned
from quell.respond.view import environment, trigger_finding
from quell.runbook.expr import ExprError, compile
from quell.runbook.names import names_of, root_of
from quell.runbook.plan import Check, Interpret, Plan, Require
from quell.runbook.scope import decision_scope
from quell.store import events
from quell.store.database import now_us

TRIGGER = "trigger"
ENDED_MEANWHILE = "ended"
"""In ``next`` of the verdict: somebody ended the incident while it was verified."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a verification is about."""

    context: Context
    baseline: Mapping[str, Finding]
    findings: Mapping[str, Finding]
    outcomes: Mapping[str, ActionOutcome]
    key: str
    visit: int


def signals_of(plan: Plan, context: Context) -> tuple[str, ...]:
    """What is asked: the plan's signals, without a trigger that does not exist."""
    return tuple(name for name in plan.verify.signals if name != TRIGGER or context.alert is not None)


class Watch:
    """One verification while it runs; in memory only, begun again from its recorded start after a crash."""

    def __init__(self, means: Means, plan: Plan, question: Question, begun_us: int) -> None:
        self.means, self.plan, self.question, self._begun_us = means, plan, question, begun_us
        self._healthy_since: float | None = None
        self._worse_since: float | None = None
        self._count = 0
        self._seen: dict[str, Finding] = {}
        condition = plan.verify.require.condition if plan.verify.require else None
        self._needed = [
            check.id for check in plan.checks if check.id in {root_of(name) for name in names_of(condition)}
        ]

    async def verdict(self) -> dict[str, Any]:
        """Ask until a verdict is true. Returns the payload of the event that tells it."""
        verify = self.plan.verify
        while True:
            elapsed = (now_us() - self._begun_us) / 1_000_000
            signals, enough = await self._ask()
            said = classify(signals, enough=enough)
            elapsed = (now_us() - self._begun_us) / 1_000_000
            told = self._early(said, elapsed, turned(signals)) if signals else Verdict.CANNOT_TELL
            if told is None and elapsed >= verify.within_s and said is not Verdict.RECOVERED:
                told = said
            if told is None and await self._ended():
                return {**self._payload(Verdict.CANNOT_TELL, signals, enough, elapsed), "next": ENDED_MEANWHILE}
            if told is not None:
                return self._payload(told, signals, enough, elapsed)
            await self.means.durable.pause(min(verify.every_s, max(0.05, verify.within_s - elapsed)))

    def _early(self, said: Verdict, elapsed: float, turned: bool) -> Verdict | None:
        verify = self.plan.verify
        self._healthy_since = (self._healthy_since or elapsed) if said is Verdict.RECOVERED else None
        late_enough = said is Verdict.WORSE and elapsed >= verify.earliest_s
        self._worse_since = (self._worse_since or elapsed) if late_enough else None
        stable = self._healthy_since is not None and elapsed - self._healthy_since >= verify.stable_for_s
        # Signals that were never bad still show the time before the action until ``earliest``.
        if stable and (turned or elapsed >= verify.earliest_s):
            return Verdict.RECOVERED
        patience = max(verify.stable_for_s, 2 * verify.every_s)
        if self._worse_since is not None and elapsed - self._worse_since >= patience:
            return Verdict.WORSE
        return None

    async def _ended(self) -> bool:
        incident = await self.means.incident(self.question.context)
        return incident.status in ENDED

    async def _ask(self) -> tuple[list[Signal], bool | None]:
        self._count += 1
        names = signals_of(self.plan, self.question.context)
        asked = list(dict.fromkeys((*names, *self._needed)))
        self._seen = dict(zip(asked, await asyncio.gather(*(self._one(name) for name in asked)), strict=True))
        enough = await self._enough(self.plan.verify.require)
        signals = []
        for name in names:
            finding = self._seen[name]
            node = self.plan.by_id.get(name)
            before = self.question.baseline.get(name) or finding
            limits = limits_of(self.plan, node) if isinstance(node, Check) else ()
            signals.append(Signal(name, before, self._fresh(finding), limits))
        return signals, enough

    async def _one(self, name: str) -> Finding:
        if name == TRIGGER:
            incident = await self.means.incident(self.question.context)
            return trigger_finding(incident.firing, known=True)
        node = self.plan.by_id[name]
        assert isinstance(node, Check)
        key = f"{self.question.key}/{name}/{self._count}"
        return await self._look(node, key)

    def _fresh(self, finding: Finding) -> Finding:
        """Evidence from before the action says nothing about it."""
        begun: datetime = events.when(self._begun_us)
        stale = finding.observed_at is not None and finding.observed_at < begun
        if not stale or finding.status is not Health.HEALTHY:
            return finding
        return finding.model_copy(update={"status": Health.NO_DATA, "message": "its evidence is older than the action"})

    async def _enough(self, require: Require | None) -> bool | None:
        if require is None:
            return None
        if require.condition is not None:
            try:
                return compile(require.condition, decision_scope(self.plan)).holds(self._environment())
            except ExprError:
                return False
        assert require.check is not None
        read = require.interpret or Interpret(healthy="series_count >= 1")
        check = Check(id="require", call=require.check, interpret=read, facts={"...": "any"})
        finding = await self._look(check, f"{self.question.key}/require")
        return finding.status is Health.HEALTHY

    async def _look(self, check: Check, key: str) -> Finding:
        shapes = self.means.shapes(self.question.context)
        return await look(self.means.world, self.plan, check, self._environment(), key, shapes)

    def _environment(self) -> dict[str, Any]:
        question = self.question
        context, known = question.context, {**question.findings, **self._seen}
        return environment(
            self.plan, known, alert=context.alert, incident=context.view, outcomes=question.outcomes,
            variables=context.variables,
        )  # fmt: skip

    def _payload(self, verdict: Verdict, signals: list[Signal], enough: bool | None, elapsed: float) -> dict[str, Any]:
        reasons = [f"{one.name}: {one.before.status.value} → {one.now.status.value}" for one in signals]
        if enough is False and self.plan.verify.require:
            reasons.append(f"require does not hold: {self.plan.verify.require.text}")
        if not signals:
            reasons.append("there is no signal to ask")
        shown = {
            one.name: {"before": one.before.status.value, "now": one.now.status.value, "message": one.now.message[:300],
                       "facts": {k: v for k, v in one.now.facts.items() if isinstance(v, int | float | str)}}
            for one in signals
        }  # fmt: skip
        return {"verdict": verdict.value, "reason": "; ".join(reasons), "signals": shown,
                "duration_ms": round(elapsed * 1000, 1), "visit": self.question.visit}  # fmt: skip


async def watch(means: Means, question: Question) -> dict[str, Any]:
    """Ask until there is a verdict, and record it."""
    plan = await means.plan(question.context.plan)
    payload = await Watch(means, plan, question, await _begin(means, plan, question)).verdict()
    await means.conclude(
        question.context,
        NewEvent(kind=EventKind.VERIFICATION_FINISHED, payload=payload, node=question.key, key=f"{question.key}/told"),
    )
    return payload


async def _begin(means: Means, plan: Plan, question: Question) -> int:
    """Record what is verified, once; since when, in microseconds. After a restart the deadline is the first one's."""
    verify, context, key = plan.verify, question.context, f"{question.key}/begun"
    payload = {
        "signals": list(signals_of(plan, context)), "stable_for_s": verify.stable_for_s,
        "within_s": verify.within_s, "earliest_s": verify.earliest_s, "visit": question.visit,
        "baseline": {name: finding.status.value for name, finding in question.baseline.items()},
    }  # fmt: skip
    started = NewEvent(kind=EventKind.VERIFICATION_STARTED, payload=payload, node=question.key, key=key)
    if told := await means.record(context, started):
        return events.to_us(told[0].at)
    known = await means.database.glance(
        lambda c: events.by_key(c, context.tenant, Stream.INCIDENT, context.incident, [key])
    )
    return events.to_us(known[key].at)
