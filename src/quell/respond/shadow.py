"""Shadow mode: what would have been done is compared, once the incident is over, with what people did.

A workflow of its own, ``shadow``. What people did is what they recorded as steps by hand, and what the world shows: an
action whose postcondition can hold only if it was done. Never does: act, guess. What cannot be told is said so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from quell.errors import QuellError
from quell.incident.access import folded
from quell.incident.event import EventKind, NewEvent
from quell.incident.incident import ENDED, Incident, Shadowed, Step
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
        return {"verdict": "", "reason": "the incident was not over in time"}

    async def _over(self, compared: Compared) -> bool:
        return (await self.means.incident(compared.context)).status in ENDED

    async def _compare(self, compared: Compared) -> dict[str, Any]:
        context = compared.context
        incident = await self.means.incident(context)
        mine = {one.node: one for one in incident.shadowed}
        rows = [await self._row(one, mine.get(one.request.key), incident) for one in compared.would]
        did = [f"{one.name or one.step} ({one.by}: {one.result})" for one in incident.steps]
        verdict, reason = judged(rows)
        payload = {"number": context.run, "verdict": verdict, "reason": reason, "would": rows, "did": did}
        last = max((one.at for one in mine.values() if one.at), default=None)
        if last and incident.ended_at:
            payload["after_s"] = round(max(0.0, (incident.ended_at - last).total_seconds()), 3)
        key = f"{context.run_id}/compared"
        await self.means.record(context, NewEvent(kind=EventKind.SHADOW_COMPARED, payload=payload, key=key))
        return {"verdict": verdict, "reason": reason}

    async def _row(self, would: Would, told: Shadowed | None, incident: Incident) -> dict[str, Any]:
        """``found``: done, not_done, cannot_tell, or refused where the guardrails would have said no."""
        call = told.call if told else would.request.act.call.type
        if told is not None and told.rule:
            return {"call": call, "found": "refused", "why": told.rule}
        by_hand = recorded(would.request, call, incident.steps)
        if by_hand is not None:
            return {"call": call, "found": "done", "why": f"{by_hand.by} did it by hand"}
        try:
            prepared = await prepare(self.means, would.request)
            seen, why = await prepared.seen_done(would.facts)
        except QuellError as error:
            seen, why = None, str(error)
        return {"call": call, "found": _FOUND[seen], "why": why[:500]}


_FOUND = {True: "done", False: "not_done", None: "cannot_tell"}


def recorded(request: Request, call: str, steps: Sequence[Step]) -> Step | None:
    """The step by hand that is this action, by the runbook's name of it or by its call."""
    names = {folded(name) for name in (request.act.id, request.act.name, request.act.call.type, call) if name}
    done = (one for one in steps if one.result == "done")
    return next((one for one in done if names & {folded(one.step), folded(one.name)}), None)
