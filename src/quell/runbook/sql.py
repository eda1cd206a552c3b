"""Brace placeholders in SQL text: identifiers and literals for statements that take no bound parameters.

``alter role {role} connection limit {captured.limit}``: names are quoted, captured values become literals, and
whatever cannot be written safely is refused. Never does: guess; a placeholder inside quotes is an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quell.errors import InvalidInput, Problem
from quell.runbook.expr.flaws import nearest

MAX_IDENTIFIER = 63
"""Bytes of an SQL identifier (PostgreSQL's NAMEDATALEN - 1; MySQL allows one more)."""
_QUOTES = {"ansi": '"', "mysql": "`"}
_SQL_TOKEN = re.compile(
    r"(?P<open>\{\{)|(?P<close>\}\})|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)\}"
    r"|(?P<quoted>'[^']*'|\"[^\"]*\"|`[^`]*`)|(?P<stray>[{}])"
)


@dataclass(frozen=True, slots=True)
class Placeholder:
    """``{role}`` or ``{captured.limit}`` in SQL text, at these offsets."""

    name: str
    start: int
    end: int


def sql_names(text: str) -> tuple[Placeholder, ...]:
    """The brace placeholders of an SQL text, in reading order."""
    return tuple(
        Placeholder(match["name"], match.start(), match.end()) for match in _SQL_TOKEN.finditer(text) if match["name"]
    )


def bind_sql(text: str, identifiers: Mapping[str, str], captured: Mapping[str, Any], *, dialect: str = "ansi") -> str:
    """``text`` with ``{name}`` as a quoted identifier and ``{captured.name}`` as a literal; ``{{`` is a brace.

    ``dialect`` is ``ansi`` ("…") or ``mysql`` (`…`). Raises InvalidInput with every placeholder that is unknown,
    stands inside quotes, or has a value that cannot be written safely. Values of a query belong into bound
    parameters; this is for statements that take none, such as ALTER ROLE.
    """
    problems: list[Problem] = []
    out: list[str] = []
    at = 0
    for match in _SQL_TOKEN.finditer(text):
        out.append(text[at : match.start()])
        at = match.end()
        try:
            out.append(_bound(match, identifiers, captured, _QUOTES[dialect], text[: match.start()]))
        except ValueError as error:
            near = nearest(match["name"] or "", (*identifiers, *(f"captured.{name}" for name in captured)))
            known = match["name"] in identifiers
            problems.append(
                Problem(
                    str(error),
                    "sql-placeholder",
                    column=match.start() + 1,
                    found=match[0],
                    nearest=None if known else near,
                )
            )
    if problems:
        raise InvalidInput(problems)
    return "".join(out) + text[at:]


def _bound(
    match: re.Match[str], identifiers: Mapping[str, str], captured: Mapping[str, Any], quote: str, before: str
) -> str:
    if match["open"] or match["close"]:
        return match[0][0]
    if match["stray"]:
        raise ValueError(f"a lone {match[0]!r}; write {match[0] * 2!r} for a brace")
    if match["quoted"]:
        if any(inner["name"] for inner in _SQL_TOKEN.finditer(match[0][1:-1])):
            raise ValueError("a placeholder stands inside quotes; it brings its own")
        return match[0]
    name = match["name"]
    if name in identifiers:
        return _identifier(identifiers[name], quote)
    inner = name.removeprefix("captured.")
    if inner != name and inner in captured:
        literal = _literal(captured[inner])
        # Two minus signs in a row would start a comment.
        return f" {literal}" if literal.startswith("-") and before.endswith("-") else literal
    raise ValueError(f"no placeholder {name!r}")


def _identifier(name: str, quote: str) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError("an identifier must be a text without NUL")
    if len(name.encode(errors="surrogatepass")) > MAX_IDENTIFIER:
        raise ValueError(f"an identifier has at most {MAX_IDENTIFIER} bytes")
    return quote + name.replace(quote, quote * 2) + quote


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return repr(value)
    if isinstance(value, str):
        if "\\" in value or "\0" in value:
            raise ValueError("a captured text with a backslash or NUL cannot be written safely")
        return "'" + value.replace("'", "''") + "'"
    raise ValueError(f"a captured {type(value).__name__} cannot be written as SQL")
