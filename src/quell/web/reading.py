"""Bodies, read by hand: JSON whatever the content type says, every problem at once, forms without a library.

FastAPI's own validation would cost most of a hot route and name problems differently. Never does: act.
"""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from quell.errors import InvalidInput, Problem
from quell.incident.access import Caller
from quell.runbook.invalid import plainly
from quell.runbook.vocabulary import nearest

CALLER, STILL = "quell.caller", "quell.still"
"""Where in a request's scope the gate says who asks, and how to ask whether they still may."""
MAX_DEPTH = 64
MAX_NAME = 100


class Body(BaseModel):
    """What the API is told. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Word(Body):
    """Who says so, and why. ``by`` loses against the header X-Quell-User, and both against the name of a token that
    speaks for nobody else; without any of them it is 422.
    """

    by: str | None = Field(default=None, max_length=MAX_NAME)
    reason: str = Field(default="", max_length=2000)


B = TypeVar("B", bound=BaseModel)


async def json_body(request: Request, model: type[B]) -> B:
    """The body as ``model``; an empty one is an empty object. Raises ``InvalidInput`` with every problem."""
    data = parse_json(await request.body())
    if not isinstance(data, dict):
        raise InvalidInput([Problem("the body is not an object", "type", expected="object")])
    return held(data, model)


def held(data: dict[str, Any], model: type[B]) -> B:
    """What a body or a form says, as ``model``. Raises ``InvalidInput`` with every problem."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(_problem(item, model) for item in error.errors(include_url=False)) from None


def parse_json(body: bytes) -> Any:
    """Raises ``InvalidInput`` naming the place: not JSON, nested too deep, or a NUL that no database can hold."""
    try:
        data = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        problem = Problem(f"not JSON: {error.msg}", "json", line=error.lineno, column=error.colno)
        raise InvalidInput([problem]) from None
    level = [("", data)]
    for _ in range(MAX_DEPTH):
        level = [(f"{path}.{key}", child) for path, node in level for key, child in _children(node)]
    if level:
        path = level[0][0].lstrip(".")
        raise InvalidInput([Problem(f"nested deeper than {MAX_DEPTH}", "too_deep", path=path[:200])])
    if b"\\u0000" in body:
        raise InvalidInput([Problem("a text has a NUL in it", "encoding")])
    return data


def _children(node: Any) -> list[tuple[str, Any]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [(str(key), child) for key, child in pairs if isinstance(child, dict | list)]


def _problem(item: Any, model: type[BaseModel]) -> Problem:
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return Problem("unknown key", "unknown", path=path, nearest=nearest(path, _names(model)))
    found = None if item["type"] == "missing" else str(item["input"])[:80]
    return Problem(plainly(item), item["type"], path=path, found=found)


def _names(model: type[BaseModel]) -> list[str]:
    return list(model.model_json_schema(by_alias=True)["properties"])


async def form_body(request: Request) -> dict[str, str]:
    """An HTML form (``application/x-www-form-urlencoded``); of repeated names the last counts."""
    text = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=50))
    except ValueError as error:
        raise InvalidInput([Problem(f"not a form: {error}", "encoding")]) from None


def caller_of(request: Request) -> Caller:
    """Who asks, as the gate has found out."""
    caller: Caller = request.scope[CALLER]
    return caller


def spoken_by(request: Request, given: str | None = None) -> str:
    """Who acts: the name of the token. One that speaks for others says who: by the header X-Quell-User, else by what
    was given. One printable line, empty when nobody is named."""
    return caller_of(request).speaks_as(_printable(request.headers.get("x-quell-user")) or _printable(given))


def _printable(name: str | None) -> str:
    return "".join(sign for sign in name or "" if sign.isprintable()).strip()[:MAX_NAME].strip()


def takes(model: type[BaseModel], *, required: bool = False) -> dict[str, Any]:
    """The OpenAPI description of a body that ``json_body`` reads."""
    schema = {"application/json": {"schema": model.model_json_schema(by_alias=True)}}
    return {"requestBody": {"required": required, "content": schema}}
