"""Binds values to SQL: ``:name`` becomes the driver's own parameter, ``{name}`` a quoted identifier.

Quoted text, comments and dollar quotes are left alone, so a colon or brace in them means itself.
``{captured.name}`` becomes a literal, for statements that take no parameters (``ALTER ROLE … CONNECTION LIMIT``).
Never does: paste a value into the text unquoted, connect to anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from quell.errors import Permanent

POSTGRESQL, MYSQL, SQLITE = "postgresql", "mysql", "sqlite"
DIALECTS = {
    "postgresql": POSTGRESQL, "postgres": POSTGRESQL, "mysql": MYSQL, "mariadb": MYSQL, "sqlite": SQLITE,
}  # fmt: skip
"""Connection type → dialect."""

LONGEST_KEPT = 64 * 1024
_EXACT_IN_JSON = 2**53
_DECIMAL = "decimal"
"""The only key of a captured number that JSON would round."""
_MAX_IDENTIFIER = 128
_SKIP = r"--[^\n]*|/\*.*?\*/"
_PLACES = r"(?<![:\w]):(?P<value>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_][\w.]*)\}|(?P<percent>%)"
_TOKENS = {
    POSTGRESQL: re.compile(
        rf"""(?P<same>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>[A-Za-z_]?\w*)\$.*?\$(?P=tag)\$"""
        rf"""|::|{_SKIP})|{_PLACES}""",
        re.DOTALL,
    ),
    MYSQL: re.compile(
        rf"""(?P<same>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|:=|\#[^\n]*|{_SKIP})|{_PLACES}""",
        re.DOTALL,
    ),
    SQLITE: re.compile(
        rf"""(?P<same>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|{_SKIP})|{_PLACES}""", re.DOTALL
    ),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """``text`` and ``values`` go to the driver; ``shown`` is for people, each value in its place."""

    text: str
    values: tuple[Any, ...]
    shown: str
    objects: tuple[str, ...]


def plain(text: str, *values: Any) -> Statement:
    """A statement of our own, its placeholders already those of the dialect."""
    return Statement(text, values, text, ())


def bind(
    dialect: str,
    sql: str,
    params: Mapping[str, Any],
    identifiers: Mapping[str, str],
    captured: Mapping[str, Any],
) -> Statement:
    """Raises ``Permanent`` (invalid) naming what is missing, unused or not a name."""
    return _Binder(dialect, params, identifiers, captured).bind(sql)


def unbound(sql: str, params: Collection[str], identifiers: Collection[str]) -> str | None:
    """Which ``:name`` and ``{name}`` have nothing to stand for, whatever the dialect; None when all have."""
    missing = [_open(tokens, sql, params, identifiers) for tokens in _TOKENS.values()]
    absent = [name for name in missing[0] if all(name in others for others in missing)]
    if not absent:
        return None
    return f"the statement names {', '.join(absent)}; params has {_names(params)}, identifiers {_names(identifiers)}"


def _open(tokens: re.Pattern[str], sql: str, params: Collection[str], identifiers: Collection[str]) -> list[str]:
    values = [f":{found['value']}" for found in tokens.finditer(sql) if found["value"] and found["value"] not in params]
    names = [found["name"] for found in tokens.finditer(sql) if found["name"] and found["name"] not in identifiers]
    # What is captured is known only right before acting.
    return list(dict.fromkeys((*values, *(f"{{{name}}}" for name in names if not name.startswith("captured.")))))


def quote_identifier(dialect: str, name: str) -> str:
    """``schema.table`` is two identifiers. Raises ``Permanent`` (invalid) for what cannot be a name."""
    parts = name.split(".")
    if not all(parts) or any(len(part) > _MAX_IDENTIFIER or not part.isprintable() for part in parts):
        raise Permanent(f"{name[:40]!r} cannot be an identifier", "invalid")
    mark = "`" if dialect == MYSQL else '"'
    return ".".join(mark + part.replace(mark, mark * 2) + mark for part in parts)


def quote_literal(dialect: str, value: Any) -> str:
    """Raises ``Permanent`` (invalid) for a value that SQL has no plain literal for."""
    if isinstance(value, Mapping) and set(value) == {_DECIMAL}:
        return _digits(str(value[_DECIMAL]))
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | Decimal) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, datetime | date | time):
        value = value.isoformat()
    if not isinstance(value, str) or "\0" in value:
        raise Permanent(f"a captured {type(value).__name__} cannot be written as a literal", "invalid")
    if "\\" in value:  # whether a backslash escapes depends on a setting of the server: do not depend on it
        if dialect == SQLITE:
            return "'" + value.replace("'", "''") + "'"
        if dialect == MYSQL:
            return f"CONVERT(X'{value.encode().hex()}' USING utf8mb4)"
        return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + value.replace("'", "''") + "'"


