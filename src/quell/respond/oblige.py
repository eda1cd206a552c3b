"""A change that is kept for now has an owner and a day: then somebody is asked whether to take it back.

A workflow of its own, ``revert``, so that it goes on after the incident is over. Taking back goes through the frame.
Silence asks again; it never reverts by itself. Never does: forget.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from quell.incident.action import Asks, Preview, Result, Risk
from quell.incident.event import Event, EventKind, NewEvent
from quell.respond import approve, frame
from quell.respond.means import TELL, Context, Means
from quell.respond.prepared import Request
from quell.runbook.plan import Act, Approval
from quell.runbook.quantities import spoken
from quell.store.database import now_us
from quell.store.events import when
from quell.store.schema import obligations

WORKFLOW = "revert"
PATIENCE_S = 86_400.0
"""How long each question waits before it is asked again."""
QUESTIONS = 30


class Kept(BaseModel):
    """What is kept, by whose key, and the pass through the frame that takes it back (None: only a person can)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    context: Context
    act: Act
    key: str
    what: str
    targets: tuple[str, ...] = ()
    after_s: float
    owner: str
    back: Request | None = None

    @property
    def workflow(self) -> str:
        return f"{WORKFLOW}:{self.key}"


async def oblige(means: Means, kept: Kept) -> None:
    """Write it down, with its day."""
    due, context = now_us() + int(kept.after_s * 1_000_000), kept.context
    row = {"id": kept.key, "tenant": context.tenant, "environment": context.environment, "region": context.region,
           "incident": context.incident, "what": kept.what, "owner": kept.owner, "revert_at": due}  # fmt: skip

    def store(connection: sa.Connection) -> None:
        if connection.execute(sa.select(obligations.c.id).where(obligations.c.id == kept.key)).first() is None:
            connection.execute(sa.insert(obligations).values(row))

    payload = {"obligation": kept.key, "what": kept.what, "owner": kept.owner, "ask": kept.owner,
               "revert_at": when(due).isoformat()}  # fmt: skip
    made = NewEvent(kind=EventKind.OBLIGATION_MADE, payload=payload, node=kept.key, key=f"{kept.key}/obliged")
    await means.transact(context, store, made)


async def end(means: Means, context: Context, key: str, how: str, by: str) -> None:
    """It is over: taken back, or kept for good. Nothing when there is no such obligation, or not any more."""

    means.on_events(await means.database.write(lambda connection: ended(means, connection, context, key, how, by)))


def ended(means: Means, connection: sa.Connection, context: Context, key: str, how: str, by: str) -> list[Event]:
    """The same in the caller's transaction; what it told."""
    mine = sa.update(obligations).where(obligations.c.id == key, obligations.c.ended_at.is_(None))
    if not connection.execute(mine.values(ended_at=now_us(), how=how)).rowcount:
        return []
    payload = {"obligation": key, "how": how, "by": by}
    told = NewEvent(kind=EventKind.OBLIGATION_ENDED, payload=payload, actor=by, node=key, key=f"{key}/unobliged")
    return means.append(connection, context, [told])


class Reverter:
    """Register ``run`` as the workflow ``revert``."""

    def __init__(self, means: Means) -> None:
        self.means = means

    async def run(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        kept, durable = Kept.model_validate(raw), self.means.durable
        text = f"{kept.what}; kept for now, {kept.owner} is asked in {spoken(kept.after_s)} whether to take it back"
        await self._tell(kept, f"{kept.key}/kept", text, "update")
        await durable.sleep(kept.after_s)
        for number in range(QUESTIONS):
            if not await durable.step("open", self._open, kept):
                return {"ended": "before"}
            asked = await durable.step("ask", self._ask, kept, number)
            text = f"It was kept for now and is due: take it back? {kept.what}"
            await self._tell(kept, f"{kept.key}/due{number}/tell", text, approval=asked["approval"])
            said = await approve.wait(self.means, kept.context, asked)
            if said["answer"] in ("approved", "done"):
                return await self._take_back(kept, said)
            if said["answer"] in ("denied", "failed"):
                await durable.step("kept", end, self.means, kept.context, kept.key, "kept", said.get("by", ""))
                return {"ended": "kept"}
        return {"ended": "unanswered"}

    async def _tell(self, kept: Kept, key: str, text: str, kind: str = "approval", approval: str = "") -> None:
        """To the primary, and to the owner where that leads somewhere."""
        context = kept.context.model_dump(mode="json")
        telling = {"context": context, "text": text, "key": key, "kind": kind, "approval": approval, "whom": kept.owner}
        await self.means.durable.child(TELL, key, telling)

    async def _open(self, kept: Kept) -> bool:
        query = sa.select(obligations.c.ended_at).where(obligations.c.id == kept.key)
        row = await self.means.database.read(lambda connection: connection.execute(query).first())
        return row is not None and row.ended_at is None

    async def _ask(self, kept: Kept, number: int) -> dict[str, Any]:
        approval = Approval(ask=kept.owner, expires_s=PATIENCE_S)
        by_hand = "" if kept.back else "It has no undo: take it back by hand, then say that it is done."
        return await approve.ask(
            self.means, kept.context, kept.act.model_copy(update={"approval": approval}), f"{kept.key}/due{number}",
            preview=Preview(call=f"take back: {kept.what}"[:500], targets=kept.targets),
            digest=approve.approval_id(kept.key), why="it was kept for now, and is due", risk=Risk.NONE,
            asks=Asks.REVERT, workflow=kept.workflow, instructions=by_hand,
        )  # fmt: skip

    async def _take_back(self, kept: Kept, said: Mapping[str, Any]) -> dict[str, Any]:
        durable, by = self.means.durable, said.get("by", "")
        if kept.back is not None:
            outcome = await durable.call(frame.WORKFLOW, kept.back.key, kept.back.model_dump(mode="json"))
            if outcome["result"] != Result.DONE.value:
                text = f"It could not be taken back: {outcome['summary']}"
                await self._tell(kept, f"{kept.key}/stuck", text, "page")
                return {"ended": "failed"}
        await durable.step("reverted", end, self.means, kept.context, kept.key, "reverted", by)
        return {"ended": "reverted"}
