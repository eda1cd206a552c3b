"""Evaluation: meaning, three-valued logic, explanations, and a second CEL implementation as the oracle."""

from __future__ import annotations

import itertools
import math
from typing import Any

import cel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.runbook.expr import (
    Absent,
    Bound,
    Expr,
    ExprError,
    Flag,
    Unknown,
    bounds,
    compile,
    parse,
    render,
)
from tests.runbook.expr.strategies import envs, trees

AWAY = Absent("no data", "timeout")
PART = {"n": Absent("cut off", at_least=101), "q": {"n": Absent("cut off", at_least=101)}, "limit": 50}


@pytest.mark.parametrize(
    ("text", "true", "false"),
    [
        ("all_ready === true", {"all_ready": True}, {"all_ready": False}),
        ("ready_count < total_count", {"ready_count": 1, "total_count": 3}, {"ready_count": 3, "total_count": 3}),
        ("any_slow > 1000ms", {"any_slow": 1.5}, {"any_slow": 0.9}),
        ("no_recent_deploy", {"no_recent_deploy": True}, {"no_recent_deploy": Flag(False)}),
        (
            "diagnostics.x.status === 'critical'",
            {"diagnostics": {"x": {"status": "critical"}}},
            {"diagnostics": {"x": {"status": "warning"}}},
        ),
        ("x.critical", {"x": {"status": "critical"}}, {"x": {"status": "healthy"}}),
        (
            "errors.any_critical && deploy.age <= 60m && before.all_healthy",
            {"errors": {"any_critical": True}, "deploy": {"age": 3600}, "before": {"all_healthy": True}},
            {"errors": {"any_critical": True}, "deploy": {"age": 3601}, "before": {"all_healthy": True}},
        ),
        ("primary_db_reachable=false", {"primary_db_reachable": False}, {"primary_db_reachable": True}),
        ("replica_lag<100ms", {"replica_lag": 0.05}, {"replica_lag": 0.1}),
        ("error_rate<0.1%", {"error_rate": 0.05}, {"error_rate": 0.1}),
        ("a == true OR b == true", {"a": False, "b": True}, {"a": False, "b": False}),
        (
            '${f.output.result} != "success"',
            {"f": {"output": {"result": "no"}}},
            {"f": {"output": {"result": "success"}}},
        ),
        ("errors.critical", {"errors": {"critical": Flag(True, {})}}, {"errors": {"critical": Flag(False, {})}}),
        (
            "'eu' in errors.critical.region",
            {"errors": {"critical": Flag(True, {"region": ["eu", "us"]})}},
            {"errors": {"critical": Flag(True, {"region": ["us"]})}},
        ),
        ("rows[1].n >= 2", {"rows": [{"n": 1}, {"n": 2}]}, {"rows": [{"n": 1}, {"n": 1}]}),
        ("rows[i].n >= 2", {"rows": [{"n": 1}, {"n": 2}], "i": 1}, {"rows": [{"n": 1}, {"n": 2}], "i": 0}),
        ("has(a.b)", {"a": {"b": None}}, {"a": {}}),
        ("!has(a.b)", {}, {"a": {"b": 0}}),
        ("x == null", {"x": None}, {"x": 3}),
        ("1 == x", {"x": 1.0}, {"x": 1.5}),
        ("n / total < 0.5", {"n": 1, "total": 3}, {"n": 2, "total": 3}),
        ("s.startsWith('a') && s.endsWith('c') && s.contains('b')", {"s": "abc"}, {"s": "bc"}),
        ("s.matches('^pay.*[0-9]+$')", {"s": "payment-42"}, {"s": "payment"}),
        ("min(a, b) == 1 && max(a, b) == 2 && abs(-a) == 1", {"a": 1, "b": 2}, {"a": 0, "b": 2}),
        ("string(n) == '93' && int('7') == 7 && double('1.5') == 1.5", {"n": 93.0}, {"n": 93.5}),
        ("duration(d) == 90s", {"d": "1m30s"}, {"d": "1m"}),
        ("ok ? n > 1 : n > 5", {"ok": True, "n": 2}, {"ok": False, "n": 2}),
        ("[1, 2] == list", {"list": [1, 2.0]}, {"list": [1, 3]}),
    ],
)
def test_meaning(text: str, true: dict[str, Any], false: dict[str, Any]) -> None:
    program = compile(text)
    assert program.holds(true) is True
    assert program.verdict(true) is True
    assert program.holds(false) is False
    assert program.verdict(false) is False