def _digits(text: str) -> str:
    if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        raise Permanent(f"{text[:40]!r} is not a number with all its digits", "invalid")
    return text


def kept(dialect: str, value: Any) -> Any:
    """A value as JSON can hold it, so that ``quote_literal`` writes back the very same.

    Raises ``Permanent`` (too_large, invalid) for what would come back as something else.
    """
    if isinstance(value, Decimal) and value.is_finite():
        value = _number(value)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT_IN_JSON:
        value = {_DECIMAL: str(value)}
    elif isinstance(value, UUID | datetime | date | time):
        value = str(value)
    if isinstance(value, str) and len(value) > LONGEST_KEPT:
        raise Permanent(f"a text of {len(value)} characters is more than can be kept ({LONGEST_KEPT})", "too_large")
    if isinstance(value, bytes | bytearray | memoryview | timedelta | Decimal | list):
        raise Permanent(f"a {type(value).__name__} cannot be kept exactly; cast it to text in the query", "invalid")
    quote_literal(dialect, value)
    return value


def _number(value: Decimal) -> Any:
    """As a plain number where that is the same number, else with all its digits."""
    if value == value.to_integral_value() and abs(value) <= _EXACT_IN_JSON:
        return int(value)
    return float(value) if Decimal(repr(float(value))) == value else {_DECIMAL: format(value, "f")}


class _Binder:
    def __init__(
        self, dialect: str, params: Mapping[str, Any], identifiers: Mapping[str, str], captured: Mapping[str, Any]
    ) -> None:
        self.dialect, self.params, self.identifiers, self.captured = dialect, params, identifiers, captured
        self.values: list[Any] = []
        self.numbers: dict[str, int] = {}
        self.objects: list[str] = []
        self.formatted = False

    def bind(self, sql: str) -> Statement:
        text, shown, end = [], [], 0
        tokens = list(_TOKENS[self.dialect].finditer(sql))
        # PyMySQL formats with %, and only a statement that has values.
        self.formatted = self.dialect == MYSQL and any(found["value"] for found in tokens)
        for found in tokens:
            between = sql[end : found.start()]
            end = found.end()
            real, seen = self._one(found)
            text += [between, real]
            shown += [between, seen]
        text.append(sql[end:])
        shown.append(sql[end:])
        return Statement("".join(text), tuple(self.values), "".join(shown).strip(), tuple(dict.fromkeys(self.objects)))

    def _one(self, found: re.Match[str]) -> tuple[str, str]:
        """What the driver gets and what a person sees in this place."""
        if found["value"]:
            return self._value(found["value"])
        if found["name"]:
            quoted = self._name(found["name"])
            return quoted, quoted
        return found[0].replace("%", "%%") if self.formatted else found[0], found[0]

    def _value(self, name: str) -> tuple[str, str]:
        if name not in self.params:
            raise Permanent(f"the statement asks for :{name}; params has {_names(self.params)}", "invalid")
        value = self.params[name]
        shown = quote_literal(self.dialect, value) if _plain(value) else repr(value)
        if self.dialect == POSTGRESQL:
            if name not in self.numbers:
                self.values.append(value)
                self.numbers[name] = len(self.values)
            return f"${self.numbers[name]}", shown
        self.values.append(value)
        return ("%s" if self.dialect == MYSQL else "?"), shown

    def _name(self, name: str) -> str:
        prefix, dot, rest = name.partition(".")
        if prefix == "captured" and dot:
            if rest not in self.captured:
                raise Permanent(f"nothing was captured as {rest!r}; captured: {_names(self.captured)}", "invalid")
            return quote_literal(self.dialect, self.captured[rest])
        if name not in self.identifiers:
            raise Permanent(f"the statement names {{{name}}}; identifiers has {_names(self.identifiers)}", "invalid")
        self.objects.append(self.identifiers[name])
        return quote_identifier(self.dialect, self.identifiers[name])


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | Decimal | datetime | date | time)


def _names(known: Collection[str]) -> str:
    return ", ".join(sorted(known)) or "nothing"
