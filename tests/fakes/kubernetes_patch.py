"""The three patch formats of the Kubernetes API: JSON Patch, JSON Merge Patch, strategic merge.

Sources: RFC 6902, RFC 7386, and the strategic merge rules of the API conventions (lists merge by a key
that depends on the field; `$patch`, `$retainKeys`, `$setElementOrder`, `$deleteFromPrimitiveList`).
Pure: the document given is never changed.
"""

from __future__ import annotations

import copy
from typing import Any

MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "conditions": "type",
    "ownerReferences": "uid",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
PRIMITIVE_SETS = {"finalizers"}


class PatchError(ValueError):
    """The patch does not fit the document."""


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902; raises PatchError for a path that is not there, a failed test, an unknown operation."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch is a list of operations")
    document = copy.deepcopy(document)
    for operation in operations:
        document = _operate(document, operation)
    return document


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    verb, path = operation.get("op"), operation.get("path", "")
    if verb == "test":
        if _pointed(document, path) != operation.get("value"):
            raise PatchError(f"testing value {path} failed: test failed")
        return document
    if verb in ("add", "replace"):
        return _set(document, path, copy.deepcopy(operation.get("value")), must_exist=verb == "replace")
    if verb == "remove":
        return _remove(document, path)
    if verb == "copy":
        return _set(document, path, copy.deepcopy(_pointed(document, operation["from"])), must_exist=False)
    if verb == "move":
        value = _pointed(document, operation["from"])
        return _set(_remove(document, operation["from"]), path, value, must_exist=False)
    raise PatchError(f"Unexpected kind: {verb}")


def _steps(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise PatchError(f"not a JSON pointer: {path}")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def _pointed(document: Any, path: str) -> Any:
    for step in _steps(path):
        try:
            document = document[int(step)] if isinstance(document, list) else document[step]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise PatchError(f"nonexistent path: {path}") from error
    return document


def _set(document: Any, path: str, value: Any, *, must_exist: bool) -> Any:
    steps = _steps(path)
    if not steps:
        return value
    if must_exist:
        _pointed(document, path)
    parent = _pointed(document, path.rpartition("/")[0])
    if isinstance(parent, dict):
        parent[steps[-1]] = value
    elif isinstance(parent, list) and must_exist:
        parent[int(steps[-1])] = value
    elif isinstance(parent, list) and (steps[-1] == "-" or steps[-1].isdecimal()):
        at = len(parent) if steps[-1] == "-" else int(steps[-1])
        if at > len(parent):
            raise PatchError(f"index out of range: {path}")
        parent.insert(at, value)
    else:
        raise PatchError(f"nonexistent path: {path}")
    return document


def _remove(document: Any, path: str) -> Any:
    _pointed(document, path)
    steps = _steps(path)
    if not steps:
        raise PatchError("the whole document cannot be removed")
    parent = _pointed(document, path.rpartition("/")[0])
    del parent[int(steps[-1]) if isinstance(parent, list) else steps[-1]]
    return document


def strategic_merge(document: Any, patch: Any) -> Any:
    """Objects merge, known lists merge by their key, other lists replace."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(document) if isinstance(document, dict) else {}
    directive = patch.get("$patch")
    if directive == "replace":
        return {name: copy.deepcopy(value) for name, value in patch.items() if name != "$patch"}
    if directive == "delete":
        return {}
    if "$retainKeys" in patch:
        result = {name: value for name, value in result.items() if name in patch["$retainKeys"]}
    for name, value in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            target = name.partition("/")[2]
            result[target] = [item for item in result.get(target, []) if item not in value]
        elif name.startswith("$"):
            continue  # the order of list elements carries no meaning for what is run here
        elif value is None:
            result.pop(name, None)
        elif isinstance(value, list):
            result[name] = _merge_list(name, result.get(name) or [], value)
        else:
            result[name] = strategic_merge(result.get(name), value)
    return result


def _merge_list(name: str, old: list[Any], patch: list[Any]) -> list[Any]:
    if name in PRIMITIVE_SETS:
        return [*old, *(item for item in patch if item not in old)]
    key = MERGE_KEYS.get(name)
    if key is None or not all(isinstance(item, dict) for item in patch):
        return copy.deepcopy(patch)
    if any(item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(item) for item in patch if "$patch" not in item]
    result = [copy.deepcopy(item) for item in old]
    for item in patch:
        if key not in item:
            raise PatchError(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, existing in enumerate(result) if existing.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(strategic_merge({}, item))
        else:
            result[at] = strategic_merge(result[at], item)
    return result
