"""``GET /api/v1/sources``: what comes of each source, and whether it is late. Never does: hold a rule."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from quell.heartbeats import Source
from quell.web.answers import Json
from quell.web.api import Hub
from quell.web.reading import caller_of

router = APIRouter()


class Sources(BaseModel):
    """Those that are late come first."""

    sources: list[Source]


@router.get("/api/v1/sources", tags=["alerts"], response_model=Sources)
async def sources(request: Request, app: Hub) -> Json:
    """Those that are configured, and those that something came of: when each was last heard, how often it is expected,
    and how much came."""
    return Json({"sources": await app.heartbeats.listed(caller_of(request).tenant)})
