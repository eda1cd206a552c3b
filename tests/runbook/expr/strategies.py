"""Trees and facts for the properties: every form of the language, small enough to read when one fails."""

from __future__ import annotations

from hypothesis import strategies as st

from quell.runbook.expr import Absent, Expr, Flag
from quell.runbook.expr.tree import Binary, Call, Choice, Index, Items, Literal, Logic, Path, Unary

NAMES = ("a", "b", "flag", "status", "list", "verify-fix")
_FIELDS = st.sampled_from(("n", "critical", "x-y", "in", "status"))

literals = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1).map(lambda n: Literal(n, "number")),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda n: Literal(n, "number")),
    st.text(max_size=8).map(lambda s: Literal(s, "string")),
    st.booleans().map(lambda b: Literal(b, "bool")),
    st.just(Literal(None, "null")),
    st.floats(-1e6, 1e6).map(lambda n: Literal(round(n, 3), "duration")),
    st.floats(-1e6, 1e6).map(lambda n: Literal(n, "percent")),
    st.integers(-(2**40), 2**40).map(lambda n: Literal(n, "bytes")),
)
leaf_paths = st.builds(
    Path, st.sampled_from(NAMES), st.lists(st.one_of(_FIELDS, st.integers(0, 3)), max_size=3).map(tuple)
)


def _logic(op: str, parts: list[Expr]) -> Logic:
    flat: list[Expr] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Logic) and part.op == op else (part,))
    return Logic(op, tuple(flat))


def _negative(operand: Expr) -> Expr:
    return Unary("-", operand)


def _index(target: Expr, key: Expr) -> Expr:
    plain = isinstance(key, Literal) and (key.kind == "string" or (key.kind == "number" and type(key.value) is int))
    if isinstance(target, Path) and isinstance(key, Literal) and plain:
        return Path(target.root, (*target.steps, key.value))
    return Index(target, key)


def _larger(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    return st.one_of(
        st.builds(Binary, st.sampled_from(("==", "!=", "<", "<=", ">", ">=", "in")), inner, inner),
        st.builds(Binary, st.sampled_from(("+", "-", "*", "/", "%")), inner, inner),
        st.builds(_logic, st.sampled_from(("&&", "||")), st.lists(inner, min_size=2, max_size=3)),
        inner.map(lambda operand: Unary("!", operand)),
        inner.map(_negative),
        st.builds(Choice, inner, inner, inner),
        st.lists(inner, max_size=3).map(lambda items: Items(tuple(items))),
        st.builds(_index, inner, inner),
        leaf_paths.map(lambda path: Call("has", (path,))),
        inner.map(lambda argument: Call("size", (argument,))),
        inner.map(lambda argument: Call("size", (argument,), True)),
        st.builds(
            lambda name, one, two: Call(name, (one, two), True),
            st.sampled_from(("startsWith", "endsWith", "contains")),
            inner,
            inner,
        ),
        inner.map(lambda one: Call("matches", (one, Literal("^a+b?", "string")), True)),
        st.builds(lambda name, one, two: Call(name, (one, two)), st.sampled_from(("min", "max")), inner, inner),
        st.builds(
            lambda name, one: Call(name, (one,)),
            st.sampled_from(("abs", "string", "int", "double", "duration")),
            inner,
        ),
    )


trees: st.SearchStrategy[Expr] = st.recursive(st.one_of(literals, leaf_paths), _larger, max_leaves=12)

_plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.builds(Absent, st.sampled_from(("", "no data")), st.sampled_from((None, "timeout"))),
    st.binary(max_size=3),
)
facts = st.recursive(
    _plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(("n", "critical", "x-y", "in", "status")), inner, max_size=3),
        st.builds(Flag, st.booleans(), st.dictionaries(st.sampled_from(("n", "status")), inner, max_size=2)),
    ),
    max_leaves=6,
)
envs = st.dictionaries(st.sampled_from(NAMES), facts, max_size=len(NAMES))
