"""What the tests of the sources have in common: bodies as bytes, damage to them, secrets in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from quell.errors import InvalidInput
from tests.plugins.sources.bodies import sent as as_bytes
from tests.plugins.sources.bodies import values

__all__ = ["as_bytes", "damaged", "or_refused", "places", "put", "secret", "values"]


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> bytes:
    """The document's bytes with a few of them replaced."""
    body = bytearray(as_bytes(document))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body) - 1))
        body[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=4))
        body = body or bytearray(b" ")
    return bytes(body)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value in a document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a place."""
    if not path:
        return value
    made = dict(document) if isinstance(document, dict) else list(document)
    made[path[0]] = put(made[path[0]], path[1:], value)
    return made


def or_refused(read: Callable[[bytes], Any], body: bytes) -> Any:
    """None when the body as a whole is refused; any other error goes through and fails the test."""
    try:
        return read(body)
    except InvalidInput:
        return None


def secret(folder: Path, name: str, value: str) -> str:
    """A reference to it."""
    (folder / name).write_text(value)
    return f"file:{folder / name}"