@pytest.mark.parametrize(
    ("text", "env", "reason"),
    [
        ("x > 1", {}, "x is not known"),
        ("x.y > 1", {"x": {}}, "x.y is not known"),
        ("x > 1", {"x": AWAY}, "no data"),
        ("x.y.z > 1", {"x": {"y": AWAY}}, "no data"),
        ("x > 1", {"x": "2"}, "compares a string with a number"),
        ("x == 1", {"x": "1"}, "is a string"),
        ("x == 1", {"x": True}, "is a bool"),
        ("x > 1", {"x": True}, "compares a bool"),
        ("x > 1", {"x": None}, "compares a null"),
        ("x > 1", {"x": math.nan}, "NaN"),
        ("!(x > 1)", {"x": math.nan}, "NaN"),
        ("x == 1", {"x": math.nan}, "NaN"),
        ("1 != x", {"x": math.nan}, "NaN"),
        ("x < y", {"x": math.nan, "y": 1}, "NaN"),
        ("x / 0 > 1", {"x": 1}, "division by zero"),
        ("x % 0 > 1", {"x": 1}, "division by zero"),
        ("x + 1 > 1", {"x": 2**63 - 1}, "64 bits"),
        ("x * x > 1", {"x": 1e300}, "not a finite"),
        ("x && true", {"x": 1}, "not true or false"),
        ("x", {"x": "true"}, "not true or false"),
        ("x[5] == 1", {"x": [1]}, "no item 5"),
        ("x.y == 1", {"x": object()}, "has no field"),
        ("int(x) == 1", {"x": "one"}, "cannot read"),
        ("x in [1, 'a']", {"x": 2}, "is a string"),
        ("x ? 1 > 0 : 1 > 0", {"x": AWAY}, "no data"),
        ("x.matches('a')", {"x": 5}, "needs a string"),
    ],
)
def test_what_cannot_be_known_is_unknown_with_its_reason(text: str, env: dict[str, Any], reason: str) -> None:
    program = compile(text)
    verdict = program.verdict(env)
    assert isinstance(verdict, Absent)
    assert reason in verdict.reason
    assert program.holds(env) is False
    assert program.explain(env).result is None


def test_value_raises_unknown_with_the_name_of_the_fact() -> None:
    with pytest.raises(Unknown) as caught:
        compile("used.first.n + 1").value({"used": {"first": AWAY}})
    assert (caught.value.name, caught.value.error_class, caught.value.reason) == ("used.first.n", "timeout", "no data")
    assert compile("used.n + 1").value({"used": {"n": 2}}) == 3


def test_a_program_names_the_paths_that_it_reads() -> None:
    program = compile("diagnostics.x.status == 'critical' && has(a.b) && rows[0].n > limit")
    assert program.names == {"diagnostics.x.status", "a.b", "rows[0].n", "limit"}


def test_attributes_are_never_read() -> None:
    class Sly:
        secret = True

    assert compile("x.secret").verdict({"x": Sly()}) is not True
    assert not compile("x.__class__ != null").holds({"x": {}})


