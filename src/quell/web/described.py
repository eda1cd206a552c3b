"""The OpenAPI description: what FastAPI reads from the routes, and what holds for all of them, said once.

Errors have one shape and come from one place (``answers``), so they are described in one place. A test holds all of
it against a real server. Never does: describe pages, answer.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from quell.web.repeats import LONGEST_KEY

REF = "#/components/{}/{}"


class WrongPart(BaseModel):
    """One thing that is wrong with a request, or with a runbook."""

    model_config = ConfigDict(extra="forbid")

    message: str
    rule: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    path: str | None = None
    found: str | None = None
    expected: str | None = None
    nearest: str | None = None
    severity: str = "error"


class Error(BaseModel):
    """What went wrong in a sentence, and the fields that help: every problem, the nearest name, who was faster, the
    rule with the value and its limit."""

    error: str
    problems: list[WrongPart] | None = None
    nearest: str | None = None
    winner: str | None = None
    rule: str | None = None
    value: Any = None
    limit: Any = None


ERRORS = {
    400: "It cannot be read: not JSON, nested too deep, a text that no database holds, or a key that is none.",
    401: "A valid token is needed.",
    403: "It needs another role; or a page of another site asked for a change.",
    404: "There is nothing of that name; the nearest is told.",
    408: "The body did not arrive in time.",
    409: "Somebody was faster, or it has moved on; or a request with this key is under way (`Retry-After`).",
    413: "The body is too big.",
    421: "This server does not have that name.",
    422: "Something in it is wrong: every problem is told.",
    429: "Too many wrong tokens came from there; come again (`Retry-After`).",
    503: "The database does not answer; come again (`Retry-After`).",
}
ALWAYS, NAMING, CHANGING = {401, 403, 421, 429, 503}, {400, 404, 422}, {400, 404, 408, 409, 413, 422}
"""Of every operation; of one with parameters; of one with a body."""

RETRY_AFTER = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
KEY = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "description": "Sent again with the same key, the request has no second effect and gets the answer of the first, "
    "for 24 hours. A structured field's string, or its bare text.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[!#-+\\-./0-9:-\\[\\]-~]+$"},
}  # fmt: skip


class Described(FastAPI):
    """A FastAPI whose description is complete."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = _completed(super().openapi())
        return self.openapi_schema


def _completed(found: dict[str, Any]) -> dict[str, Any]:
    parts = found["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(name, None)
    shapes = Error.model_json_schema(ref_template=REF.format("schemas", "{model}"))
    parts["schemas"] |= {**shapes.pop("$defs"), "Error": shapes}
    parts["responses"] = {str(status): _response(status, text) for status, text in ERRORS.items()}
    parts["parameters"] = {"key": KEY}
    for path in found["paths"].values():
        for method, operation in path.items():
            _complete(method, operation)
    return found


def _response(status: int, text: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": REF.format("schemas", "Error")}}}
    headers = {"headers": {"Retry-After": RETRY_AFTER}} if status in (409, 429, 503) else {}
    return {"description": text, "content": content, **headers}


def _complete(method: str, operation: dict[str, Any]) -> None:
    statuses = ALWAYS | (NAMING if "parameters" in operation else set())
    if method == "post":
        statuses |= CHANGING
        operation.setdefault("parameters", []).append({"$ref": REF.format("parameters", "key")})
    for status in sorted(statuses):
        operation["responses"][str(status)] = {"$ref": REF.format("responses", status)}
