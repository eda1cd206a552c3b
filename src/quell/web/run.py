"""Listening: uvicorn with our settings, one line with the address, an end within two seconds whatever is open.

Never does: daemonise, log each request.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import structlog
import uvicorn

from quell import local
from quell.app import App
from quell.errors import Unavailable
from quell.web.desk import Desk
from quell.web.server import make_server

_log = structlog.get_logger("quell")

BACKLOG = 512
GRACE_S = 1
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Server(uvicorn.Server):
    """Tells when it listens, ends streams before it waits for requests, and leaves the signals' meaning to us."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], closing: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._closing = ready, closing

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._closing()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT ask for the end, twice for an end at once; where signals are not ours, nothing."""
        ours = threading.current_thread() is threading.main_thread()
        loop = asyncio.get_running_loop()
        for number in SIGNALS if ours else ():
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in SIGNALS if ours else ():
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def address_of(bound: socket.socket) -> str:
    """``http://127.0.0.1:8470`` of a listening socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 picks a free one. Raises ``Unavailable`` naming what is in the way."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror or error}") from None


async def serve_here(
    app: App, host: str, port: int, *, started: bool = False, on_address: Callable[[str], None] | None = None,
    on_link: Callable[[str], None] | None = None, stop: asyncio.Event | None = None,
) -> None:  # fmt: skip
    """Serve in the running event loop until SIGTERM, SIGINT or ``stop``. ``on_address`` is told when it listens, then
    ``on_link``, where nobody has a token yet, by which address a browser signs in once.

    Raises ``Unavailable`` when the address is taken, and whatever the App's start raises.
    """
    with bind(host, port) as bound:
        address = address_of(bound)
        asgi = make_server(app, started=started)
        desk: Desk = asgi.state.desk
        config = uvicorn.Config(
            asgi, log_level="warning", access_log=False, proxy_headers=False, server_header=False, lifespan="off",
            timeout_graceful_shutdown=GRACE_S, log_config=None, ws="none",
        )  # fmt: skip

        def ready() -> None:
            kept.enter_context(_key_of(desk, address))
            (on_address or _say)(address)
            if on_link and desk.key:
                on_link(f"{_reachable(app, address)}/sign-in?token={desk.link()}")

        server = _Server(config, ready, asgi.state.live.close)
        watcher = asyncio.create_task(_stop_when(server, stop)) if stop else None
        with contextlib.ExitStack() as kept:
            try:
                async with asgi.router.lifespan_context(asgi):
                    await server.serve(sockets=[bound])
            finally:
                if watcher:
                    watcher.cancel()


@contextlib.contextmanager
def _key_of(desk: Desk, address: str) -> Iterator[None]:
    """As long as it listens, whoever runs this server reaches it without a token."""
    path = None
    if desk.key:
        try:
            path = local.write(address, desk.key)
        except OSError as error:
            _log.warning("local_key_not_written", error=f"{error.filename}: {error.strerror}")
    try:
        yield
    finally:
        if path:
            local.remove(path, desk.key)


def _reachable(app: App, address: str) -> str:
    """Where a browser finds it."""
    if base := app.settings.server.base_url.rstrip("/"):
        return base
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def serve(
    app: App, host: str, port: int, *, started: bool = False, on_address: Callable[[str], None] | None = None,
    on_link: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """``serve_here`` in an event loop of its own: uvloop where it is installed."""

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve_here(app, host, port, started=started, on_address=on_address, on_link=on_link))


def loop_factory() -> Any:
    """Of uvloop, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _stop_when(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True


def _say(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()
