"""Matchers as people write them: what is read, what is refused and where."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from quell.incident.matcher import LONGEST, MOST, Matcher, Matchers, parse_matchers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=b", [("a", "=", "b")]),
        ('{a="b"}', [("a", "=", "b")]),
        (' { a = "b" , c!=d, } ', [("a", "=", "b"), ("c", "!=", "d")]),
        ('env=~"prod|stage"', [("env", "=~", "prod|stage")]),
        ("env!~dev.*", [("env", "!~", "dev.*")]),
        (r'path="C:\\x\n\"y\""', [("path", "=", 'C:\\x\n"y"')]),
        ('"odd name"="1"', [("odd name", "=", "1")]),
        ("a=", [("a", "=", "")]),
        ("a=,b=c", [("a", "=", ""), ("b", "=", "c")]),
        ('a=""', [("a", "=", "")]),
        ("{}", []),
    ],
)
def test_what_is_read(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(one.name, one.operator, one.value) for one in parse_matchers(text)] == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no matcher"),
        ("a", "column 2: expected one of = != =~ !~ after 'a'"),
        ("=b", "column 1: expected the name of a label"),
        ("a=b c=d", "column 5: expected a comma"),
        ('a="b', "column 3: expected a value"),
        ("{a=b", "the brace of column 1 is not closed"),
        ("{", "is not closed"),
        ("9a=b", "column 1"),
        ("a=b,,c=d", "column 5"),
        ("x" * (LONGEST + 1), "at most"),
        (",".join(f"a{n}=1" for n in range(MOST + 1)), f"more than {MOST}"),
    ],
)
def test_what_is_refused_and_where(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_matchers(text)


MATCHERS = st.builds(
    Matcher, name=st.text(min_size=1, max_size=8).filter(lambda name: "\r" not in name),
    operator=st.sampled_from(["=", "!=", "=~", "!~"]), value=st.text(max_size=12),
)  # fmt: skip


@given(st.lists(MATCHERS, min_size=1, max_size=5))
def test_what_is_written_is_read_again(matchers: list[Matcher]) -> None:
    text = "{" + ", ".join(str(one) for one in matchers) + "}"
    assert parse_matchers(text) == tuple(matchers)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_matchers(text)


class Section(BaseModel):
    matchers: Matchers


def test_from_a_configuration_one_text_or_a_list() -> None:
    one = Section.model_validate({"matchers": 'a="b", c=d'})
    assert Section.model_validate({"matchers": ["a=b", "c=d"]}) == one
    assert Section.model_validate({"matchers": [{"name": "a", "operator": "=", "value": "b"}, "c=d"]}) == one
    with pytest.raises(ValidationError, match="column 2"):
        Section.model_validate({"matchers": ["a"]})
    with pytest.raises(ValidationError):
        Section.model_validate({"matchers": {"a": "b"}})
