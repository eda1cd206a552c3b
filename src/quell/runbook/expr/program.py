"""A compiled expression: parsed, checked against a scope, in run-time units, ready to be asked often.

Programs are immutable and cached. Never does: raise from ``holds`` or ``verdict``; what cannot be known is unknown.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from quell.runbook.expr.check import resolve
from quell.runbook.expr.evaluate import Env, step, truth
from quell.runbook.expr.explain import Explanation, explain
from quell.runbook.expr.flaws import ExprTypeError
from quell.runbook.expr.parse import parse
from quell.runbook.expr.tree import Expr, paths
from quell.runbook.expr.types import Absent, Scope, Type


class Unknown(Exception):
    """The value of an expression is not known: ``name`` is the fact it lacks, if it is one."""

    def __init__(self, reason: str, error_class: str | None = None, name: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.error_class, self.name = reason, error_class, name


class Program:
    """One expression, compiled. ``tree`` is in run-time units, ``names`` are the dotted paths it may read."""

    __slots__ = ("_step", "names", "text", "tree", "type")

    def __init__(self, text: str, tree: Expr, kind: Type) -> None:
        self.text = text
        self.tree = tree
        self.type = kind
        self.names = frozenset(path.name for path in paths(tree))
        self._step = step(tree)

    def value(self, env: Env) -> Any:
        """What the expression gives. Raises Unknown when a fact that it needs is absent or makes no sense."""
        value = self._evaluate(env)
        if isinstance(value, Absent):
            raise Unknown(value.reason, value.error_class, value.name)
        return value

    def holds(self, env: Env) -> bool:
        """True only if it is true. Never raises: unknown, wrong types and errors are False."""
        try:
            return self._step(env) is True
        except Exception:  # a Mapping of the caller's own may raise anything; fail closed
            return False

    def verdict(self, env: Env) -> bool | Absent:
        """True, False, or why it is neither. Never raises."""
        return truth(self._evaluate(env))

    def explain(self, env: Env) -> Explanation:
        """Each clause with the values it read, and which clauses decided. Never raises."""
        return explain(self.text, self.tree, env)

    def _evaluate(self, env: Env) -> Any:
        try:
            return self._step(env)
        except Exception as error:  # see holds
            return Absent(f"the facts could not be read: {type(error).__name__}", "internal")

    def __repr__(self) -> str:
        return f"Program({self.text!r})"


def compile(text: str, scope: Scope | None = None) -> Program:
    """The program for ``text``, checked against ``scope``; without a scope every name may exist with any type.

    Raises ExprSyntaxError or, for names, types and units, ExprTypeError; both carry every flaw.
    """
    if scope is None:
        return _compile(text, None)
    tree = parse(text)
    # Keyed by the types of the names it reads: two checks with equal facts share a program.
    roots = dict.fromkeys(path.root for path in paths(tree))
    if all(root in scope for root in roots):
        return _compile(text, tuple((root, scope[root]) for root in roots))
    raise ExprTypeError(text, resolve(tree, scope).flaws)


@lru_cache(maxsize=4096)
def _compile(text: str, types: tuple[tuple[str, Type], ...] | None) -> Program:
    resolved = resolve(parse(text), None if types is None else dict(types))
    if resolved.flaws:
        raise ExprTypeError(text, resolved.flaws)
    return Program(text, resolved.tree, resolved.type)
