"""A sink for HTTP: answers every request with what a test set, and writes each one to the disk as an effect.

For webhook notifiers and for counting how often something really happened. It has no opinion on what it is
sent. An effect is written before the answer; a request refused or cut by a fault has no effect unless the
fault `acts`.
"""

from __future__ import annotations

from pathlib import Path

from tests.fakes.effects import EffectLog
from tests.fakes.serving import FakeServer, Reply, Request


class FakeSink(FakeServer):
    """Answers `reply` (default 200, `ok`); `reply_on` sets another for one method and path."""

    def __init__(self, effects: Path | None = None) -> None:
        super().__init__()
        self.effects = EffectLog(effects) if effects else None
        self.reply = Reply.text("ok")
        self.received: list[Request] = []
        self._routes: dict[tuple[str, str], Reply] = {}

    def reply_on(self, method: str, path: str, reply: Reply) -> None:
        """Answer this method and exact path with `reply`."""
        self._routes[method, path] = reply

    def answer(self, request: Request) -> Reply:
        """Write the effect, keep the request, answer."""
        with self._changed:
            if self.effects:
                body = request.body.decode(errors="replace")
                self.effects.append({"method": request.method, "path": request.path, "body": body})
            self.received.append(request)
        return self._routes.get((request.method, request.path), self.reply)
