"""Addresses that a site gave its sources: each is the source's ``/webhooks/NAME`` under another name.

It stands before everything else, so whoever comes in that way meets the same gate, the same limits and the same route.
Never does: answer, let anybody in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from quell.errors import InvalidInput, Problem
from quell.settings import SourceSettings
from quell.web.needs import Needs

OURS = ("/api", "/static", "/v2", "/webhooks")
"""What begins with one of these is ours, even where nothing answers yet."""


def chosen(sources: Mapping[str, SourceSettings], needs: Needs) -> dict[str, str]:
    """The source of each path. Raises ``InvalidInput`` with every path that is one of ours."""
    if problems := list(_taken(sources, needs)):
        raise InvalidInput(problems)
    return {source.path: name for name, source in sources.items() if source.path is not None}


def _taken(sources: Mapping[str, SourceSettings], needs: Needs) -> Iterator[Problem]:
    for name, source in sources.items():
        path = source.path
        if path is not None and (f"/{path.split('/')[1]}" in OURS or needs.leads_somewhere(path)):
            yield Problem(
                f"{path} is an address of Quell's own", "path", path=f"sources.{name}.path", found=path,
                expected="a path that nothing else answers, such as /pagerduty/webhook",
            )  # fmt: skip


class Paths:
    """``sources``: the source of each path."""

    def __init__(self, app: ASGIApp, *, sources: Mapping[str, str]) -> None:
        self.app, self.sources = app, sources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (source := self.sources.get(scope["path"])) is not None:
            path = f"/webhooks/{source}"
            scope = {**scope, "path": path, "raw_path": quote(path).encode()}
        await self.app(scope, receive, send)
