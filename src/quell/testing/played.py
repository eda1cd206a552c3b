"""What a plug-in does when the other side is hostile. Each promise is one call, or one call in each of a few scenes.

Never does: accept silence for an answer, or "done" for something that cannot have been done.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

from quell.errors import ERROR_CLASSES, Permanent, Transient
from quell.ports import Effect, Message, Observation, Preview, Probe, Reading
from quell.respond.look import bounded
from quell.testing import hostile
from quell.testing.promise import expect
from quell.testing.stage import Outcome, Play, Scene, Stage, outcome_of, probe_of, scene_at, settled, spellings
from quell.vocabulary_of import uses_of

TIMEOUT_S = 0.5
"""How long a call gets when nobody answers."""
PLENTY_S = 3.0
"""How long it gets when somebody does."""
_AWAY = frozenset({"refused", "unreachable"})
_READING = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_SERVERS: tuple[Callable[[], AbstractAsyncContextManager[hostile.Listener]], ...] = (
    hostile.nobody, hostile.black_hole, *(partial(hostile.parrot, status) for status in (200, 401, 500)),
)  # fmt: skip

MESSAGE = Message(
    kind="page", incident="inc-1", title="Payments fail", text="12 % fail", severity="P1", service="payment",
    sections=(("Tried", ("restart payment",)),), findings=({"check": "db", "status": "critical", "message": "down"},),
)  # fmt: skip
"""What a notifier is asked to send."""


@dataclass(frozen=True, slots=True)
class Call:
    """One way to call a plug-in: ``ask(params, probe)``."""

    name: str
    params: Any
    ask: Callable[[Any, Probe], Awaitable[Any]]

    async def at(self, stage: Stage, timeout_s: float) -> Outcome:
        """Called as the engine calls it: parameters checked, time bounded, cancelled at its end."""
        async with probe_of(stage, timeout_s) as probe:
            params = self.params.model_validate(dict(stage.config))
            return await outcome_of(bounded(self.ask(params, probe), timeout_s))


async def refused_is_told(call: Call, play: Play) -> None:
    """Where nobody listens: ``Transient`` or ``Permanent`` that says so, or a reading that does; never success."""
    async with hostile.nobody() as server:
        with scene_at(server.port) as scene:
            outcome = await call.at(play(scene), PLENTY_S)
    _is_told(call, outcome, _AWAY)


async def silence_is_a_timeout(call: Call, play: Play) -> None:
    """Where nobody answers: a timeout within the time given, and no task, no connection left behind."""
    async with hostile.black_hole() as server:
        with scene_at(server.port) as scene:
            before = asyncio.all_tasks()
            outcome = await call.at(play(scene), TIMEOUT_S)
            left = asyncio.all_tasks() - before
            came = server.came
            # What only a cycle of dead frames still holds is no leak.
            closed = await settled(lambda: bool(gc.collect() + 1) and server.open == 0)
            left = {task for task in left & asyncio.all_tasks() if not _is_of(task, hostile.__name__)}
    if isinstance(outcome.value, Preview):
        expect(came == 0, f"{call.name} heard nothing and gave a preview all the same")
    else:
        expect(came, f"{call.name} never asked: the stage does not lead it to the server")
        _is_told(call, outcome, frozenset({"timeout"}))
    expect(closed, f"{call.name} left {server.open} connections open after its time")
    expect(not left, f"{call.name} left tasks behind: {left}")


def _is_of(task: asyncio.Task[Any], module: str) -> bool:
    """Whether it is the server's own, which ends when the server does."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and frame.f_globals.get("__name__") == module


async def secrets_stay_secret(call: Call, play: Play) -> None:
    """Whatever the other side says, even the secret itself: it is in no error, evidence, result or log line."""
    for make in _SERVERS:
        async with make() as server:
            with scene_at(server.port) as scene:
                stage = play(scene)
                outcome = await call.at(stage, TIMEOUT_S)
                leaks = [text for text in spellings(scene, _users(stage)) if text in outcome.said]
                expect(not leaks, f"{call.name} shows a secret: {_around(outcome.said, leaks)}")


def _users(stage: Stage) -> Iterator[str]:
    return (connection.username for connection in stage.connections)


def _around(said: str, leaks: list[str]) -> str:
    """Where it is shown, in words that do not repeat it."""
    if not leaks:
        return ""
    at = said.index(leaks[0])
    return said[max(0, at - 80) : at] + "•••" + said[at + len(leaks[0]) : at + len(leaks[0]) + 80]


