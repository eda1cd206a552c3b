"""The act frame: around every action, whoever asks for it. One child workflow, ``act``.

dry run → guard → approval if asked → guard again → the target's lease → precondition → intent and permit → execute →
outcome → postcondition → record → release. Undo is another pass through this same frame.

Never does: choose the action, verify that the incident is over. Nothing acts twice by itself: an intent without an
outcome, of an action that is not idempotent, is ``unknown``; its postcondition may settle it, else a person does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from quell.engine import leases, ledger
from quell.engine.durable import patiently
from quell.errors import MAY_HAVE_HAPPENED, NotFound, Permanent, QuellError, Refused, Transient, Unavailable
from quell.incident.action import ActionOutcome, Preview, Result, Risk
from quell.incident.event import EventKind, NewEvent
from quell.incident.incident import ENDED
from quell.respond import approve, unknown
from quell.respond.guard import Question, Ruling, rule_on
from quell.respond.inflight import InFlight
from quell.respond.look import Quit, bounded
from quell.respond.means import TELL, Means
from quell.respond.prepared import Prepared, Request, prepare
from quell.store.database import now_us

WORKFLOW = "act"
LEASE_POLL_S = 1.0
LEASE_WAIT_S = 300.0
POSTCONDITION_S = 60.0


class Frame:
    """Register ``run`` as the workflow ``act``."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.in_flight = InFlight()

    async def run(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The workflow: returns an ``ActionOutcome`` as JSON."""
        request = Request.model_validate(raw)
        step = self.means.durable.step
        ready = await step("prepare", self._prepare, request)
        if ready["ends"]:
            return dict(ready["outcome"])
        approved: dict[str, Any] = {}
        if ready["ask"]:
            asked = await step("ask", self._ask, request, ready)
            await self._tell(request, f"{request.key}/tell", f"Approval needed: {ready['preview']['call']}")
            approved = await approve.wait(self.means, request.context, asked)
            if approved["answer"] != "approved":
                return await step("not_approved", self._not_approved, request, approved)
        while (done := await step("perform", self._perform, request, ready, bool(approved))).get("busy"):
            if not await step("queue", self._queue, request, done["busy"]):
                return await step("busy", self._busy, request, done)
        if done["result"] in (Result.REFUSED.value, Result.DRY_RUN.value):
            return dict(done)
        ended = await step("confirm", self._confirm, request, ready, done)
        if ended["result"] != Result.UNKNOWN.value or request.act.on_unknown != "ask":
            return ended
        asked = await step("ask_whether", unknown.ask, self.means, request, ready, ended)
        await self._tell(request, f"{request.key}/tell_unknown", f"Did it happen? {ready['preview']['call']}")
        said = await approve.wait(self.means, request.context, asked)
        return await step("settle", unknown.settle, self.means, request, ended, said)

    async def _tell(self, request: Request, key: str, text: str) -> None:
        """Beside the action: whoever cannot be reached delays nothing."""
        telling = {"context": request.context.model_dump(mode="json"), "text": text, "key": key}
        await self.means.durable.child(TELL, key, telling)

    # The steps. Each may run again after a crash; each records under keys that append once.

    async def _prepare(self, request: Request) -> dict[str, Any]:
        try:
            prepared = await prepare(self.means, request)
            preview = await prepared.preview()
        except (QuellError, Exception) as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            return {"ends": True, "outcome": await self._refuse(request, _cannot_prepare(error))}
        if request.context.mode == "dry_run":
            outcome = self._outcome(request, Result.DRY_RUN, f"would do: {preview.call}")
            return {"ends": True, "outcome": outcome.model_dump(mode="json")}
        ruling = rule_on(await self._question(request, prepared, preview), self.means.rails)
        if ruling.rule:
            return {"ends": True, "outcome": await self._refuse(request, ruling, preview)}
        digest = approve.action_hash(prepared.kind.name, prepared.params.model_dump(mode="json"), preview)
        return {"ends": False, "ask": ruling.ask, "why": ruling.reason, "hash": digest,
                "preview": preview.model_dump(mode="json"), "risk": prepared.kind.risk.value}  # fmt: skip

    async def _ask(self, request: Request, ready: Mapping[str, Any]) -> dict[str, Any]:
        return await approve.ask(
            self.means, request.context, request.act, request.key, preview=Preview.model_validate(ready["preview"]),
            digest=ready["hash"], why=ready["why"], risk=Risk(ready["risk"]), clauses=request.clauses,
        )  # fmt: skip

    async def _not_approved(self, request: Request, answer: Mapping[str, Any]) -> dict[str, Any]:
        by = answer.get("by") or "somebody"
        reasons = {"denied": f"{by} denied it", "expired": "nobody answered in time", "withdrawn": "it was withdrawn"}
        reason = answer.get("reason") or reasons.get(answer["answer"], answer["answer"])
        return await self._refuse(request, Ruling(answer["answer"], reason))

    async def _queue(self, request: Request, busy: Mapping[str, str]) -> bool:
        """Wait until the targets are free, saying once for whom; the action is looked at anew afterwards."""
        others = sorted(set(busy.values()))
        text = f"{request.act.id} waits: {', '.join(busy)} is being acted on by incident {', '.join(others)}"
        event = NewEvent(kind=EventKind.NOTED, payload={"text": text}, node=request.key, key=f"{request.key}/queued")
        await self.means.record(request.context, event)
        deadline = time.monotonic() + LEASE_WAIT_S
        while time.monotonic() < deadline:
            if not await self.means.database.read(lambda c: self._held(c, request, list(busy))):
                return True
            await asyncio.sleep(LEASE_POLL_S)
        return False

    def _held(self, connection: sa.Connection, request: Request, targets: list[str]) -> dict[str, str]:
        clock = self.means.database.now_us(connection)
        return leases.held(connection, request.context.tenant, targets, request.key, clock)

    async def _busy(self, request: Request, done: Mapping[str, Any]) -> dict[str, Any]:
        return await self._refuse(request, Ruling("target_busy", f"the target stayed leased: {done['busy']}"))

    async def _perform(self, request: Request, ready: Mapping[str, Any], approved: bool) -> dict[str, Any]:
        """Guard again, lease, precondition, intent, execute, outcome. One step, never retried by the engine."""
        async with self.in_flight.acting(request.key):
            try:
                known = await self.means.database.read(lambda connection: ledger.find(connection, request.key))
                if known is not None and (told := self._told(request, known)) is not None:
                    return told
                return await self._do(request, ready, approved)
            except (Unavailable, asyncio.CancelledError):
                raise
            except Exception as error:  # a fault of ours or of a plug-in before the intent: nothing was done
                await self._release(request)
                return await self._refuse(request, _cannot_prepare(error))

    def _told(self, request: Request, known: ledger.Intent) -> dict[str, Any] | None:
        """What an intent that is there already says: its outcome, or that nobody knows. None: it may be repeated."""
        if known.outcome is not None:
            return known.outcome
        if known.idempotent:
            return None
        return self._outcome(request, Result.UNKNOWN, _UNKNOWN).model_dump(mode="json")

    async def _do(self, request: Request, ready: Mapping[str, Any], approved: bool) -> dict[str, Any]:
        started = time.monotonic()
        prepared = await prepare(self.means, request)
        preview = await prepared.preview()
        digest = approve.action_hash(prepared.kind.name, prepared.params.model_dump(mode="json"), preview)
        if approved and digest != ready["hash"]:
            return await self._refuse(request, Ruling("changed", "the action changed after it was approved"), preview)
        question = await self._question(request, prepared, preview, approved=approved or not ready["ask"])
        ruling = rule_on(question, self.means.rails)
        if ruling.rule:
            return await self._refuse(request, ruling, preview)
        if busy := await self._lease(request, prepared, preview):
            return {"busy": busy, "result": "busy"}
        no = await self._not_now(request, prepared)
        if no is None:
            try:
                captured = await prepared.captured()
                known = await self._intend(request, prepared, preview, captured)
            except Refused as refused:
                no = Ruling(refused.rule, str(refused), refused.value, refused.limit)
            except (Transient, Permanent) as error:
                no = Ruling("capture", str(error))
        if no is not None:
            await self._release(request)
            return await self._refuse(request, no, preview)
        if known is not None and (told := self._told(request, known)) is not None:
            return told  # somebody else carries out this very execution, or has
        outcome, state = await self._execute(request, prepared, captured, started)
        # Here and not in the whole step again: it would find the intent, and no longer know what became of it.
        return await patiently(self._settle, request, outcome, state)

    async def _not_now(self, request: Request, prepared: Prepared) -> Ruling | None:
        broken = await prepared.broken_precondition()
        if broken is None:
            return None
        return Ruling("precondition", f"precondition does not hold: {broken[1]}", limit=broken[0])

    async def _confirm(self, request: Request, ready: Mapping[str, Any], done: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the postcondition; it may settle what is unknown. Then tell, and give the target back."""
        outcome = ActionOutcome.model_validate(done)
        told = ""
        if outcome.result in (Result.DONE, Result.UNKNOWN):
            outcome, told = await self._asked(request, outcome, ready["preview"].get("facts", {}))
        payload = {
            "action": outcome.action, "result": outcome.result.value, "summary": outcome.summary, "key": request.key,
            "target": request.target, "output": outcome.output, "duration_ms": outcome.duration_ms,
            "error_class": outcome.error_class, "node": request.key, "postcondition": told,
        }  # fmt: skip
        event = NewEvent(
            kind=EventKind.ACTION_FINISHED, payload=payload, node=request.key, key=f"{request.key}/finished"
        )

        def close(connection: sa.Connection) -> None:
            final = outcome.model_dump(mode="json")
            ledger.settle(connection, request.key, outcome.result.value, final, now_us())
            if outcome.result is not Result.UNKNOWN:
                leases.release(connection, request.context.tenant, request.key)

        await self.means.transact(request.context, close, event)
        return outcome.model_dump(mode="json")

    async def _asked(
        self, request: Request, outcome: ActionOutcome, foreseen: Mapping[str, Any]
    ) -> tuple[ActionOutcome, str]:
        """The postcondition; one that cannot even be asked does not hold."""
        try:
            prepared = await prepare(self.means, request)
            return await prepared.confirm(outcome, foreseen)
        except (Unavailable, asyncio.CancelledError):
            raise
        except Exception as error:
            why = f"the postcondition could not be asked: {type(error).__name__}: {error}"
            result = Result.UNKNOWN if outcome.result is Result.UNKNOWN else Result.FAILED
            return outcome.model_copy(update={"result": result, "summary": f"{outcome.summary}; {why}"[:2000]}), why

    # The parts.

    async def _question(
        self, request: Request, prepared: Prepared, preview: Preview, *, approved: bool = False
    ) -> Question:
        incident = await self.means.incident(request.context)
        gone = request.context.alert is not None and not incident.firing and not incident.deeds
        return Question(
            action=prepared.kind.name, risk=prepared.kind.risk, params=prepared.params.model_dump(mode="json"),
            targets=preview.targets, magnitude=preview.magnitude, facts=preview.facts,
            service=prepared.kind.service_of(prepared.params) or request.context.service,
            asks_approval=request.act.requires_approval, approved=approved, guard=request.act.guard,
            mode=request.context.mode, taken_by=incident.assignee, trigger_gone=gone,
            undoing=request.undoes is not None, own_undo=request.is_own_undo, ended=incident.status in ENDED,
        )  # fmt: skip

    async def _lease(self, request: Request, prepared: Prepared, preview: Preview) -> dict[str, str]:
        """For as long as acting and its postcondition may take; what stays unknown keeps it until it runs out."""
        within_s = request.act.postcondition.within_s if request.act.postcondition else POSTCONDITION_S
        lease_us = int((request.act.timeout_s + max(within_s, prepared.kind.postcondition_within_s) + 60) * 1_000_000)

        def take(connection: sa.Connection) -> dict[str, str]:
            clock, context = self.means.database.now_us(connection), request.context
            targets = prepared.touches(preview)
            return leases.take(connection, context.tenant, targets, request.key, context.incident, clock, lease_us)

        return await self.means.database.write(take)

    async def _release(self, request: Request) -> None:
        await self.means.database.write(lambda c: leases.release(c, request.context.tenant, request.key))

    async def _intend(
        self, request: Request, prepared: Prepared, preview: Preview, captured: Mapping[str, Any]
    ) -> ledger.Intent | None:
        """The intent, its permits and its event in one transaction; what was there already is returned.

        Raises ``Refused`` when a rate is used up.
        """
        rule, guard = self.means.rails.rule(prepared.kind.name), request.act.guard
        rates = []
        if rule.limit and request.undoes is None:
            rates.append(ledger.Rate(*rule.limit))
        if guard.rate_count and guard.rate_per_s and request.undoes is None:
            rates.append(ledger.Rate(guard.rate_count, guard.rate_per_s, "runbook_rate"))
        context = request.context
        ask = ledger.Ask(
            key=request.key, tenant=context.tenant, environment=context.environment, region=context.region,
            action=prepared.kind.name, targets=prepared.touches(preview), idempotent=prepared.kind.idempotent,
            magnitude=preview.magnitude, rates=tuple(rates), executor=self.means.durable.executor_id,
            request={"call": preview.call, "targets": list(preview.targets), "captured": captured,
                     "params": prepared.params.model_dump(mode="json")},
        )  # fmt: skip
        event = NewEvent(
            kind=EventKind.ACTION_INTENDED, node=request.key, key=f"{request.key}/intended",
            payload={"action": prepared.kind.name, "call": preview.call, "key": request.key,
                     "targets": list(preview.targets), "before": preview.before, "after": preview.after,
                     "magnitude": preview.magnitude, "node": request.key, "undo": preview.undo},
        )  # fmt: skip
        found: list[ledger.Intent | None] = []

        def intend(connection: sa.Connection) -> None:
            found.append(ledger.intend(connection, ask, self.means.database.now_us(connection)))

        await self.means.transact(context, intend, event)
        return found[-1]

    async def _execute(
        self, request: Request, prepared: Prepared, captured: Mapping[str, Any], started: float
    ) -> tuple[ActionOutcome, str]:
        """Act, within its time. What did not come back in time, of an action that is not idempotent, is unknown."""
        kind, extra = prepared.kind, {"captured": dict(captured)}

        def ended(result: Result, summary: str, **more: Any) -> ActionOutcome:
            spent = round((time.monotonic() - started) * 1000, 3)
            return self._outcome(request, result, summary, duration_ms=spent, **extra, **more)

        try:
            if request.undoes is not None and kind.undo is not None and request.act.undo.call is None:
                work = kind.undo(prepared.params, request.undoes, prepared.probe)
            else:
                work = kind.execute(prepared.params, prepared.probe)
            effect = await bounded(work, request.act.timeout_s)
        except (Transient, Permanent) as error:
            lost = error.error_class in MAY_HAVE_HAPPENED or isinstance(error, Quit)
            if lost and not kind.idempotent:
                return ended(Result.UNKNOWN, str(error), error_class=error.error_class), ledger.UNKNOWN
            return ended(Result.FAILED, str(error), error_class=error.error_class), ledger.FAILED
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            if not kind.idempotent:
                return ended(Result.UNKNOWN, said, error_class="internal"), ledger.UNKNOWN
            return ended(Result.FAILED, said, error_class="internal"), ledger.FAILED
        return ended(Result.DONE, effect.summary, output=effect.output, undo=effect.undo), ledger.DONE

    def _outcome(self, request: Request, result: Result, summary: str, **more: Any) -> ActionOutcome:
        return ActionOutcome(
            node=request.act.id, target=request.target, action=request.act.call.type, result=result,
            summary=summary[:2000], key=request.key, **more,
        )  # fmt: skip

    async def _settle(self, request: Request, outcome: ActionOutcome, state: str) -> dict[str, Any]:
        """The outcome into the ledger; what is there already stays."""
        final = outcome.model_dump(mode="json")
        if state == ledger.UNKNOWN:
            # No outcome yet: the postcondition or a person settles it.
            final["result"] = Result.UNKNOWN.value
            return final
        await self.means.database.write(lambda c: ledger.settle(c, request.key, state, final, now_us()))
        return final

    async def _refuse(self, request: Request, ruling: Ruling, preview: Preview | None = None) -> dict[str, Any]:
        payload = {
            "action": request.act.call.type, "rule": ruling.rule, "reason": ruling.reason, "value": ruling.value,
            "limit": ruling.limit, "target": request.target, "call": preview.call if preview else "",
            "node": request.key,
        }  # fmt: skip
        await self.means.record(
            request.context,
            NewEvent(kind=EventKind.ACTION_REFUSED, payload=payload, node=request.key, key=f"{request.key}/refused"),
        )
        return self._outcome(request, Result.REFUSED, ruling.reason, rule=ruling.rule).model_dump(mode="json")


_UNKNOWN = "the intent was recorded and no outcome: it may or may not have been done"


def _cannot_prepare(error: Exception) -> Ruling:
    if isinstance(error, NotFound):
        return Ruling("unknown_action", str(error))
    if isinstance(error, Transient | Permanent):
        return Ruling("dry_run", f"the dry run failed: {error}", value=error.error_class)
    if isinstance(error, QuellError):
        return Ruling("parameters", str(error))
    return Ruling("internal", f"{type(error).__name__}: {error}")
