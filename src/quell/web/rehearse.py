"""What would follow from an alert, were it to come now: ``POST /api/v1/route/test``, and the page ``/route``.

Never does: store it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from quell.app import App
from quell.errors import InvalidInput, Problem
from quell.incident.alert import Severity
from quell.incident.imagined import Imagined
from quell.incident.matcher import LONGEST, parse_matchers
from quell.runbook.invalid import problems_of
from quell.runbook.source import Document
from quell.telling.foreseen import Foreseen, foreseen
from quell.web.answers import Json
from quell.web.api import Hub
from quell.web.pages import page_of
from quell.web.reading import caller_of, json_body, takes

router = APIRouter()


@router.post(
    "/api/v1/route/test", tags=["alerts"], response_model=Foreseen, openapi_extra=takes(Imagined, required=True)
)
async def rehearse(request: Request, app: Hub) -> Json:
    """The runbook that an alert is for and why, every other one and why not, and whether it would open an incident,
    join one or be held, next to what is open and silenced now. Nothing is stored, and nobody is paged."""
    return Json(await _foreseen(request, app, await json_body(request, Imagined)))


async def _foreseen(request: Request, app: App, imagined: Imagined) -> Foreseen:
    tenant = caller_of(request).tenant or app.settings.tenant
    return foreseen(await app.alerting.would(imagined.alert(datetime.now(UTC), tenant)), "server")


# The page.

Line = Annotated[str, Query(max_length=200)]


@router.get("/route", include_in_schema=False)
async def page(
    request: Request, app: Hub, labels: Annotated[str, Query(max_length=LONGEST)] = "", source: Line = "",
    severity: Line = "",
) -> Response:  # fmt: skip
    """A form whose address holds the question, so that it can be sent to somebody. Nothing is asked without labels."""
    found, problems = None, list[Problem]()
    if labels.strip():
        try:
            found = await _foreseen(request, app, imagined(labels, source, severity))
        except InvalidInput as error:
            problems = list(error.problems)
    asked = {"labels": labels, "source": source, "severity": severity}
    return page_of(
        request, "route.html", status=422 if problems else 200, asked=asked, found=found, problems=problems,
        sources=sorted({"alertmanager", *app.settings.sources}), severities=list(Severity), most=LONGEST,
    )  # fmt: skip


def imagined(labels: str, source: str = "", severity: str = "") -> Imagined:
    """Labels as people write them: ``alertname=Down, service="shop"``. Raises ``InvalidInput``."""
    try:
        said = parse_matchers(labels)
    except ValueError as error:
        raise InvalidInput(
            [Problem(str(error), "labels", path="labels", expected="alertname=Down, service=shop")]
        ) from None
    if other := [str(one) for one in said if one.operator != "="]:
        wrong = Problem("an alert has its labels, no patterns", "labels", path="labels", found=", ".join(other)[:200])
        raise InvalidInput([wrong])
    given = {"labels": {one.name: one.value for one in said}, "severity": severity or None}
    try:
        return Imagined.model_validate(given | ({"source": source} if source else {}))
    except ValidationError as error:
        raise InvalidInput(problems_of(error, Document(given, file=""), Imagined)) from None
