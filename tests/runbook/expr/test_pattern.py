"""The linear matcher, with Python's backtracking one as the oracle on patterns that cannot hurt it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.runbook.expr.pattern import MAX_PATTERN, MAX_SUBJECT, compile_pattern

_atoms = st.sampled_from(
    ["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", r"\s", r"\bab\b", "^", "$", r"\.", "[a-c1]", r"\W", r"[\d_]", "é"]
)


def _repeated(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("({}){}".format, inner, st.sampled_from(["?", "*", "+", "{2}", "{1,2}", "{0,}", "*?", "{2}?"])),
    )


@given(st.recursive(_atoms, _repeated, max_leaves=5), st.text("ab1 ._-éc", max_size=8))
@settings(deadline=None, max_examples=400)
def test_it_finds_what_python_finds(pattern: str, text: str) -> None:
    # In ASCII mode, and with \Z: in RE2 a $ is the very end, in Python also before a last newline.
    expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
    assert compile_pattern(pattern).search(text) is expected


@given(st.recursive(_atoms, _repeated, max_leaves=5), st.text("ab1 ._-éc", max_size=8))
@settings(deadline=None, max_examples=400)
def test_the_whole_is_what_python_takes_for_it(pattern: str, text: str) -> None:
    expected = re.fullmatch(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
    found = compile_pattern(pattern)
    assert found.whole(text) is expected
    assert found.whole(text) is expected, "and as it is remembered"


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("get|describe", "describe", True), ("get|describe", "get|describe", False), ("a|bc", "ac", False),
        ("(?i)get", "GET", True), ("a", "a\n", False), ("a*", "", True), ("", "a", False), (r"\bab\b", "ab", True),
        ("^a$", "a", True), ("a^b", "ab", False),
    ],
)  # fmt: skip
def test_the_whole(pattern: str, text: str, found: bool) -> None:
    assert compile_pattern(pattern).whole(text) is found


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("(?i)TimeOut", "connection timeout", True),
        ("(?i)[a-f]+9", "ABC9", True),
        ("^pay(ment)?-[0-9]{2,3}$", "payment-42", True),
        ("^pay(ment)?-[0-9]{2,3}$", "payment-4", False),
        (r"\x41\t", "A\t", True),
        ("a{,3}", "a{,3}", True),
        ("a{x}", "a{x}", True),
        ("[]a]", "]", True),
        ("[a-]", "-", True),
        ("", "", True),
        ("a|", "b", True),
        (r"\Aa\z", "a", True),
        ("a$", "a\n", False),
        (".", "\n", False),
    ],
)
def test_syntax(pattern: str, text: str, found: bool) -> None:
    assert compile_pattern(pattern).search(text) is found


@pytest.mark.parametrize(
    "pattern",
    [
        "(", ")", "a)", "[a", "*a", "a**", "a+{2}", "(?=a)", "(?P<n>a)", r"\1", r"\q", "a{2,1}", "a{101}", "[b-a]", "\\", "^*",
        "((a{50}){50}){50}", "(" * 40 + "a" + ")" * 40, "a" * (MAX_PATTERN + 1), r"[\d-z]" + "[z-\\d]",
    ],
)  # fmt: skip
def test_what_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        compile_pattern(pattern)


def test_patterns_that_ruin_a_backtracking_matcher_end() -> None:
    text = "a" * MAX_SUBJECT
    for pattern in ("(a*)*b", "(a|a)*b", "(a+)+$b", ".*.*.*.*b", "(.*a){20}b"):
        assert compile_pattern(pattern).search(text) is False


@given(st.text(max_size=20))
@settings(deadline=None)
def test_any_text_is_a_pattern_or_a_value_error(text: str) -> None:
    try:
        found = compile_pattern(text).search("abc 1")
    except ValueError:
        return
    assert isinstance(found, bool)
