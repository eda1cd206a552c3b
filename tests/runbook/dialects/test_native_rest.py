"""Mistakes of form do not hide others, and are not followed by mistakes that nobody made."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.errors import Problem
from quell.runbook.compile import compile_text
from quell.runbook.dialects._native_schema import RunbookText
from quell.runbook.source import Path, load
from tests.runbook.test_mistakes import GOOD
from tests.runbook.words import WORDS

DATA: dict[str, Any] = load(GOOD)[0].data
JUNK = st.sampled_from([None, 7, -1, True, "", "no such word", [], [[]], {}, {"zzz": 1}, "${", "a && b"])


def problems(text: str) -> tuple[Problem, ...]:
    (compiled,) = compile_text(text, "m.yaml", WORDS)
    assert compiled.plan is None
    return compiled.problems


def places(data: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in parts:
        yield from places(value, (*path, key))


def changed(path: Path, value: Any, *, gone: bool = False) -> dict[str, Any]:
    """The good runbook with something else at a path, or nothing."""
    data = copy.deepcopy(DATA)
    here: Any = data
    for part in path[:-1]:
        here = here[part]
    if gone:
        del here[path[-1]]
    else:
        here[path[-1]] = value
    return data


def flaws(data: dict[str, Any]) -> int:
    """How many mistakes of form there are; 0 where the form is right."""
    try:
        RunbookText.model_validate(data)
    except ValidationError as error:
        return error.error_count()
    return 0


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([one for one in places(DATA) if one]), JUNK, st.booleans())
def test_nobody_is_told_of_mistakes_that_only_follow(path: Path, value: Any, gone: bool) -> None:
    data = changed(path, value, gone=gone)
    count = flaws(data)
    if count:
        found = problems(json.dumps(data))
        assert len(found) == count, [str(one) for one in found]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([one for one in places(DATA) if one]), st.sampled_from("aesx_"))
def test_nor_of_those_that_follow_a_misspelt_key(path: Path, letter: str) -> None:
    if isinstance(path[-1], str):
        data = changed(path, None, gone=True)
        here: Any = data
        for part in path[:-1]:
            here = here[part]
        here[path[-1] + letter] = 1
        count = flaws(data)
        if count:
            found = problems(json.dumps(data))
            assert len(found) == count, [str(one) for one in found]


TEN = (
    ("value >= 5}", "vlaue >= 5}\n  tiemout: 4s"),
    ("- id: leak\n  type", "- id: leak\n  timeout: banana\n  type"),
    ("row_count >= 10", "row_cont >= 10"),
    ("- {otherwise: true, then: [page]}", "- {condition: errors.critical && leek.warning, then: [pagge]}\n- {otherwise: true}"),
    ("{id: page, type: escalate}", "{id: page, type: escalate, foo: 1}\n- {id: zz, type: automated, action: {type: restart_servic}}"),
    ("stable_for: 30s", "stable_for: x"),
)  # fmt: skip


def test_ten_mistakes_are_ten() -> None:
    text = GOOD
    for old, new in TEN:
        assert text.count(old) == 1
        text = text.replace(old, new)
    assert [(one.rule, one.found, one.nearest) for one in problems(text)] == [
        ("condition", "vlaue", "value"),
        ("unknown-key", "tiemout", "timeout"),
        ("wrong-value", "'banana'", None),
        ("condition", "row_cont", "row_count"),
        ("condition", "leek.warning", "leak"),
        ("undefined-remediation", "pagge", "page"),
        ("missing-key", None, None),
        ("unknown-key", "foo", None),
        ("unknown-action", "restart_servic", "restart_service"),
        ("wrong-value", "'x'", None),
    ]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        # What is broken keeps its name; what is said of it is not believed.
        ("type: prometheus_query", "config: 5\n  typ: x", {"unknown-key", "missing-key", "duplicate-key"}),
        ("- id: errors\n", "- ident: errors\n", {"unknown-key", "missing-key"}),
        ("remediations:", "remedies:", {"unknown-key"}),
        ("diagnostics:", "diagnostic:", {"unknown-key"}),
        ("id: m\n", "id: 'no id'\n", {"wrong-value"}),
        ("id: m\n", "", {"missing-key"}),
    ],
)
def test_what_others_name_may_be_gone(old: str, new: str, told: set[str]) -> None:
    assert {one.rule for one in problems(GOOD.replace(old, new, 1))} <= told


def test_what_has_nothing_to_do_with_it_is_told_although_a_name_is_gone() -> None:
    text = GOOD.replace("- id: leak\n", "- ident: leak\n").replace("type: prometheus_query", "type: prometheus_qery")
    assert "unknown-check" in {one.rule for one in problems(text)}
