"""A resolved tree to nested closures: ``Step(env)`` gives a value, or an ``Absent`` when it cannot.

Closures instead of generated source: no text of an author is ever code, and two calls per clause are fast enough
(bench: over a million conditions a second). A step never raises for what is in ``env``; it traverses mappings,
lists and flags only, never attributes. Never does: read a clock, or keep anything between two calls.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from quell.runbook.expr import values
from quell.runbook.expr.check import STATUSES
from quell.runbook.expr.functions import FUNCTIONS
from quell.runbook.expr.pattern import MAX_SUBJECT, compile_pattern
from quell.runbook.expr.tree import (
    Binary,
    Call,
    Choice,
    Expr,
    Index,
    Items,
    Literal,
    Logic,
    Path,
    Scaled,
    Unary,
    dotted,
)
from quell.runbook.expr.types import Absent, Flag
from quell.runbook.expr.values import invalid, kind_of

Env = Mapping[str, Any]
Step = Callable[[Env], Any]

_ORDER: dict[str, values.Relation] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def step(node: Expr) -> Step:
    """The closure that evaluates ``node``."""
    match node:
        case Literal(value):
            return lambda env: value
        case Path():
            return _path(node)
        case Index(target, key):
            return _index(step(target), step(key))
        case Call():
            return _call(node)
        case Items(items):
            return _items(tuple(step(item) for item in items))
        case Unary("!", operand):
            return _not(step(operand))
        case Unary(_, operand):
            return _scaled(step(operand), -1, 1)
        case Scaled(operand, (multiply, divide)):
            return _scaled(step(operand), multiply, divide)
        case Logic(op, parts):
            return _logic(op == "||", tuple(step(part) for part in parts))
        case Choice(condition, then, otherwise):
            return _choice(step(condition), step(then), step(otherwise))
        case Binary():
            return _binary(node)
    raise AssertionError(node)  # pragma: no cover - the match above is complete


# --- reading facts ---


def _path(node: Path) -> Step:
    """Reads a path. A flag at its end becomes true or false, an Absent on the way gets the path's name."""
    root, steps, name = node.root, node.steps, node.name

    def read(env: Env) -> Any:
        try:
            value = env[root]
        except KeyError:
            return Absent(f"{root} is not known", "missing", name)
        for position, key in enumerate(steps):
            value = below(value, key)
            if type(value) is Absent and value.name is None:
                inner = dotted(root, steps[: position + 1])
                reason = value.reason or f"{inner} is not known"
                last = position == len(steps) - 1
                return Absent(reason, value.error_class, name, value.at_least if last else None)
        if type(value) is Flag:
            return value.held is True
        if type(value) is Absent and value.name is None:
            return replace(value, name=name)
        return value

    def read_root(env: Env) -> Any:
        try:
            value = env[root]
        except KeyError:
            return Absent(f"{root} is not known", "missing", name)
        kind = type(value)
        if kind is Flag:
            return value.held is True
        if kind is Absent and value.name is None:
            return replace(value, name=name)
        return value

    return read if steps else read_root


def below(value: Any, key: Any) -> Any:
    """One step down from ``value``; an Absent without a name when there is nothing."""
    kind = type(value)
    if kind is Absent:
        return value if value.at_least is None else replace(value, at_least=None)
    if kind is Flag:
        if key in value.fields:
            return value.fields[key]
        return value.held if key == "held" else Absent("", "missing")
    if isinstance(value, Mapping):
        return _field(value, key)
    if isinstance(value, list | tuple):
        if type(key) is not int:
            return invalid(f"a list has no field {values.show(key)}")
        return value[key] if 0 <= key < len(value) else Absent(f"no item {key}, there are {len(value)}", "missing")
    return invalid(f"a {kind_of(value)} has no field {values.show(key)}")


def _field(value: Mapping[Any, Any], key: Any) -> Any:
    if type(key) not in {str, int}:
        return invalid(f"{values.show(key)} is not a key")
    try:
        return value[key]
    except KeyError:
        if key in STATUSES and isinstance(status := value.get("status"), str | Absent):
            return status if isinstance(status, Absent) else status == key
        return Absent("", "missing")


def _index(target: Step, key: Step) -> Step:
    def read(env: Env) -> Any:
        holder, at = target(env), key(env)
        if isinstance(at, Absent):
            return at
        value = below(holder, at)
        if isinstance(value, Absent) and not value.reason:
            return Absent(f"no item {values.show(at)}", value.error_class)
        return value.held is True if type(value) is Flag else value

    return read


# --- forms ---


def truth(value: Any) -> bool | Absent:
    """A value as a condition: true, false, or why it is neither."""
    if value is True or value is False or type(value) is Absent:
        return value
    if isinstance(value, Flag):
        return value.held is True
    return invalid(f"{values.show(value)} is a {kind_of(value)}, not true or false")


