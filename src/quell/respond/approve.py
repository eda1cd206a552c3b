"""Approvals: asked for with everything a person needs, answered once, bound to the hash of the exact action.

The row's state is compare-and-set, so that two people answering at once get one answer and the loser learns who won.
Never does: decide whether approval is needed (the guard does), act.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import rfc8785
import sqlalchemy as sa

from quell.errors import Conflict, InvalidInput, NotFound, Problem
from quell.incident.access import folded
from quell.incident.action import Asks, Preview, Risk
from quell.incident.event import EventKind, NewEvent, Stream
from quell.respond.approvers import NO_DEMANDS, Demands, means_people
from quell.respond.away import away
from quell.respond.means import Context, Means
from quell.respond.stakes import stakes
from quell.runbook.plan import Act, Approve
from quell.store import events, queries
from quell.store.database import now_us
from quell.store.events import dumps, when
from quell.store.schema import approvals

TOPIC = "answer"
ANSWERS = frozenset({"approved", "denied", "withdrawn", "expired", "done", "failed"})


def action_hash(action: str, params: Mapping[str, Any], targets: Sequence[str]) -> str:
    """SHA-256 of what somebody agrees to: the action, its targets, its parameters. How much it is may move a little."""
    shown = {"action": action, "targets": list(targets), "params": orjson.loads(dumps(params))}
    return hashlib.sha256(rfc8785.dumps(shown)).hexdigest()


def approval_id(key: str) -> str:
    """Short, the same at every replay: people type it."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def topic_of(approval: str) -> str:
    """Where its answer is sent: an answer that comes too late must not be taken for that of the next one."""
    return f"{TOPIC}/{approval}"


async def ask(
    means: Means, context: Context, node: Act | Approve, key: str, *, preview: Preview, digest: str, why: str,
    risk: Risk, clauses: Sequence[str] = (), instructions: str = "", workflow: str = "", asks: Asks = Asks.APPROVAL,
    demands: Demands = NO_DEMANDS,
) -> dict[str, Any]:  # fmt: skip
    """Put the question to people; returns what is needed to wait for the answer. Asking again asks once.

    ``workflow``: who waits for the answer; the execution ``key`` is its own workflow unless said. ``demands``: whose
    yes counts, and how many.
    """
    name, asked_at = approval_id(key), now_us()
    expires_at = asked_at + int(node.approval.expires_s * 1_000_000)
    request = {
        "approval": name, "node": key, "action": getattr(getattr(node, "call", None), "type", "manual"),
        "hash": digest, "call": preview.call, "targets": list(preview.targets), "before": preview.before,
        "after": preview.after, "why": "; ".join([why, *clauses]), "undo": preview.undo,
        "expires_at": when(expires_at).isoformat(), "on_no_answer": node.approval.on_no_answer,
        "people": demands.people, "from": node.approval.ask, "risk": risk.value, "instructions": instructions,
        "asks": asks.value, **demands.model_dump(mode="json", include={"approvers", "not_requester"}),
        "from_people": means_people(means, node.approval.ask, context.service),
        **await stakes(means, context, node, asks),
    }  # fmt: skip

    def store(connection: sa.Connection) -> None:
        if connection.execute(sa.select(approvals.c.id).where(approvals.c.id == name)).scalar():
            return
        connection.execute(
            sa.insert(approvals).values(
                id=name, tenant=context.tenant, environment=context.environment, region=context.region,
                incident=context.incident, workflow=workflow or key, hash=digest, request=dumps(request),
                state="waiting", people=demands.people, requested_at=asked_at, expires_at=expires_at,
            )
        )  # fmt: skip

    event = NewEvent(kind=EventKind.APPROVAL_REQUESTED, payload=request, node=key, key=f"{key}/asked")
    await means.transact(context, store, event)
    return {"approval": name, "expires_s": node.approval.expires_s}


