"""The three patch formats: what the RFCs say, and Kubernetes' lists that merge by a key."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.fakes.kubernetes_patch import PatchError, json_patch, merge_patch, strategic_merge

POD = {"containers": [{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        (
            {"containers": [{"name": "a", "image": "a:2"}]},
            [{"name": "a", "image": "a:2", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}],
        ),
        ({"containers": [{"name": "c"}]}, [*POD["containers"], {"name": "c"}]),
        ({"containers": [{"name": "a", "$patch": "delete"}]}, [{"name": "b"}]),
        ({"containers": [{"$patch": "replace"}, {"name": "z"}]}, [{"name": "z"}]),
        (
            {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a", "env": None}]},
            [{"name": "a", "image": "a:1"}, {"name": "b"}],
        ),
        (
            {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]},
            [
                {
                    "name": "a",
                    "image": "a:1",
                    "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}],
                },
                {"name": "b"},
            ],
        ),
    ],
)
def test_strategic_merge_of_lists_with_a_key(patch: Any, result: Any) -> None:
    before = copy.deepcopy(POD)
    assert strategic_merge(POD, patch) == {"containers": result}
    assert before == POD


def test_strategic_merge_of_the_rest() -> None:
    assert strategic_merge({"args": ["a"]}, {"args": ["b"]}) == {"args": ["b"]}
    assert strategic_merge({"finalizers": ["a"]}, {"finalizers": ["b"]}) == {"finalizers": ["a", "b"]}
    removal = {"$deleteFromPrimitiveList/finalizers": ["a"]}
    assert strategic_merge({"finalizers": ["a", "b"]}, removal) == {"finalizers": ["b"]}
    kept = {"$retainKeys": ["type"], "type": "Recreate"}
    assert strategic_merge({"type": "RollingUpdate", "rollingUpdate": {}}, kept) == {"type": "Recreate"}
    assert strategic_merge({"m": {"a": 1}}, {"m": {"$patch": "replace", "b": 2}}) == {"m": {"b": 2}}
    with pytest.raises(PatchError, match="merge key: name"):
        strategic_merge(POD, {"containers": [{"image": "x"}]})


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": [{"b": 1}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
    ],
)
def test_merge_patch_as_in_rfc_7386(document: Any, patch: Any, result: Any) -> None:
    assert merge_patch(document, patch) == result


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/l/1", "value": 9}, {"l": [1, 9, 2], "a/b": {"~": 0}}),
        ({"op": "add", "path": "/l/-", "value": 9}, {"l": [1, 2, 9], "a/b": {"~": 0}}),
        ({"op": "remove", "path": "/l/0"}, {"l": [2], "a/b": {"~": 0}}),
        ({"op": "replace", "path": "/a~1b/~0", "value": 5}, {"l": [1, 2], "a/b": {"~": 5}}),
        ({"op": "copy", "from": "/l/0", "path": "/n"}, {"l": [1, 2], "a/b": {"~": 0}, "n": 1}),
        ({"op": "move", "from": "/l", "path": "/n"}, {"a/b": {"~": 0}, "n": [1, 2]}),
        ({"op": "test", "path": "/l/1", "value": 2}, {"l": [1, 2], "a/b": {"~": 0}}),
    ],
)
def test_json_patch_as_in_rfc_6902(operation: Any, result: Any) -> None:
    assert json_patch({"l": [1, 2], "a/b": {"~": 0}}, [operation]) == result


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/nope", "value": 1},
        {"op": "remove", "path": "/l/7"},
        {"op": "add", "path": "/l/7", "value": 1},
        {"op": "test", "path": "/l/0", "value": 2},
        {"op": "jump", "path": "/l"},
        {"op": "add", "path": "l", "value": 1},
    ],
)
def test_json_patches_that_do_not_fit(operation: Any) -> None:
    with pytest.raises(PatchError):
        json_patch({"l": [1, 2]}, [operation])
