"""Which alerts are one incident, put right by a person: merge and split under ``/api/v1``, and the page for both.

Never does: hold a rule; each route, and each form of the page, is one call of the App.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from quell.errors import NotFound
from quell.incident.incident import ENDED, Incident
from quell.web.answers import Json
from quell.web.api import Hub, Name, app_of
from quell.web.forms import Form, Wrong, carried_out, done, form_page, sent_form
from quell.web.reading import MAX_NAME, Body, caller_of, held, json_body, spoken_by, takes

router = APIRouter()
SHOWN = 40
"""Alerts and incidents of one page; a command or a program names any of them."""
PICKED = "alert-"
"""How the fields are called by which alerts are chosen."""
AlertName = Annotated[str, Field(min_length=1, max_length=1000)]


class Merge(Body):
    """Into which incident, and why."""

    into: str = Field(min_length=1, max_length=MAX_NAME)
    reason: str = Field(default="", max_length=500)
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Split(Body):
    """Which of its alerts leave: each by its id, its fingerprint or the beginning of it, or its name."""

    alerts: tuple[AlertName, ...] = Field(min_length=1, max_length=1000)
    reason: str = Field(default="", max_length=500)
    by: str | None = Field(default=None, max_length=MAX_NAME)


@router.post(
    "/api/v1/incidents/{incident}/merge", tags=["people"], response_model=Incident,
    openapi_extra=takes(Merge, required=True),
)  # fmt: skip
async def merge(request: Request, app: Hub, incident: Name) -> Json:
    """It goes on in the other one, which is the answer: its alerts are the other's, its run ends. 409 when one of them
    is over, or something was begun for the one that would end."""
    word = await json_body(request, Merge)
    by, tenant = spoken_by(request, word.by), caller_of(request).tenant
    return Json(await app.alerting.merge(incident, word.into, by, word.reason, tenant))


@router.post(
    "/api/v1/incidents/{incident}/split", tags=["people"], response_model=Incident, status_code=201,
    openapi_extra=takes(Split, required=True),
)  # fmt: skip
async def split(request: Request, app: Hub, incident: Name) -> Json:
    """Alerts of it become an incident of their own, which is the answer. 409 when nothing would stay."""
    word = await json_body(request, Split)
    by, tenant = spoken_by(request, word.by), caller_of(request).tenant
    return Json(await app.alerting.split(incident, word.alerts, by, word.reason, tenant), 201)


# The page.


@router.get("/incidents/{incident}/alerts", include_in_schema=False)
async def alerts(request: Request, incident: Name) -> Response:
    return await _page(request, incident)


async def _page(request: Request, incident: str, wrong: Wrong | None = None) -> Response:
    app, tenant = app_of(request), caller_of(request).tenant
    known = await app.incident(incident)
    mine = await app.alerting.alerts_in(known.id, SHOWN, tenant)
    others = [one for one in await app.incidents(limit=SHOWN, ended=False, tenant=known.tenant) if one.id != known.id]
    return form_page(
        request, "belongs.html", wrong, one=known, alerts=mine, picked=PICKED, over=known.status in ENDED,
        more=max(0, len(known.firing) + len(known.resolved_alerts) - len(mine)),
        others=[(other.id, f"{other.title} · {other.service or 'no service'} · {other.id}") for other in others],
    )  # fmt: skip


@router.post("/incidents/{incident}/alerts", include_in_schema=False)
async def alerts_form(request: Request, app: Hub, incident: Name) -> Response:
    """Merge or split from the page; what comes of it is shown next."""
    form, tenant = await sent_form(request), caller_of(request).tenant

    async def act() -> Any:
        match form.do:
            case "merge":
                word = held({"into": form.text("into"), "reason": form.text("reason")}, Merge)
                return await app.alerting.merge(incident, word.into, form.by, word.reason, tenant)
            case "split":
                parted = held({"alerts": _picked(form), "reason": form.text("reason")}, Split)
                return await app.alerting.split(incident, parted.alerts, form.by, parted.reason, tenant)
        raise NotFound("form", form.do)

    came_of = await carried_out(request, form, act)
    if isinstance(came_of, Wrong):
        return await _page(request, incident, came_of)
    return done(request, form, f"/incidents/{came_of.id}")


def _picked(form: Form) -> tuple[str, ...]:
    return tuple(value for name, value in form.typed.items() if name.startswith(PICKED))
