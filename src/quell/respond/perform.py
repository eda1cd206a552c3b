"""The part of the act frame that acts: lease → precondition → intent and permit → execute → outcome → postcondition.

Each is a part of a step that may run again after a crash; each records under keys that append once. Never does: choose
the action, ask anybody. Nothing acts twice by itself: an intent without an outcome, of an action that is not
idempotent, is ``unknown``; its postcondition may settle it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from quell.engine import ledger
from quell.engine.leases import Busy
from quell.engine.patience import patiently
from quell.errors import MAY_HAVE_HAPPENED, Permanent, Refused, Transient, Unavailable
from quell.incident.action import ActionOutcome, Preview, Result
from quell.incident.event import EventKind, NewEvent
from quell.respond import permit
from quell.respond.guard import Ruling, rule_on
from quell.respond.inflight import InFlight
from quell.respond.look import Quit, answer
from quell.respond.means import Means
from quell.respond.prepared import Prepared, Request, prepare
from quell.respond.ruling import action_hash, cannot_prepare, outcome_of, question, refuse
from quell.store.database import now_us

GROWTH = 2.0
"""How much larger an action may have become since somebody agreed to it: queues and caches do not stand still."""
_UNKNOWN = "the intent was recorded and no outcome: it may or may not have been done"
_OVER = (Result.DONE, Result.FAILED)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was looked at a moment ago, and the guard has said yes to without asking anybody."""

    prepared: Prepared
    preview: Preview


@dataclass(frozen=True, slots=True)
class Performed:
    """An ``ActionOutcome`` as JSON, or who keeps the targets ``busy``. ``closed``: it is told, and nothing is left to
    be asked about it."""

    told: dict[str, Any]
    closed: bool = False


