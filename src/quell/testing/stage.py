"""Where a plug-in is called for its contract: a hostile server, a planted secret, and ears on everything it says.

Never does: replace a part of the product; the probe is the one that plug-ins get in production.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import secrets
import tempfile
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog

from quell.ports import Connection, Service
from quell.probe import LiveProbe, World, make_client
from quell.registry import Registry

Snapshot = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a test gives the author of a plug-in to build its parameters and connections from.

    ``address`` is ``127.0.0.1:<port>``. ``canary`` is a secret: put it where the plug-in is given secrets (password,
    header, token in a URL). ``reference`` is a secret reference with the canary behind it. ``folder`` is empty.
    """

    port: int
    canary: str
    folder: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def reference(self) -> str:
        return f"file:{self.folder / 'canary'}"


@dataclass(frozen=True, slots=True)
class Stage:
    """How to call a plug-in in a scene.

    ``config``: its parameters, whatever the kind. ``snapshot``: gives the state of what an action would change, so that
    a dry run can be seen to change nothing. Over HTTP a dry run may only GET, or send what holds one of ``reads``
    (XML-RPC reads with POST).
    """

    config: Mapping[str, Any]
    connections: Sequence[Connection] = ()
    services: Sequence[Service] = ()
    snapshot: Snapshot | None = None
    reads: tuple[str, ...] = ()


Play = Callable[[Scene], Stage]


@contextmanager
def scene_at(port: int) -> Iterator[Scene]:
    """A scene with a canary that was never seen before."""
    with tempfile.TemporaryDirectory(prefix="quell-promise-") as folder:
        scene = Scene(port, f"canary{secrets.token_hex(12)}", Path(folder))
        Path(folder, "canary").write_text(scene.canary, encoding="utf-8")
        yield scene


@asynccontextmanager
async def probe_of(stage: Stage, timeout_s: float) -> AsyncIterator[LiveProbe]:
    """The probe a plug-in would get in production, with the stage's connections and services."""
    world = World(
        registry=Registry(), http=make_client(), services={one.name: one for one in stage.services},
        connections={one.name: one for one in stage.connections},
    )  # fmt: skip
    try:
        yield world.probe(timeout_s=timeout_s, key="run:promise.1/node/1/target")
    finally:
        await world.close()


@dataclass(slots=True)
class Outcome:
    """What came of a call: a value or an error, every log line meanwhile, and the error as it would be printed."""

    value: Any = None
    error: BaseException | None = None
    logs: list[str] = field(default_factory=list)
    printed: str = ""

    @property
    def said(self) -> str:
        """Everything that anybody could read of it, the errors behind an error too."""
        return "\n".join([repr(self.value), str(self.value), repr(self.error), self.printed, *self.logs])


async def outcome_of(work: Awaitable[Any]) -> Outcome:
    """Await it, with ears on the logs. Never raises but for cancellation."""
    outcome = Outcome()
    with _listening_to(outcome.logs):
        try:
            outcome.value = await work
        except Exception as error:
            outcome.printed = "".join(traceback.format_exception(error))
            # Its frames would keep alive what the plug-in has let go.
            outcome.error = error.with_traceback(None)
    return outcome


@contextmanager
def _listening_to(lines: list[str]) -> Iterator[None]:
    """All of structlog; of the standard library what the product lets through: warnings and above."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root, ear = logging.getLogger(), Ear(logging.WARNING)
    root.addHandler(ear)
    try:
        with structlog.testing.capture_logs() as entries:
            yield
        lines.extend(repr(entry) for entry in entries)
    finally:
        root.removeHandler(ear)


def spellings(scene: Scene, users: Iterable[str]) -> Iterator[str]:
    """The canary as it may be seen: plain, in a URL, and as the credentials of basic authentication."""
    yield scene.canary
    yield quote(scene.canary, safe="")
    for user in users:
        yield base64.b64encode(f"{user}:{scene.canary}".encode()).decode()


async def settled(held: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Whether it comes to hold."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not held():
        if asyncio.get_running_loop().time() >= deadline:
            return False
        await asyncio.sleep(0.02)
    return True
