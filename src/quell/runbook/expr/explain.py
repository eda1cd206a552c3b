"""Why a condition came out as it did: its clauses, the values they read, and the ones that decided.

A clause is a comparison or a bare yes/no between ``&& || ! ?:``. Clauses that a short circuit leaves out are
evaluated all the same, so that ``why`` can show what would change the answer.
Never does: know how old a value is; callers look that up by the names in ``Clause.values``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quell.runbook.expr.evaluate import Env, step, truth
from quell.runbook.expr.tree import Binary, Choice, Expr, Literal, Logic, Path, Unary, paths
from quell.runbook.expr.types import Absent
from quell.runbook.expr.units import show_duration
from quell.runbook.expr.values import show

_WORDS = {True: "true", False: "false", None: "unknown"}
NOT_NEEDED = "not needed"


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause: ``text[start:end]`` of the expression (offsets from 0), None as result when unknown.

    ``values`` has each name it reads with its value or an Absent. ``decided`` says that the result of the whole
    rests on this clause. ``note`` is ``not needed`` for a clause left out by a short circuit, or why it is unknown.
    """

    text: str
    start: int
    end: int
    result: bool | None
    values: Mapping[str, Any]
    decided: bool
    note: str = ""
    shown: str = field(default="", repr=False)

    def render(self) -> str:
        """``used.value 93 >= 90 → true`` on one line."""
        note = f" ({self.note})" if self.note else ""
        return f"{self.shown or self.text} → {_WORDS[self.result]}{note}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result (None: unknown) and every clause in reading order."""

    result: bool | None
    clauses: tuple[Clause, ...]

    @property
    def deciding(self) -> tuple[Clause, ...]:
        return tuple(clause for clause in self.clauses if clause.decided)

    def render(self) -> str:
        """All clauses on one line."""
        return "; ".join(clause.render() for clause in self.clauses)


def explain(text: str, tree: Expr, env: Env) -> Explanation:
    """The explanation of ``tree``, which was parsed from ``text`` and resolved."""
    clauses: list[Clause] = []
    result, deciding = _visit(text, tree, env, True, clauses)
    marked = tuple(
        Clause(c.text, c.start, c.end, c.result, c.values, position in deciding, c.note, c.shown)
        for position, c in enumerate(clauses)
    )
    return Explanation(result, marked)


def _visit(text: str, node: Expr, env: Env, needed: bool, clauses: list[Clause]) -> tuple[bool | None, set[int]]:
    """The result of ``node`` and the positions of the clauses that it rests on; appends its clauses."""
    match node:
        case Unary("!", operand):
            result, deciding = _visit(text, operand, env, needed, clauses)
            return (None if result is None else not result), deciding
        case Logic(op, parts):
            return _logic(text, op == "||", parts, env, needed, clauses)
        case Choice(condition, then, otherwise):
            chosen, deciding = _visit(text, condition, env, needed, clauses)
            first, rests = _visit(text, then, env, needed and chosen is True, clauses)
            second, other = _visit(text, otherwise, env, needed and chosen is False, clauses)
            if chosen is None:
                return None, deciding
            return (first, deciding | rests) if chosen else (second, deciding | other)
    clauses.append(_clause(text, node, env, needed))
    return clauses[-1].result, {len(clauses) - 1}


def _logic(
    text: str, absorbing: bool, parts: tuple[Expr, ...], env: Env, needed: bool, clauses: list[Clause]
) -> tuple[bool | None, set[int]]:
    """One absorbing part decides alone; otherwise the unknown ones do, if any, else all of them."""
    settled: set[int] | None = None
    known: set[int] = set()
    unknown: set[int] = set()
    for part in parts:
        result, deciding = _visit(text, part, env, needed and settled is None, clauses)
        if result is absorbing and settled is None:
            settled = deciding
        elif result is None:
            unknown |= deciding
        else:
            known |= deciding
    if settled is not None:
        return absorbing, settled
    return (None, unknown) if unknown else (not absorbing, known)


def _clause(text: str, node: Expr, env: Env, needed: bool) -> Clause:
    try:
        verdict = truth(step(node)(env))
    except Exception as error:  # a Mapping of the caller's own may raise anything; fail closed
        verdict = Absent(f"the facts could not be read: {type(error).__name__}", "internal")
    result = None if isinstance(verdict, Absent) else verdict
    read = {path.name: _value(path, env) for path in paths(node)}
    note = "" if needed else NOT_NEEDED
    if isinstance(verdict, Absent) and needed:
        note = verdict.reason
    source = text[node.start : node.end]
    return Clause(source, node.start, node.end, result, read, False, note, _shown(text, node, read))


def _value(path: Path, env: Env) -> Any:
    try:
        return step(path)(env)
    except Exception:  # as in _clause
        return Absent("the fact could not be read", "internal", path.name)


def _shown(text: str, node: Expr, read: Mapping[str, Any]) -> str:
    """The source of the clause with each value written behind its name."""
    if isinstance(node, Path):
        return text[node.start : node.end]
    shown, at = "", node.start
    beside = _constant(node)
    for path in paths(node):
        written = _written(read[path.name], beside, text)
        shown += f"{text[at : path.end]} {written}"
        at = path.end
    return " ".join((shown + text[at : node.end]).split())


def _constant(node: Expr) -> Literal | None:
    """The constant that a comparison holds a name against."""
    sides = (node.left, node.right) if isinstance(node, Binary) else ()
    if not any(isinstance(side, Path) for side in sides):
        return None
    return next((side for side in sides if isinstance(side, Literal)), None)


def _written(value: Any, beside: Literal | None, text: str) -> str:
    """A value in the unit of the constant beside it: seconds as a duration, a ratio as the percent it was asked as."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return show(value)
    if beside is not None and beside.kind == "duration":
        return show_duration(value)
    source = text[beside.start : beside.end].strip() if beside is not None else ""
    if beside is not None and source.endswith("%") and isinstance(beside.value, int | float):
        as_ratio = abs(float(source[:-1]) - beside.value) > 1e-9  # 5% against a ratio was resolved to 0.05
        return f"{value * 100 if as_ratio else value:.4g}%"
    return f"{value:.6g}" if isinstance(value, float) else show(value)
