"""``POST /api/v1/route/test``: what would follow from an alert, were it to come now. Never does: store it."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request

from quell.incident.imagined import Imagined
from quell.telling.foreseen import Foreseen, foreseen
from quell.web.answers import Json
from quell.web.api import Hub
from quell.web.reading import caller_of, json_body, takes

router = APIRouter()


@router.post(
    "/api/v1/route/test", tags=["alerts"], response_model=Foreseen, openapi_extra=takes(Imagined, required=True)
)
async def rehearse(request: Request, app: Hub) -> Json:
    """The runbook that an alert is for and why, every other one and why not, and whether it would open an incident,
    join one or be held, next to what is open and silenced now. Nothing is stored, and nobody is paged."""
    imagined = await json_body(request, Imagined)
    tenant = caller_of(request).tenant or app.settings.tenant
    why = await app.alerting.would(imagined.alert(datetime.now(UTC), tenant))
    return Json(foreseen(why, "server"))
