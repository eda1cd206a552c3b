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
from dataclasses import replace
from functools import partial
from typing import Any

import sqlalchemy as sa

from quell.engine import ledger
from quell.engine.patience import patiently
from quell.errors import MAY_HAVE_HAPPENED, NotFound, Permanent, QuellError, Refused, Transient, Unavailable
from quell.incident.action import ActionOutcome, Preview, Result, Risk
from quell.incident.event import EventKind, NewEvent
from quell.incident.incident import ENDED
from quell.ports import spellings
from quell.respond import approve, permit, unknown
from quell.respond.approvers import Demands, demanded
from quell.respond.guard import Question, Ruling, rule_on
from quell.respond.inflight import InFlight
from quell.respond.look import Quit, answer
from quell.respond.means import TELL, Means
from quell.respond.prepared import Prepared, Request, prepare
from quell.store.database import now_us

WORKFLOW = "act"
LEASE_POLL_S = 1.0
LEASE_WAIT_S = 300.0
GROWTH = 2.0
"""How much larger an action may have become since somebody agreed to it: queues and caches do not stand still."""


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
            await self._tell(request, f"{request.key}/tell", f"Approval needed: {ready['preview']['call']}", asked)
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
        await self._tell(request, f"{request.key}/tell_unknown", f"Did it happen? {ready['preview']['call']}", asked)
        said = await approve.wait(self.means, request.context, asked)
        return await step("settle", unknown.settle, self.means, request, ended, said)

    async def _tell(self, request: Request, key: str, text: str, asked: Mapping[str, Any]) -> None:
        """Beside the action: whoever cannot be reached delays nothing."""
        context = request.context.model_dump(mode="json")
        telling = {"context": context, "text": text, "key": key, "approval": asked["approval"]}
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
        question = await self._question(request, prepared, preview)
        if request.context.mode == "shadow":
            ruling = rule_on(replace(question, rehearsal=True), self.means.rails)
            return {"ends": True, "outcome": await self._shadow(request, preview, ruling)}
        ruling = rule_on(question, self.means.rails)
        if ruling.rule:
            return {"ends": True, "outcome": await self._refuse(request, ruling, preview)}
        digest = action_hash(prepared, preview)
        return {"ends": False, "ask": ruling.ask, "why": ruling.reason, "hash": digest,
                "preview": preview.model_dump(mode="json"), "risk": prepared.kind.risk.value,
                "demands": demanded(request.act.approval, prepared.rule).model_dump(mode="json")}  # fmt: skip

    async def _shadow(self, request: Request, preview: Preview, ruling: Ruling) -> dict[str, Any]:
        """Write down what would be done, and what the guard would say to it."""
        payload = {
            "action": request.act.call.type, "call": preview.call, "targets": list(preview.targets),
            "before": preview.before, "after": preview.after, "magnitude": preview.magnitude, "node": request.key,
            "target": request.target, "rule": ruling.rule, "reason": ruling.reason, "ask": ruling.ask,
        }  # fmt: skip
        key = f"{request.key}/shadowed"
        told = NewEvent(kind=EventKind.ACTION_SHADOWED, payload=payload, node=request.key, key=key)
        await self.means.record(request.context, told)
        said = f" (would be refused: {ruling.reason})" if ruling.rule else " (would ask first)" if ruling.ask else ""
        outcome = self._outcome(
            request,
            Result.DRY_RUN,
            f"would do: {preview.call}{said}",
            rule=ruling.rule,
            output={"facts": preview.facts},
        )
        return outcome.model_dump(mode="json")

    async def _ask(self, request: Request, ready: Mapping[str, Any]) -> dict[str, Any]:
        return await approve.ask(
            self.means, request.context, request.act, request.key, preview=Preview.model_validate(ready["preview"]),
            digest=ready["hash"], why=ready["why"], risk=Risk(ready["risk"]), clauses=request.clauses,
            # A process of an older version prepared it without.
            demands=Demands.model_validate(ready["demands"]) if "demands" in ready else demanded(request.act.approval),
        )  # fmt: skip

    async def _not_approved(self, request: Request, answer: Mapping[str, Any]) -> dict[str, Any]:
        return await self._refuse(request, Ruling(answer["answer"], answer.get("reason") or approve.spoken(answer)))

    async def _queue(self, request: Request, busy: Mapping[str, str]) -> bool:
        """Wait until the targets are free, saying once for whom; the action is looked at anew afterwards."""
        others = sorted(set(busy.values()))
        text = f"{request.act.id} waits: {', '.join(busy)} is being acted on by incident {', '.join(others)}"
        event = NewEvent(kind=EventKind.NOTED, payload={"text": text}, node=request.key, key=f"{request.key}/queued")
        await self.means.record(request.context, event)
        deadline = time.monotonic() + LEASE_WAIT_S
        while time.monotonic() < deadline:
            if not await self.means.database.read(lambda c: permit.held(self.means, c, request, list(busy))):
                return True
            await self.means.durable.pause(LEASE_POLL_S)
        return False

    async def _busy(self, request: Request, done: Mapping[str, Any]) -> dict[str, Any]:
        return await self._refuse(request, Ruling("target_busy", f"the target stayed leased: {done['busy']}"))

    async def _perform(self, request: Request, ready: Mapping[str, Any], approved: bool) -> dict[str, Any]:
        """Guard again, lease, precondition, intent, execute, outcome. One step, never retried by the engine."""
        async with self.in_flight.acting(request.key):
            try:
                known = await self.means.database.read(lambda connection: ledger.find(connection, request.key))
                if known is not None and (told := self._told(request, known)) is not None:
                    return told
                return await self._do(request, ready, approved, known)
            except (Unavailable, asyncio.CancelledError):
                raise
            except Exception as error:  # a fault of ours or of a plug-in before the intent: nothing was done
                await self.means.database.write(lambda connection: permit.release(connection, request))
                return await self._refuse(request, _cannot_prepare(error))

    def _told(self, request: Request, known: ledger.Intent) -> dict[str, Any] | None:
        """What an intent that is there already says: its outcome, or that nobody knows. None: it may be repeated."""
        if known.outcome is not None:
            return known.outcome
        return None if known.idempotent else self._unknown(request, _UNKNOWN)

    def _unknown(self, request: Request, why: str) -> dict[str, Any]:
        return self._outcome(request, Result.UNKNOWN, why).model_dump(mode="json")

    async def _do(
        self, request: Request, ready: Mapping[str, Any], approved: bool, begun: ledger.Intent | None
    ) -> dict[str, Any]:
        """``begun``: the intent of an attempt that did not come to its end, of an action that may be repeated."""
        started = time.monotonic()
        prepared = await prepare(self.means, request)
        preview = await prepared.preview()
        no = await self._still_no(request, prepared, preview, ready, approved=approved)
        if no is not None and begun is not None:
            return self._unknown(request, f"it was begun, and may not be repeated: {no.reason}")
        if no is not None:
            return await self._refuse(request, no, preview)
        take = partial(permit.lease, self.means, request=request, prepared=prepared, preview=preview)
        if busy := await self.means.database.write(take):
            return {"busy": busy, "result": "busy"}
        # Of what was begun, the world may be the result already: conditions and values are those of the first attempt.
        no = await self._not_now(prepared) if begun is None else None
        if no is None:
            try:
                captured = begun.request["captured"] if begun else await prepared.captured()
                known = await permit.intend(self.means, request, prepared, preview, captured, approved=approved)
            except Refused as refused:
                no = Ruling(refused.rule, str(refused), refused.value, refused.limit)
            except (Transient, Permanent) as error:
                no = Ruling("capture", str(error))
        if no is not None and begun is not None:
            return self._unknown(request, f"it was begun, and may not be repeated: {no.reason}")
        if no is not None:
            await self.means.database.write(lambda connection: permit.release(connection, request))
            return await self._refuse(request, no, preview)
        if known is not None and (told := self._told(request, known)) is not None:
            return told  # somebody else carries out this very execution, or has
        outcome, state = await self._execute(request, prepared, captured, started)
        if begun is not None and outcome.undo is not None:
            # It may have found its own work of before the crash; what was there before that, the dry run saw.
            outcome = outcome.model_copy(update={"undo": ready["preview"].get("undo_needs") or outcome.undo})
        # Here and not in the whole step again: it would find the intent, and no longer know what became of it.
        return await patiently(self._settle, request, outcome, state)

    async def _still_no(
        self, request: Request, prepared: Prepared, preview: Preview, ready: Mapping[str, Any], *, approved: bool
    ) -> Ruling | None:
        """The guard again, right before acting; and what somebody agreed to must still be what would be done."""
        if approved and action_hash(prepared, preview) != ready["hash"]:
            return Ruling("changed", "the action changed after it was approved")
        agreed = Preview.model_validate(ready["preview"]).magnitude
        if approved and agreed is not None and (preview.magnitude or 0) > GROWTH * agreed:
            why = f"it grew from {agreed:g} to {preview.magnitude:g} after it was approved"
            return Ruling("changed", why, preview.magnitude, GROWTH * agreed)
        ruling = rule_on(await self._question(request, prepared, preview, approved=approved), self.means.rails)
        if ruling.ask:
            return Ruling("approval_needed", f"{ruling.reason} by now, and nobody was asked")
        return ruling if ruling.rule else None

    async def _not_now(self, prepared: Prepared) -> Ruling | None:
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
            if done["result"] == Result.UNKNOWN.value:  # any other is in the ledger since it is known, and stays
                final = outcome.model_dump(mode="json")
                ledger.settle(connection, request.key, outcome.result.value, final, now_us())
            if outcome.result is not Result.UNKNOWN:
                permit.release(connection, request)

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
        around = await self.means.database.read(
            lambda connection: permit.around(self.means, connection, request, prepared)
        )
        incident, context = around.incident, request.context
        gone = request.context.alert is not None and not incident.firing and not incident.deeds
        return Question(
            action=prepared.kind.name, risk=prepared.kind.risk, params=prepared.params.model_dump(mode="json"),
            targets=preview.targets, magnitude=preview.magnitude, facts=preview.facts,
            # An incident whose own service is not known acts on none, whatever the runbook names.
            service=request.context.service and prepared.acts_on,
            asks_approval=request.act.requires_approval, approved=approved,
            guard=request.act.guard.spelled(spellings(prepared.kind.params)),
            mode=request.context.mode, taken_by=None if request.late else incident.assignee, trigger_gone=gone,
            undoing=request.undoes is not None, own_undo=request.is_own_undo,
            ended=incident.status in ENDED and not request.late, paused=around.pause, now=around.now,
            overridden=around.overridden,
            tenant=context.tenant, environment=prepared.environment, owner=prepared.owner, owned_by=prepared.owned_by,
            radius=preview.radius, remedied=around.remedied, commands=prepared.commands,
        )  # fmt: skip

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
            effect = await answer(work, request.act.timeout_s)
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


def action_hash(prepared: Prepared, preview: Preview) -> str:
    return approve.action_hash(prepared.kind.name, prepared.params.model_dump(mode="json"), preview.targets)


def _cannot_prepare(error: Exception) -> Ruling:
    if isinstance(error, NotFound):
        return Ruling("unknown_action", str(error))
    if isinstance(error, Transient | Permanent):
        return Ruling("dry_run", f"the dry run failed: {error}", value=error.error_class)
    if isinstance(error, QuellError):
        return Ruling("parameters", str(error))
    return Ruling("internal", f"{type(error).__name__}: {error}")
