"""The types of facts, how plug-ins spell them, and the two special run-time values.

A fact has one unit at run time, whatever people write: durations are seconds, times are epoch seconds, percents
are 0-100, ratios 0-1, sizes are bytes. Never does: look at a value's Python type to guess a fact's type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quell.runbook.expr.units import DURATION_UNITS, Scale

TypeSpec = str | Mapping[str, Any] | Sequence[Any]
"""How a plug-in declares a type: a word, a mapping of fields, or a list with one spec (a list of those)."""

_LIST = re.compile(r"list<(.+)>\Z", re.DOTALL)
_MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class Type:
    """A static type. Hashable, so that compiled expressions can be cached by the types they were checked with.

    ``element`` belongs to lists, ``fields`` to records and flags, ``open`` says that fields beyond the named ones
    may exist. ``bare`` is how a bare number next to this type is read; None means that it is an error.
    """

    kind: str
    element: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()
    open: bool = False
    bare: Scale | None = None

    def field(self, name: str) -> Type | None:
        """The type of a field; ``any`` for one that an open record does not name; None when there is none."""
        for known, kind in self.fields:
            if known == name:
                return kind
        return ANY if self.open else None

    def field_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.fields)

    def __str__(self) -> str:
        return f"list<{self.element}>" if self.kind == "list" else self.kind


Scope = Mapping[str, Type]
"""The root names that an expression may read, with their types."""

ANY = Type("any")
NULL = Type("null")
NUMBER = Type("number")
STRING = Type("string")
BOOL = Type("bool")
DURATION = Type("duration")
PERCENT = Type("percent")
RATIO = Type("ratio")
BYTES = Type("bytes")
TIME = Type("time")

_WORDS: dict[str, Type] = {
    kind.kind: kind for kind in (ANY, NULL, NUMBER, STRING, BOOL, DURATION, PERCENT, RATIO, BYTES, TIME)
}
_WORDS["percent:bare"] = Type("percent", bare=Scale(1, 1))
_WORDS["bytes:bare"] = Type("bytes", bare=Scale(1, 1))
_WORDS["flag"] = Type("flag", open=True)
_WORDS["record"] = Type("record", open=True)
_WORDS["list"] = Type("list", element=ANY)
_WORDS |= {f"duration:{unit}": Type("duration", bare=scale) for unit, scale in DURATION_UNITS.items()}


def list_of(element: Type) -> Type:
    return Type("list", element=element)


def record(fields: Mapping[str, Type], *, open: bool = False) -> Type:
    """A record; ``open`` when it may have fields that are not named here."""
    return Type("record", fields=tuple(sorted(fields.items(), key=lambda item: item[0])), open=open)


def flag(fields: Mapping[str, Type] | None = None, *, open: bool = False) -> Type:
    """A boolean that also has fields: ``errors.critical`` is true or false, ``errors.critical.region`` a list."""
    named = tuple(sorted((fields or {}).items(), key=lambda item: item[0]))
    return Type("flag", fields=named, open=open)


def parse_type(spec: TypeSpec, *, _depth: int = 0) -> Type:
    """The type that a plug-in declares.

    Words: ``number string bool duration duration:ms percent percent:bare ratio bytes time any flag list<…>``.
    A mapping is a closed record of fields; the key ``...`` opens it; ``held: flag`` makes it a flag with the other
    keys as its fields. A list of one spec is a list of that. Raises ValueError for anything else.
    """
    if _depth > _MAX_DEPTH:
        raise ValueError("a type is nested too deeply")
    if isinstance(spec, str):
        if (known := _WORDS.get(spec)) is not None:
            return known
        word = spec.replace(" ", "")
        if inner := _LIST.match(word):
            return list_of(parse_type(inner[1], _depth=_depth + 1))
        if word not in _WORDS:
            raise ValueError(f"no type {spec!r}; the types are {', '.join(sorted(_WORDS))}, list<type>")
        return _WORDS[word]
    if isinstance(spec, Mapping):
        is_flag = spec.get("held") == "flag"
        fields = {
            str(name): parse_type(inner, _depth=_depth + 1)
            for name, inner in spec.items()
            if name != "..." and not (is_flag and name == "held")
        }
        return flag(fields, open="..." in spec) if is_flag else record(fields, open="..." in spec)
    if len(spec) == 1:
        return list_of(parse_type(spec[0], _depth=_depth + 1))
    raise ValueError(f"not a type: {spec!r}")


@dataclass(frozen=True, slots=True)
class Flag:
    """The run-time value of a ``flag``: whether it holds, and what there is to say about it."""

    held: bool
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.held is True


@dataclass(frozen=True, slots=True)
class Absent:
    """A fact that is not there, and why. Callers put it into ``env``; conditions that need it become unknown.

    ``error_class`` is one of ``quell.errors.ERROR_CLASSES``; ``name`` is filled in by whoever reads the fact.
    ``at_least``: the number that it is not below, when that much is known: enough for some comparisons.
    """

    reason: str
    error_class: str | None = None
    name: str | None = None
    at_least: float | None = None

    def __bool__(self) -> bool:
        # Fail closed: code that forgets to ask treats unknown as false, never as true.
        return False
