"""What run-time values mean to each other: kinds, equality, order, arithmetic, and how they are shown.

Booleans are not numbers; integers and floats are one kind. Whatever has no meaning gives an ``Absent`` with the
reason, never an exception. Never does: convert one kind into another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from quell.runbook.expr.lex import MAX_INT
from quell.runbook.expr.tree import quote
from quell.runbook.expr.types import Absent, Flag

MAX_STRING = 65_536
"""Characters (or items) that a ``+`` may produce and that string functions read."""
_MAX_NESTING = 32

Relation = Callable[[Any, Any], bool]
_MORE = frozenset({">", ">="})


def kind_of(value: Any) -> str:
    """The word for a value in messages and comparisons."""
    if isinstance(value, bool | Flag):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "record"
    if isinstance(value, list | tuple):
        return "list"
    return type(value).__name__


def invalid(reason: str) -> Absent:
    """An unknown that comes from a value of the wrong kind, not from a fact that is away."""
    return Absent(reason, "invalid")


def equal(left: Any, right: Any, nesting: int = 0) -> bool | Absent:
    """Deep equality. Different kinds do not compare, except that anything compares with null."""
    if isinstance(left, Absent):
        return False if _is_above(left, right) else left
    if isinstance(right, Absent):
        return False if _is_above(right, left) else right
    kind = kind_of(left)
    if kind != kind_of(right):
        if left is None or right is None:
            return False
        return invalid(f"{show(left)} is a {kind}, {show(right)} is a {kind_of(right)}")
    if nesting > _MAX_NESTING:
        return invalid("the values are nested too deeply to compare")
    if kind == "number":
        return invalid("not a number (NaN)") if _is_nan(left) or _is_nan(right) else bool(left == right)
    if kind in {"bool", "string", "null"}:
        return bool(left) == bool(right) if kind == "bool" else bool(left == right)
    if kind == "list":
        return _equal_items(zip(left, right, strict=True), nesting) if len(left) == len(right) else False
    if kind == "record":
        if left.keys() != right.keys():
            return False
        return _equal_items(((left[key], right[key]) for key in left), nesting)
    return invalid(f"a {kind} cannot be compared")


def _equal_items(pairs: Any, nesting: int) -> bool | Absent:
    unknown: Absent | None = None
    for one, other in pairs:
        same = equal(one, other, nesting + 1)
        if same is False:
            return False
        if isinstance(same, Absent):
            unknown = unknown or same
    return unknown if unknown is not None else True


def ordered(left: Any, right: Any, relation: Relation, sign: str) -> bool | Absent:
    """``left < right`` and its kin, for two numbers or two strings."""
    if isinstance(left, Absent):
        return _proven(left, left.at_least, right, relation, sign in _MORE)
    if isinstance(right, Absent):
        return _proven(right, left, right.at_least, relation, sign not in _MORE)
    kind, other = kind_of(left), kind_of(right)
    if kind != other or kind not in {"number", "string"}:
        return invalid(f"{show(left)} {sign} {show(right)} compares a {kind} with a {other}")
    if _is_nan(left) or _is_nan(right):
        return invalid("not a number (NaN)")
    return relation(left, right)


def _proven(unknown: Absent, left: Any, right: Any, relation: Relation, conclusive: bool) -> bool | Absent:
    """What the least that the unknown side can be says already; more of it would only confirm ``conclusive``."""
    if not (_is_usable(left) and _is_usable(right)):
        return unknown
    return conclusive if relation(left, right) is conclusive else unknown


def _is_above(unknown: Absent, other: Any) -> bool:
    return unknown.at_least is not None and _is_usable(other) and bool(unknown.at_least > other)


def _is_usable(value: Any) -> bool:
    return kind_of(value) == "number" and not _is_nan(value)


def contains(item: Any, holder: Any) -> bool | Absent:
    """``item in list`` as ``||`` over equality, so one odd element does not hide a match; or a key of a record."""
    if isinstance(item, Absent):
        return item
    if isinstance(holder, Absent):
        return holder
    if isinstance(holder, Mapping):
        return item in holder if isinstance(item, str) else invalid(f"a record has no key {show(item)}")
    if not isinstance(holder, list | tuple):
        return invalid(f"'in' needs a list, not a {kind_of(holder)}")
    unknown: Absent | None = None
    for element in holder:
        same = equal(item, element)
        if same is True:
            return True
        if isinstance(same, Absent):
            unknown = unknown or same
    return unknown if unknown is not None else False


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def bounded(value: Any) -> Any:
    """A computed number, if it is one that can be worked with."""
    if isinstance(value, int):
        return value if -MAX_INT - 1 <= value <= MAX_INT else invalid("the result is beyond 64 bits")
    return value if math.isfinite(value) else invalid("the result is not a finite number")


def arithmetic(op: str, left: Any, right: Any) -> Any:
    """``+ - * / %``. ``/`` is exact division, because a fact may arrive as 3 or as 3.0 and must mean the same;
    ``%`` keeps the sign of the left side, as in CEL."""
    if isinstance(left, Absent):
        return left
    if isinstance(right, Absent):
        return right
    kind, other = kind_of(left), kind_of(right)
    if op == "+" and kind == other and kind in {"string", "list"}:
        if len(left) + len(right) > MAX_STRING:
            return invalid("the result is too long")
        return left + right if kind == "string" else [*left, *right]
    if kind != "number" or other != "number":
        return invalid(f"{show(left)} {op} {show(right)} needs two numbers, not a {kind} and a {other}")
    try:
        return bounded(_number(op, left, right))
    except ZeroDivisionError:
        return invalid("division by zero")
    except (OverflowError, ValueError):
        return invalid("the result is not a finite number")


def _number(op: str, left: Any, right: Any) -> Any:
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
    if right == 0:
        raise ZeroDivisionError
    if isinstance(left, int) and isinstance(right, int):
        return abs(left) % abs(right) * (-1 if left < 0 else 1)
    return math.fmod(left, right)


def show(value: Any) -> str:
    """A value in at most some forty characters, for messages and explanations."""
    if isinstance(value, Absent):
        return "unknown" if value.at_least is None else f"at least {plain_number(value.at_least)}"
    if isinstance(value, bool | Flag):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int):
        return str(value) if abs(value) <= MAX_INT else "a huge number"
    if isinstance(value, float):
        return plain_number(value)
    if isinstance(value, str):
        return quote(value if len(value) <= 40 else value[:39] + "…")
    if isinstance(value, list | tuple):
        inner = ", ".join(show(item) if not isinstance(item, list | Mapping) else "…" for item in value[:3])
        return f"[{inner}{', …' if len(value) > 3 else ''}]"
    if isinstance(value, Mapping):
        return f"{{{len(value)} fields}}"
    return f"a {type(value).__name__}"


def plain_number(value: float) -> str:
    """A number without noise: 93.0 → ``93``, 0.30000000000000004 stays what it is."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return str(int(value))
    return repr(value)
