"""The grammar: spellings, precedence, mistakes with their columns, bounds, and text → tree → text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.runbook.expr import Expr, ExprSyntaxError, parse, render
from quell.runbook.expr.parse import MAX_DEPTH, MAX_NODES
from tests.runbook.expr.strategies import trees


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        # The spellings of the runbooks that people write.
        ("all_ready === true", "all_ready == true"),
        ("ready_count < total_count", "ready_count < total_count"),
        ("ready_count === 0", "ready_count == 0"),
        ("any_slow > 1000ms", "any_slow > 1000ms"),
        ("no_recent_deploy", "no_recent_deploy"),
        ("diagnostics.x.status === 'critical'", "diagnostics.x.status == 'critical'"),
        (
            "errors.any_critical && deploy.age <= 60m && before.all_healthy",
            "errors.any_critical && deploy.age <= 60m && before.all_healthy",
        ),
        ("primary_db_reachable=false", "primary_db_reachable == false"),
        ("replica_lag<100ms", "replica_lag < 100ms"),
        ("error_rate<0.1%", "error_rate < 0.1%"),
        ("a !== b", "a != b"),
        ("a == true OR b == true", "a == true || b == true"),
        ("a == false AND Not b", "a == false && !b"),
        ('${diagnose.output.severity} == "critical"', 'diagnose.output.severity == "critical"'),
        ("${verify-fix.output[0]}", "${verify-fix.output[0]}"),
        ("${a.b-c} > 1", "a['b-c'] > 1"),
        # Precedence.
        ("a || b && !c", "a || b && !c"),
        ("(a || b) && c", "(a || b) && c"),
        ("1 + 2 * 3 - 4", "1 + 2 * 3 - 4"),
        ("(1 + 2) * 3", "(1 + 2) * 3"),
        ("1 - (2 - 3)", "1 - (2 - 3)"),
        ("NOT a == b", "!(a == b)"),
        ("!a == b", "!a == b"),
        ("a ? b : c ? d : e", "a ? b : c ? d : e"),
        ("(a ? b : c) ? d : e", "(a ? b : c) ? d : e"),
        ("a && (b && c) && d", "a && b && c && d"),
        ("--a", "-(-a)"),
        # Percent or modulo.
        ("a % b", "a % b"),
        ("7%3", "7 % 3"),
        ("7 % 3", "7 % 3"),
        ("a > 5% && b", "a > 5% && b"),
        ("a > 5% AND b", "a > 5% && b"),
        ("(a < 5%)", "a < 5%"),
        ("a[0].b['c d'].e", "a[0].b['c d'].e"),
        ("x.in.not.true", "x.in.not.true"),
        ("has(a.b) && size(c) > 0 && c.size() > 1", "has(a.b) && size(c) > 0 && c.size() > 1"),
    ],
)
def test_every_spelling_has_one_canonical_form(written: str, canonical: str) -> None:
    assert render(parse(written)) == canonical
    assert parse(canonical) == parse(written)


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("1000ms", 1.0, "duration"),
        ("5m", 300.0, "duration"),
        ("2h", 7200.0, "duration"),
        ("1h30m", 5400.0, "duration"),
        ("4d", 345600.0, "duration"),
        ("1.5h", 5400.0, "duration"),
        ("-5m", -300.0, "duration"),
        ("0.1%", 0.1, "percent"),
        ("10MB", 10_000_000, "bytes"),
        ("2GiB", 2 << 30, "bytes"),
        ("0x1F", 31, "number"),
        ("1e3", 1000.0, "number"),
        (".5", 0.5, "number"),
        ("'it\\'s'", "it's", "string"),
        ('"a\\n\\x41\\u00e9\\101"', "a\nAéA", "string"),
        ("r'\\d+'", "\\d+", "string"),
        ("null", None, "null"),
        ("true", True, "bool"),
    ],
)
def test_constants_are_in_run_time_units(text: str, value: object, kind: str) -> None:
    literal = parse(text)
    assert (literal.value, literal.kind) == (value, kind)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", 1, "empty"),
        ("a &&", 5, "ends after '&&'"),
        ("a & b", 3, "unexpected '&'"),
        ("a <> b", 3, "unexpected '<>'"),
        ("1 < x < 5", 7, "do not chain"),
        ("5mm > 3", 1, "no unit 'mm'"),
        ("a == 'x", 6, "not closed"),
        ("a ==\n  'x", 8, "not closed"),
        ("foo(1)", 1, "no function 'foo'"),
        ("startswith(a, 'x')", 1, "no function 'startswith'"),
        ("x.max(1)", 3, "not a method"),
        ("startsWith(a, 'x')", 1, "is a method"),
        ("has(1)", 1, "asks for a name"),
        ("x.matches('(')", 3, "not a pattern"),
        ("x.matches(y)", 3, "constant string"),
        ("'${a.b}' == 'x'", 1, "inside quotes"),
        ("(a", 3, "is missing"),
        ("a b", 3, "unexpected 'b'"),
        ("a.1", 3, "a name is missing"),
        ("99999999999999999999", 1, "too large"),
        ("1e999", 1, "too large"),
        ("{a: 1}", 1, "unexpected '{'"),
        ("x == '\\q'", 6, "no escape"),
        ("${a b}", 1, "not a reference"),
        ("${a..b}", 1, "not a dotted path"),
    ],
)
def test_a_mistake_is_named_with_its_column(text: str, column: int, message: str) -> None:
    with pytest.raises(ExprSyntaxError) as caught:
        parse(text)
    assert any(flaw.column == column and message in flaw.message for flaw in caught.value.flaws), str(caught.value)


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(ExprSyntaxError) as caught:
        parse("a == == b && c <> 3 || staartsWith(d) > 5mm")
    assert [flaw.column for flaw in caught.value.flaws] == [6, 16, 24, 41]


def test_a_flaw_names_the_nearest_word_and_becomes_a_problem() -> None:
    with pytest.raises(ExprSyntaxError) as caught:
        parse("x.startswith('a')")
    flaw = caught.value.flaws[0]
    assert flaw.nearest == "startsWith"
    problem = flaw.problem(rule="condition", file="r.yaml", line=7, column=10, path="decision_tree[0]")
    assert (problem.file, problem.line, problem.column, problem.nearest) == ("r.yaml", 7, 12, "startsWith")


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["1"] * 20_000),
        "+".join(["1"] * 1000),
        "(" * 2000,
        "(" * 65 + "a" + ")" * 65,
        "[" * 3000,
        "!" * 4000 + "a",
        "-" * 100 + "a",
        "not " * 900 + "a",
        "a?" * 1500,
        "a ? b : " * 400 + "c",
        "a[" * 1500,
        "a" + "[b]" * 100,
        "[" + "1," * 1500 + "1]",
        " || ".join(["a"] * 1020) + " || b == c && d",
        "1" * 4096,
        "a" * 5000,
    ],
    ids=lambda text: f"{text[:12]}…{len(text)}",
)
def test_what_is_too_large_is_a_clean_syntax_error(text: str) -> None:
    with pytest.raises(ExprSyntaxError):
        parse(text)


def test_what_is_just_small_enough_is_read() -> None:
    parse("(" * (MAX_DEPTH - 1) + "a" + ")" * (MAX_DEPTH - 1))
    parse("+".join(["a"] * MAX_DEPTH))
    parse("||".join(["a"] * (MAX_NODES - 1)))


@given(trees)
@settings(deadline=None)
def test_a_tree_written_as_text_reads_back_as_itself(tree: Expr) -> None:
    assert parse(render(tree)) == tree


@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(
                [*"+-*/%<>!=?:.,()[]{}$'\"\\ &|", "&&", "||", "==", "${", "a", "1", "5%", "3m", "not ", "in ", "has("]
            ),
            max_size=30,
        ).map("".join),
    )
)
@settings(deadline=None)
def test_any_text_is_a_tree_or_a_syntax_error_inside_it(text: str) -> None:
    try:
        tree = parse(text)
    except ExprSyntaxError as error:
        flaws = error.flaws
    else:
        assert parse(render(tree)) == tree
        return
    assert flaws
    assert all(1 <= flaw.column <= flaw.end <= len(text) + 2 for flaw in flaws)
