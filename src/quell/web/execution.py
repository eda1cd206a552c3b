"""An incident's execution as a report: ``/api/v1/incidents/{incident}/execution``, and the page for it, which prints.

The same as ``quell audit report``, from the same events. Never does: say anything that is not in the log.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from quell.app import App
from quell.telling.execution import Step, execution
from quell.web.answers import Json
from quell.web.api import Hub, Name
from quell.web.pages import page_of

router = APIRouter()


class Execution(BaseModel):
    """``summary``: how it ended, how long it took in milliseconds, how much was done, and whether people took part."""

    version: str = Field(alias="schema")
    execution: str
    at: datetime
    steps: list[Step]
    summary: dict[str, Any]


@router.get("/api/v1/incidents/{incident}/execution", tags=["incidents"], response_model=Execution)
async def report(app: Hub, incident: Name) -> Json:
    """What was done, step by step, with how long each took and the hash of its event; as quell audit report --json."""
    return Json(await _report(app, incident))


@router.get("/incidents/{incident}/execution", include_in_schema=False)
async def page(request: Request, app: Hub, incident: Name) -> Response:
    return page_of(request, "execution.html", report=await _report(app, incident))


async def _report(app: App, incident: str) -> dict[str, Any]:
    known = await app.incident(incident)
    return execution(await app.timeline(known.id))
