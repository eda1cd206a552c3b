"""What ended long ago is told, or erased: ``/api/v1/prune``, and the page for it, which looks before it erases.

Never does: hold a rule; each route is one call of the App.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field
from starlette.responses import Response

from quell.errors import NotFound, QuellError
from quell.retention import Pruning
from quell.runbook.quantities import seconds
from quell.web.answers import Json, wants_page
from quell.web.api import Hub, app_of
from quell.web.forms import Wrong, carried_out, form_page, named, sent_form
from quell.web.reading import MAX_NAME, Body, held, json_body, spoken_by, takes

router = APIRouter()
PAGE = "/past"
OLDER_THAN = "90d"
"""What the page offers; nothing goes by itself."""


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


# The page.


@router.get(PAGE, include_in_schema=False)
async def past(request: Request, app: Hub) -> Response:
    """With a time: what would be erased, and the form that erases it."""
    typed = dict(request.query_params)
    if "older_than" not in typed:
        return _page(request)
    try:
        asked = _asked(typed)
        found = await app.prune(asked.older_than, "", tenant=asked.tenant, dry_run=True)
    except QuellError as error:
        if not wants_page(request.scope):
            raise
        return _page(request, typed, Wrong("look", "", typed, error))
    return _page(request, typed, found=found)


def _asked(typed: Mapping[str, str]) -> Prune:
    tenant = typed.get("tenant", "").strip()
    return held({"older_than": typed.get("older_than", ""), "tenant": tenant or None}, Prune)


def _page(
    request: Request, typed: Mapping[str, str] | None = None, wrong: Wrong | None = None, found: Pruning | None = None
) -> Response:  # fmt: skip
    said, keep_s = typed or {}, app_of(request).settings.retention.keep
    return form_page(
        request, "past.html", wrong, found=found, keep_s=keep_s, older_than=said.get("older_than", OLDER_THAN).strip(),
        tenant=said.get("tenant", "").strip(),
    )  # fmt: skip


@router.post(PAGE, include_in_schema=False)
async def past_form(request: Request, app: Hub) -> Response:
    """Erase it, and say what was erased."""
    form = await sent_form(request)

    async def act() -> Pruning:
        if form.do != "prune":
            raise NotFound("form", form.do)
        asked = _asked(form.typed)
        return await app.prune(asked.older_than, form.by, tenant=asked.tenant)

    found = await carried_out(request, form, act)
    if isinstance(found, Wrong):
        return _page(request, form.typed, found)
    return named(request, form, _page(request, form.typed, found=found))
