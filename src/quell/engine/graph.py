"""The deterministic loop over a graph of nodes: what makes parallel branches safe to replay.

Step ids are drawn in one place, in the nodes' fixed order, whatever finishes first; which branches had finished is
itself recorded. Never does: know what a node is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from quell.engine.durable import Durable

Results = dict[str, Any]
Readiness = Literal["run", "skip", "wait"]


async def walk(
    durable: Durable,
    order: Sequence[str],
    readiness: Callable[[str, Mapping[str, Any]], Readiness],
    start: Callable[[str, Mapping[str, Any]], asyncio.Task[Any]],
    skipped: Any,
) -> Results:
    """Run every node of ``order`` (topological, ties by id) as soon as it is ready; return all results.

    ``readiness`` and ``start`` must depend on the results alone. ``start`` draws its step at once (``Durable.reserve``)
    and its task returns ok or error as data. A skipped node's result is ``skipped``.
    """
    results: Results = {}
    running: dict[str, asyncio.Task[Any]] = {}
    while True:
        settle(order, results, running, readiness, start, skipped)
        if not running:
            return {node: results.get(node, skipped) for node in order}
        # When nothing waits to be started, nobody cares who is first: one record instead of one per node.
        every = len(results) + len(running) == len(order)
        done = await durable.first(list(running.values()), every=every)
        for node in [node for node, task in running.items() if task in done]:
            results[node] = running.pop(node).result()


def settle(
    order: Sequence[str],
    results: Results,
    running: dict[str, asyncio.Task[Any]],
    readiness: Callable[[str, Mapping[str, Any]], Readiness],
    start: Callable[[str, Mapping[str, Any]], asyncio.Task[Any]],
    skipped: Any,
) -> None:
    """Start and skip whatever can be, until nothing more changes."""
    changed = True
    while changed:
        changed = False
        for node in order:
            if node in results or node in running:
                continue
            ready = readiness(node, results)
            if ready == "skip":
                results[node] = skipped
                changed = True
            elif ready == "run":
                running[node] = start(node, results)
