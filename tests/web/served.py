"""A Quell as a process of its own, for what only a process shows: signals, exit codes, the line with its address.

Its ``main`` serves the settings file that it is given; the port may be 0. Told to die at an event, it kills
itself as soon as that one is committed, before anybody is answered.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import httpx

from quell.app import App
from quell.incident.event import Event
from quell.settings import load_settings
from quell.web.run import serve
from tests.servers.forked import Forked
from tests.servers.process import Server


class Served(Server):
    """``with Served(settings_file) as served``: its address in ``url``. ``dies_at``: kinds of events, with a comma."""

    def __init__(self, settings: Path, port: int = 0, *, dies_at: str = "") -> None:
        self.settings, self.port, self.dies_at = settings, port, dies_at

    @property
    def url(self) -> str:
        """What it printed as its address; empty before it listens."""
        return next((line for line in self.log().splitlines() if line.startswith("http://")), "")

    def launch(self, argv: Sequence[str], log: IO[bytes]) -> Forked:
        self._child = Forked(
            "tests.web.served:main", argv, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )
        return self._child

    @property
    def exit_code(self) -> int | None:
        """How it ended, without reaping it; None while it runs, the signal's number when it was killed by one."""
        code = self._child.poll()
        return None if code is None else abs(code)

    def argv(self) -> list[str]:
        return [str(self.settings), str(self.port), self.dies_at]

    def ready(self) -> bool:
        try:
            return bool(self.url) and httpx.get(f"{self.url}/healthz", timeout=2).is_success
        except httpx.HTTPError:
            return False


def main() -> None:
    settings = load_settings(Path(sys.argv[1]))
    nobody_asked = settings.server.model_copy(update={"insecure": settings.server.token is None})
    fatal = set(sys.argv[3].split(","))

    def die(told: Sequence[Event]) -> None:
        if fatal & {event.kind.value for event in told}:
            os.kill(os.getpid(), signal.SIGKILL)

    serve(App(settings.model_copy(update={"server": nobody_asked}), on_events=die), "127.0.0.1", int(sys.argv[2]))
