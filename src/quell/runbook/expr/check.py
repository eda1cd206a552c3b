"""Names, types and units of a tree against a scope, all mistakes at once; and the tree in run-time units.

Resolving puts every constant into the unit of what it is compared with: next to a ratio ``0.1%`` becomes 0.001,
next to a ``duration:ms`` a bare ``500`` becomes half a second. Units are never guessed: a bare number next to a
duration that does not declare one is a flaw. Never does: evaluate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from quell.runbook.expr.flaws import Flaw, nearest
from quell.runbook.expr.functions import FUNCTIONS
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
    render,
)
from quell.runbook.expr.types import ANY, BOOL, DURATION, NULL, NUMBER, STRING, TIME, Scope, Type, list_of
from quell.runbook.expr.units import PERCENT_TO_RATIO, Scale

STATUSES = frozenset({"healthy", "warning", "critical", "no_data", "error"})
"""``x.critical`` reads ``x.status == 'critical'`` where ``x`` has a status and no field of that name."""

_ORDERED = frozenset({"number", "string", "duration", "percent", "ratio", "bytes", "time", "any"})
_NUMERIC = frozenset({"number", "duration", "percent", "ratio", "bytes"})
_EXAMPLES = {
    "duration": "a duration such as 30s or 5m",
    "percent": "a percentage such as 5%",
    "bytes": "a size such as 10MB",
    "time": "a time",
    "bool": "true or false",
    "string": "a string in quotes",
}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A checked tree in run-time units, its type, and everything that is wrong with it."""

    tree: Expr
    type: Type
    flaws: tuple[Flaw, ...]


def check(tree: Expr, scope: Scope) -> tuple[Type, tuple[Flaw, ...]]:
    """The type of ``tree`` and every unknown name, type error and unit error in it."""
    resolved = resolve(tree, scope)
    return resolved.type, resolved.flaws


def check_condition(tree: Expr, scope: Scope) -> tuple[Flaw, ...]:
    """As ``check``, for a text that must say yes or no."""
    resolved = resolve(tree, scope)
    if resolved.type.kind in {"bool", "any"} or resolved.flaws:
        return resolved.flaws
    message = f"a condition must be true or false, this is a {resolved.type}"
    return (Flaw(tree.start + 1, tree.end + 1, message, render(tree), "a comparison, or a flag"),)


def resolve(tree: Expr, scope: Scope | None) -> Resolved:
    """Checks ``tree`` and rewrites it into run-time units. Without a scope every name may exist with any type."""
    checker = _Checker(scope)
    node, kind = checker.visit(tree)
    flaws = sorted(set(checker.flaws), key=lambda flaw: (flaw.column, flaw.end, flaw.message))
    return Resolved(node, _plain(kind), tuple(flaws))


def _plain(kind: Type) -> Type:
    """What a flag is once its path ends."""
    return BOOL if kind.kind == "flag" else kind


