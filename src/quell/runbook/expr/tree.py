"""The tree of an expression: frozen nodes with source offsets, and the one way to write a tree back as text.

Two trees are equal when they mean the same; offsets do not take part. Never does: evaluate or check.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from quell.runbook.expr.units import Scale

PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
HYPHENATED = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
RELATIONS = frozenset({"==", "!=", "<", "<=", ">", ">=", "in"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where a node stands in the text: offsets from 0, ``end`` exclusive. Columns are offset + 1."""

    start: int = field(default=0, compare=False, repr=False)
    end: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Literal(Span):
    """A constant. ``kind`` is number, string, bool, null, duration (seconds), percent (0-100) or bytes."""

    value: Any
    kind: str
    # As written, so that 1h30m is shown as 1h30m and not as 5400 seconds.
    text: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Path(Span):
    """A name and its way down: ``rows[0].n`` is root ``rows``, steps ``(0, "n")``."""

    root: str
    steps: tuple[str | int, ...] = ()

    @property
    def name(self) -> str:
        return dotted(self.root, self.steps)


@dataclass(frozen=True, slots=True)
class Index(Span):
    """``target[key]`` where either is not a plain path or constant."""

    target: Expr
    key: Expr


@dataclass(frozen=True, slots=True)
class Call(Span):
    """A function. A method call ``x.contains(y)`` has its receiver as the first argument."""

    function: str
    arguments: tuple[Expr, ...]
    method: bool = False


@dataclass(frozen=True, slots=True)
class Items(Span):
    """A list literal."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Unary(Span):
    """``!`` or ``-``."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Span):
    """A comparison (``== != < <= > >= in``) or arithmetic (``+ - * / %``)."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Logic(Span):
    """``&&`` or ``||`` over two or more parts, flat: no part is a Logic of the same operator."""

    op: str
    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Choice(Span):
    """``condition ? then : otherwise``."""

    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Scaled(Span):
    """A unit conversion that the checker put in; nobody can write it."""

    operand: Expr
    scale: Scale


Expr = Literal | Path | Index | Call | Items | Unary | Binary | Logic | Choice | Scaled


def children(node: Expr) -> tuple[Expr, ...]:
    """The nodes directly below, in reading order."""
    match node:
        case Index(target, key):
            return (target, key)
        case Call(_, arguments):
            return arguments
        case Items(items):
            return items
        case Unary(_, operand) | Scaled(operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Logic(_, parts):
            return parts
        case Choice(condition, then, otherwise):
            return (condition, then, otherwise)
    return ()


def walk(tree: Expr) -> Iterator[tuple[Expr, int]]:
    """Every node with its depth (the root is 1). Keeps its own stack: safe on trees of any depth."""
    stack = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack.extend((child, depth + 1) for child in reversed(children(node)))


def paths(tree: Expr) -> tuple[Path, ...]:
    """Every path that is read, in reading order, repeats included."""
    return tuple(node for node, _ in walk(tree) if isinstance(node, Path))


def dotted(root: str, steps: tuple[str | int, ...]) -> str:
    """``a.b[0].c``; keys that are no names are quoted in brackets."""
    text = root
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if HYPHENATED.match(step) else f"[{quote(step)}]"
    return text


def quote(text: str) -> str:
    """A string literal that reads back as ``text``, on one line."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\x24{")
    return "'" + "".join(char if char.isprintable() else _escape(char) for char in escaped) + "'"


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# How tightly each form binds; a part that binds less tightly than its place asks is put in parentheses.
_CHOICE, _OR, _AND, _RELATION, _SUM, _PRODUCT, _PREFIX, _POSTFIX = range(8)
_BINDING = {"||": _OR, "&&": _AND, "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}


def render(tree: Expr) -> str:
    """The expression as text, in CEL's own spelling with only the parentheses it needs."""
    return _render(tree, _CHOICE)


def _render(node: Expr, place: int) -> str:
    text, binding = _parts(node)
    return f"({text})" if binding < place else text


def _parts(node: Expr) -> tuple[str, int]:
    match node:
        case Literal():
            text = _literal(node)
            # -1.size() is -(1.size()), and in 5%[0] the percent sign is a modulo.
            return text, _PREFIX if text.startswith("-") or text.endswith("%") else _POSTFIX
        case Path(root, steps):
            return _path(root, steps), _POSTFIX
        case Index(target, key):
            return f"{_render(target, _POSTFIX)}[{_render(key, _CHOICE)}]", _POSTFIX
        case Call(function, arguments, method):
            texts = [_render(argument, _CHOICE) for argument in arguments]
            if method:
                return f"{_render(arguments[0], _POSTFIX)}.{function}({', '.join(texts[1:])})", _POSTFIX
            return f"{function}({', '.join(texts)})", _POSTFIX
        case Items(items):
            return f"[{', '.join(_render(item, _CHOICE) for item in items)}]", _POSTFIX
        case Unary(op, operand):
            # A minus before a literal or another minus would read back as a negative literal.
            place = _POSTFIX + 1 if op == "-" and isinstance(operand, Literal | Unary) else _PREFIX
            return op + _render(operand, place), _PREFIX
        case Logic(op, parts):
            return f" {op} ".join(_render(part, _BINDING[op] + 1) for part in parts), _BINDING[op]
        case Binary(op, left, right):
            binding = _BINDING.get(op, _RELATION)
            near = binding + 1 if binding == _RELATION else binding
            return f"{_render(left, near)} {op} {_render(right, binding + 1)}", binding
        case Choice(condition, then, otherwise):
            yes, no = _render(then, _CHOICE), _render(otherwise, _CHOICE)
            return f"{_render(condition, _OR)} ? {yes} : {no}", _CHOICE
        case Scaled(operand):
            return _parts(operand)


def _path(root: str, steps: tuple[str | int, ...]) -> str:
    if not PLAIN_NAME.match(root):
        return f"${{{dotted(root, steps)}}}"
    text = root
    for step in steps:
        plain = isinstance(step, str) and PLAIN_NAME.match(step)
        text += f".{step}" if plain else f"[{step if isinstance(step, int) else quote(step)}]"
    return text


def _literal(node: Literal) -> str:
    if node.text:
        return node.text
    if node.kind == "string":
        return quote(node.value)
    if node.kind in {"bool", "null"}:
        return {True: "true", False: "false", None: "null"}[node.value]
    if node.kind in {"duration", "bytes"}:
        # Units take no exponent, so the digits are written out.
        return f"{Decimal(repr(node.value)):f}" + ("s" if node.kind == "duration" else "B")
    return repr(node.value) + ("%" if node.kind == "percent" else "")
