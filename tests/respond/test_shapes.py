"""Shapes as they are written: what is short means one thing, and what cannot be meant stops the start with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from quell.errors import InvalidInput, Problem
from quell.respond.shapes import Argument, ArgumentRule, Shape, mark_in
from quell.settings import parse_settings

ARGUMENT: TypeAdapter[ArgumentRule] = TypeAdapter(Argument)


def rule(written: Any) -> ArgumentRule:
    return ARGUMENT.validate_python(written)


def start(text: str) -> Shape:
    commands = parse_settings(f"guardrails:\n  commands:\n  - {text}\n", "quell.yaml", Path("/srv")).guardrails.commands
    assert commands is not None
    return commands[0]


def problems(text: str) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as wrong:
        start(text)
    return wrong.value.problems


@pytest.mark.parametrize(
    ("written", "fits", "fits_not"),
    [
        ("get", ["get"], ["gets", "GET", "", "ge", "get "]),
        ("get|describe", ["get", "describe"], ["get|describe", "getdescribe"]),
        (["get", 3], ["get", "3"], ["3.0"]),
        (3, ["3"], ["03"]),
        ("/[a-z]+/", ["abc"], ["abc1", "1abc", "ABC", "", "abc\n"]),
        ("/a|bc/", ["a", "bc"], ["ac", "abc"]),
        ("/(?i)get/", ["get", "GeT"], ["gett"]),
        ("/var/log", ["/var/log"], ["/var/log/"]),
        ("/", ["/"], ["//"]),
        ({"one_of": ["/data/"]}, ["/data/"], ["data", "/data"]),
        ({"pattern": "[0-9]+", "most": 3}, ["123"], ["1234"]),
        ({"one_of": ["all"], "pattern": "[0-9]+"}, ["all", "7"], ["any"]),
        ("/.*/", ["", "a b", "*"], ["a\nb", "a;b", "-x", "é"]),
        ({"pattern": ".*", "dash": True}, ["-x", "--all"], ["-x;"]),
        ({"pattern": "(.|\\n)*", "raw": True}, ["a;b", "a\nb", "$(x)", "é"], ["-x", "a\0b"]),
        ({"one_of": ["a;b"], "raw": True}, ["a;b"], ["a;c"]),
    ],
)
def test_what_is_short_means_one_thing(written: Any, fits: list[str], fits_not: list[str]) -> None:
    one = rule(written)
    assert [value for value in fits if one.broken_by(value, apart=True)] == []
    assert [value for value in fits_not if not one.broken_by(value, apart=True)] == []


def test_a_value_behind_its_sign_may_begin_with_a_dash() -> None:
    assert rule("/.*/").broken_by("-5m", apart=False) is None
    assert rule("/.*/").broken_by("-5m", apart=True) == "begins with '-'"
    assert rule("/.*/").broken_by("-", apart=True) is None


@pytest.mark.parametrize(
    "text", ["a;b", "a|b", "a&b", "a>b", "a<b", "`a`", "$(a)", "${a}", "a\nb", "a\tb", "a\0b", "\x7f", "a\u037eb",
             "\uff1b", "\u2010n", "\u202e", "\u200b", "\u0430", "\udcff"],
)  # fmt: skip
def test_what_a_shell_would_read_or_an_eye_would_take_for_it_is_marked(text: str) -> None:
    mark = mark_in(text)
    assert mark is not None
    assert mark.isascii()
    assert mark.isprintable()


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]) | st.sampled_from("-_=/.,:@%+ *?~!#'\"\\()[]{}^$")))
def test_what_is_plain_is_not_marked(text: str) -> None:
    assert mark_in(text.replace("$(", "").replace("${", "")) is None or "$(" in text or "${" in text


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("{run: kubectl, flag: {}}", "[0].flag", "unknown key 'flag'"),
        ("{run: kubectl, args: ['/[a/']}", "[0].args[0]", "is not a pattern"),
        ("{run: kubectl, args: ['/a)|(b/']}", "[0].args[0]", "a ')' too many"),
        ("{run: kubectl, args: ['/a/|/b/']}", "[0].args[0]", "one pattern"),
        ("{run: kubectl, args: [[get, /a/]]}", "[0].args[0]", "among alternatives"),
        ("{run: kubectl, args: ['get||put']}", "[0].args[0]", "an alternative is empty"),
        ("{run: kubectl, args: [true]}", "[0].args[0]", "quotes"),
        ("{run: kubectl, args: [{most: 3}]}", "[0].args[0]", "one_of or pattern"),
        ("{run: kubectl, args: [{pattern: a, most: 0}]}", "[0].args[0].most", "at least 1"),
        ("{run: kubectl, args: [{patern: a}]}", "[0].args[0].patern", "unknown key 'patern'"),
        ("{run: kubectl, args: ['a;b']}", "[0].args[0]", "raw: true"),
        ("{run: kubectl, args: ['caf\u00e9']}", "[0].args[0]", "U+00E9"),
        ("{run: kubectl, args: [...]}", "[0].args", "... stands once, last"),
        ("{run: kubectl, args: [..., a]}", "[0].args", "... stands once, last"),
        ("{run: kubectl, args: [a, --, ...]}", "[0].args", "... stands once, last"),
        ("{run: kubectl, args: [--, a, --]}", "[0].args", "once"),
        ("{run: kubectl, args: [get, -A]}", "[0].args", "it belongs into flags"),
        ("{run: kubectl, flags: {n: a}}", "[0].flags.n", "is no flag"),
        ("{run: kubectl, flags: {--n a: a}}", "[0].flags.--n a", "is no flag"),
        ("{run: kubectl, flags: {--color=: }}", "[0]", "takes a value"),
        ("{run: kubectl, flags: {-n: a, -n|--name: b}}", "[0]", "the flag -n is there twice"),
        ("{run: java, flags: {-j: a, -jar: b}}", "[0]", "may be read as -j"),
        ("{run: kubectl, flags: {-v: }, needs: [-n]}", "[0]", "needs names -n"),
        ("{run: git, args: [log], flags_after: 2, flags: {-v: }}", "[0]", "behind the last argument"),
        ("{run: git, args: [log, --, a], flags_after: 2, flags: {-v: }}", "[0]", "behind the last argument"),
        ("{run: ./rotate}", "[0].run", "the shortest absolute path"),
        ("{run: /opt/../bin/sh}", "[0].run", "the shortest absolute path"),
        ("{run: //bin/sh}", "[0].run", "the shortest absolute path"),
        ("{run: kubectl get}", "[0].run", "belongs into args"),
        ("{run: -c}", "[0].run", "is no program"),
        ("{run: ''}", "[0].run", "is no program"),
        ("{run: kubect\u043b}", "[0].run", "is no program"),
        ("{args: [a]}", "[0]", "either run"),
        ("{run: a, line: b}", "[0]", "either run"),
        ("{line: a | b, args: [c]}", "[0]", "letter by letter"),
        ("{line: ''}", "[0].line", "must not be empty"),
        ("{run: a, most: 0}", "[0].most", "at least 1"),
        ("{run: a, env: {PATH: }}", "[0].env.PATH", "quotes"),
    ],
)
def test_what_cannot_be_meant_stops_the_start(text: str, path: str, says: str) -> None:
    found = problems(text)
    assert len(found) == 1
    assert found[0].path.startswith(f"guardrails.commands{path}"), found[0].path
    assert says in found[0].message
    assert (found[0].file, found[0].line) == ("quell.yaml", 3)


def test_every_problem_is_told_at_once() -> None:
    found = problems("{run: ./a, args: ['/[/', 'a;b'], flags: {n: '/(/'}, most: 0}")
    assert len(found) >= 5


@pytest.mark.parametrize("text", ["{commands: }", "{overrides: [{tenants: [a], commands: }]}", "{commands: {}}"])
def test_nothing_behind_commands_is_not_everything(text: str) -> None:
    with pytest.raises(InvalidInput, match="a list is expected here"):
        parse_settings(f"guardrails: {text}", "quell.yaml", Path("/srv"))


def test_a_shape_is_shown_as_a_person_would_say_it() -> None:
    shape = start("{run: kubectl, args: [get|describe, '/[a-z]+/', ...], flags: {-v: , '-n|--namespace': [a, b]}}")
    assert shape.shown == "kubectl get|describe /[a-z]+/ ... [-v] [-n|--namespace a|b]"
    assert len(start("{line: '" + "a" * 500 + "'}").shown) == 120
