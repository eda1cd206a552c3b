"""A text that must not be seen, as a value of its own.

Never does: encrypt. It keeps a secret out of logs, errors, events and stored plans, not out of memory.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A text that must not be seen: shown as ``•••`` everywhere, given out by ``reveal()`` alone.

    Not a ``str``, so that no join, format or JSON encoder can take it for one; refuses to be pickled.
    """

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str) -> None:
        object.__setattr__(self, "_text", text)

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "•••"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "•••"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret is frozen")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not stored")
