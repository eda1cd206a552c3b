"""The numeric limits in a condition: which names it compares with which constants, and in which direction.

Verification reads them to see which direction is bad. Never does: look below ``?:`` or arithmetic, where a single
direction cannot be told.
"""

from __future__ import annotations

from dataclasses import dataclass

from quell.runbook.expr.tree import Binary, Expr, Literal, Logic, Path, Unary

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_NEGATED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}


@dataclass(frozen=True, slots=True)
class Bound:
    """``name op limit``, with the name on the left and ``op`` one of ``< <= > >= == !=``.

    ``limit`` is in the unit of the tree: run-time units for ``Program.tree``, as written for a parsed tree.
    """

    name: str
    op: str
    limit: float


def bounds(tree: Expr) -> tuple[Bound, ...]:
    """Every comparison of one path with a numeric constant below ``&& || !``, in reading order."""
    return tuple(_bounds(tree, negated=False))


def _bounds(node: Expr, *, negated: bool) -> list[Bound]:
    match node:
        case Logic(_, parts):
            return [bound for part in parts for bound in _bounds(part, negated=negated)]
        case Unary("!", operand):
            return _bounds(operand, negated=not negated)
        case Binary(op, Path() as path, Literal() as literal) if op in _FLIPPED:
            return _bound(path, op, literal, negated)
        case Binary(op, Literal() as literal, Path() as path) if op in _FLIPPED:
            return _bound(path, _FLIPPED[op], literal, negated)
    return []


def _bound(path: Path, op: str, literal: Literal, negated: bool) -> list[Bound]:
    if isinstance(literal.value, bool) or not isinstance(literal.value, int | float):
        return []
    return [Bound(path.name, _NEGATED[op] if negated else op, literal.value)]