class Performer:
    def __init__(self, means: Means) -> None:
        self.means = means
        self.in_flight = InFlight()

    async def perform(
        self, request: Request, ready: Mapping[str, Any], *, approved: bool = False, looked: Looked | None = None
    ) -> Performed:
        """``ready``: what was found out before anybody was asked. ``looked``: that was only a moment ago, and there is
        no intent yet. Never raises but ``Unavailable`` and ``CancelledError``."""
        async with self.in_flight.acting(request.key):
            try:
                if looked is not None:
                    return await self._do(request, ready, looked, approved=approved)
                known = await self.means.database.glance(lambda connection: ledger.find(connection, request.key))
                if known is not None and (told := _told(request, known)) is not None:
                    return Performed(told)
                return await self._look_and_do(request, ready, approved, known)
            except (Unavailable, asyncio.CancelledError):
                raise
            except Exception as error:  # a fault of ours or of a plug-in
                return await self._broken(request, error)

    async def _look_and_do(
        self, request: Request, ready: Mapping[str, Any], approved: bool, begun: ledger.Intent | None
    ) -> Performed:
        """``begun``: the intent of an attempt that did not come to its end, of an action that may be repeated."""
        prepared = await prepare(self.means, request)
        preview = await prepared.preview()
        no = await self._still_no(request, prepared, preview, ready, approved=approved)
        if no is not None:
            return await self._no(request, no, preview, begun)
        return await self._do(request, ready, Looked(prepared, preview), approved=approved, begun=begun)

    async def _do(
        self, request: Request, ready: Mapping[str, Any], looked: Looked, *, approved: bool,
        begun: ledger.Intent | None = None,
    ) -> Performed:  # fmt: skip
        started = time.monotonic()
        prepared, preview = looked.prepared, looked.preview
        no: Ruling | None = None
        try:
            if prepared.looks_before_acting and begun is None:
                # What is looked at now must still be so when it is acted on: nobody else changes it meanwhile.
                await self.means.database.write(partial(permit.lease, self.means, request, prepared, preview))
                no = await _not_now(prepared)
            if no is None:
                # Of what was begun, the world may be the result already: the values are those of the first attempt.
                captured = begun.request["captured"] if begun else await prepared.captured()
                known = await permit.intend(
                    self.means, request, prepared, preview, captured, approved=approved, ready=ready
                )
        except Busy as held:
            return Performed({"busy": held.by, "result": "busy"})
        except Refused as refused:
            no = Ruling(refused.rule, str(refused), refused.value, refused.limit)
        except (Transient, Permanent) as error:
            no = Ruling("capture", str(error))
        if no is not None:
            return await self._no(request, no, preview, begun)
        if known is not None and (told := _told(request, known)) is not None:
            return Performed(told)  # somebody else carries out this very execution, or has
        outcome, state = await execute(request, prepared, captured, started)
        if begun is not None and outcome.undo is not None:
            # It may have found its own work of before the crash; what was there before that, the dry run saw.
            outcome = outcome.model_copy(update={"undo": ready["preview"].get("undo_needs") or outcome.undo})
        # Here and not in the whole step again: it would find the intent, and no longer know what became of it.
        return await patiently(settle, self.means, request, prepared, outcome, state)

    async def _broken(self, request: Request, error: Exception) -> Performed:
        """Without an intent nothing was done; with one, what it says counts."""
        known = await self.means.database.glance(lambda connection: ledger.find(connection, request.key))
        if known is None:
            return Performed(await refuse(self.means, request, cannot_prepare(error)), closed=True)
        return Performed(_told(request, known) or _unknown(request, f"{type(error).__name__}: {error}"))

    async def _no(self, request: Request, no: Ruling, preview: Preview, begun: ledger.Intent | None) -> Performed:
        if begun is not None:
            return Performed(_unknown(request, f"it was begun, and may not be repeated: {no.reason}"))
        return Performed(await refuse(self.means, request, no, preview), closed=True)

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
        around = await self.means.database.read(partial(permit.around, self.means, request, prepared))
        ruling = rule_on(question(request, prepared, preview, around, approved=approved), self.means.rails)
        if ruling.ask:
            return Ruling("approval_needed", f"{ruling.reason} by now, and nobody was asked")
        return ruling if ruling.rule else None

    async def confirm(self, request: Request, ready: Mapping[str, Any], done: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the postcondition; it may settle what is unknown. Then tell, and give the target back."""
        outcome = ActionOutcome.model_validate(done)
        told = ""
        if outcome.result in (Result.DONE, Result.UNKNOWN):
            outcome, told = await self._asked(request, outcome, ready["preview"].get("facts", {}))

        def close(connection: sa.Connection) -> None:
            if done["result"] == Result.UNKNOWN.value:  # any other is in the ledger since it is known, and stays
                final = outcome.model_dump(mode="json")
                ledger.settle(connection, request.key, outcome.result.value, final, now_us())
            if outcome.result is not Result.UNKNOWN:
                permit.release(connection, request)

        await self.means.transact(request.context, close, _finished(request, outcome, told))
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


async def execute(
    request: Request, prepared: Prepared, captured: Mapping[str, Any], started: float
) -> tuple[ActionOutcome, str]:
    """Act, within its time. What did not come back in time, of an action that is not idempotent, is unknown."""
    kind, extra = prepared.kind, {"captured": dict(captured)}

    def ended(result: Result, summary: str, **more: Any) -> ActionOutcome:
        spent = round((time.monotonic() - started) * 1000, 3)
        return outcome_of(request, result, summary, duration_ms=spent, **extra, **more)

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


async def settle(means: Means, request: Request, prepared: Prepared, outcome: ActionOutcome, state: str) -> Performed:
    """The outcome into the ledger; what is there already stays. Where nothing is left to be asked, it is told in the
    same transaction, and the target given back."""
    final = outcome.model_dump(mode="json")
    if state == ledger.UNKNOWN:
        # No outcome yet: the postcondition or a person settles it.
        return Performed({**final, "result": Result.UNKNOWN.value})

    def write(connection: sa.Connection) -> None:
        ledger.settle(connection, request.key, state, final, now_us())
        if closed:
            permit.release(connection, request)

    closed = outcome.result is Result.FAILED or not prepared.asks_afterwards
    await means.transact(request.context, write, *([_finished(request, outcome)] if closed else []))
    return Performed(final, closed)


def _finished(request: Request, outcome: ActionOutcome, told: str = "") -> NewEvent:
    payload = {
        "action": outcome.action, "result": outcome.result.value, "summary": outcome.summary, "key": request.key,
        "target": request.target, "output": outcome.output, "duration_ms": outcome.duration_ms,
        "error_class": outcome.error_class, "node": request.key, "postcondition": told,
    }  # fmt: skip
    return NewEvent(kind=EventKind.ACTION_FINISHED, payload=payload, node=request.key, key=f"{request.key}/finished")


async def _not_now(prepared: Prepared) -> Ruling | None:
    broken = await prepared.broken_precondition()
    if broken is None:
        return None
    return Ruling("precondition", f"precondition does not hold: {broken[1]}", limit=broken[0])


def _told(request: Request, known: ledger.Intent) -> dict[str, Any] | None:
    """What an intent that is there already says: its outcome, or that nobody knows. None: it may be repeated."""
    if known.outcome is not None:
        return known.outcome
    return None if known.idempotent else _unknown(request, _UNKNOWN)


def _unknown(request: Request, why: str) -> dict[str, Any]:
    return outcome_of(request, Result.UNKNOWN, why).model_dump(mode="json")
