"""The act frame: around every action, whoever asks for it. One child workflow, ``act``.

dry run → guard → approval if asked, and then dry run and guard again → what ``perform`` does: the target's lease →
precondition → intent and permit → execute → outcome → postcondition → record → release. Undo is another pass through
this same frame.

Never does: choose the action, act by itself (``perform`` does), verify that the incident is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from quell.engine import ledger
from quell.errors import Unavailable
from quell.incident.action import Preview, Result, Risk
from quell.incident.event import EventKind, NewEvent
from quell.respond import approve, permit, unknown
from quell.respond.approvers import Demands, demanded
from quell.respond.guard import Ruling, rule_on
from quell.respond.means import TELL, Means
from quell.respond.perform import Looked, Performed, Performer
from quell.respond.prepared import Request, prepare
from quell.respond.ruling import action_hash, cannot_prepare, outcome_of, question, refuse

WORKFLOW = "act"
LEASE_POLL_S = 1.0
LEASE_WAIT_S = 300.0


class Frame:
    """Register ``run`` as the workflow ``act``."""

    def __init__(self, means: Means) -> None:
        self.means = means
        self.performer = Performer(means)

    async def run(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The workflow: returns an ``ActionOutcome`` as JSON."""
        request = Request.model_validate(raw)
        step = self.means.durable.step
        ready = await self.means.durable.last_step("prepare", self._prepare, request, ends=_is_over)
        if ready["ends"]:
            return dict(ready["outcome"])
        approved: dict[str, Any] = {}
        if ready["ask"]:
            asked = await step("ask", self._ask, request, ready)
            await self._tell(request, f"{request.key}/tell", f"Approval needed: {ready['preview']['call']}", asked)
            approved = await approve.wait(self.means, request.context, asked)
            if approved["answer"] != "approved":
                return await step("not_approved", self._not_approved, request, approved)
        done = (
            ready["done"] if "done" in ready else await step("perform", self._perform, request, ready, bool(approved))
        )
        while busy := done.get("busy"):
            if not await step("queue", self._queue, request, busy):
                return await step("busy", self._busy, request, done)
            done = await step("perform", self._perform, request, ready, bool(approved))
        if done["result"] == Result.REFUSED.value or ready.get("closed"):
            return dict(done)
        ended = await step("confirm", self.performer.confirm, request, ready, done)
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
        """What would be done, and what the guard says to it. Where nobody need be asked it is done at once: from the
        guard's yes to the intent there is no more to find out."""
        try:
            prepared = await prepare(self.means, request)
            preview = await prepared.preview()
        except (Unavailable, asyncio.CancelledError):
            raise
        except Exception as error:
            begun = await self.means.database.glance(lambda connection: ledger.find(connection, request.key))
            return await self._go_on(request, begun) if begun else await self._end(request, cannot_prepare(error))
        if request.context.mode == "dry_run":
            outcome = outcome_of(request, Result.DRY_RUN, f"would do: {preview.call}")
            return {"ends": True, "outcome": outcome.model_dump(mode="json")}
        around = await self.means.database.read(partial(permit.around, self.means, request, prepared))
        if around.intent is not None:
            return await self._go_on(request, around.intent)
        asked = question(request, prepared, preview, around)
        if request.context.mode == "shadow":
            ruling = rule_on(replace(asked, rehearsal=True), self.means.rails)
            return {"ends": True, "outcome": await self._shadow(request, preview, ruling)}
        ruling = rule_on(asked, self.means.rails)
        if ruling.rule:
            return await self._end(request, ruling, preview)
        ready = {"ends": False, "ask": ruling.ask, "why": ruling.reason, "hash": action_hash(prepared, preview),
                 "preview": preview.model_dump(mode="json"), "risk": prepared.kind.risk.value,
                 "demands": demanded(request.act.approval, prepared.rule).model_dump(mode="json")}  # fmt: skip
        if ruling.ask:
            return ready
        return _with(ready, await self.performer.perform(request, ready, looked=Looked(prepared, preview)))

    async def _go_on(self, request: Request, begun: ledger.Intent) -> dict[str, Any]:
        """This very step was cut off after the intent: what it had found out stands there."""
        known = begun.request
        # One of an older version kept less.
        kept = known.get("ready") or {"hash": "", "risk": known["risk"], "preview": {
            "call": known["call"], "targets": known["targets"], "magnitude": known["magnitude"]}}  # fmt: skip
        ready = {"ends": False, "ask": False, **kept}
        return _with(ready, await self.performer.perform(request, ready))

    async def _end(self, request: Request, ruling: Ruling, preview: Preview | None = None) -> dict[str, Any]:
        return {"ends": True, "outcome": await refuse(self.means, request, ruling, preview)}

    async def _perform(self, request: Request, ready: Mapping[str, Any], approved: bool) -> dict[str, Any]:
        return (await self.performer.perform(request, ready, approved=approved)).told

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
        would = f"would do: {preview.call}{said}"
        outcome = outcome_of(request, Result.DRY_RUN, would, rule=ruling.rule, output={"facts": preview.facts})
        return outcome.model_dump(mode="json")

    async def _ask(self, request: Request, ready: Mapping[str, Any]) -> dict[str, Any]:
        return await approve.ask(
            self.means, request.context, request.act, request.key, preview=Preview.model_validate(ready["preview"]),
            digest=ready["hash"], why=ready["why"], risk=Risk(ready["risk"]), clauses=request.clauses,
            # A process of an older version prepared it without.
            demands=Demands.model_validate(ready["demands"]) if "demands" in ready else demanded(request.act.approval),
        )  # fmt: skip

    async def _not_approved(self, request: Request, answer: Mapping[str, Any]) -> dict[str, Any]:
        return await refuse(
            self.means, request, Ruling(answer["answer"], answer.get("reason") or approve.spoken(answer))
        )

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
        return await refuse(self.means, request, Ruling("target_busy", f"the target stayed leased: {done['busy']}"))


def _is_over(ready: Mapping[str, Any]) -> bool:
    """Whether the frame ends with what was found out, or with what was done at once."""
    return bool(ready["ends"] or ready.get("closed"))


def _with(ready: Mapping[str, Any], done: Performed) -> dict[str, Any]:
    return {**ready, "done": done.told, "closed": done.closed}
