"""What the three kinds of databases share: named parameters, bounded and JSON-safe rows, the words for failures.

Never does: put a value into the text of a statement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from quell.errors import Permanent

LONGEST_ERROR = 300
_DEEPEST = 8
_LONGEST_CELL = 16 * 1024
_EXACT_INT = 2**63
_PIECES = re.compile(
    r"""(?P<kept>'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--[^\n]*|/\*.*?\*/|\$(?P<tag>[A-Za-z_]?\w*)\$.*?\$(?P=tag)\$|::)
      | (?<![:\w]):(?P<name>[A-Za-z_]\w*)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One query with its limits. ``timeout_s``: when the server should give up by itself."""

    query: str
    params: Mapping[str, Any]
    max_rows: int
    max_bytes: int
    timeout_s: float


@dataclass(slots=True)
class Rows:
    """What came back, up to the limits. Duplicate column names get a number."""

    asked: Asked
    columns: tuple[str, ...] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    truncated: bool = False
    size: int = 0

    def head(self, names: Sequence[str]) -> None:
        seen: dict[str, int] = {}
        columns = []
        for name in names:
            seen[name] = seen.get(name, 0) + 1
            columns.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
        self.columns = tuple(columns)

    def add(self, values: Sequence[Any]) -> bool:
        """Take one row; False when a limit is reached and no more should be read."""
        safe = [plain(value) for value in values]
        self.size += sum(len(value) if isinstance(value, str) else 16 for value in safe)
        if len(self.records) >= self.asked.max_rows or self.size > self.asked.max_bytes:
            self.truncated = True
            return False
        self.records.append(dict(zip(self.columns, safe, strict=False)))
        return True


def bound(
    query: str, params: Mapping[str, Any], place: Callable[[str, int], str], *, escape: str = ""
) -> tuple[str, list[Any]]:
    """The query with ``place(name, number)`` for each ``:name`` outside of quotes, comments and casts; and the values.

    The number is that of the value in the list, from 1; ``escape`` is a character to be doubled elsewhere.
    Raises ``Permanent`` (invalid) for a name without a value or a value without a name.
    """
    if wrong := unbound(query, params):
        raise Permanent(wrong[1], "invalid")
    numbers: dict[str, int] = {}
    values: list[Any] = []

    def put(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return doubled(match[0])
        if name not in numbers:
            values.append(params[name])
            numbers[name] = len(values)
        return place(name, numbers[name])

    def doubled(text: str) -> str:
        return text.replace(escape, escape * 2) if escape else text

    made, last = [], 0
    for match in _PIECES.finditer(query):
        made += [doubled(query[last : match.start()]), put(match)]
        last = match.end()
    made.append(doubled(query[last:]))
    return "".join(made), values


def unbound(query: str, params: Mapping[str, Any]) -> tuple[tuple[str, ...], str] | None:
    """The parameter at fault and why: a name without a value, or a value without a name. None when all is well."""
    named = dict.fromkeys(match["name"] for match in _PIECES.finditer(query) if match["name"])
    if absent := [name for name in named if name not in params]:
        has = f"params has only {', '.join(params)}" if params else "there are no params"
        return ("query",), f"the query names {', '.join(f':{name}' for name in absent)}, and {has}"
    if idle := [name for name in params if name not in named]:
        return ("params", idle[0]), f"params has {', '.join(idle)}, and the query does not name :{idle[0]}"
    return None


def plain(value: Any, depth: int = 0) -> Any:
    """A cell as JSON can say it. Moments become epoch seconds and intervals seconds, as all facts have them."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _EXACT_INT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return _text(bytes(value))
    return _nested(value, depth)


def _nested(value: Any, depth: int) -> Any:
    if depth < _DEEPEST and isinstance(value, Mapping):
        return {str(key)[:_LONGEST_CELL]: plain(inner, depth + 1) for key, inner in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return [plain(inner, depth + 1) for inner in value]
    return str(value).replace("\0", "\ufffd")[:_LONGEST_CELL]


def _number(value: Decimal) -> Any:
    if not value.is_finite():
        return None
    if value == value.to_integral_value() and abs(value) < _EXACT_INT:
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else str(value)[:_LONGEST_CELL]


def _text(value: bytes) -> str:
    """Text where it is text, else hexadecimal as PostgreSQL writes it."""
    try:
        text = value[:_LONGEST_CELL].decode()
        if "\0" not in text:
            return text
    except UnicodeDecodeError:
        pass
    return "\\x" + value[: _LONGEST_CELL // 2].hex()


_NOT_OPENED = {
    "exhausted": "too many clients: the server has no connection left", "denied": "the login is refused",
    "missing": "the database does not exist", "busy": "the server is starting up or shutting down",
    "dns": "the name of its host cannot be resolved", "timeout": "no answer in time", "tls": "TLS cannot be agreed on",
    "refused": "connection refused", "invalid": "its address cannot be read",
}  # fmt: skip


def not_opened(kind: str) -> str:
    """Why there is no connection, in fixed words: a library's may repeat parts of an address, a password among them."""
    return _NOT_OPENED.get(kind, "cannot connect")


def words(error: BaseException, secret: str) -> str:
    """An error's own words on one bounded line, without the password."""
    text = " ".join(str(error).split())
    return (text.replace(secret, "***") if secret else text)[:LONGEST_ERROR]
