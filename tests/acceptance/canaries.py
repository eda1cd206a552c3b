"""Planted secrets, and a search for them: plain, in every spelling that somebody might use, and in large pieces.

Knows nothing of how the product hides them, so that both cannot be wrong in the same way.
"""

from __future__ import annotations

import base64
import html
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

PIECE = 12
"""Signs in a row of a canary that must not be seen either."""


@dataclass
class Canaries:
    """`values` by name. `odd`: with signs that others escape; else letters and digits, as tokens are."""

    values: dict[str, str] = field(default_factory=dict)

    def plant(self, name: str, *, odd: bool = False, length: int = 32) -> str:
        """A new one, which nothing else is."""
        text = secrets.token_hex(length // 2)
        self.values[name] = f"{text[:9]}%/+ \"'&<{text[9:]}" if odd else text
        return self.values[name]

    @property
    def environment(self) -> dict[str, str]:
        return {f"CANARY_{name.upper()}": value for name, value in self.values.items()}

    def seen(self, surfaces: Mapping[str, bytes], but: frozenset[str] = frozenset()) -> list[str]:
        """`surface: canary as spelling` of each that is anywhere, with what stands before it."""
        return [
            f"{place}: {name} {how}: …{_before(data, form)!r}"
            for place, data in surfaces.items()
            for name, value in self.values.items() if name not in but
            for how, form in _spelled(value)
            if form in data or form in _compact(data)
        ]  # fmt: skip


def _compact(data: bytes) -> bytes:
    return b"".join(data.replace(b"\\n", b"").split())


def _before(data: bytes, form: bytes) -> str:
    source = data if form in data else _compact(data)
    at = source.find(form)
    return source[max(0, at - 90) : at].decode(errors="replace")


def _spelled(value: str) -> Iterator[tuple[str, bytes]]:
    plain = value.encode()
    yield "plain", plain
    yield "plain, white space gone", _compact(plain)
    yield "percent-encoded", quote(value, safe="").encode()
    yield "as a form", quote_plus(value).encode()
    yield "in JSON", json.dumps(value)[1:-1].encode()
    yield "in HTML", html.escape(value).encode()
    yield "in hexadecimal", plain.hex().encode()
    for user in ("", "u:", "me:", "joe:", "quell:"):
        coded = base64.b64encode(user.encode() + plain).decode().rstrip("=")
        yield f"in Base64 of {user}…", coded[4 * (len(user) // 3 + 1) : -2].encode()
    letters = "".join(sign for sign in value if sign.isalnum())
    run = max((part for part in value.replace("%", " ").split() if part), key=len)
    for at in range(0, len(run) - PIECE + 1, 4):
        yield f"a piece at {at}", run[at : at + PIECE].encode()
    assert letters, "a canary is no canary without letters"
