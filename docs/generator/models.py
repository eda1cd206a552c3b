"""A Pydantic model as a table: every key with its type, default, limits and meaning.

The meaning is the docstring under the field (or its ``description``). Never does: import a model, guess a meaning.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Sequence as AbstractSequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.generator.prose import anchor, code, table
from quell.ports import Connects
from quell.runbook.quantities import spoken

HEAD = ("key", "type", "default", "meaning")
_DURATIONS = frozenset({"seconds", "_seconds"})
_SIZES = frozenset({"size", "_bytes"})
_MOMENTS = frozenset({"moment"})
_ONE_OR_MORE = frozenset({"listed", "_listed", "_one_or_many", "_one_or_more"})
_CONDITIONS = frozenset({"condition"})
_PLAIN = {
    str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", dict: "mapping",
    list: "list", tuple: "list",
}  # fmt: skip
_LIMITS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
_SIZE_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_WRAPPERS = frozenset({typing.Union, types.UnionType})


def fields_table(model: type[BaseModel], *, leave_out: Sequence[str] = ()) -> str:
    """The table of a model's keys; empty when it has none."""
    return table(HEAD, (_row(model, name, field) for name, field in _shown(model) if name not in leave_out))


def nested(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that the keys of this one hold, in order, each once, those inside of them too."""
    found: list[type[BaseModel]] = []
    for _, field in _shown(model):
        for inner in _models(field.annotation):
            for one in (inner, *nested(inner)):
                if one is not model and one not in found:
                    found.append(one)
    return found


def unexplained(model: type[BaseModel]) -> list[str]:
    """The keys that nothing explains."""
    return [name for name, field in _shown(model) if not meaning(model, name, field)]


def _shown(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    return ((name, field) for name, field in model.model_fields.items() if not field.exclude)


def _row(model: type[BaseModel], name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    text = meaning(model, name, field)
    if others := _other_names(name, field):
        text = f"{text} Also written {others}.".strip()
    return f"`{_key(name, field)}`", _type(field), _default(field), text


def _key(name: str, field: FieldInfo) -> str:
    """As it is written: the name in snake_case, or the explicit alias where the name is not free in Python."""
    if field.alias_priority == 2 and field.alias and not isinstance(field.validation_alias, AliasChoices):
        return field.alias
    return name


def _other_names(name: str, field: FieldInfo) -> str:
    if not isinstance(field.validation_alias, AliasChoices):
        return ""
    spelled = [str(one) for one in field.validation_alias.choices if one != name]
    return ", ".join(f"`{one}`" for one in spelled if one.lower().replace("_", "") != name.replace("_", ""))


# Types.


def _type(field: FieldInfo) -> str:
    parts = [_kind(field.annotation, field.metadata), *_limits(field)]
    return ", ".join(part for part in parts if part)


def _kind(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    checked = {getattr(one, "func", None).__name__ for one in metadata if getattr(one, "func", None)}
    if checked & _DURATIONS:
        return "duration"
    if checked & _SIZES:
        return "size"
    if checked & _MOMENTS:
        return "moment"
    if checked & _CONDITIONS:
        return "[condition](conditions.md)"
    text = _plain_kind(annotation)
    for mark in metadata:
        if isinstance(mark, Connects):
            named = f"[connection](configuration.md#connection) ({' or '.join(f'`{one}`' for one in mark.types)})"
            text = f"{text}, before `{mark.before}` a {named}" if mark.before else text.replace("text", named)
    return f"{text}, or one alone" if checked & _ONE_OR_MORE else text


def _plain_kind(annotation: Any) -> str:
    origin, given = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(given[0], given[1:])
    if origin in _WRAPPERS:
        return " or ".join(dict.fromkeys(_kind(one) for one in given if one is not type(None)))
    if origin is typing.Literal:
        return " or ".join(f"`{one}`" if one != "" else "empty" for one in given)
    if origin is tuple:
        inner = [one for one in given if one is not Ellipsis]
        return f"list of {_kind(inner[0])}" if len(inner) == 1 else f"({', '.join(_kind(one) for one in inner)})"
    if origin is list:
        return f"list of {_kind(given[0])}"
    if origin in (dict, Mapping) or (inspect.isclass(origin) and issubclass(origin, Mapping)):
        return "mapping" if given[1] is Any else f"mapping of name to {_kind(given[1])}"
    if inspect.isclass(origin) and issubclass(origin, AbstractSequence):
        return f"list of {_kind(given[0])}"
    return _simple(annotation)


def _simple(annotation: Any) -> str:
    if annotation is Any or type(annotation).__name__ == "TypeAliasType":
        return "anything"
    if inspect.isclass(annotation):
        if issubclass(annotation, BaseModel):
            return f"[{title(annotation)}](#{anchor(title(annotation))})"
        if issubclass(annotation, Enum):
            return " or ".join(f"`{one.value}`" for one in annotation)
    return _PLAIN.get(annotation, str(getattr(annotation, "__name__", annotation)))


def title(model: type[BaseModel]) -> str:
    """``PostconditionText`` as "postcondition"."""
    name = model.__name__.removesuffix("Text").removesuffix("Settings") or model.__name__
    return "".join(f" {one.lower()}" if one.isupper() else one for one in name).strip()


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _limits(field: FieldInfo) -> Iterator[str]:
    bounded = _shower(field)
    for one in field.metadata:
        for bound, words in _LIMITS.items():
            limit = getattr(one, bound, None)
            if limit is not None and (bound != "ge" or limit != 0):
                yield words.format(bounded(limit))


def _shower(field: FieldInfo) -> Any:
    kind = _kind(field.annotation, field.metadata)
    if kind == "duration":
        return lambda value: spoken(float(value))
    return _size if kind == "size" else lambda value: f"{value:,}".replace(",", " ")


def _size(value: float) -> str:
    for unit, name in _SIZE_UNITS:
        if value and value % unit == 0:
            return f"{value // unit}{name}"
    return f"{value}"


# Defaults and meanings.


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or value in ("", (), [], {}) or isinstance(value, BaseModel):
        return "—"
    return f"`{shown(field, value)}`"


def shown(field: FieldInfo, value: Any) -> str:
    """A value of this field as people write it."""
    kind = _kind(field.annotation, field.metadata)
    if kind.startswith("duration") and isinstance(value, int | float):
        return spoken(float(value))
    return _size(value) if kind == "size" else _value(value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | list):
        if value and all(isinstance(one, tuple) for one in value):
            return ", ".join("-".join(map(str, one)) for one in value)
        return f"[{', '.join(_value(one) for one in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def meaning(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    """What is written under the field; else the sentence about it in the docstring of the class that declares it."""
    if field.description:
        return code(field.description)
    owner = next((one for one in model.__mro__ if name in inspect.get_annotations(one)), model)
    return _written(owner).get(name) or _sentence(owner, _key(name, field))


def _sentence(owner: type, key: str) -> str:
    doc = code(" ".join((owner.__dict__.get("__doc__") or "").split()))
    return next((one for one in re.split(r"(?<=[.:]) (?=[A-Z`])", doc) if f"`{key}`" in one), "").removesuffix(":")


@cache
def _written(owner: type) -> dict[str, str]:
    """The docstrings under the fields of one class, read from its source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except (OSError, TypeError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for field, after in itertools.pairwise(body):
        is_text = (
            isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str)
        )
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            found[field.target.id] = code(" ".join(after.value.value.split()))  # type: ignore[union-attr]
    return found
