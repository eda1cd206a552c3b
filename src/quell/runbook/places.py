"""Which leaves of a plug-in's config are addresses, as its parameters declare it.

A field says so in its annotation: ``url: Annotated[str, IS_URL]``. Around other models, as in
``Annotated[tuple[Target, ...], IS_URL]``, the mark means the texts that stand in for one of them.
Never does: know a plug-in, or look at a value to guess what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin
from urllib.parse import quote

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from quell.addresses import IS_URL

_BEHIND_HOST = re.compile(r"://[^/?#]*[/?#]")
_CLIMB = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?=[/?#]|\Z)", re.IGNORECASE)


def in_url(before: str, value: str) -> str:
    """A value as it may follow ``before`` in an address: it fills the part that it stands in, and begins no other."""
    if not before:
        return value  # the address begins with it: the value is an address itself
    return quote(value, safe="" if _BEHIND_HOST.search(before) else ":[]")


def climbs(url: str) -> bool:
    """Whether the path has a ``.`` or ``..`` of its own, which percent-encoding does not hide from everybody."""
    return _CLIMB.search(url.partition("://")[2]) is not None


def url_places(model: type[BaseModel], config: Mapping[str, Any]) -> Callable[[str], bool]:
    """Whether a location of ``config``, as ``template.fill`` names it, is an address."""
    found = frozenset(_in_model(model, config, ""))
    return found.__contains__


def _in_model(model: type[BaseModel], config: Mapping[str, Any], place: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        for key in {name, *_aliases(field)} & set(config):
            yield from _in_field(field, config[key], f"{place}.{key}" if place else str(key))


def _aliases(field: FieldInfo) -> Iterator[str]:
    choices = (field.alias, *getattr(field.validation_alias, "choices", (field.validation_alias,)))
    return (choice for choice in choices if isinstance(choice, str))


def _in_field(field: FieldInfo, value: Any, place: str) -> Iterator[str]:
    parts = [*field.metadata, *_parts(field.annotation)]
    marked = any(part is IS_URL for part in parts)
    models = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
    items = enumerate(value) if isinstance(value, list | tuple) else ((None, value),)
    for at, item in items:
        here = place if at is None else f"{place}[{at}]"
        if isinstance(item, str) and marked:
            yield here
        elif isinstance(item, Mapping):
            for model in models:
                yield from _in_model(model, item, here)


def _parts(annotation: Any) -> Iterator[Any]:
    """Every class and mark that an annotation is made of."""
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
    arguments = get_args(annotation)
    if not arguments:
        yield annotation
    for argument in arguments:
        yield from _parts(argument)
