"""Paths into a body: ``labels.name``, ``tags[0]``, ``meta["k8s.io/app"]``; ``$.group.key`` begins at the body itself.

Never does: compute, search, or take a value that is not where the path says.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator

LONGEST = 512
MOST_STEPS = 32
_STEP = re.compile(
    r"""\.?(?P<name>[^.\[\]"'\s]+)|\[(?P<index>[0-9]{1,6})\]|\[(?:"(?P<double>[^"]+)"|'(?P<single>[^']+)')\]"""
)
_EXAMPLE = 'write one such as labels.name, tags[0] or meta["k8s.io/app"]; $.name begins at the body itself'
NOWHERE = object()
"""What is at a path that leads nowhere; null is somewhere."""


@lru_cache(maxsize=4096)
def steps(path: str) -> tuple[str | int, ...]:
    """Raises ValueError. A ``$`` at the beginning is not a step."""
    if len(path) > LONGEST:
        raise ValueError(f"a path of {len(path)} characters, more than {LONGEST}")
    rest = path[1:] if from_body(path) else path
    if rest == "" and from_body(path):
        return ()
    at, found = 0, []
    while at < len(rest):
        match = _STEP.match(rest, at)
        first = at == 0 and not from_body(path)
        # A name needs its dot, except the first, which must not have one.
        if match is None or (match["name"] is not None and (rest[at] == ".") is first):
            raise ValueError(f"not a path: {path[:64]!r} at {rest[at : at + 12]!r}; {_EXAMPLE}")
        index = match["index"]
        found.append(int(index) if index is not None else match["name"] or match["double"] or match["single"])
        at = match.end()
    if not found or len(found) > MOST_STEPS:
        raise ValueError(f"not a path: {path[:64]!r}; {_EXAMPLE}, of at most {MOST_STEPS} steps")
    return tuple(found)


def from_body(path: str) -> bool:
    return path == "$" or path.startswith(("$.", "$["))


def at(path: str, body: Any, item: Any) -> Any:
    """The value at a path, ``NOWHERE`` when there is none."""
    here = body if from_body(path) else item
    for step in steps(path):
        if isinstance(step, str):
            here = here.get(step, NOWHERE) if isinstance(here, dict) else NOWHERE
        else:
            here = here[step] if isinstance(here, list) and step < len(here) else NOWHERE
    return here


def shown(place: str, path: str) -> str:
    """The path as a person looks for it in the body: ``alerts[1]`` and ``labels.name``."""
    if from_body(path):
        return path.removeprefix("$").removeprefix(".") or "the body"
    return f"{place}{path}" if not place or path.startswith("[") else f"{place}.{path}"


def checked(path: str) -> str:
    """Raises ValueError."""
    steps(path)
    return path


PathText = Annotated[str, AfterValidator(checked)]