def test_a_mapping_that_raises_is_unknown() -> None:
    class Broken(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            raise RuntimeError("boom")

    program = compile("x > 1")
    assert program.holds(Broken()) is False
    assert isinstance(program.verdict(Broken()), Absent)
    assert program.explain(Broken()).result is None


# --- three values ---

_VALUES = {"t": True, "f": False, "u": AWAY}


@pytest.mark.parametrize(("one", "other"), list(itertools.product("tfu", repeat=2)))
def test_the_truth_tables_of_three_values(one: str, other: str) -> None:
    def said(text: str) -> bool | None:
        verdict = compile(text).verdict(_VALUES)
        return None if isinstance(verdict, Absent) else verdict

    both = False if "f" in {one, other} else None if "u" in {one, other} else True
    either = True if "t" in {one, other} else None if "u" in {one, other} else False
    assert said(f"{one} && {other}") is both
    assert said(f"{one} || {other}") is either
    assert said(f"{one} && {other} && t") is both
    assert said(f"{one} || {other} || f") is either
    assert said(f"!({one} && {other})") is said(f"!{one} || !{other}")
    assert said(f"!({one} || {other})") is said(f"!{one} && !{other}")


def _kind(value: object) -> object:
    return None if isinstance(value, Absent) else value


@given(trees, envs)
@settings(deadline=None)
def test_no_fact_can_make_an_evaluation_raise(tree: Expr, env: dict[str, Any]) -> None:
    try:
        program = compile(render(tree))
    except ExprError:
        return
    verdict = program.verdict(env)
    assert program.holds(env) is (verdict is True)
    explanation = program.explain(env)
    assert explanation.result is _kind(verdict)
    assert explanation.render()
    assert any(clause.decided for clause in explanation.clauses)


@given(trees, trees, envs)
@settings(deadline=None)
def test_unknown_never_becomes_true_by_negation(one: Expr, other: Expr, env: dict[str, Any]) -> None:
    try:
        yes, no = compile(render(one)), compile(f"!({render(one)})")
        both, swapped = (compile(f"({render(a)}) && ({render(b)})") for a, b in ((one, other), (other, one)))
    except ExprError:
        return
    assert not (yes.holds(env) and no.holds(env))
    assert isinstance(yes.verdict(env), Absent) is isinstance(no.verdict(env), Absent)
    assert _kind(both.verdict(env)) is _kind(swapped.verdict(env))


# --- explanations ---


def test_an_explanation_shows_each_clause_with_its_values() -> None:
    explanation = compile("used.value >= 90 && deploy.age <= 60m && ok").explain(
        {"used": {"value": 93.0}, "deploy": {"age": 240.0}, "ok": True}
    )
    assert explanation.result is True
    assert explanation.render() == "used.value 93 >= 90 → true; deploy.age 4m <= 60m → true; ok → true"
    assert [clause.text for clause in explanation.clauses] == ["used.value >= 90", "deploy.age <= 60m", "ok"]
    assert explanation.clauses[0].values == {"used.value": 93.0}
    assert all(clause.decided for clause in explanation.clauses)


@pytest.mark.parametrize(
    ("text", "env", "decided", "notes"),
    [
        ("a && b && c", {"a": True, "b": False, "c": False}, [1], ["", "", "not needed"]),
        ("a || b || c", {"a": False, "b": True, "c": True}, [1], ["", "", "not needed"]),
        ("a || b", {"a": False, "b": False}, [0, 1], ["", ""]),
        ("a && b", {"a": True, "b": AWAY}, [1], ["", "no data"]),
        ("a && b", {"a": AWAY, "b": False}, [1], ["no data", ""]),
        ("!(a && b) || c", {"a": False, "b": True, "c": True}, [0], ["", "not needed", "not needed"]),
        ("a ? b : c", {"a": True, "b": False, "c": True}, [0, 1], ["", "", "not needed"]),
    ],
)
def test_which_clause_decided(text: str, env: dict[str, Any], decided: list[int], notes: list[str]) -> None:
    clauses = compile(text).explain(env).clauses
    assert [position for position, clause in enumerate(clauses) if clause.decided] == decided
    assert [clause.note for clause in clauses] == notes


def test_an_absent_fact_is_shown_as_unknown() -> None:
    (clause,) = compile("used.value >= 90").explain({"used": AWAY}).clauses
    assert clause.render() == "used.value unknown >= 90 → unknown (no data)"
    assert isinstance(clause.values["used.value"], Absent)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("value >= 70 && value < 90", [Bound("value", ">=", 70), Bound("value", "<", 90)]),
        ("5 < a.b || c == -1", [Bound("a.b", ">", 5), Bound("c", "==", -1)]),
        ("!(value < 1 || x > 5m)", [Bound("value", ">=", 1), Bound("x", "<=", 300.0)]),
        ("a < b || s == 'x' || ok || (p ? q > 1 : r < 2)", []),
    ],
)
def test_bounds(text: str, expected: list[Bound]) -> None:
    assert list(bounds(parse(text))) == expected


