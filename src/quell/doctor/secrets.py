"""Every reference to a secret in the configuration, and whether it leads to one.

Never does: show a value, keep one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quell.doctor.judgement import Judgement, error, ok, warning
from quell.settings import Settings

_SIGNS = ("env:", "file:")


def references(settings: Settings) -> Iterator[tuple[str, str]]:
    """(place, reference), in the order of the configuration."""
    if settings.server.token:
        yield "server.token", settings.server.token
    for name, connection in settings.connections.items():
        place = f"connections.{name}"
        for key, value in (("password", connection.password), ("token", connection.token)):
            if value:
                yield f"{place}.{key}", value
        given = {"url": connection.url, **{f"headers.{key}": value for key, value in connection.headers.items()}}
        yield from ((f"{place}.{key}", value) for key, value in given.items() if value.startswith(_SIGNS))
    for kind, sections in (("notifiers", settings.notifiers), ("sources", settings.sources)):
        for name, section in sections.items():
            yield from _inside(section.params, f"{kind}.{name}")


def _inside(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and value.startswith(_SIGNS):
        yield place, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _inside(inner, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _inside(inner, f"{place}[{number}]")


def judge(asked: Iterable[tuple[str, str | None, bool]]) -> list[Judgement]:
    """(place, why it leads nowhere or None, whether what is there is empty)."""
    found, good = [], 0
    for place, trouble, empty in asked:
        if trouble is not None:
            advice = "set it for the user that runs Quell, or correct the reference"
            found.append(error("secret", place, trouble, "a reference that leads to a secret", advice))
        elif empty:
            found.append(warning("secret", place, "what it leads to is empty", "a secret", "fill it, or leave it out"))
        else:
            good += 1
    if good:
        found.append(ok("secret", "references to secrets", f"{good} lead{'s' if good == 1 else ''} to one"))
    return found
