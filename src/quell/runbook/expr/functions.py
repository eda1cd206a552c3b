"""The functions of the language: one row each, with their typing rule and their meaning.

A meaning gets plain values (never Absent, which ``evaluate`` passes on by itself) and returns a value or an Absent.
``has`` and ``matches`` have no meaning here: what they do depends on the form of their argument.
Never does: loop over more than ``values.MAX_STRING`` items.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quell.runbook.expr import values
from quell.runbook.expr.types import ANY, BOOL, DURATION, NUMBER, STRING, Type
from quell.runbook.expr.units import duration_seconds
from quell.runbook.expr.values import invalid, kind_of, show

Typing = Callable[[tuple[Type, ...]], Type | str]
"""Argument types to the result type, or to what is wrong with them."""
Meaning = Callable[..., Any]
_NUMERIC = frozenset({"number", "ratio", "percent", "duration", "bytes"})


@dataclass(frozen=True, slots=True)
class Function:
    """``least`` and ``most`` count a method's receiver. ``usage`` is shown when a call is wrong."""

    usage: str
    least: int
    most: int
    typing: Typing
    meaning: Meaning | None
    function: bool = True
    method: bool = False


def _takes(accepted: frozenset[str], result: Type, wanted: str) -> Typing:
    def typing(arguments: tuple[Type, ...]) -> Type | str:
        for kind in arguments:
            if kind.kind not in accepted and kind.kind != "any":
                return f"takes {wanted}, not a {kind}"
        return result

    return typing


def _same_kind(arguments: tuple[Type, ...]) -> Type | str:
    """min, max, abs: numbers of one unit in, the same unit out; one list stands for its elements."""
    if len(arguments) == 1 and arguments[0].kind == "list":
        arguments = (arguments[0].element or ANY,)
    kinds = {"number" if kind.kind == "ratio" else kind.kind for kind in arguments} - {"any"}
    if not kinds <= _NUMERIC | {"time"}:
        return f"takes numbers, not a {(kinds - _NUMERIC).pop()}"
    if len(kinds) > 1:
        return f"takes numbers of one unit, not {' and '.join(sorted(kinds))}"
    return next((Type(kind.kind) for kind in arguments if kind.kind != "any"), ANY)


def _numbers(arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    items = tuple(arguments[0]) if len(arguments) == 1 and isinstance(arguments[0], list | tuple) else arguments
    usable = items and all(
        kind_of(item) == "number" and isinstance(values.bounded(item), int | float) for item in items
    )
    return items if usable and len(items) <= values.MAX_STRING else None


def _minimum(*arguments: Any) -> Any:
    numbers = _numbers(arguments)
    return invalid("min() needs numbers") if numbers is None else min(numbers)


def _maximum(*arguments: Any) -> Any:
    numbers = _numbers(arguments)
    return invalid("max() needs numbers") if numbers is None else max(numbers)


def _absolute(value: Any) -> Any:
    return values.bounded(abs(value)) if kind_of(value) == "number" else invalid("abs() needs a number")


def _size(value: Any) -> Any:
    if kind_of(value) in {"string", "list", "record"}:
        return len(value)
    return invalid(f"a {kind_of(value)} has no size")


def _on_strings(name: str, meaning: Callable[[str, str], bool]) -> Meaning:
    def method(value: Any, part: Any) -> Any:
        if not isinstance(value, str) or not isinstance(part, str):
            return invalid(f"{name}() needs strings, not a {kind_of(value)} and a {kind_of(part)}")
        return meaning(value, part)

    return method


def _string(value: Any) -> Any:
    if isinstance(value, str):
        return value
    kind = kind_of(value)
    if kind == "bool":
        return "true" if value else "false"
    return show(value) if kind == "number" else invalid(f"string() cannot take a {kind}")


def _int(value: Any) -> Any:
    try:
        if kind_of(value) == "number":
            return values.bounded(math.trunc(value))
        if isinstance(value, str) and len(value) <= 20 and value.removeprefix("-").isdecimal():
            return values.bounded(int(value))
    except (ValueError, OverflowError):
        pass
    return invalid(f"int() cannot read {show(value)}")


def _double(value: Any) -> Any:
    try:
        if kind_of(value) == "number" or (isinstance(value, str) and len(value) <= 64 and "_" not in value):
            return values.bounded(float(value))
    except (ValueError, OverflowError):
        pass
    return invalid(f"double() cannot read {show(value)}")


def _duration(value: Any) -> Any:
    seconds = duration_seconds(value.removeprefix("-")) if isinstance(value, str) else None
    if seconds is None:
        return invalid(f"duration() cannot read {show(value)}")
    return -seconds if value.startswith("-") else seconds


_TWO_STRINGS = _takes(frozenset({"string"}), BOOL, "strings")
_SIZED = _takes(frozenset({"string", "list", "record"}), NUMBER, "a string, a list or a record")
_CONVERTIBLE = _NUMERIC | {"string", "time"}


def _method(usage: str, meaning: Meaning | None) -> Function:
    return Function(usage, 2, 2, _TWO_STRINGS, meaning, function=False, method=True)


FUNCTIONS: dict[str, Function] = {
    "has": Function("has(a.path)", 1, 1, lambda _: BOOL, None),
    "size": Function("size(x) or x.size()", 1, 1, _SIZED, _size, method=True),
    "startsWith": _method("x.startsWith('…')", _on_strings("startsWith", str.startswith)),
    "endsWith": _method("x.endsWith('…')", _on_strings("endsWith", str.endswith)),
    "contains": _method("x.contains('…')", _on_strings("contains", str.__contains__)),
    "matches": _method("x.matches('pattern')", None),
    "min": Function("min(a, b, …) or min(list)", 1, 64, _same_kind, _minimum),
    "max": Function("max(a, b, …) or max(list)", 1, 64, _same_kind, _maximum),
    "abs": Function("abs(x)", 1, 1, _same_kind, _absolute),
    "string": Function("string(x)", 1, 1, _takes(_CONVERTIBLE | {"bool"}, STRING, "a plain value"), _string),
    "int": Function("int(x)", 1, 1, _takes(_CONVERTIBLE, NUMBER, "a number or a string"), _int),
    "double": Function("double(x)", 1, 1, _takes(_CONVERTIBLE, NUMBER, "a number or a string"), _double),
    "duration": Function("duration('5m')", 1, 1, _takes(frozenset({"string"}), DURATION, "a string"), _duration),
}