# --- the oracle ---

_ints = st.one_of(st.integers(-9, 9), st.sampled_from([2**62, -(2**62), 2**63 - 1]))
_words = st.sampled_from(["", "a", "ab", "b", "payment"])


def _call(words: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{}.{}({})".format, words, st.sampled_from(["startsWith", "endsWith", "contains"]), words)


_numbers = st.recursive(
    # Only facts are negated: the oracle lets -(-2**63) wrap around, where CEL asks for an error.
    st.one_of(st.sampled_from(["i", "j", "-i", "-j"]), st.integers(0, 9).map(str)),
    lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "%"]), inner),
    max_leaves=4,
)
_strings = st.one_of(st.sampled_from(["s", "t"]), _words.map(repr), st.just("(s + t)"))
_conditions = st.recursive(
    st.one_of(
        st.sampled_from(["p", "q", "true", "false"]),
        st.builds("{} {} {}".format, _numbers, st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]), _numbers),
        st.builds("{} {} {}".format, _strings, st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]), _strings),
        _call(_strings),
        st.builds("{} in [{}, {}]".format, _numbers, _numbers, _numbers),
        st.builds("size({}) > {}".format, _strings, _numbers),
    ),
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=5,
)


def _oracle(text: str, env: dict[str, Any]) -> bool | None:
    try:
        return bool(cel.evaluate(text, env))
    except (TypeError, ValueError, RuntimeError, ArithmeticError):
        return None


@given(
    _conditions,
    st.fixed_dictionaries({"i": _ints, "j": _ints, "s": _words, "t": _words, "p": st.booleans(), "q": st.booleans()}),
)
@settings(deadline=None, max_examples=400)
def test_another_cel_agrees(text: str, env: dict[str, Any]) -> None:
    verdict = compile(text).verdict(env)
    assert _kind(verdict) is _oracle(text, env), text


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("n >= 101", True), ("n > 100", True), ("n > 101", None), ("n >= 500", None),
        ("n < 101", False), ("n <= 100", False), ("n <= 101", None), ("n < 500", None),
        ("50 < n", True), ("500 > n", None), ("n > limit", True), ("limit >= n", False),
        ("n == 0", False), ("n != 0", True), ("n == 200", None), ("q.n >= 101", True), ("q.n.deeper >= 1", None),
        ("-n < 0", None), ("n * -1 < -5", None), ("500 - n < 400", None), ("(n < 5) == false", True),
        ("abs(n) > 5", None), ("n in [1, 2]", None), ("(n > 500 ? 1 : 2) > 0", None), ("n > 'a'", None),
    ],
)  # fmt: skip
def test_what_was_counted_in_part_proves_what_more_of_it_would_confirm(text: str, verdict: bool | None) -> None:
    found = compile(text).verdict(PART)
    assert (None if isinstance(found, Absent) else found) is verdict
    assert compile(text).explain(PART).result is verdict


def test_an_explanation_shows_how_much_is_known() -> None:
    assert compile("n >= 10").explain(PART).render() == "n at least 101 >= 10 → true"
