"""A condition on one label, ``alertname="HighLatency"`` or ``env=~"prod|stage"``, as Alertmanager and Prometheus write
it (prometheus.io/docs/alerting/latest/configuration, "Label matchers").

Never does: match (``intake.matching`` does, which knows patterns that cannot run away).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

MOST, LONGEST = 50, 4096
"""Matchers of one list, and characters of the text that they stand in."""
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.:-]*")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_BARE = re.compile(r"[^\s{}\"'`,=!~\\]+")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}


class Matcher(BaseModel):
    """An absent label counts as the empty text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The label."""
    operator: Literal["=", "!=", "=~", "!~"]
    """Is, is not, fits the pattern, does not fit it; a pattern is held against the whole value."""
    value: str
    """What is asked for."""

    @property
    def is_pattern(self) -> bool:
        return self.operator in ("=~", "!~")

    @property
    def asks_for(self) -> bool:
        """Whether it asks for the value, or for any other."""
        return self.operator in ("=", "=~")

    def __str__(self) -> str:
        name = self.name if _NAME.fullmatch(self.name) else _quote(self.name)
        return f"{name}{self.operator}{_quote(self.value)}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """``{a="b", c=~"d|e"}``, with or without braces, quotes where nothing needs them left out.

    Raises ``ValueError`` saying where it goes wrong (columns from 1) and what would be right.
    """
    if len(text) > LONGEST:
        raise ValueError(f"matchers are at most {LONGEST} characters")
    found, at, end = [], _past_spaces(text, 0), len(text.rstrip())
    if braced := text.startswith("{", at):
        at += 1
        if end == 0 or text[end - 1] != "}":
            raise ValueError(f"{_shown(text)}: the brace of column {at} is not closed")
        end -= 1
    at = _past_spaces(text, at)
    while at < end:
        matcher, at = _matcher(text, at, end)
        found.append(matcher)
        at = _past_spaces(text, at)
        if at < end:
            if text[at] != ",":
                raise ValueError(f"{_shown(text)}, column {at + 1}: expected a comma between matchers")
            at = _past_spaces(text, at + 1)
    if not found and not braced:
        raise ValueError('no matcher; write one such as alertname="HighLatency"')
    if len(found) > MOST:
        raise ValueError(f"more than {MOST} matchers")
    return tuple(found)


def _matcher(text: str, at: int, end: int) -> tuple[Matcher, int]:
    name, at = _word(text, at, end, _NAME, "the name of a label")
    at = _past_spaces(text, at)
    operator = _OPERATOR.match(text, at, end)
    if operator is None:
        raise ValueError(f"{_shown(text)}, column {at + 1}: expected one of = != =~ !~ after {name!r}")
    at = _past_spaces(text, operator.end())
    if at >= end or text[at] == ",":
        return Matcher(name=name, operator=operator[0], value=""), at
    value, at = _word(text, at, end, _BARE, "a value, in double quotes where it has signs of its own")
    return Matcher(name=name, operator=operator[0], value=value), at


def _word(text: str, at: int, end: int, bare: re.Pattern[str], what: str) -> tuple[str, int]:
    quoted = _QUOTED.match(text, at, end)
    if quoted is not None:
        return _ESCAPE.sub(lambda one: _ESCAPES.get(one[1], one[0]), quoted[1]), quoted.end()
    plain = bare.match(text, at, end)
    if plain is None:
        raise ValueError(f"{_shown(text)}, column {at + 1}: expected {what}")
    return plain[0], plain.end()


def _past_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _read(given: Any) -> Any:
    """From a configuration: one text, or a list of texts."""
    if isinstance(given, str):
        return parse_matchers(given)
    if isinstance(given, Iterable) and not isinstance(given, dict):
        read: list[Any] = []
        for one in given:
            read += parse_matchers(one) if isinstance(one, str) else [one]
        return tuple(read)
    return given


Matchers = Annotated[tuple[Matcher, ...], BeforeValidator(_read)]
"""Every one must hold."""