def _logic(absorbing: bool, parts: tuple[Step, ...]) -> Step:
    """``||`` (absorbing true) and ``&&`` (absorbing false): one absorbing part decides, whatever is unknown."""

    def two(env: Env) -> Any:
        value = first(env)
        if value is absorbing:
            return value
        other = second(env)
        if other is absorbing:
            return other
        if value is neutral:
            return other if other is neutral else truth(other)
        return truth(value)

    def many(env: Env) -> Any:
        unknown: Any = neutral
        for part in parts:
            value = part(env)
            if value is absorbing:
                return value
            if value is not neutral and unknown is neutral:
                unknown = truth(value)
        return unknown

    neutral = not absorbing
    if len(parts) == 2:
        first, second = parts
        return two
    return many


def _not(operand: Step) -> Step:
    def negate(env: Env) -> Any:
        value = truth(operand(env))
        return value if type(value) is Absent else value is False

    return negate


def _choice(condition: Step, then: Step, otherwise: Step) -> Step:
    def choose(env: Env) -> Any:
        value = truth(condition(env))
        if type(value) is Absent:
            return value
        return then(env) if value is True else otherwise(env)

    return choose


def _items(items: tuple[Step, ...]) -> Step:
    def build(env: Env) -> Any:
        built = [item(env) for item in items]
        return next((value for value in built if type(value) is Absent), built)

    return build


def _scaled(operand: Step, multiply: int, divide: int) -> Step:
    def convert(env: Env) -> Any:
        value = values.arithmetic("*", operand(env), multiply)
        return value if divide == 1 else values.arithmetic("/", value, divide)

    return convert


def _call(node: Call) -> Step:
    if node.function == "has":
        return _has(node.arguments[0])
    if node.function == "matches":
        return _matches(node)
    meaning = FUNCTIONS[node.function].meaning
    arguments = tuple(step(argument) for argument in node.arguments)

    def call(env: Env) -> Any:
        given = [argument(env) for argument in arguments]
        for value in given:
            if type(value) is Absent:
                return value
        return meaning(*given) if meaning else None

    return call


def _has(argument: Expr) -> Step:
    read = step(argument)
    return lambda env: type(read(env)) is not Absent


def _matches(node: Call) -> Step:
    subject, literal = step(node.arguments[0]), node.arguments[1]
    search = compile_pattern(literal.value if isinstance(literal, Literal) else "").search

    def match(env: Env) -> Any:
        text = subject(env)
        if type(text) is Absent:
            return text
        if not isinstance(text, str):
            return invalid(f"matches() needs a string, not a {kind_of(text)}")
        if len(text) > MAX_SUBJECT:
            return invalid(f"matches() reads at most {MAX_SUBJECT} characters, these are {len(text)}")
        return bool(search(text))

    return match


# --- operators ---


def _binary(node: Binary) -> Step:
    op = node.op
    left, right = _operand(node.left), _operand(node.right)
    if op in _ORDER:
        if isinstance(node.right, Literal) and kind_of(node.right.value) == "number":
            return _against(left, op, node.right.value)
        if isinstance(node.left, Literal) and kind_of(node.left.value) == "number":
            return _against(right, _FLIPPED[op], node.left.value)
        return _ordered(left, op, right)
    if op == "==":
        return lambda env: values.equal(left(env), right(env))
    if op == "!=":
        return _unequal(left, right)
    if op == "in":
        return lambda env: values.contains(left(env), right(env))
    return lambda env: values.arithmetic(op, left(env), right(env))


def _operand(node: Expr) -> Step:
    """One side of a comparison. What a fact is at least says nothing about what was computed from it."""
    read = step(node)
    if isinstance(node, Path | Literal):
        return read

    def computed(env: Env) -> Any:
        value = read(env)
        return replace(value, at_least=None) if type(value) is Absent else value

    return computed


def _unequal(left: Step, right: Step) -> Step:
    def unequal(env: Env) -> Any:
        same = values.equal(left(env), right(env))
        return same if type(same) is Absent else not same

    return unequal


def _ordered(left: Step, op: str, right: Step) -> Step:
    relation = _ORDER[op]
    return lambda env: values.ordered(left(env), right(env), relation, op)


def _against(operand: Step, op: str, limit: float) -> Step:
    """A comparison with a constant, the form of nearly every threshold: kept to one test and one comparison."""
    relation = _ORDER[op]

    def above(env: Env) -> Any:
        value = operand(env)
        kind = type(value)
        # Equal to itself: not NaN, in the cheapest way there is.
        if (kind is float and value == value) or kind is int:  # noqa: PLR0124
            return relation(value, limit)
        return values.ordered(value, limit, relation, op)

    return above
