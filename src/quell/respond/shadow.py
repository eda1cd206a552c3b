"""Shadow mode: what would have been done is compared, once the incident is over, with what people did.

A workflow of its own, ``shadow``. What people did is what they recorded as steps by hand, and what the world shows: an
action whose postcondition can hold only if it was done. Never does: act, guess. What cannot be told is said so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quell.errors import QuellError
from quell.incident.access import folded
from quell.incident.event import EventKind, NewEvent
from quell.incident.incident import ENDED
from quell.incident.parts import Shadowed, Step
from quell.incident.shadow import judged
from quell.respond.means import Context, Means
from quell.respond.prepared import Request, prepare

WORKFLOW = "shadow"
FIRST_S, GROWTH, LONGEST_S = 5.0, 1.5, 900.0
"""How long until it is looked whether the incident is over: soon at first, then every quarter of an hour."""
LOOKS = 700
"""About a week."""


class Would(BaseModel):
    """One action that would have been done, and what its dry run foresaw."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: Request
    facts: dict[str, Any] = Field(default_factory=dict)


class Compared(BaseModel):
    """What a run would have done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: Context
    would: tuple[Would, ...]

    @property
    def workflow(self) -> str:
        return f"{WORKFLOW}:{self.context.run_id}"


class ByHand:
    """Steps that people recorded as done, each of which is one action of a run at most."""

    def __init__(self, steps: Sequence[Step], would: Sequence[Request]) -> None:
        self._left = list(steps)
        self._types = Counter(request.act.call.type for request in would)

    def of(self, request: Request, call: str) -> Step | None:
        """By the runbook's name of it, where it has one target, by its call, or by its type where there is one."""
        act = request.act
        names = {call, *((act.id, act.name) if act.for_each is None else ())}
        names |= {act.call.type} if self._types[act.call.type] == 1 else set()
        known = {folded(name) for name in names if name}
        found = next((one for one in self._left if known & {folded(one.step), folded(one.name)}), None)
        if found is not None:
            self._left.remove(found)
        return found


class Comparer:
    """Register ``run`` as the workflow ``shadow``."""

    def __init__(self, means: Means) -> None:
        self.means = means

    async def run(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        compared, durable, pause_s = Compared.model_validate(raw), self.means.durable, FIRST_S
        for _ in range(LOOKS):
            await durable.sleep(pause_s)
            if await durable.step("over", self._over, compared):
                return await durable.step("compare", self._compare, compared)
            pause_s = min(pause_s * GROWTH, LONGEST_S)
        return await durable.step("give_up", self._give_up, compared)

    async def _over(self, compared: Compared) -> bool:
        return (await self.means.incident(compared.context)).status in ENDED

    async def _compare(self, compared: Compared) -> dict[str, Any]:
        context = compared.context
        incident = await self.means.incident(context)
        mine = {one.node: one for one in incident.shadowed}
        began = min((one.at for key, one in mine.items() if one.at and key.startswith(context.run_id)), default=None)
        by_hand = ByHand(
            [one for one in incident.steps if one.result == "done" and not (began and one.at and one.at < began)],
            [one.request for one in compared.would],
        )
        rows = [await self._row(one, mine.get(one.request.key), by_hand) for one in compared.would]
        did = [f"{one.name or one.step} ({one.by}: {one.result})" for one in incident.steps]
        verdict, reason = judged(rows)
        payload = {"number": context.run, "verdict": verdict, "reason": reason, "would": rows, "did": did}
        last = max((one.at for one in mine.values() if one.at), default=None)
        if last and incident.ended_at:
            payload["after_s"] = round(max(0.0, (incident.ended_at - last).total_seconds()), 3)
        key = f"{context.run_id}/compared"
        await self.means.record(context, NewEvent(kind=EventKind.SHADOW_COMPARED, payload=payload, key=key))
        return {"verdict": verdict, "reason": reason}

    async def _give_up(self, compared: Compared) -> dict[str, Any]:
        reason = "the incident was not over in time"
        payload = {"number": compared.context.run, "verdict": "cannot_tell", "reason": reason, "would": [], "did": []}
        told = NewEvent(kind=EventKind.SHADOW_COMPARED, payload=payload, key=f"{compared.context.run_id}/compared")
        await self.means.record(compared.context, told)
        return {"verdict": "cannot_tell", "reason": reason}

    async def _row(self, would: Would, told: Shadowed | None, by_hand: ByHand) -> dict[str, Any]:
        """``found``: done, not_done, cannot_tell, or refused where the guardrails would have said no."""
        call = told.call if told else would.request.act.call.type
        if told is not None and told.rule:
            return {"call": call, "found": "refused", "why": told.rule}
        if (step := by_hand.of(would.request, call)) is not None:
            return {"call": call, "found": "done", "why": f"{step.by} did it by hand"}
        try:
            prepared = await prepare(self.means, would.request)
            seen, why = await prepared.seen_done(would.facts)
        except QuellError as error:
            seen, why = None, str(error)
        return {"call": call, "found": _FOUND[seen], "why": why[:500]}


_FOUND = {True: "done", False: "not_done", None: "cannot_tell"}
