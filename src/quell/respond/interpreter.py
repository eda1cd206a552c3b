"""One run of one Plan: diagnose → decide → carry out → verify → again, or an end. The workflow ``run``.

The only file that names the stages and their order. Deterministic: whatever touches the world is a step or a child.
Never does: ask which plug-in; know a dialect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import structlog
from sqlalchemy import Connection

from quell.engine.patience import patiently
from quell.incident.action import ActionOutcome, Result
from quell.incident.event import Event, EventKind, NewEvent, Stream
from quell.incident.finding import Finding, Health
from quell.incident.incident import ENDED, Incident
from quell.respond import escalate, shadow, verify
from quell.respond.carry import Carrier
from quell.respond.decide import choose
from quell.respond.diagnose import diagnose, overall
from quell.respond.look import look
from quell.respond.means import Context, Means
from quell.respond.state import SUPERSEDED, Carried, Run
from quell.respond.verdict import Signal, classify, limits_of
from quell.respond.view import trigger_finding
from quell.runbook.plan import DECIDE, Act, Approve, Check
from quell.store import events, queries, turns
from quell.store.database import now_us
from quell.store.schema import runs

_log = structlog.get_logger("quell")

WORKFLOW = "run"
_MEANWHILE = {"resolved": "an alert fired", "stopped": "it was given back"}
"""Why it is not over after all: what happened between the last look and the record."""


class Interpreter:
    """Register ``run`` as the workflow ``run``."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.carrier = Carrier(means, self._pulse, self._tell)

    async def run(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        context = Context.model_validate(raw)
        run = Run(context, await patiently(self.means.plan, context.plan))
        try:
            ended = await self._whole(run)
        except Exception as error:  # our own fault: a person must hear of it, and the log how it came
            _log.error("run_failed", run=context.run_id, exc_info=error)
            ended = await self._escalated(run, f"the run itself failed: {type(error).__name__}: {error}")
        if not await self.means.durable.step("end", self._end, run, ended):
            ended = await self._escalated(run, f"{ended['reason']}; then {_MEANWHILE[ended['outcome']]}")
            await self.means.durable.step("end", self._end, run, ended)
        return ended

    async def _whole(self, run: Run) -> dict[str, str]:
        if run.plan.escalation.immediately:
            await self._page(run, f"{run.context.severity}: paged immediately")
        await self._diagnose(run)
        return await self._rounds(run)

    async def _rounds(self, run: Run) -> dict[str, str]:
        """Decide and try until something ends it."""
        for number in range(1, run.plan.max_rounds + 1):
            run.round = number
            if overall(run.findings) is Health.HEALTHY and (calm := await self._calm(run)) is not None:
                return calm
            choice = await self.means.durable.step("decide", self._decide, run)
            if choice.get("ended"):
                return {"outcome": "stopped", "reason": choice["reason"]}
            if not choice["chosen"]:
                return await self._nothing_left(run, choice["reason"])
            if choice["observe"]:
                return await self._escalated(run, f"observe only; recommended: {', '.join(choice['steps'])}")
            carried = await self._carry_out(run, choice)
            run.tried += [one for one in choice["chosen"] if one != carried.waited]
            ended = await self._after(run, carried)
            if ended is not None:
                return ended
        return await self._escalated(run, f"not over after {run.plan.max_rounds} rounds")

    # Diagnose.

    async def _diagnose(self, run: Run) -> None:
        found = await self.means.durable.step("diagnose", diagnose, self.means, run)
        run.findings = {name: Finding.model_validate(raw) for name, raw in found.items()}

    # Decide and carry out.

    async def _decide(self, run: Run) -> dict[str, Any]:
        incident = await self.means.incident(run.context)
        if incident.status in ENDED or incident.run > run.context.run:
            return {"chosen": [], "ended": True, "reason": _why_over(incident)}
        if await self._is_overdue(run):
            return {"chosen": [], "reason": "its time is over: nothing more is begun for it"}
        choice = choose(run.plan, run.environment(), run.tried)
        steps = [step for d in run.plan.decisions if d.id in choice.chosen for step in d.then]
        payload = {
            "recommended": list(choice.recommended), "chosen": list(choice.chosen), "tried": list(run.tried),
            "explanations": [asdict(one) for one in choice.explained], "reason": choice.reason, "visit": run.round,
        }  # fmt: skip
        key = run.key(DECIDE)
        await self.means.conclude(
            run.context, NewEvent(kind=EventKind.DECIDED, payload=payload, node=key, key=f"{key}/decided")
        )
        # Part of the answer, so that a replay under another configuration goes the same way.
        observe = self.means.world.registry.observe_only
        return {"chosen": list(choice.chosen), "reason": choice.reason, "steps": steps, "observe": observe}

    async def _is_overdue(self, run: Run) -> bool:
        """Whether it works for longer than it may."""
        if not run.context.limited:
            return False
        mine, database = (run.context.incident, run.context.run), self.means.database
        return await database.glance(lambda connection: turns.is_over(connection, *mine, database.now_us(connection)))

    async def _carry_out(self, run: Run, choice: Mapping[str, Any]) -> Carried:
        """The chosen decisions in order; a failure in one stops the rest."""
        parts: list[Carried] = []
        for decision in (one for one in run.plan.decisions if one.id in choice["chosen"]):
            parts.append(await self.carrier.carry_out(run, decision, [choice["reason"]]))
            if parts[-1].any(Result.FAILED, Result.UNKNOWN):
                break
        return Carried(
            tuple(outcome for part in parts for outcome in part.outcomes), any(part.paged for part in parts),
            next((part.stopped for part in parts if part.stopped), ""),
            next((part.waited for part in parts if part.waited), ""),
        )  # fmt: skip

    async def _after(self, run: Run, carried: Carried) -> dict[str, str] | None:
        """What follows from what was done; None to go round again."""
        if carried.waited:
            await self.carrier.oblige(run, carried)
            run.visit += 1
            await self._diagnose(run)
            return None
        if carried.stopped:
            run.trouble.append(carried.stopped)
        if carried.any(Result.DRY_RUN):
            said = "; ".join(one.summary for one in carried.outcomes)
            if run.context.rehearsed:
                return {"outcome": "dry_run", "reason": said}
            await self._shadow(run)
            return await self._escalated(run, f"nothing was done, in mode {run.context.mode}: {said}")
        if carried.paged and not carried.any(Result.DONE):
            first = carried.any(Result.REFUSED, Result.FAILED, Result.UNKNOWN)
            why = f"{first.action} was not done: {first.summary}; " if first else ""
            return await self._escalated(run, why + self._step_reason(run))
        refused = carried.any(Result.REFUSED)
        if refused and not carried.any(Result.DONE):
            return await self._refused(run, refused)
        if refused and refused.rule in ("taken", "incident_ended", "superseded"):
            return {"outcome": "stopped", "reason": refused.summary}
        if (unknown := carried.any(Result.UNKNOWN)) is not None:
            return await self._escalated(run, f"{unknown.action} may or may not have been done: {unknown.summary}")
        if (failed := carried.any(Result.FAILED)) is not None:
            return await self._failed(run, failed, paged=carried.paged)
        if refused and run.plan.decision_mode == "first":
            # Half of what was decided on is in place: nobody but a person can tell whether that is good for anything.
            undone = await self.carrier.undo(run, "failed")
            why = f"{refused.action} was not done: {refused.summary}; before it: {_named(carried, Result.DONE)}"
            return await self._escalated(run, why + _back(undone))
        await self.carrier.oblige(run, carried)
        return await self._verify(run, carried)

    async def _shadow(self, run: Run) -> None:
        """Compare it with what people do, once the incident is over. Goes on by itself."""
        if run.would:
            would = tuple(shadow.Would(request=request, facts=facts) for request, facts in run.would)
            compared = shadow.Compared(context=run.context, would=would)
            await self.means.durable.child(shadow.WORKFLOW, compared.workflow, compared.model_dump(mode="json"))

    def _step_reason(self, run: Run) -> str:
        """What the runbook says where it pages: the step's own words, else the decision's."""
        last = next(one for one in run.plan.decisions if one.id == run.tried[-1])
        said = [getattr(run.plan.by_id[step], "message", "") for step in last.then]
        return "; ".join(text for text in said if text) or last.description or "the runbook pages here"

    async def _refused(self, run: Run, refused: ActionOutcome) -> dict[str, str] | None:
        if refused.rule == "trigger_gone":
            return await self._verify(run, Carried())
        if refused.rule == "withdrawn" and await self.means.durable.step("gone", self._gone, run):
            return await self._verify(run, Carried())
        if refused.rule == "withdrawn" and not await self.means.durable.step("in_hand", self._in_hand, run):
            # It was taken back because the alert had resolved, and it fires again: ask anew, with new evidence.
            run.tried.pop()
            run.visit += 1
            await self._diagnose(run)
            return None
        if refused.rule in ("taken", "incident_ended", "superseded", "withdrawn"):
            return {"outcome": "stopped", "reason": refused.summary}
        run.trouble.append(f"{refused.action} was not done: {refused.summary}")
        # Silence may count as a no, if the runbook says so: then the next decision may still be tried.
        silent = refused.rule == "expired" and self._pages_on_silence(run, refused)
        if silent or refused.rule in ("denied", "unknown_action"):
            return await self._escalated(run, run.trouble.pop())
        return None

    def _pages_on_silence(self, run: Run, refused: ActionOutcome) -> bool:
        node = run.plan.by_id.get(refused.node)
        return not isinstance(node, Act | Approve) or node.approval.on_no_answer == "page"

    async def _in_hand(self, run: Run) -> bool:
        """Whether a person has the incident or has ended it, or another run goes on with it."""
        incident = await self.means.incident(run.context)
        superseded = incident.run > run.context.run or incident.outcome == SUPERSEDED
        return incident.assignee is not None or incident.status in ENDED or superseded

    async def _gone(self, run: Run) -> bool:
        """Whether the alert resolved by itself, and nobody has the incident in hand."""
        incident = await self.means.incident(run.context)
        alone = incident.assignee is None and incident.status not in ENDED and incident.run == run.context.run
        return alone and run.context.alert is not None and not incident.firing

    async def _failed(self, run: Run, failed: ActionOutcome, *, paged: bool) -> dict[str, str] | None:
        """Stop, take back what says so, look again; the next decision may still help."""
        await self.carrier.undo(run, "failed")
        run.trouble.append(f"{failed.action} failed: {failed.summary}")
        if paged:
            return await self._escalated(run, run.trouble.pop())
        run.visit += 1
        await self._diagnose(run)
        return None

    # Verify.

    async def _verify(self, run: Run, carried: Carried, key: str = "") -> dict[str, str] | None:
        key = key or run.key("verify")
        question = verify.Question(run.context, await self._baseline(run), run.findings, run.outcomes, key, run.round)
        told = await self.means.durable.step("verify", verify.watch, self.means, question)
        return await self._policy(run, told, carried)

    async def _baseline(self, run: Run) -> dict[str, Finding]:
        """How the signals were before: the findings that the decision read; the trigger was firing."""
        return {**run.findings, verify.TRIGGER: trigger_finding(("trigger",), known=run.context.alert is not None)}

    async def _policy(self, run: Run, told: Mapping[str, Any], carried: Carried) -> dict[str, str] | None:
        verdict, reason = told["verdict"], told["reason"]
        if told.get("next") == verify.ENDED_MEANWHILE:
            return {"outcome": "stopped", "reason": f"the incident ended while it was verified: {reason}"}
        policy = getattr(run.plan.verify, f"on_{verdict}")
        if policy == "resolve":
            why = "verified" if carried.outcomes else "it resolved by itself, verified"
            return {"outcome": "resolved", "reason": f"{why}: {reason}", "verdict": verdict}
        if policy == "mitigate":
            return {"outcome": "mitigated", "reason": reason}
        if policy == "undo_and_page":
            undone = await self.carrier.undo(run, verdict)
            return await self._escalated(run, f"{verdict} after {_named(carried)}: {reason}{_back(undone)}")
        undone = await self.carrier.undo(run, verdict) if carried.outcomes else []
        if policy == "page" or carried.paged:
            return await self._escalated(run, f"{verdict} after {_named(carried)}: {reason}{_back(undone)}")
        if policy == "diagnose":
            run.visit += 1
            await self._diagnose(run)
        return None

    async def _pulse(self, run: Run, key: str) -> str:
        """Between batches: are the signals worse than before?"""
        baseline = await self._baseline(run)
        names = [name for name in verify.signals_of(run.plan, run.context) if name in run.findings]
        checks = [node for name in names if isinstance(node := run.plan.by_id[name], Check)]
        world, env, shapes = self.means.world, run.environment(), self.means.shapes(run.context)
        now = await asyncio.gather(*(look(world, run.plan, one, env, f"{key}/{one.id}", shapes) for one in checks))
        signals = [
            Signal(one.id, baseline[one.id], finding, limits_of(run.plan, one))
            for one, finding in zip(checks, now, strict=True)
        ]
        return classify(signals, enough=None).value

    async def _tell(self, run: Run, to: str, text: str, key: str) -> None:
        """A message to somebody whom the runbook names. That it was not delivered is recorded, and stops nothing."""
        message = escalate.evidence(await self.means.incident(run.context), text, self.means.base_url, "update")
        await escalate.deliver(self.means, run.context, to, message, key)

    # Ends.

    async def _calm(self, run: Run) -> dict[str, str] | None:
        """Every check is healthy. An end, or None to decide: the alert fires, or it did not stay healthy."""
        if run.context.alert is None and not run.tried:
            return {"outcome": "healthy", "reason": "every check is healthy"}
        if run.calmed:
            return None  # what did not stay healthy once is not watched for another whole window
        firing = await self.means.durable.step("firing", self._firing, run)
        if firing and not run.tried:
            return None
        run.calmed = True
        key = run.key("verify", "calm")
        ended = await self._verify(run, Carried(), key)
        if ended is None:
            run.visit += 1
            await self._diagnose(run)
        return ended

    async def _nothing_left(self, run: Run, reason: str) -> dict[str, str]:
        if overall(run.findings) is Health.HEALTHY:
            reason = "every check is healthy, and the alert still fires"
        return await self._escalated(run, reason)

    async def _firing(self, run: Run) -> list[str]:
        return list((await self.means.incident(run.context)).firing)

    async def _escalated(self, run: Run, reason: str) -> dict[str, str]:
        reason = "; ".join((reason, *run.trouble))
        run.trouble.clear()
        if run.context.rehearsed:
            return {"outcome": "dry_run", "reason": f"would page {run.plan.escalation.primary or 'somebody'}: {reason}"}
        await self._page(run, reason)
        return {"outcome": "escalated", "reason": reason}

    async def _page(self, run: Run, reason: str) -> None:
        """Start paging; it goes on by itself. A dry run that somebody asked for pages nobody."""
        if run.context.rehearsed:
            return
        extra = tuple(to for d in run.plan.decisions if d.id in run.tried for s in d.then if (to := _to(run, s)))
        page = escalate.Page(
            context=run.context, escalation=run.plan.escalation, reason=reason, extra=extra, again=run.paged
        )
        run.paged = True
        await self.means.durable.child(escalate.WORKFLOW, page.key, page.model_dump(mode="json"))

    async def _end(self, run: Run, ended: Mapping[str, str]) -> bool:
        """Record the end. False: it is none, for an alert among its signals fires, or who had it has it no more."""
        context, outcome, reason = run.context, ended["outcome"], ended["reason"]
        key = context.run_id
        payload = {"number": context.run, "outcome": outcome, "reason": reason}
        over = NewEvent(kind=EventKind.RUN_ENDED, payload=payload, key=f"{key}/ended")
        watched = verify.TRIGGER in verify.signals_of(run.plan, context)

        def close(connection: Connection) -> list[Event]:
            events.hold(connection, context.tenant, Stream.INCIDENT, context.incident)
            incident = queries.incident(connection, context.incident)
            if incident.run > context.run or incident.outcome == SUPERSEDED:
                turns.end(connection, context.incident, context.run)
                return []
            gone = (outcome == "resolved" and watched and incident.firing) or (
                outcome == "stopped" and incident.assignee is None
            )
            if gone and incident.status not in ENDED:
                return []
            mine = (runs.c.incident == context.incident, runs.c.number == context.run)
            connection.execute(runs.update().where(*mine).values(ended_at=now_us(), outcome=outcome))
            turns.end(connection, context.incident, context.run)
            before = () if incident.status in ENDED else _how_it_ends(ended, key)
            return self.means.append(connection, context, [*before, over])

        told = await self.means.database.write(close)
        self.means.on_events(told)
        self.means.turn_free.set()
        if told or outcome not in _MEANWHILE:
            return True
        incident = await self.means.incident(context)
        return incident.status in ENDED or incident.run > context.run or incident.outcome == SUPERSEDED


def _why_over(incident: Incident) -> str:
    return incident.reason if incident.status in ENDED else f"run {incident.run} goes on instead of this one"


def _how_it_ends(ended: Mapping[str, str], key: str) -> Iterator[NewEvent]:
    """What the end of the run means for the incident."""
    outcome, reason = ended["outcome"], ended["reason"]
    if outcome in ("resolved", "healthy"):
        told = {"reason": reason, "by": "quell", "verdict": ended.get("verdict", "")}
        yield NewEvent(kind=EventKind.RESOLVED, payload=told, key=f"{key}/resolved")
    elif outcome == "mitigated":
        yield NewEvent(kind=EventKind.MITIGATED, payload={"reason": reason}, key=f"{key}/mitigated")


def _to(run: Run, step: str) -> str:
    node = run.plan.by_id.get(step)
    return getattr(node, "to", "") if getattr(node, "escalate", False) else ""


def _back(undone: Sequence[ActionOutcome]) -> str:
    return "".join(f"; undone {one.node}: {one.result.value}" for one in undone)


def _named(carried: Carried, *results: Result) -> str:
    names = list(dict.fromkeys(one.action for one in carried.outcomes if not results or one.result in results))
    return ", ".join(names) or "nothing was done"