def settle(
    connection: sa.Connection, approval: str, answer: str, by: str, reason: str = "",
    names: frozenset[str] = frozenset(),
) -> tuple[Mapping[str, Any], str]:  # fmt: skip
    """Record one person's answer. Returns the row and its state after: ``waiting`` while more people are needed.

    ``names``: by which others the same person is known, folded.

    Raises ``InvalidInput``, ``NotFound``, and ``Conflict`` with the winner when it was answered already.
    """
    if answer not in ANSWERS:
        known = ", ".join(sorted(ANSWERS))
        raise InvalidInput([Problem(f"{answer!r} is no answer", "answer", found=answer, expected=f"one of {known}")])
    row = queries.approval(connection, approval)
    # The log before its approvals, as whoever takes the incident does: two at once wait for one another in one order.
    events.hold(connection, row["tenant"], Stream.INCIDENT, row["incident"])
    row = queries.approval(connection, row["id"])
    answers: list[dict[str, Any]] = orjson.loads(row["answers"])
    if row["state"] != "waiting":
        winner = answers[-1]["by"] if answers else row["state"]
        raise Conflict(f"already {row['state']} by {winner}", winner=winner)
    if answer in ("approved", "denied", "done", "failed") and now_us() > row["expires_at"]:
        raise Conflict(f"it expired at {when(row['expires_at']).isoformat()}", winner="nobody")
    if answer in ("approved", "done") and any(folded(one["by"]) in {folded(by), *names} for one in answers):
        raise Conflict(f"{by} has answered already; another person is needed", winner=by)
    answers.append({"by": by, "answer": answer, "reason": reason, "at": now_us()})
    agreed = sum(one["answer"] in ("approved", "done") for one in answers)
    state = "waiting" if answer in ("approved", "done") and agreed < row["people"] else answer
    changed = connection.execute(
        sa.update(approvals)
        .where(approvals.c.id == row["id"], approvals.c.state == "waiting", approvals.c.answers == row["answers"])
        .values(state=state, answers=dumps(answers), answered_at=now_us() if state != "waiting" else None)
    )
    if changed.rowcount != 1:
        raise Conflict("somebody answered at the same moment; look again")
    return {**row, "state": state, "answers": dumps(answers)}, state


def answered_event(row: Mapping[str, Any], state: str, by: str, reason: str = "") -> NewEvent:
    """The event that ends an approval; appended once, whoever tells it."""
    node = orjson.loads(row["request"])["node"]
    return NewEvent(
        kind=EventKind.APPROVAL_ANSWERED, actor=by, node=node, key=f"{node}/answered",
        payload={"approval": row["id"], "answer": state, "by": by, "reason": reason, "node": node},
    )  # fmt: skip


def spoken(answer: Mapping[str, Any]) -> str:
    """An answer as a sentence: who, what, and why when they said so."""
    by = answer.get("by") or "somebody"
    words = {"denied": f"{by} denied it", "expired": "nobody answered in time", "withdrawn": "it was withdrawn",
             "done": f"{by} did it", "approved": f"{by} did it", "failed": f"{by} tried, and it failed"}  # fmt: skip
    said = words.get(answer["answer"], answer["answer"])
    return f"{said}: {answer['reason']}" if answer.get("reason") else said


async def tell(means: Means, row: Mapping[str, Any]) -> None:
    """Give a settled approval's answer to the run that waits; telling twice tells once."""
    last = orjson.loads(row["answers"])[-1]
    message = {"answer": row["state"], "by": last["by"], "reason": last["reason"]}
    await means.durable.send(row["workflow"], message, topic=topic_of(row["id"]), key=f"{row['id']}/{row['state']}")
    await means.database.write(lambda connection: _told(connection, row["id"]))


def _told(connection: sa.Connection, approval: str) -> None:
    connection.execute(sa.update(approvals).where(approvals.c.id == approval).values(told_at=now_us()))


async def tell_untold(means: Means) -> int:
    """Tell the answers that a crash kept from being told. Returns how many; one that fails holds up no other."""
    rows = await means.database.read(queries.untold_answers)
    done = await asyncio.gather(*(tell(means, row) for row in rows), return_exceptions=True)
    return sum(not isinstance(one, BaseException) for one in done)


async def wait(means: Means, context: Context, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Inside a workflow: the answer, or ``expired`` when nobody gave one in time."""
    async with away(means, context):
        answer = await means.durable.receive(topic_of(asked["approval"]), asked["expires_s"])
    if answer is not None:
        return dict(answer)
    result: dict[str, Any] = await means.durable.step("expire", _expire, means, context, asked["approval"])
    return result


async def _expire(means: Means, context: Context, approval: str) -> dict[str, Any]:
    """Silence, made an answer; if somebody answered at the last moment, theirs counts."""

    def close(connection: sa.Connection) -> dict[str, Any]:
        try:
            row, state = settle(connection, approval, "expired", "nobody")
        except Conflict as error:
            row = queries.approval(connection, approval)
            return {"answer": row["state"], "by": error.winner}
        except NotFound:
            return {"answer": "expired", "by": "nobody"}
        means.append(connection, context, [answered_event(row, state, "nobody", "nobody answered in time")])
        _told(connection, approval)
        return {"answer": state, "by": "nobody"}

    return await means.database.write(close)
