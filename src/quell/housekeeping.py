"""What a process that stays does beside its work: checkpoints of the log, pruning what is old, forgetting keys.

Several processes may; whoever comes later finds that it is done. Never does: hold a rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from quell.errands import Errands, again
from quell.once import FORGET_EVERY_S
from quell.retention import DAY_S, Pruning
from quell.settings import Settings

_log = structlog.get_logger("quell")
FIRST_S = 60.0
"""After a start: who is restarted often makes checkpoints too, and whoever has just started has other things to do."""
SCHEDULE = "schedule"
"""In whose name is pruned when nobody asked."""


def keep_house(
    settings: Settings, errands: Errands, prune: Callable[[float, str], Awaitable[Pruning]],
    forget: Callable[[], Awaitable[None]],
) -> None:  # fmt: skip
    """Now and again, for as long as the process lives. ``prune`` takes how old, and in whose name; ``forget``: requests
    whose keys are too old."""

    async def checkpoint() -> None:
        from quell.audit import Audit  # what signs takes 8 MB, which a server need not hold before it is time

        made = await asyncio.to_thread(Audit(settings).checkpoint_when_due, settings.audit.every)
        if made is not None:
            _log.info("checkpoint_made", file=str(made))

    async def retain() -> None:
        done = await prune(settings.retention.keep or 0.0, SCHEDULE)
        if done.erased:
            _log.info("pruned", before=done.before.isoformat(), **done.erased)

    errands.start(again(forget, FORGET_EVERY_S, "requests_not_forgotten"))
    if every_s := settings.audit.every:
        errands.start(again(checkpoint, every_s / 4, "checkpoint_failed", first_s=min(FIRST_S, every_s / 4)))
    if settings.retention.keep:
        errands.start(again(retain, DAY_S, "prune_failed", first_s=0.0))
