"""Errors and data as HTTP answers, the same everywhere: JSON for programs, a page for browsers.

Every error is ``{"error": sentence, ...}`` with the fields that help: ``problems``, ``nearest``, ``winner``, ``rule``,
``value``, ``limit``. Never does: tell internals; what was not foreseen is logged and answered with a bare 500.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

import orjson
import structlog
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Scope

from quell.errors import Conflict, InvalidInput, NotFound, Problem, QuellError, Refused, Unavailable
from quell.incident.incident import UndeclaredTransition
from quell.redact import KNOWN
from quell.web.render import render

_log = structlog.get_logger("quell")

UNREADABLE = frozenset({"json", "too_deep", "encoding", "key-malformed"})
"""Rules of problems that make a request unreadable (400), rather than wrong (422)."""

REFUSALS = {"size": 413, "token": 401, "signature": 401, "loopback": 403, "host": 421, "csrf": 403, "role": 403}


class Overloaded(Exception):
    """A body that is too big (413) or too slow (408), or guesses that come too fast (429)."""

    def __init__(
        self, message: str, *, status: int = 413, limit: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.limit, self.retry_after = status, limit, retry_after


class Json(JSONResponse):
    """JSON by orjson; models and dates included."""

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, default=_plain, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def problem_json(problem: Problem) -> dict[str, Any]:
    """What is known of a problem, without what is empty."""
    return {name: value for name, value in asdict(problem).items() if value not in ("", 0, None)}


def status_of(error: Exception) -> int:
    """The HTTP status that an error stands for."""
    match error:
        case InvalidInput():
            return 400 if any(problem.rule in UNREADABLE for problem in error.problems) else 422
        case NotFound():
            return 404
        case Conflict() | UndeclaredTransition():
            return 409
        case Refused():
            return REFUSALS.get(error.rule, 403)
        case Unavailable():
            return 503
        case Overloaded():
            return error.status
        case HTTPException():
            return error.status_code
    return 500


def body_of(error: Exception) -> dict[str, Any]:
    """The JSON object that an error becomes."""
    return {"error": _sentence(error)} | {name: value for name, value in _fields(error) if value not in (None, [])}


def _sentence(error: Exception) -> str:
    match error:
        case InvalidInput(problems=[only]):
            return only.message + (f" at {only.path}" if only.path else "")
        case InvalidInput():
            return f"{len(error.problems)} problems"
        case UndeclaredTransition():
            return "the incident has moved on; this is not possible any more"
        case HTTPException():
            return str(error.detail)
        case QuellError() | Overloaded():
            return str(error)
    return "internal error; the server's log has the details"


def _fields(error: Exception) -> Iterator[tuple[str, Any]]:
    match error:
        case InvalidInput():
            yield "problems", [problem_json(problem) for problem in error.problems]
        case NotFound():
            yield "nearest", error.nearest
        case Conflict():
            yield "winner", error.winner
        case Refused():
            yield from (("rule", error.rule), ("value", error.value), ("limit", error.limit))
        case Overloaded():
            yield "limit", error.limit


def headers_of(error: Exception) -> dict[str, str]:
    match error:
        case Unavailable() | Overloaded(retry_after=float()) | Conflict(retry_after=float()):
            return {"Retry-After": str(max(1, math.ceil(error.retry_after or 1)))}
        case Refused(rule="signature"):
            # Amazon SNS has a password for its endpoint, and sends it when it is asked.
            return {"WWW-Authenticate": 'Bearer realm="quell", Basic realm="quell"'}
        case Refused(rule="token"):
            return {"WWW-Authenticate": 'Bearer realm="quell"'}
        case HTTPException():
            return dict(error.headers or {})
    return {}


def answer_to(scope: Scope, error: Exception) -> Response:
    """A page when a browser asked for one, else JSON."""
    status, body = status_of(error), KNOWN.tree(body_of(error))
    if status >= 500 and not isinstance(error, QuellError | HTTPException):
        _log.error("request_failed", path=scope["path"], exc_info=error)
    if not wants_page(scope):
        return Json(body, status, headers_of(error))
    sign_in = isinstance(error, Refused) and error.rule == "token"
    back = scope["path"] if scope["method"] == "GET" else _came_from(scope)
    # Our cookie does not come along from another site's link; it does from a link of ours.
    abroad = sign_in and Headers(scope=scope).get("sec-fetch-site", "none") not in ("none", "same-origin")
    page = render("error.html", status=status, body=body, sign_in=sign_in, abroad=abroad, back=back)
    return HTMLResponse(page, status, headers_of(error))


def _came_from(scope: Scope) -> str:
    """The page of ours whose form was posted: going back there keeps the incident in sight."""
    headers = Headers(scope=scope)
    page = urlsplit(headers.get("referer", ""))
    ours = page.netloc == headers.get("host") and page.path.startswith("/") and not page.path.startswith("//")
    return page.path if ours else "/"


def wants_page(scope: Scope) -> bool:
    """Whether a browser is there to read HTML."""
    if scope["path"].startswith(("/api/", "/alertmanager/api/", "/webhooks/", "/v2/")):
        return False
    accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
    return b"text/html" in accept
