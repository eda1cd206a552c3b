"""Named points at which a real process dies as in a power cut, and a child that handles an incident until it does.

Kills itself with SIGKILL from inside: nothing is flushed, closed or told. Never does: wait without a deadline.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from quell.app import App
from quell.incident.event import Event, EventKind
from quell.respond import perform, permit
from quell.store import events
from tests.app import EVERY_S, WITHIN_S, House, settings_of
from tests.servers.forked import Forked

BEFORE_INTENT, AFTER_INTENT, DURING_EFFECT = "before the intent", "after the intent", "during the effect"
AFTER_EFFECT, AFTER_OUTCOME = "after the effect", "after the outcome"
POINTS = (BEFORE_INTENT, AFTER_INTENT, DURING_EFFECT, AFTER_EFFECT, AFTER_OUTCOME)
"""Of an action. ``DURING_EFFECT`` is for whoever watches the target from outside: the child only lives."""


def before(kind: EventKind) -> str:
    """The point in the middle of the transaction that would have kept such an event."""
    return f"before {kind.value}"


def after(kind: EventKind) -> str:
    """The point right after that transaction."""
    return f"after {kind.value}"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(point: str) -> Callable[[Sequence[Event]], None]:
    """From now on this process dies at the point; what is returned is to be told every event."""
    if point == BEFORE_INTENT:
        permit.intend = _dying_before(permit.intend)
    elif point == AFTER_INTENT:
        permit.intend = _dying_after(permit.intend)
    elif point == AFTER_EFFECT:
        perform.execute = _dying_after(perform.execute)
    elif point == AFTER_OUTCOME:
        perform.settle = _dying_after(perform.settle)
    elif point.startswith("before "):
        _die_in_append(EventKind(point.removeprefix("before ")))
    kind = point.removeprefix("after ")

    def tell(told: Sequence[Event]) -> None:
        if any(event.kind.value == kind for event in told):
            _die()

    return tell


def _dying_before(work: Any) -> Any:
    @wraps(work)
    async def dying(*given: Any, **more: Any) -> Any:
        _die()

    return dying


def _dying_after(work: Any) -> Any:
    @wraps(work)
    async def dying(*given: Any, **more: Any) -> Any:
        await work(*given, **more)
        _die()

    return dying


def _die_in_append(kind: EventKind) -> None:
    append = events.append

    @wraps(append)
    def dying(connection: Any, tenant: Any, stream: Any, stream_id: Any, new: Any, *given: Any, **more: Any) -> Any:
        new = list(new)
        told = append(connection, tenant, stream, stream_id, new, *given, **more)
        if any(event.kind is kind for event in told):
            _die()
        return told

    events.append = dying


def live(folder: str, database: str, more: str, point: str, fires: bool) -> None:
    """In a process of its own: an App that fires an alert, or goes on, and says yes to whatever is asked."""

    async def run() -> None:
        app = App(settings_of(Path(folder), database=database, more=more), on_events=arm(point))
        await app.start()
        if fires:
            await House(app, Path(folder), []).fire()
        answered: set[str] = set()
        while True:
            for incident in await app.incidents():
                for approval in incident.waiting:
                    if approval.approval not in answered:
                        answered.add(approval.approval)
                        await app.answer(approval.approval, "approved", "anna")
            await asyncio.sleep(EVERY_S)

    asyncio.run(run())


async def died_at(
    folder: Path, database: str, more: str, point: str, *, fires: bool,
    seen: Callable[[], Awaitable[object]] | None = None,
) -> None:  # fmt: skip
    """Run ``live`` until it has died at the point; ``seen``: or until that holds, and then kill it."""
    child = Forked("tests.respond.crash:live", given=[str(folder), database, more, point, fires])
    try:
        async with asyncio.timeout(WITHIN_S):
            while seen is not None and not await seen():
                assert not child.ended(), f"it ended by itself: {child.poll()}"
                await asyncio.sleep(EVERY_S)
            if seen is not None:
                child.kill()
            code = await asyncio.to_thread(child.wait, WITHIN_S)
        assert code == -signal.SIGKILL, f"it ended with {code}"
    except (TimeoutError, subprocess.TimeoutExpired):
        raise AssertionError(f"it never came to {point}") from None
    finally:
        child.kill()
        await asyncio.to_thread(child.wait)
