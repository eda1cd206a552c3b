"""Pydantic's errors as Problems: places through aliases, lists and unions; words to choose from; nearest names."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from quell.errors import Problem
from quell.runbook.invalid import problems_of
from quell.runbook.source import load


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    max_size: int = 0
    from_: str = Field(default="", alias="from")


class Whole(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)

    kind: Literal["round", "square"] = "round"
    all_parts: list[Part] = []
    one_part: Part | None = None
    name: str


def found(text: str) -> dict[str, Problem]:
    (document,) = load(text, "a.yaml")
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate(document.data)
    return {problem.path: problem for problem in problems_of(caught.value, document, Whole)}


def test_all_at_once():
    problems = found("kind: ruond\nall_parts:\n- {max_size: x}\n- {maxsize: 1}\n")
    assert set(problems) == {"kind", "all_parts[0].max_size", "all_parts[1].maxsize", "name"}


def test_a_missing_key_is_told_at_its_parent():
    problem = found("kind: round\n")["name"]
    assert (problem.rule, problem.line, problem.column, problem.expected) == ("missing-key", 1, 1, "name")


def test_words_to_choose_from():
    problem = found("kind: ruond\nname: x\n")["kind"]
    assert (problem.rule, problem.found, problem.nearest) == ("wrong-value", "'ruond'", "round")
    assert problem.expected == "'round' or 'square'"


@pytest.mark.parametrize(("spelled", "path"), [("all_parts", "all_parts"), ("allParts", "allParts")])
def test_the_path_is_as_the_author_spelled_it(spelled, path):
    problem = found(f"name: x\n{spelled}:\n- maxSize: big\n")[f"{path}[0].maxSize"]
    assert (problem.line, problem.column, problem.found) == (3, 12, "'big'")


def test_unknown_keys_know_the_fields_of_their_place():
    problem = found("name: x\none_part: {max_sise: 1}\n")["one_part.max_sise"]
    assert (problem.rule, problem.nearest) == ("unknown-key", "max_size")
    assert problem.expected == "one of max_size, from"


def test_long_values_are_shortened():
    problem = found(f"name: x\none_part: {{max_size: {'y' * 500}}}\n")["one_part.max_size"]
    assert problem.found is not None
    assert len(problem.found) <= 80


@pytest.mark.parametrize(
    ("text", "path", "shown"),
    [
        ("all_parts: 'https://joe:s3cr@h/x'", "all_parts", "an address"),
        ("all_parts: [{token: s3cr}]\none_part: ['postgres://joe:s3cr@h']", "one_part", "a list"),
        ("one_part: {max_size: {password: s3cr}}", "one_part.max_size", "a mapping"),
        ("one_part: {max_size: {from: plain}}", "one_part.max_size", "{'from': 'plain'}"),
    ],
)
def test_of_what_may_be_a_secret_only_the_kind_is_told(text, path, shown):
    assert found(f"name: x\n{text}\n")[path].found == shown
