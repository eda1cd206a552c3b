"""Filling the leaves of a document, secrets, and SQL placeholders."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quell.runbook import template
from quell.runbook.expr import Absent, Flag, parse_type
from quell.runbook.template import Secret, fill, has_template, references

ENV: dict[str, Any] = {
    "leak": {"first": {"usename": "app", "n": 12.0}},
    "errors": {"critical": Flag(True, {"region": ["eu", "us"]}), "rate": 0.5},
    "verify-fix": {"output": "done"},
    "event": {"incident": {"id": "PX1", "custom_details": {}, "title": 'it\'s "down" ${leak}'}},
    "rows": [{"n": 1}, {"n": 2}],
    "none": None,
    "away": Absent("no data", "timeout"),
    "APPROVED": True,
    "severity": "critical",
}


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("plain", "plain"),
        ("${leak.first.usename}", "app"),
        ("${leak.first.n}", 12.0),
        ("${errors.critical.region}", ["eu", "us"]),
        ("${errors.critical}", True),
        ("${none}", None),
        ("${rows[1].n}", 2),
        ("${ rows[1].n }", 2),
        ("n=${leak.first.n} r=${errors.rate}", "n=12 r=0.5"),
        ("ok=${errors.critical} none=${none}", "ok=true none=null"),
        ("in ${errors.critical.region}: ${rows[0]}", 'in ["eu", "us"]: {"n": 1}'),
        ("Resolution: ${verify-fix.output}!", "Resolution: done!"),
        ("${event.incident.custom_details.namespace:-default}", "default"),
        ("ns-${event.incident.custom_details.namespace:-default}", "ns-default"),
        ("${x:-3}", 3),
        ("${x:-2.5}", 2.5),
        ("${x:-true}", True),
        ("${x:-'3'}", "3"),
        ("${x:-}", ""),
        ("${x:-it's fine}", "it's fine"),
        ("${away:-none yet}", "none yet"),
        ("v${x:-3}", "v3"),
        ("$${HOME} costs $5", "${HOME} costs $5"),
        ("$${a} ${leak.first.usename}", "${a} app"),
        ("${APPROVED}", True),
        ('${severity == "critical"}', True),
        ('is ${severity == "}"}', "is false"),
        ("${leak.first.n + 1}", 13.0),
        ("${event.incident.title}", 'it\'s "down" ${leak}'),
        (5, 5),
        (None, None),
    ],
)
def test_leaves_are_filled(written: Any, filled: Any) -> None:
    found = fill(written, ENV)
    assert found.problems == ()
    assert found.value == filled
    assert type(found.value) is type(filled)


def test_what_a_value_brings_is_not_filled_again() -> None:
    assert fill("t: ${event.incident.title}", ENV).value == 't: it\'s "down" ${leak}'


def test_a_document_is_walked_and_every_name_is_reported_with_its_place() -> None:
    document = {"action": {"config": ["a", "${leak.first.usename}"]}, "text": "${rows[0].n} ${severity == 'x'} ${k:-d}"}
    assert has_template(document)
    assert not has_template({"a": ["$${x}", 1, "$x {y}"]})
    found = [(ref.path, ref.default, ref.start, ref.end, ref.location, ref.expression) for ref in references(document)]
    assert found == [
        ("leak.first.usename", None, 0, 21, "action.config[1]", None),
        ("rows[0].n", None, 0, 12, "text", None),
        ("severity", None, 13, 31, "text", "severity == 'x'"),
        ("k", "d", 32, 39, "text", None),
    ]
    filled = fill(document, ENV)
    assert filled.value == {"action": {"config": ["a", "app"]}, "text": "1 false d"}
    assert dict(filled.used) == {"leak.first.usename": "app", "rows[0].n": 1, "severity == 'x'": False, "k": "d"}


def test_all_problems_are_reported_and_those_leaves_stay() -> None:
    document = {
        "a": "${leek.first}",
        "b": ["${away}", "x ${rows[7].n} y"],
        "c": "${unclosed",
        "d": "${a ==}",
        "e": "${severity}",
    }
    filled = fill(document, ENV)
    assert filled.value == document | {"e": "critical"}
    assert [(problem.path, problem.rule) for problem in filled.problems] == [
        ("a", "template-unknown"),
        ("b[0]", "template-absent"),
        ("b[1]", "template-absent"),
        ("c", "template-syntax"),
        ("d", "template-syntax"),
    ]
    assert filled.problems[0].nearest == "leak"
    assert filled.problems[1].message == "no data"


def test_check_finds_the_same_without_values() -> None:
    scope = {"leak": parse_type({"first": {"usename": "string"}}), "lag": parse_type("duration")}
    document = {
        "a": "${leek.first}",
        "b": "x ${leak.first.usenam}",
        "c": "${lag > 5}",
        "d": "${leak.first.usename}",
        "e": "${HOME}",
    }
    problems = template.check(document, scope)
    assert [(problem.path, problem.column, problem.nearest) for problem in problems] == [
        ("a", 3, "leak"),
        ("b", 5, "leak.first.usename"),
        ("c", 9, None),
        ("e", 1, None),
    ]
    assert template.check("${HOME} ${env.HOME}", scope, allowed_env={"HOME"}) == ()


def test_keys_are_not_filled() -> None:
    (problem,) = fill({"a": {"${severity}": 1}}, ENV).problems
    assert (problem.rule, problem.path) == ("template-key", "a")


# --- the environment ---


def test_only_allowed_environment_names_are_read_and_they_are_secrets() -> None:
    environ = {"PAGERDUTY_API_KEY": "pd-42", "HOME": "/root"}
    document = {
        "a": "Token token=${PAGERDUTY_API_KEY}",
        "b": "${env.PAGERDUTY_API_KEY}",
        "c": "${HOME}",
        "d": "${HOME:-x}",
    }
    filled = fill(document, {}, environ=environ, allowed_env=frozenset({"PAGERDUTY_API_KEY"}))
    assert filled.value["a"] == Secret("Token token=pd-42")
    assert filled.value["a"].reveal() == "Token token=pd-42"
    assert filled.value["b"] == Secret("pd-42")
    assert [(problem.path, problem.rule) for problem in filled.problems] == [
        ("c", "template-environment"),
        ("d", "template-environment"),
    ]
    assert "pd-42" not in repr(filled)


def test_an_allowed_name_that_is_not_set_is_a_problem_or_its_default() -> None:
    allowed = frozenset({"TOKEN"})
    assert len(fill("${TOKEN}", {}, environ={}, allowed_env=allowed).problems) == 1
    assert fill("${TOKEN:-none}", {}, environ={}, allowed_env=allowed).value == "none"


def test_a_value_of_the_run_comes_before_the_environment() -> None:
    filled = fill("${APPROVED}", ENV, environ={"APPROVED": "yes"}, allowed_env=frozenset({"APPROVED"}))
    assert filled.value is True


def test_a_secret_shows_itself_to_nobody_but_reveal() -> None:
    secret = Secret("hunter2")
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>5}", f"{[secret]}"]
    assert all("hunter2" not in text and "•••" in text for text in shown)
    assert secret == Secret("hunter2") != Secret("other")
    assert secret != "hunter2"
    assert hash(secret) == hash(Secret("hunter2"))
    for leak in (
        lambda: pickle.dumps(secret),
        lambda: json.dumps(secret),
        lambda: "".join([secret]),
        lambda: copy.copy(secret),
    ):  # type: ignore[list-item]
        with pytest.raises(TypeError):
            leak()
    with pytest.raises(AttributeError):
        secret._text = "x"


# --- bounds and properties ---


def test_documents_that_are_too_deep_too_many_or_too_long_are_refused() -> None:
    deep: Any = "${severity}"
    for _ in range(100):
        deep = [deep]
    circle: list[Any] = []
    circle.append(circle)
    bomb: Any = ["x"] * 10
    for _ in range(6):
        bomb = [bomb] * 10
    for value in (deep, circle, bomb):
        assert fill(value, ENV).problems[0].rule == "template-size"
        assert template.check(value, {})[0].rule == "template-size"
    long = fill("${a}${a}", {"a": "x" * 600_000})
    assert long.problems[0].rule == "template-size"


_texts = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from(["${", "}", "$", "$${", "a", ".b", "[0]", ":-", "'", '"', " == ", "A", "{", "env."]),
        max_size=12,
    ).map("".join),
)


@given(st.recursive(_texts, lambda inner: st.lists(inner, max_size=3), max_leaves=4))
@settings(deadline=None)
def test_no_document_makes_it_raise(document: Any) -> None:
    filled = fill(document, {"a": {"b": [1]}})
    assert bool(filled.problems) or not has_template(document) or filled.used
    references(document)
    template.check(document, {"a": parse_type("any")})


@given(st.text(max_size=30))
def test_an_escaped_text_comes_back(text: str) -> None:
    assert fill(text.replace("$", "").replace("{", "${").replace("${", "$${"), {}).value == text.replace(
        "$", ""
    ).replace("{", "${")
