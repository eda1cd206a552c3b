"""What changes, told to whoever looks: one channel per page and process, each change rendered once.

The hub hears this process's events from the hub of the house and finds those of other processes by a slow poll. A
channel renders when its incident moved on, keeps only the regions that differ, and hands the same bytes to every
viewer's bounded queue; a viewer that does not keep up is let go, comes back by itself and is sent all regions.
Never does: know what a region says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson
import structlog

from quell.app import App
from quell.errors import QuellError
from quell.incident.event import Event, Stream

_log = structlog.get_logger("quell")

QUEUE = 16
"""Changes that a viewer may lag behind."""
HEARTBEAT_S = 15.0
POLL_S = 1.0
OVERLAP = 20
"""Events looked at again at each poll: ids of transactions side by side do not become visible in order."""
LIST = "list/"
"""The channel of the list of incidents; with a tenant's name behind it, of that one's."""
LIST_PAUSE_S = 0.3

UNNUMBERED = ("paused",)
"""Regions that change without an event of the incident."""

Regions = dict[str, str]
Render = Callable[[str], Awaitable[tuple[int, Regions]]]
"""Channel name → (sequence, region → HTML)."""


def sse(data: bytes, *, event: str, number: int) -> bytes:
    """One message of a stream. ``data`` has no line breaks (JSON has none)."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, event.encode(), data)


@dataclass(slots=True, eq=False)
class _Viewer:
    queue: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(QUEUE))

    def offer(self, frame: bytes) -> bool:
        with contextlib.suppress(asyncio.QueueFull):
            self.queue.put_nowait(frame)
            return True
        return False

    def let_go(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Channel:
    """One page's viewers. ``touch`` it when something happened; it renders at most once at a time."""

    def __init__(self, name: str, render: Render) -> None:
        self.name, self._render = name, render
        self.viewers: set[_Viewer] = set()
        self.seq = -1
        self._shown: Regions = {}
        self._dirty = asyncio.Event()
        self._fresh = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def touch(self) -> None:
        self._dirty.set()

    def start(self) -> None:
        self._task = self._task or asyncio.create_task(self._follow())

    def stop(self) -> None:
        if self._task:
            self._task.cancel()
            self._task = None
        for viewer in self.viewers:
            viewer.let_go()

    async def snapshot(self, after: int) -> bytes | None:
        """All regions; for a viewer who has seen them only those that may have changed since without a number."""
        if self.seq < 0:
            await self._refresh()
        told = self._shown
        if self.seq == after:
            told = {name: told[name] for name in UNNUMBERED if name in told}
        return sse(orjson.dumps(told), event="regions", number=self.seq) if told else None

    async def _follow(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                frame = await self._refresh()
            except QuellError as error:  # the database is away: whatever comes next is rendered whole
                _log.warning("live_not_rendered", incident=self.name, error=str(error))
                continue
            if frame is not None:
                for viewer in [one for one in self.viewers if not one.offer(frame)]:
                    self.viewers.discard(viewer)
                    viewer.let_go()
            if self.name.startswith(LIST):
                await asyncio.sleep(LIST_PAUSE_S)

    async def _refresh(self) -> bytes | None:
        """Render; the message with what differs, None when nothing does."""
        async with self._fresh:
            seq, regions = await self._render(self.name)
            changed = {name: html for name, html in regions.items() if self._shown.get(name) != html}
            self.seq, self._shown = seq, regions
            return sse(orjson.dumps(changed), event="regions", number=seq) if changed else None


class Live:
    """All channels of this process. ``start`` it beside a started App, ``close`` it before the server stops."""

    def __init__(self, app: App, render: Render) -> None:
        self.app, self._render = app, render
        self._channels: dict[str, Channel] = {}
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._poll: asyncio.Task[None] | None = None
        self.closing = asyncio.Event()

    def start(self) -> None:
        self.app.listeners.append(self.hear)
        self._poll = asyncio.create_task(self._look_around())

    def close(self) -> None:
        """Ends every stream at once, so that nothing holds up the end of the server."""
        self.closing.set()
        if self.hear in self.app.listeners:
            self.app.listeners.remove(self.hear)
        if self._poll:
            self._poll.cancel()
        for channel in self._channels.values():
            channel.stop()
        for events in self._waiting.values():
            for event in events:
                event.set()

    def hear(self, told: Sequence[Event]) -> None:
        """A listener of the App: called in the event loop with events that are stored."""
        self._touch({event.stream_id for event in told if event.stream is Stream.INCIDENT})

    def _touch(self, incidents: set[str]) -> None:
        lists = [name for name in self._channels if name.startswith(LIST)]
        for name in (*incidents, *lists) if incidents else ():
            if name in self._channels:
                self._channels[name].touch()
            for event in self._waiting.get(name, ()):
                event.set()

    async def _look_around(self) -> None:
        newest: int | None = None
        paused = self.app.paused
        while True:
            try:
                if paused != self.app.paused:
                    paused = self.app.paused
                    for channel in self._channels.values():
                        channel.touch()
                if newest is None:
                    newest, _ = await self.app.changed(None)
                    self._touch(set(self._waiting))  # who came since the last look may have missed something
                elif self._channels or self._waiting:
                    seen, incidents = await self.app.changed(max(0, newest - OVERLAP))
                    if seen > newest:
                        newest = seen
                        self._touch(incidents)
                else:
                    newest = None
            except QuellError as error:
                _log.warning("live_poll_failed", error=str(error))
            await asyncio.sleep(POLL_S)

    @contextlib.contextmanager
    def waiting(self, incident: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happens to an incident; clear it before looking."""
        event = asyncio.Event()
        self._waiting.setdefault(incident, set()).add(event)
        try:
            yield event
        finally:
            self._waiting[incident].discard(event)
            if not self._waiting[incident]:
                del self._waiting[incident]

    async def watch(self, name: str, after: int) -> AsyncGenerator[bytes]:
        """The stream of one viewer: what it has missed, then each change, comments in between."""
        channel = self._channels.setdefault(name, Channel(name, self._render))
        channel.start()
        viewer = _Viewer()
        channel.viewers.add(viewer)
        try:
            yield b"retry: 2000\n: here\n\n"
            if (missed := await channel.snapshot(after)) is not None:
                yield missed
            while not self.closing.is_set():
                try:
                    frame = await asyncio.wait_for(viewer.queue.get(), HEARTBEAT_S)
                except TimeoutError:
                    frame = b": still here\n\n"
                if frame is None:
                    return
                yield frame
        finally:
            channel.viewers.discard(viewer)
            if not channel.viewers and self._channels.get(name) is channel:
                channel.stop()
                del self._channels[name]

    async def events(self, incident: str, after: int) -> AsyncGenerator[bytes]:
        """The log of one incident as a stream of JSON events, from ``after`` on."""
        with self.waiting(incident) as moved:
            yield b"retry: 2000\n: here\n\n"
            while not self.closing.is_set():
                moved.clear()
                for event in await self.app.timeline(incident, after):
                    after = event.seq
                    yield sse(event.model_dump_json().encode(), event=event.kind.value, number=event.seq)
                try:
                    await asyncio.wait_for(moved.wait(), HEARTBEAT_S)
                except TimeoutError:
                    yield b": still here\n\n"
