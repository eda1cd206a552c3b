"""One check, looked at: parameters filled, asked within its timeout, retried if it says so, judged.

Whatever happens inside a check ends here as a finding: it never delays or hides another. Never does: change anything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from quell.errors import NotFound, Permanent, Problem, QuellError, Refused, Transient
from quell.incident.finding import Finding, Reading
from quell.probe import World
from quell.redact import KNOWN, weight
from quell.respond.commands import refused
from quell.respond.judge import failed, judge
from quell.respond.shapes import Shape
from quell.runbook.places import url_places
from quell.runbook.plan import Check, Plan
from quell.runbook.scope import interpret_scope
from quell.runbook.template import fill

T = TypeVar("T")
INLINE_CHARS = 64 * 1024
"""A longer answer is looked through in a thread, so that it does not hold up the other checks."""
GRACE_S = 1.0
"""How long a cancelled plug-in may take to clean up before it is left behind."""


class Unfilled(QuellError):
    """A template could not be filled, or the filled parameters are not what the plug-in takes."""


def params_of(model: type[BaseModel], config: Mapping[str, Any], env: Mapping[str, Any]) -> Any:
    """The plug-in's parameters with every template filled. Raises ``Unfilled`` naming all that is wrong."""
    filled = fill(dict(config), env, is_url=url_places(model, config))
    if filled.problems:
        raise Unfilled("; ".join(_say(problem) for problem in filled.problems))
    try:
        return model.model_validate(filled.value)
    except ValidationError as error:
        parts = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()]
        raise Unfilled("; ".join(parts)) from None


def _say(problem: Problem) -> str:
    return f"{problem.path}: {problem.message}" if problem.path else problem.message


class Quit(Permanent):
    """A plug-in cancelled itself: it ended without an answer, and nobody can tell how far it had come."""

    def __init__(self) -> None:
        super().__init__("it cancelled itself without an answer", "cancelled")


async def bounded(work: Awaitable[T], timeout_s: float) -> T:
    """``work`` within its time. Raises ``Transient`` (timeout); a plug-in that ignores it is left behind.

    ``CancelledError`` only when somebody cancels us; a plug-in's own one is ``Quit``, since it would end the run.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.cancelled():
        raise Quit
    if done:
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=GRACE_S)
    raise Transient(f"no answer within {timeout_s:.3g} s", "timeout")


async def answer(work: Awaitable[T], timeout_s: float) -> T:
    """What a plug-in says within its time, and its errors: without our secrets, whatever the other side repeated.

    The one place: nothing that comes back from the world gets past here as it is.
    """
    try:
        said = await bounded(work, timeout_s)
    except Exception as error:
        clean = KNOWN.error(error)
        if clean is error:
            raise
        raise clean from None
    return await asyncio.to_thread(KNOWN.tree, said) if weight(said) > INLINE_CHARS else KNOWN.tree(said)


async def look(
    world: World, plan: Plan, check: Check, env: Mapping[str, Any], key: str, shapes: Sequence[Shape] | None
) -> Finding:
    """The finding of a check, now. ``shapes``: what commands it may run. Never raises but for cancellation."""
    started, looked_at = time.monotonic(), world.clock()

    def times() -> dict[str, Any]:
        return {"duration_ms": round((time.monotonic() - started) * 1000, 3), "looked_at": looked_at}

    try:
        kind = world.registry.check(check.call.type)
        params = params_of(kind.params, check.call.config, env)
        if (no := refused(kind.commands_of(params), shapes)) is not None:
            raise no
        probe = world.probe(timeout_s=check.timeout_s, key=key)
        reading = await _ask(check, lambda: kind.run(params, probe))
    except (Transient, Permanent) as error:
        return failed(check, str(error), error.error_class, **times())
    except Refused as error:
        evidence = {"rule": error.rule, "value": error.value, "limit": error.limit}
        return failed(check, str(error), "denied", evidence=evidence, **times())
    except (Unfilled, NotFound) as error:
        return failed(check, str(error), "invalid", **times())
    except Exception as error:  # a plug-in's own fault: shown, and no business of its siblings
        return failed(check, f"{type(error).__name__}: {error}", "internal", **times())
    scope = None if "..." in check.facts else interpret_scope(plan, check)
    return judge(check, scope, reading, env, **times())


async def _ask(check: Check, run: Any) -> Reading:
    """Ask, and again after a ``Transient`` as often as the check allows, all within its one timeout."""
    deadline = time.monotonic() + check.timeout_s
    for attempt in range(1, check.retry.attempts + 1):
        try:
            return await answer(run(), max(0.001, deadline - time.monotonic()))
        except Transient as error:
            pause = error.retry_after or check.retry.backoff_s * 2 ** (attempt - 1)
            if attempt == check.retry.attempts or time.monotonic() + pause >= deadline:
                raise
            await asyncio.sleep(pause)
    raise AssertionError("a check is asked at least once")
