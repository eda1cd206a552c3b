"""Names, types and units against a scope."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from quell.runbook.expr import (
    Expr,
    ExprTypeError,
    Scope,
    bounds,
    check,
    check_condition,
    compile,
    parse,
    parse_type,
)
from tests.runbook.expr.strategies import trees

SCOPE: Scope = {
    name: parse_type(spec)
    for name, spec in {
        "value": "number",
        "name": "string",
        "ok": "bool",
        "lag": "duration",
        "latency": "duration:ms",
        "load": "percent",
        "cpu": "percent:bare",
        "rate": "ratio",
        "heap": "bytes",
        "now": "time",
        "regions": "list<string>",
        "x": "any",
        "fresh": "flag",
        "deploy": {"age": "duration", "started_at": "time", "status": "string", "previous": {"exists": "bool"}},
        "open": {"...": "any", "n": "number"},
        "errors": {"critical": {"held": "flag", "region": "list<string>"}, "rows": [{"n": "number"}]},
        "verify-fix": {"output": "string"},
    }.items()
}


@pytest.mark.parametrize(
    "text",
    [
        "value >= 70 && value < 90",
        "ok === true",
        "fresh",
        "fresh == true",
        "lag < 100ms",
        "latency > 500",
        "latency > 500ms",
        "cpu > 90",
        "load > 90%",
        "rate < 0.1%",
        "rate < 0.001",
        "heap > 2GiB",
        "heap * 2 > 10MB",
        "now - deploy.started_at < 30m",
        "now > deploy.started_at + 5m",
        "lag + 5m > 2 * lag",
        "lag / 1m > 3",
        "value > 50% * value",
        "deploy.critical",
        "deploy.previous.exists",
        "open.anything.at.all == 3",
        "errors.critical && 'eu' in errors.critical.region",
        "errors.critical.region[0].startsWith('eu')",
        "errors.rows[0].n > 1",
        "${verify-fix.output} == 'done'",
        "x > 5m || x == 'a'",
        "name in ['a', 'b'] && size(regions) > 0",
        "deploy.previous == null",
        "max(lag, latency) > 1s && abs(value) < 3",
        "(ok ? lag : 5m) > 1m",
        "duration('5m') < lag",
    ],
)
def test_conditions_that_are_right(text: str) -> None:
    assert check_condition(parse(text), SCOPE) == ()


@pytest.mark.parametrize(
    ("text", "column", "message", "nearest"),
    [
        ("vlaue > 1", 1, "no name 'vlaue'", "value"),
        ("ok && deploy.aeg > 5m", 7, "no field 'aeg'", "deploy.age"),
        ("deploy.critcal", 1, "no field 'critcal'", "deploy.critical"),
        ("value.n > 1", 1, "value is a number", None),
        ("true == 1", 1, "cannot be compared", None),
        ("name > 1", 1, "cannot be compared", None),
        ("lag > 5", 7, "5 has no unit", None),
        ("5 < lag", 1, "5 has no unit", None),
        ("load > 5", 8, "5 has no unit", None),
        ("heap > 5", 8, "5 has no unit", None),
        ("lag > 5%", 1, "cannot be compared", None),
        ("lag + 5 > 1m", 1, "has no meaning", None),
        ("value > 5m", 1, "value has no unit", None),
        ("now + deploy.started_at > now", 1, "has no meaning", None),
        ("ok > true", 1, "no order", None),
        ("value && ok", 1, "not true or false", None),
        ("!name", 2, "not true or false", None),
        ("value in name", 1, "looks into lists", None),
        ("value in regions", 1, "has no number", None),
        ("size(value) > 1", 1, "takes a string", None),
        ("max(lag, value) > 1s", 1, "one unit", None),
        ("regions.n", 1, "no field 'n'", None),
        ("-name == 'x'", 1, "no negative", None),
    ],
)
def test_conditions_that_are_wrong(text: str, column: int, message: str, nearest: str | None) -> None:
    _, flaws = check(parse(text), SCOPE)
    assert [(flaw.column, flaw.nearest) for flaw in flaws] == [(column, nearest)], flaws
    assert message in flaws[0].message


def test_all_flaws_are_reported_at_once() -> None:
    _, flaws = check(parse("vlaue > 1 && lag > 5 && deploy.aeg < 1m && name == 3"), SCOPE)
    assert [flaw.column for flaw in flaws] == [1, 20, 25, 44]


def test_a_name_with_a_hyphen_outside_of_a_reference_is_told_how_to_be_written() -> None:
    _, flaws = check(parse("verify-fix.output == 'x'"), SCOPE)
    assert (flaws[0].nearest, flaws[0].expected) == ("verify-fix", "${verify-fix}")


def test_a_condition_must_be_true_or_false() -> None:
    assert check(parse("value + 1"), SCOPE)[1] == ()
    (flaw,) = check_condition(parse("value + 1"), SCOPE)
    assert "must be true or false" in flaw.message
    assert (flaw.column, flaw.end) == (1, 10)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("rate < 0.1%", 0.001),
        ("load < 0.1%", 0.1),
        ("latency > 500", 0.5),
        ("latency > 500ms", 0.5),
        ("cpu > 90", 90),
        ("lag < 1h30m", 5400.0),
        ("heap > 10MB", 10_000_000),
    ],
)
def test_constants_are_put_into_the_unit_of_the_fact(text: str, limit: float) -> None:
    assert bounds(compile(text, SCOPE).tree)[0].limit == limit


@pytest.mark.parametrize(
    ("text", "env", "holds"),
    [
        ("rate < load", {"rate": 0.04, "load": 5.0}, True),
        ("rate < load", {"rate": 0.06, "load": 5.0}, False),
        ("load > rate", {"rate": 0.04, "load": 5.0}, True),
        ("load > rate", {"rate": 0.06, "load": 5.0}, False),
        ("10 * 50% < value", {"value": 5.1}, True),
        ("10 * 50% < value", {"value": 4.9}, False),
        ("value > 50% * 10", {"value": 5.1}, True),
        ("value > 50% * 10", {"value": 4.9}, False),
        ("latency < value", {"latency": 0.2, "value": 250}, True),
        ("latency < value", {"latency": 0.3, "value": 250}, False),
        ("now - deploy.started_at < 30m", {"now": 5000.0, "deploy": {"started_at": 4000.0}}, True),
    ],
)
def test_units_of_facts_are_converted_too(text: str, env: dict[str, object], holds: bool) -> None:
    assert compile(text, SCOPE).holds(env) is holds


def test_compile_refuses_what_check_refuses() -> None:
    with pytest.raises(ExprTypeError) as caught:
        compile("lag > 5 && vlaue", SCOPE)
    assert len(caught.value.flaws) == 2
    with pytest.raises(ExprTypeError):
        compile("true == 1")


def test_equal_types_share_one_program_and_other_types_do_not() -> None:
    assert compile("value > 5", SCOPE) is compile("value > 5", dict(SCOPE))
    other = compile("value > 5", {"value": parse_type("duration:ms")})
    assert other is not compile("value > 5", SCOPE)
    assert bounds(other.tree)[0].limit == 0.005


@pytest.mark.parametrize("spec", ["", "nmber", "list<>", "list<list<x>>", {"a": "nope"}, [], ["number", "string"]])
def test_a_type_that_is_none_is_refused(spec: object) -> None:
    with pytest.raises(ValueError, match="type"):
        parse_type(spec)  # type: ignore[arg-type]


@given(trees)
@settings(deadline=None)
def test_checking_any_tree_ends_with_flaws_inside_it(tree: Expr) -> None:
    kind, flaws = check(tree, SCOPE)
    assert kind.kind
    assert all(flaw.column >= 1 and flaw.message for flaw in flaws)
    check_condition(tree, {})
