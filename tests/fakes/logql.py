"""LogQL's everyday subset: a stream selector, line filters, and count_over_time of those. Pure.

`{app="pay",env=~"prod|stage"} |= "error" != "probe" |~ "code=5.." !~ "x"`, with double-quoted or
backquoted strings; `count_over_time(<that>[5m])`. Anything else is a QueryError in Loki's form,
`parse error at line 1, col N: ...`. Regular expressions are Go's RE2 there and Python's here: a pattern
that only one of the two accepts is not caught.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": 86400,
    "w": 604800,
    "y": 31536000,
}
_TOKENS = re.compile(
    r"""(?P<space>\s+)|(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<op>\|=|\|~|!=|!~|=~|=|[{}(),\[\]])"""
    r"""|(?P<duration>(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|[smhdwy]))+)|(?P<name>[A-Za-z_]\w*)"""
)
Test = Callable[[str], bool]


class QueryError(ValueError):
    """The query cannot be read; the text is what Loki would answer."""


@dataclass(frozen=True)
class Query:
    """A parsed query; with `range_s` it is count_over_time over that many seconds."""

    matchers: tuple[tuple[str, Test], ...]
    filters: tuple[Test, ...]
    range_s: float | None

    def selects(self, labels: dict[str, str]) -> bool:
        """Whether a stream of these labels is meant; a label that is absent is empty."""
        return all(test(labels.get(name, "")) for name, test in self.matchers)

    def keeps(self, line: str) -> bool:
        """Whether a line passes every filter."""
        return all(test(line) for test in self.filters)


def seconds(text: str) -> float:
    """A Go duration (`1h30m`, `500ms`) or a bare number, in seconds; raises QueryError."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?(ns|us|µs|ms|[smhdwy]))+", text):
        raise QueryError(f'cannot parse "{text}" to a valid duration')
    found = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|[smhdwy])", text)
    return sum(float(number) * UNITS[unit] for number, unit in found)


def parse(text: str) -> Query:
    """Read a query; raises QueryError."""
    reader = _Reader(text)
    range_s = None
    counted = reader.kind == "name"
    if counted:
        reader.take("name", "count_over_time")
        reader.take("op", "(")
    matchers = reader.selector()
    filters = reader.filters()
    if counted:
        reader.take("op", "[")
        range_s = seconds(reader.take("duration"))
        reader.take("op", "]")
        reader.take("op", ")")
    reader.take("end")
    return Query(tuple(matchers), tuple(filters), range_s)


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        at = 0
        while at < len(text):
            match = _TOKENS.match(text, at)
            if match is None:
                raise QueryError(f"parse error at line 1, col {at + 1}: syntax error: unexpected {text[at]!r}")
            if match.lastgroup and match.lastgroup != "space":
                self.tokens.append((match.lastgroup, match[0], at + 1))
            at = match.end()
        self.tokens.append(("end", "$end", len(text) + 1))

    @property
    def kind(self) -> str:
        return self.tokens[0][0]

    def take(self, kind: str, *words: str) -> str:
        found, text, column = self.tokens[0]
        if found != kind or (words and text not in words):
            name = {"string": "STRING", "name": "IDENTIFIER", "duration": "DURATION"}.get(found, text)
            wanted = f", expecting {' or '.join(words)}" if words else ""
            raise QueryError(f"parse error at line 1, col {column}: syntax error: unexpected {name}{wanted}")
        if found != "end":
            self.tokens.pop(0)
        return text

    def selector(self) -> list[tuple[str, Test]]:
        self.take("op", "{")
        rows: list[tuple[str, Test]] = []
        selective = False
        while self.tokens[0][1] != "}":
            if rows:
                self.take("op", ",", "}")
            name = self.take("name")
            operator = self.take("op", "=", "!=", "=~", "!~")
            test = _label_test(operator, _string(self.take("string")))
            rows.append((name, test))
            selective |= operator in ("=", "=~") and not test("")
        self.take("op", "}")
        if not selective:
            said = (
                "queries require at least one regexp or equality matcher that does not have an empty-compatible value"
            )
            raise QueryError(f"parse error : {said}")
        return rows

    def filters(self) -> list[Test]:
        rows: list[Test] = []
        while self.tokens[0][1] in ("|=", "|~", "!=", "!~"):
            operator = self.take("op")
            rows.append(_line_test(operator, _string(self.take("string"))))
        return rows


def _string(token: str) -> str:
    if token.startswith("`"):
        return token[1:-1]
    try:
        text: str = json.loads(token)
    except ValueError as error:
        raise QueryError("parse error at line 1, col 1: invalid char escape") from error
    return text


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL)
    except re.error as error:
        raise QueryError(f"parse error : error parsing regexp: {error}: `{pattern}`") from error


def _label_test(operator: str, wanted: str) -> Test:
    if operator in ("=", "!="):
        return lambda value: (value == wanted) == (operator == "=")
    pattern = _compiled(wanted)  # label patterns are anchored at both ends, line patterns are not
    return lambda value: (pattern.fullmatch(value) is not None) == (operator == "=~")


def _line_test(operator: str, wanted: str) -> Test:
    if operator in ("|=", "!="):
        return lambda line: (wanted in line) == (operator == "|=")
    pattern = _compiled(wanted)
    return lambda line: (pattern.search(line) is not None) == (operator == "|~")
