"""An action of which nobody knows whether it happened: a person is asked, and their word goes into the ledger.

Silence, or a question taken back, leaves it unknown. Never does: act, guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from quell.engine import leases, ledger
from quell.incident.action import ActionOutcome, Asks, Preview, Result, Risk
from quell.incident.event import EventKind, NewEvent
from quell.respond import approve
from quell.respond.means import Means
from quell.respond.prepared import Request
from quell.store.database import now_us

SAID = {"approved": Result.DONE, "done": Result.DONE, "denied": Result.FAILED, "failed": Result.FAILED}


async def ask(means: Means, request: Request, ready: Mapping[str, Any], ended: Mapping[str, Any]) -> dict[str, Any]:
    """Put the question with all that is known; one person's word is enough."""
    seen = Preview.model_validate(ready["preview"])
    return await approve.ask(
        means, request.context, request.act, f"{request.key}/happened", preview=seen, digest=ready["hash"],
        why=str(ended["summary"]), risk=Risk(ready["risk"]), asks=Asks.HAPPENED, workflow=request.key,
        instructions=f"Find out whether this was done, and say so: {seen.call}",
    )  # fmt: skip


async def settle(means: Means, request: Request, ended: Mapping[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    """The outcome after the answer. What the ledger has learnt by itself meanwhile counts more than anybody's word."""
    outcome = ActionOutcome.model_validate(ended)
    result, by = SAID.get(said["answer"], Result.UNKNOWN), said.get("by") or "somebody"
    if result is not Result.UNKNOWN:
        words = "it happened" if result is Result.DONE else "it did not happen"
        why = f"{by} says {words}" + (f" ({said['reason']})" if said.get("reason") else "")
        outcome = outcome.model_copy(update={"result": result, "summary": f"{why}; {outcome.summary}"[:2000]})
    found = [outcome]

    def close(connection: sa.Connection) -> None:
        known = ledger.find(connection, request.key)
        if known is not None and known.outcome and known.state in (ledger.DONE, ledger.FAILED):
            found.append(ActionOutcome.model_validate(known.outcome))
        if (last := found[-1]).result is not Result.UNKNOWN:
            ledger.settle(connection, request.key, last.result.value, last.model_dump(mode="json"), now_us())
            leases.release(connection, request.context.tenant, request.key)

    await means.database.write(close)
    outcome = found[-1]
    if outcome.result is not Result.UNKNOWN:
        payload = {
            "action": outcome.action, "result": outcome.result.value, "summary": outcome.summary, "key": request.key,
            "target": request.target, "output": outcome.output, "node": request.key,
        }  # fmt: skip
        told = NewEvent(kind=EventKind.ACTION_FINISHED, payload=payload, node=request.key, key=f"{request.key}/settled")
        await means.record(request.context, told)
    return outcome.model_dump(mode="json")