class _Checker:
    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope
        self.flaws: list[Flaw] = []

    def flaw(self, node: Expr, message: str, **more: str | None) -> None:
        found = more.pop("found", None) or render(node)
        self.flaws.append(Flaw(node.start + 1, node.end + 1, message, found, **more))

    def visit(self, node: Expr) -> tuple[Expr, Type]:
        match node:
            case Literal():
                return node, NULL if node.kind == "null" else Type(node.kind)
            case Path():
                return node, self.path(node)
            case Index():
                return self.index(node)
            case Call():
                return self.call(node)
            case Items(items):
                return self.items(node, items)
            case Unary():
                return self.unary(node)
            case Binary():
                return self.binary(node)
            case Logic(_, parts):
                return replace(node, parts=tuple(self.condition(part) for part in parts)), BOOL
            case Choice():
                return self.choice(node)
            case Scaled():
                return node, ANY

    # --- names ---

    def path(self, node: Path) -> Type:
        if self.scope is None:
            return ANY
        kind = self.scope.get(node.root)
        if kind is None:
            near = nearest(node.root, self.scope)
            hyphen = f"${{{near}}}" if near and "-" in near else None
            self.flaw(node, f"no name {node.root!r}", expected=hyphen, nearest=near)
            return ANY
        for position, step in enumerate(node.steps):
            inner = self.step(node, kind, position, step)
            if inner is None:
                return ANY
            kind = inner
        return kind

    def step(self, node: Path, kind: Type, position: int, step: str | int) -> Type | None:
        parent = dotted(node.root, node.steps[:position])
        if kind.kind == "any":
            return ANY
        if kind.kind == "list" and isinstance(step, int):
            return kind.element or ANY
        if kind.kind not in {"record", "flag"}:
            asked = f"no index {step}" if isinstance(step, int) else f"no field {step!r}"
            self.flaw(node, f"{parent} is a {kind}, it has {asked}")
            return None
        field = kind.field(str(step))
        if field is not None and (field.kind != "any" or str(step) in kind.field_names()):
            return field
        if kind.kind == "record" and step in STATUSES and "status" in kind.field_names():
            return BOOL
        if kind.kind == "flag" and step == "held":
            return BOOL
        if field is None:
            names = (*kind.field_names(), *(STATUSES if "status" in kind.field_names() else ()))
            near = nearest(str(step), names)
            self.flaw(
                node,
                f"{parent} has no field {step!r}",
                expected=", ".join(sorted(kind.field_names())) or None,
                nearest=f"{parent}.{near}" if near else None,
            )
        return field

    def index(self, node: Index) -> tuple[Expr, Type]:
        target, kind = self.visit(node.target)
        key, key_kind = self.visit(node.key)
        result = ANY
        if kind.kind == "list":
            result = kind.element or ANY
            if key_kind.kind not in {"number", "any"}:
                self.flaw(node.key, f"a list is indexed by a number, not by a {key_kind}")
        elif kind.kind in {"record", "flag"}:
            if isinstance(node.key, Literal) and isinstance(node.key.value, str) and not kind.open:
                found = kind.field(node.key.value)
                if found is None:
                    self.flaw(node, f"no field {node.key.value!r}", nearest=nearest(node.key.value, kind.field_names()))
                result = found or ANY
            elif key_kind.kind not in {"string", "any"}:
                self.flaw(node.key, f"a record is indexed by a string, not by a {key_kind}")
        elif kind.kind != "any":
            self.flaw(node, f"a {kind} has no fields")
        return replace(node, target=target, key=key), result

    # --- forms ---

    def value(self, node: Expr) -> tuple[Expr, Type]:
        resolved, kind = self.visit(node)
        return resolved, _plain(kind)

    def condition(self, node: Expr) -> Expr:
        resolved, kind = self.value(node)
        if kind.kind not in {"bool", "any"}:
            self.flaw(node, f"a {kind} is not true or false", expected="a comparison, or a flag")
        return resolved

    def items(self, node: Items, items: tuple[Expr, ...]) -> tuple[Expr, Type]:
        resolved = [self.value(item) for item in items]
        kinds = {kind for _, kind in resolved}
        element = kinds.pop() if len(kinds) == 1 else ANY
        return replace(node, items=tuple(item for item, _ in resolved)), list_of(element)

    def unary(self, node: Unary) -> tuple[Expr, Type]:
        if node.op == "!":
            return replace(node, operand=self.condition(node.operand)), BOOL
        operand, kind = self.value(node.operand)
        if kind.kind not in _NUMERIC | {"any"}:
            self.flaw(node, f"a {kind} has no negative")
        return replace(node, operand=operand), kind

    def choice(self, node: Choice) -> tuple[Expr, Type]:
        condition = self.condition(node.condition)
        then, kind = self.value(node.then)
        otherwise, other = self.value(node.otherwise)
        united = self.unite(then, kind, otherwise, other)
        if united is not None:
            then, otherwise, kind = united
        else:
            kind = ANY
        return replace(node, condition=condition, then=then, otherwise=otherwise), kind

    def call(self, node: Call) -> tuple[Expr, Type]:
        resolved = [self.value(argument) for argument in node.arguments]
        result = FUNCTIONS[node.function].typing(tuple(kind for _, kind in resolved))
        if isinstance(result, str):
            self.flaw(node, f"{node.function}() {result}", expected=FUNCTIONS[node.function].usage)
            result = ANY
        return replace(node, arguments=tuple(argument for argument, _ in resolved)), result

    def binary(self, node: Binary) -> tuple[Expr, Type]:
        left, kind = self.value(node.left)
        right, other = self.value(node.right)
        if node.op == "in":
            self.membership(node, kind, other)
            return replace(node, left=left, right=right), BOOL
        if node.op in {"+", "-", "*", "/", "%"}:
            return self.arithmetic(node, left, kind, right, other)
        united = self.unite(left, kind, right, other)
        if united is None:
            self.clash(node, kind, other)
            return replace(node, left=left, right=right), BOOL
        left, right, shared = united
        if node.op not in {"==", "!="} and shared.kind not in _ORDERED:
            self.flaw(node, f"a {shared} has no order, {node.op} cannot compare it", expected="== or !=")
        return replace(node, left=left, right=right), BOOL

    def membership(self, node: Binary, kind: Type, holder: Type) -> None:
        if holder.kind == "string":
            self.flaw(node, "'in' looks into lists", expected="text.contains('…')")
        elif holder.kind == "record":
            if kind.kind not in {"string", "any"}:
                self.flaw(node, f"a record has string keys, not a {kind}")
        elif holder.kind == "list":
            element = holder.element or ANY
            if "any" not in {kind.kind, element.kind} and _unit(kind) != _unit(element):
                self.flaw(node, f"a list of {element} has no {kind} in it")
        elif holder.kind != "any":
            self.flaw(node, f"'in' needs a list, not a {holder}")

    # --- units ---

    def unite(self, left: Expr, kind: Type, right: Expr, other: Type) -> tuple[Expr, Expr, Type] | None:
        """Both sides in one unit, or None when there is no such unit."""
        kinds = {kind.kind, other.kind}
        if "any" in kinds:
            return left, right, ANY
        if "null" in kinds:
            return left, right, other if kind.kind == "null" else kind
        if len(kinds) == 1 or kinds == {"number", "ratio"}:
            return left, right, kind
        if kinds == {"percent", "ratio"}:
            if kind.kind == "percent":
                return scaled(left, PERCENT_TO_RATIO, "ratio"), right, other
            return left, scaled(right, PERCENT_TO_RATIO, "ratio"), kind
        if kind.kind == "number" and other.bare is not None:
            return scaled(left, other.bare, other.kind), right, other
        if other.kind == "number" and kind.bare is not None:
            return left, scaled(right, kind.bare, kind.kind), kind
        return None

    def clash(self, node: Binary, kind: Type, other: Type) -> None:
        bare, unit, side = (kind, other, node.left) if kind.kind == "number" else (other, kind, node.right)
        if bare.kind == "number" and unit.kind in {"duration", "percent", "bytes", "time"}:
            self.flaw(side, f"{render(side)} has no unit, it is compared with a {unit}", expected=_EXAMPLES[unit.kind])
        elif isinstance(node.left, Binary) and kind.kind == "bool":
            self.flaw(node, "comparisons do not chain", expected="a < b && b < c")
        else:
            self.flaw(node, f"a {kind} cannot be compared with a {other}", expected=_EXAMPLES.get(kind.kind))

    def arithmetic(self, node: Binary, left: Expr, kind: Type, right: Expr, other: Type) -> tuple[Expr, Type]:
        if node.op == "*":
            # 50% * total is half of it; a percentage that was measured keeps its unit: rate * 2.
            if isinstance(left, Literal) and kind.kind == "percent":
                left, kind = scaled(left, PERCENT_TO_RATIO, "ratio"), Type("ratio")
            elif isinstance(right, Literal) and other.kind == "percent":
                right, other = scaled(right, PERCENT_TO_RATIO, "ratio"), Type("ratio")
        elif node.op in {"+", "-", "%"} and {kind.kind, other.kind} != {"time", "duration"}:
            united = self.unite(left, kind, right, other)
            if united is not None and "null" not in {kind.kind, other.kind}:
                left, right, shared = united
                kind, other = (shared, shared) if "any" not in {kind.kind, other.kind} else (kind, other)
        result = _result(node.op, kind, other)
        if result is None:
            self.flaw(node, f"{kind} {node.op} {other} has no meaning", expected=_EXAMPLES.get(kind.kind))
        return replace(node, left=left, right=right), result or ANY


