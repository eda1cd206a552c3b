"""Reading YAML and JSON: places, the traps of YAML, bounds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import InvalidInput, Problem
from quell.runbook.source import MAX_BYTES, MAX_DEPTH, Document, load, show_path, snake
from tests.runbook.marked import marked


def only(text: str) -> Document:
    (document,) = load(text, "a.yaml")
    return document


def problem_of(text: str):
    with pytest.raises(InvalidInput) as caught:
        load(text, "a.yaml")
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("No", "No"), ("off", "off"), ("y", "y"),
        ("12:30", "12:30"), ("1:30:00", "1:30:00"), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"),
        ("true", True), ("False", False), ("null", None), ("~", None),
        ("12", 12), ("-3", -3), ("012", 12), ("0o17", 15), ("0x1F", 31),
        ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("1.", 1.0),
        ("'true'", "true"), ('"12"', "12"), ("5m", "5m"), ("1.2.3", "1.2.3"), ("=", "="), ("<<", "<<"),
    ],
)  # fmt: skip
def test_scalars_are_what_people_mean(text, value):
    read = only(f"a: {text}").data["a"]
    assert read == value
    assert type(read) is type(value)


def test_the_key_on_is_text():
    assert only("on: [failed]\nyes: 1").data == {"on": ["failed"], "yes": 1}


def test_places_of_keys_items_and_flow():
    document = only("a:\n  - b: 1\n    c: [x,  y]\n")
    assert document.places[("a", 0, "b")] == (2, 8)
    assert document.places[("a", 0, "c", 1)] == (3, 13)


def test_places_in_json_with_tabs():
    document = only('{\n\t"a": [1,\n\t\t{"b": true}]\n}')
    assert document.data == {"a": [1, {"b": True}]}
    assert document.places[("a", 1, "b")] == (3, 9)


def test_insets_know_quotes_and_leave_out_what_is_folded_or_escaped():
    document = only("plain: a < b\nquoted: 'a < b'\nescaped: 'it''s'\nfolded: >\n  a\n  b\n")
    assert document.insets[("plain",)] == 0
    assert document.insets[("quoted",)] == 1
    assert ("escaped",) not in document.insets
    assert ("folded",) not in document.insets


def test_several_documents_and_empty_ones():
    assert [document.data for document in load("a: 1\n---\n---\nb: 2\n")] == [{"a": 1}, None, {"b": 2}]
    assert load("", "a.yaml") == []
    assert load("# nothing\n", "a.yaml") == []


def test_a_byte_order_mark_is_no_content():
    document = only("\ufeffa: 1")
    assert document.data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: 1\n¦a: 2", "duplicate-key"),
        ("a: {b: 1, ¦b: 2}", "duplicate-key"),
        ("a:\n¦\tb: 1", "syntax"),
        ("a: [1, 2\n¦", "syntax"),
        ("a: ¦!!python/object/apply:os.system [ls]", "syntax"),
        ("a: ¦!secret x", "syntax"),
        ("? ¦[a, b]\n: 1", "syntax"),
        ("a: ¦.inf", "number"),
        ("a: [1, ¦9007199254740993]", "number"),
        ("a: ¦" + "9" * 6000, "number"),
        ("a: ¦1e999", "number"),
        ("a: ¦*nobody", "syntax"),
    ],
)
def test_what_cannot_be_read_has_a_place(text, rule):
    text, place = marked(text)
    problem = problem_of(text)
    assert problem.rule == rule
    assert (problem.line, problem.column) == place
    assert problem.file == "a.yaml"


def test_too_large():
    problem = problem_of("a: " + "x" * MAX_BYTES)
    assert problem.rule == "too-large"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 2, 500, 20_000])
def test_too_deep(depth):
    problem = problem_of("[" * depth + "]" * depth)
    assert problem.rule in {"too-large", "too-deep"}


def test_a_bomb_of_anchors_ends_early():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert problem_of("\n".join(lines)).rule == "too-large"


def test_an_anchor_inside_itself_ends():
    assert problem_of("a: &a [*a]").rule in {"too-large", "too-deep", "syntax"}


def test_anchors_are_values():
    assert only("a: &x {k: 1}\nb: *x").data == {"a": {"k": 1}, "b": {"k": 1}}


def test_all_duplicates_at_once():
    with pytest.raises(InvalidInput) as caught:
        load("a: 1\na: 2\nb: 1\nb: 2")
    assert [problem.line for problem in caught.value.problems] == [2, 4]


def test_origin_falls_back_to_the_parent_and_finds_camel_case():
    document = only("decisionTree:\n- then: [x]\n")
    assert document.origin(("decision_tree", 0)).path == "decisionTree[0]"
    missing = document.origin(("decision_tree", 0, "condition"))
    assert (missing.line, missing.path) == (2, "decisionTree[0].condition")


def test_paths_and_names():
    assert show_path(("remediations", 2, "action", "type")) == "remediations[2].action.type"
    assert snake("maxRows") == "max_rows"
    assert snake("PATH") == "PATH"


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(plain)
def test_json_is_read_as_json(value):
    # YAML 1.2 holds JSON, but for letters that YAML forbids in a stream.
    text = json.dumps({"a": value})
    assert only(text).data == {"a": value}


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused_with_problems(text):
    assert all(problem.file == "a.yaml" and problem.message for problem in _refused(text))


def _refused(text: str) -> tuple[Problem, ...]:
    try:
        load(text, "a.yaml")
    except InvalidInput as error:
        return error.problems or (Problem(""),)
    return ()
