"""A step of a workflow that has nothing to replay: done, and what it answered kept, in one go.

The library's own way is for any step: it asks a thread whether the step has been done, and two more to keep its answer.
Where it is known that nothing was done before, that was most of what a step cost. What is kept is the same. Never does:
ask whether a step has been done.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from dbos._context import EnterDBOSStepCtx, snapshot_step_context
from dbos._serialization import Serializer, serialize_exception, serialize_value

T = TypeVar("T")
Record = Callable[[dict[str, Any]], Awaitable[None]]
"""Keeps what a step answered, in the context of the step."""


async def first_done(name: str, work: Coroutine[Any, Any, T], serializer: Serializer, record: Record) -> T:
    """Raises what ``work`` raises; an error is kept as well, what cut it off is not."""
    context = snapshot_step_context()
    if context is None:
        raise RuntimeError(f"step {name!r} is not in a workflow")
    result = {
        "workflow_uuid": context.workflow_id, "function_id": context.function_id, "function_name": name,
        "output": None, "error": None, "serialization": None, "child_workflow_id": None,
        "started_at_epoch_ms": int(time.time() * 1000),
    }  # fmt: skip
    with EnterDBOSStepCtx({"name": name, "operationType": "step"}, context):
        try:
            answer = await work
        except Exception as error:
            result["error"], result["serialization"] = serialize_exception(error, None, serializer)
            await record(result)
            raise
        result["output"], result["serialization"] = serialize_value(answer, None, serializer)
        await record(result)
        return answer