async def unknown_connection_is_missing(call: Call, play: Play) -> None:
    """A connection that is not configured is ``Permanent`` (missing): trying again would not help."""
    async with hostile.nobody() as server:
        with scene_at(server.port) as scene:
            given = play(scene)
            outcome = await call.at(Stage(given.config, (), given.services), PLENTY_S)
    error = outcome.error
    expect(isinstance(error, Permanent), f"{call.name} without its connection: {_told(outcome)}")
    expect(getattr(error, "error_class", "") == "missing", f"{call.name} without its connection: {_told(outcome)}")


def connection_is_declared(call: Call, play: Play) -> None:
    """Lint knows which connection it will ask for: the parameter is marked with ``ports.Connects``."""
    with scene_at(1) as scene:
        given = play(scene)
    uses = uses_of(call.params, given.config)
    for one in given.connections:
        fits = [use for use in uses if use.name in (None, one.name) and one.type in use.types]
        expect(fits, f"no parameter is marked as naming the connection {one.name!r} of type {one.type!r}")


async def nonsense_is_not_nobody(call: Call, play: Play) -> None:
    """That nobody is on call is an answer; a system that answers something else, or refuses, has not given it."""
    for status in (200, 401, 404, 500):
        async with hostile.parrot(status) as server:
            with scene_at(server.port) as scene:
                outcome = await call.at(play(scene), PLENTY_S)
        error, told = outcome.error, _told(outcome)
        expect(isinstance(error, Transient | Permanent), f"{call.name} makes of nonsense with status {status}: {told}")


async def dry_run_changes_nothing(call: Call, play: Play) -> None:
    """What it would change is the same afterwards; over HTTP it only reads."""
    async with hostile.parrot(200) as server:
        with scene_at(server.port) as scene:
            stage = play(scene)
            before = stage.snapshot() if stage.snapshot else None
            outcome = await call.at(stage, PLENTY_S)
            after = stage.snapshot() if stage.snapshot else None
    expect(before == after, f"the dry run changed what it was to leave alone: {before!r} became {after!r}")
    written = [sent[:200] for sent in server.requests if not _only_reads(sent, stage)]
    expect(not written, f"the dry run sent {written}")
    if stage.snapshot is not None:
        expect(isinstance(outcome.value, Preview), f"the dry run gave no preview: {_told(outcome)}")


def _only_reads(sent: bytes, stage: Stage) -> bool:
    return sent.split(b" ", 1)[0] in _READING or any(part.encode() in sent for part in stage.reads)


def _is_told(call: Call, outcome: Outcome, classes: frozenset[str]) -> None:
    """An error of one of these classes, or a reading that has one or says ``reached`` no; a preview may stand that
    asked nobody."""
    error = outcome.error
    if isinstance(outcome.value, Preview):
        return
    if isinstance(error, Transient | Permanent):
        expect(error.error_class in ERROR_CLASSES, f"{error.error_class!r} is no error class of the house")
        expect(error.error_class in classes, f"{call.name} says {_told(outcome)}; {' or '.join(sorted(classes))} it is")
        return
    expect(error is None, f"{call.name} raises neither Transient nor Permanent: {_told(outcome)}")
    expect(not isinstance(outcome.value, Effect | str), f"{call.name} says it is done: {_told(outcome)}")
    expect(isinstance(outcome.value, Reading), f"{call.name} gives {_told(outcome)}")
    found = set(_classes(outcome.value))
    if outcome.value.facts.get("reached") is False:
        return
    expect(found & classes, f"{call.name} reads {sorted(found)}; {' or '.join(sorted(classes))} it is")


def _classes(reading: Reading) -> Iterator[str]:
    seen: tuple[Reading | Observation, ...] = (reading, *reading.targets)
    for one in seen:
        if isinstance(one.facts.get("error_class"), str):
            yield one.facts["error_class"]
        yield from (absent.error_class for absent in one.missing.values() if absent.error_class)


def _told(outcome: Outcome) -> str:
    if outcome.error is None:
        return repr(outcome.value)[:200]
    kind = getattr(outcome.error, "error_class", "")
    return f"{type(outcome.error).__name__}{f' ({kind})' if kind else ''}: {outcome.error}"[:300]


__all__ = [
    "MESSAGE", "Call", "Scene", "dry_run_changes_nothing", "nonsense_is_not_nobody", "refused_is_told",
    "secrets_stay_secret", "silence_is_a_timeout", "unknown_connection_is_missing",
]  # fmt: skip
