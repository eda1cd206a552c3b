"""``/api/v1/prune``: what ended long ago is erased, or told.

Never does: hold a rule; the route is one call of the App.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field

from quell.runbook.quantities import seconds
from quell.web.answers import Json
from quell.web.api import Hub
from quell.web.reading import MAX_NAME, Body, json_body, spoken_by, takes

router = APIRouter()


class Prune(Body):
    """How old, and whose; ``dry_run`` only tells."""

    older_than: Annotated[float, BeforeValidator(seconds)]
    dry_run: bool = False
    tenant: str | None = Field(default=None, max_length=MAX_NAME)
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Erased(BaseModel):
    """``erased``: rows by what they are; ``kept``: old incidents that stay, by why; the first and last that ended."""

    dry_run: bool
    before: datetime
    erased: dict[str, int]
    kept: dict[str, int]
    oldest: datetime | None
    newest: datetime | None
    checkpoint: str | None


@router.post("/api/v1/prune", tags=["server"], response_model=Erased, openapi_extra=takes(Prune, required=True))
async def prune(request: Request, app: Hub) -> Json:
    """Erase what ended longer ago than ``older_than``, which is at least a day; answers when it is done."""
    asked = await json_body(request, Prune)
    by = spoken_by(request, asked.by)
    done = await app.prune(asked.older_than, by, tenant=asked.tenant, dry_run=asked.dry_run)
    return Json(done.told)
