"""A step of a workflow that has nothing to replay: done, and what it answered kept, in one go.

The library's own way is for any step: it asks a thread whether the step has been done, and two more to keep its answer.
Where it is known that nothing was done before, that was most of what a step cost. What is kept is the same. Never does:
ask whether a step has been done.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import sqlalchemy as sa
from dbos._context import DBOSContext, EnterDBOSStepCtx, get_local_dbos_context, snapshot_step_context
from dbos._serialization import Serializer, serialize_exception, serialize_value

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ending:
    """What is written with the answer of a step. ``told``: called with what ``write`` gave, once it is committed."""

    write: Callable[[sa.Connection], Any]
    told: Callable[[Any], None]


Record = Callable[[dict[str, Any], Sequence[Ending]], Awaitable[None]]
"""Keeps what a step answered, in the context of the step."""


@dataclass(slots=True)
class _Step:
    """One that runs: whatever is begun meanwhile inherits it, and is no part of it."""

    context: DBOSContext
    endings: list[Ending] = field(default_factory=list)
    runs: bool = True


_step: ContextVar[_Step | None] = ContextVar("step", default=None)


def ends_with(ending: Ending) -> bool:
    """To be written with the answer of the step that runs here. False where that cannot be."""
    mine = _step.get()
    if mine is None or not mine.runs or get_local_dbos_context() is not mine.context:
        return False
    mine.endings.append(ending)
    return True


def alone(library: Any, over: threading.Event) -> Record:
    """The library's own way to keep an answer, which writes nothing with it. ``over``: nothing is kept any more."""

    async def record(result: dict[str, Any], endings: Sequence[Ending]) -> None:
        if over.is_set():
            raise asyncio.CancelledError
        await asyncio.to_thread(library.record_operation_result, result)

    return record


async def first_done(
    name: str, work: Coroutine[Any, Any, T], serializer: Serializer, record: Record, *, together: bool
) -> T:
    """Raises what ``work`` raises; an error is kept as well, what cut it off is not. ``together``: ``record`` writes
    more than an answer."""
    context = snapshot_step_context()
    if context is None:
        raise RuntimeError(f"step {name!r} is not in a workflow")
    result = {
        "workflow_uuid": context.workflow_id, "function_id": context.function_id, "function_name": name,
        "output": None, "error": None, "serialization": None, "child_workflow_id": None,
        "started_at_epoch_ms": int(time.time() * 1000),
    }  # fmt: skip
    step = _Step(context, runs=together)
    with EnterDBOSStepCtx({"name": name, "operationType": "step"}, context):
        before = _step.set(step)
        try:
            try:
                answer = await work
            finally:
                step.runs = False
            text, form = serialize_value(answer, None, serializer)
            await record({**result, "output": text, "serialization": form}, step.endings)
        except Exception as error:
            text, form = serialize_exception(error, None, serializer)
            await record({**result, "error": text, "serialization": form}, ())
            raise
        finally:
            _step.reset(before)
        return answer