def scaled(node: Expr, scale: Scale, kind: str) -> Expr:
    """``node`` in another unit; a constant is converted here and now."""
    if isinstance(node, Literal):
        return replace(node, value=scale.apply(node.value), kind=kind)
    return node if scale == Scale(1, 1) else Scaled(node, scale, start=node.start, end=node.end)


def _unit(kind: Type) -> str:
    return "number" if kind.kind == "ratio" else kind.kind


def _result(op: str, kind: Type, other: Type) -> Type | None:
    """The type of ``kind op other``, None when it has no meaning."""
    left, right = _unit(kind), _unit(other)
    if "any" in {left, right}:
        return None if {left, right} & {"bool", "null", "record"} else ANY
    if op == "+" and left == right and left in {"string", "list"}:
        return STRING if left == "string" else (kind if kind == other else list_of(ANY))
    if "time" in {left, right}:
        return _time_result(op, left, right)
    if not {left, right} <= _NUMERIC:
        return None
    if op in {"+", "-", "%"}:
        return kind if left == right else None
    if right == "number":
        return kind
    if op == "*":
        return other if left == "number" else None
    # A quotient of two units is a plain number: used / total, bytes / seconds.
    return NUMBER if left != "number" else None


def _time_result(op: str, left: str, right: str) -> Type | None:
    if (op, left, right) == ("-", "time", "time"):
        return DURATION
    if (op, left, right) in {("+", "time", "duration"), ("-", "time", "duration"), ("+", "duration", "time")}:
        return TIME
    return None
