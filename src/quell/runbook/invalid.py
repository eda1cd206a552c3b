"""Turns Pydantic's errors into Problems with places, expectations and nearest names. Never does: stop at the first."""

from __future__ import annotations

import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from quell.errors import Problem
from quell.runbook.source import Document, Path
from quell.runbook.vocabulary import nearest


def problems_of(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """Every error, at its place in the document."""
    return [_problem(dict(item), document, model) for item in error.errors(include_url=False)]


def _problem(item: dict[str, Any], document: Document, model: type[BaseModel]) -> Problem:
    path: Path = tuple(item["loc"])
    kind, context = item["type"], item.get("ctx") or {}
    if kind == "extra_forbidden":
        names = _fields_at(model, path[:-1])
        return document.problem(
            path, f"unknown key {path[-1]!r}", rule="unknown-key", found=str(path[-1]),
            expected="one of " + ", ".join(names) if names else None, nearest=nearest(str(path[-1]), names),
        )  # fmt: skip
    if kind == "missing":
        return document.problem(path, f"missing {path[-1]!r}", rule="missing-key", expected=str(path[-1]))
    if kind == "literal_error":
        found = str(item["input"])
        choices = [choice.strip("' ") for choice in str(context.get("expected", "")).replace(" or ", ",").split(",")]
        return document.problem(
            path, "not one of the words allowed here", rule="wrong-value", found=repr(found),
            expected=str(context.get("expected")), nearest=nearest(found, choices),
        )  # fmt: skip
    message = str(item["msg"]).removeprefix("Value error, ")
    return document.problem(path, message, rule="wrong-value", found=_short(item.get("input")))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _fields_at(model: Any, path: Path) -> list[str]:
    """The field names of the model at a path, as they are written in Python."""
    for part in path:
        if isinstance(part, int):
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
