"""Paths into a body: what they lead to, what is none."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.plugins.sources._paths import NOWHERE, at, shown, steps

BODY = {"cluster": "c1", "items": [{"id": 7, "a.b": {"c": "deep"}, "none": None, "tags": ["x", "y"]}]}
ITEM = BODY["items"][0]


@pytest.mark.parametrize(
    ("path", "found"),
    [("id", 7), ("tags[1]", "y"), ("tags[2]", NOWHERE), ("none", None), ("none.x", NOWHERE), ("id.x", NOWHERE),
     ('["a.b"].c', "deep"), ("['a.b']['c']", "deep"), ("$.cluster", "c1"), ("$.items[0].id", 7), ("cluster", NOWHERE),
     ("$", BODY), ('$["cluster"]', "c1"), ("tags.0", NOWHERE), ("id[0]", NOWHERE)],
)  # fmt: skip
def test_a_path_leads_to_what_is_there(path: str, found: Any) -> None:
    assert at(path, BODY, ITEM) == found


@pytest.mark.parametrize(
    "path", ["", ".", "a..b", ".a", "a.", "a[", "a[-1]", "a[x]", "a[]", "a b", "a[0]b", "a]", '[""]', "$a..", "x" * 513,
             "a" + ".a" * 32]
)  # fmt: skip
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        steps(path)


@pytest.mark.parametrize(
    ("place", "path", "said"),
    [("alerts[1]", "labels.name", "alerts[1].labels.name"), ("alerts[1]", "[0]", "alerts[1][0]"), ("", "id", "id"),
     ("alerts[1]", "$.cluster", "cluster"), ("x", "$", "the body"), ("[2]", "id", "[2].id")],
)  # fmt: skip
def test_a_path_is_shown_as_one_looks_for_it(place: str, path: str, said: str) -> None:
    assert shown(place, path) == said


@given(st.text(alphabet="ab.[]0'\"$ ", max_size=12))
def test_a_text_is_a_path_or_told(path: str) -> None:
    try:
        found = steps(path)
    except ValueError:
        return
    assert at(path, BODY, ITEM) is NOWHERE or len(found) <= len(path)
