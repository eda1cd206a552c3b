"""Turns Pydantic's errors into Problems with places, expectations and nearest names. Never does: stop at the first."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from quell.errors import Problem
from quell.redact import TELLING
from quell.runbook.source import Document, Path
from quell.runbook.vocabulary import nearest

_WORDS: dict[str, str] = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "mapping_type"), "a mapping is expected here"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), "a list is expected here"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number is expected here"),
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type"), "a number is expected here"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false is expected here"),
    "string_type": "a text is expected here",
    "greater_than": "must be more than {gt}", "less_than": "must be less than {lt}",
    "greater_than_equal": "must be at least {ge}", "less_than_equal": "must be at most {le}",
    "too_short": "must hold at least {min_length}", "too_long": "holds more than {max_length}",
    "string_too_short": "must not be empty", "string_too_long": "is longer than {max_length} characters",
    "missing": "is missing",
}  # fmt: skip
_MAPPINGS = frozenset({"model_type", "model_attributes_type"})


def problems_of(
    error: ValidationError, document: Document, model: type[BaseModel], meant: Mapping[str, str] | None = None
) -> list[Problem]:
    """Every error, at its place in the document. ``meant``: what people write → the key they are likely to mean."""
    return [_problem(dict(item), document, model, meant or {}) for item in error.errors(include_url=False)]


def plainly(item: Mapping[str, Any]) -> str:
    """One of Pydantic's errors in the words of somebody who writes YAML."""
    words = _WORDS.get(item["type"])
    if words is None:
        return str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "string_type" and isinstance(item.get("input"), int | float):
        words += "; write it in quotes"
    return words.format(**(item.get("ctx") or {}))


def _problem(item: dict[str, Any], document: Document, model: type[BaseModel], meant: Mapping[str, str]) -> Problem:
    kind, context = item["type"], item.get("ctx") or {}
    path: Path = tuple(context.get("place", item["loc"]))
    if kind == "extra_forbidden":
        names, found = _fields_at(model, path[:-1]), str(path[-1])
        near = meant[found] if meant.get(found) in names else nearest(found, names)
        return document.problem(
            path, f"unknown key {found!r}", rule="unknown-key", found=found,
            expected="one of " + ", ".join(names) if names else None, nearest=near,
        )  # fmt: skip
    if kind == "missing":
        return document.problem(path, f"missing {path[-1]!r}", rule="missing-key", expected=str(path[-1]))
    if kind == "literal_error":
        found = str(item["input"])
        choices = [choice.strip("' ") for choice in str(context.get("expected", "")).replace(" or ", ",").split(",")]
        return document.problem(
            path, "not one of the words allowed here", rule="wrong-value", found=_shown(path, found),
            expected=str(context.get("expected")), nearest=nearest(found, choices),
        )  # fmt: skip
    keys = _fields_at(model, path) if kind in _MAPPINGS else []
    return document.problem(
        path, plainly(item), rule="wrong-value", found=_shown(path, item.get("input")),
        expected="a mapping with " + ", ".join(keys) if keys else None,
    )  # fmt: skip


def _shown(path: Path, value: Any) -> str:
    """What was found; of what may be a secret, or hold one, only what kind of thing it is."""
    text = "nothing" if value is None else repr(value)
    if isinstance(value, str) and "://" in value:
        return "an address"
    nested = isinstance(value, Mapping | list | tuple)
    telling = any(isinstance(part, str) and TELLING.search(part) for part in path)
    if (nested or isinstance(value, str)) and (telling or (nested and ("://" in text or TELLING.search(text)))):
        return _kind_of(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kind_of(value: Mapping[Any, Any] | list[Any] | tuple[Any, ...] | str) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    return "a text" if isinstance(value, str) else "a list"


def _fields_at(model: Any, path: Path) -> list[str]:
    """The field names of the model at a path, as they are written in Python."""
    for part in path:
        if isinstance(part, int):
            continue
        if (value := _value_of(model)) is not None:
            model = value  # the part is a name that somebody chose: of a service, a source, an action
            continue
        found = _model_in(model)
        if found is None:
            return []
        names = dict(found.model_fields)
        field = names.get(str(part)) or next((f for f in names.values() if f.alias == part), None)
        if field is None:
            return []
        model = field.annotation
    found = _model_in(model)
    return [field.alias if name.endswith("_") and field.alias else name for name, field in found.model_fields.items()] \
        if found else []  # fmt: skip


def _value_of(annotation: Any) -> Any:
    """What a ``dict[str, …]`` holds, also one inside ``Annotated[...]``; None for what is no mapping of names."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _value_of(parts[0])
    if isinstance(origin, type) and issubclass(origin, Mapping) and len(parts) == 2:
        return parts[1]
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside ``list[Model]``, ``Model | None``, ``Annotated[...]``."""
    if (
        isinstance(annotation, type)
        and not isinstance(annotation, types.GenericAlias)
        and issubclass(annotation, BaseModel)
    ):
        return annotation
    for part in typing.get_args(annotation):
        if (found := _model_in(part)) is not None:
            return found
    return None
