"""``/api/v1`` for whoever has an incident in hand: steps by hand, handing over, breaking the glass, closing; and what
was kept for now or only rehearsed.

Never does: hold a rule; each route is one call of the App.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field

from quell.incident.incident import Incident
from quell.incident.obligation import Obligation
from quell.incident.shadow import Record
from quell.runbook.quantities import seconds
from quell.web.answers import Json
from quell.web.api import Hub, Name
from quell.web.reading import MAX_NAME, Body, Word, caller_of, json_body, spoken_by, takes

router = APIRouter()


class HandOver(Body):
    """To whom, and what they must know beside what the log tells."""

    to: str = Field(min_length=1, max_length=MAX_NAME)
    note: str = Field(default="", max_length=2000)
    by: str | None = Field(default=None, max_length=MAX_NAME)


class ByHand(Body):
    """A step of the runbook by its id, or what a person calls it."""

    step: str = Field(min_length=1, max_length=200)
    result: Literal["done", "failed"] = "done"
    note: str = Field(default="", max_length=2000)
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Glass(Body):
    """Why, and for how long: at most ``4h``."""

    reason: str = Field(min_length=1, max_length=500)
    lasts: Annotated[float, BeforeValidator(seconds)] = Field(default=900.0, alias="for")
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Settled(Body):
    """``obligation``: its id, as the list has it."""

    obligation: str = Field(min_length=1, max_length=500)
    how: Literal["kept", "reverted"]
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Obligations(BaseModel):
    obligations: list[Obligation]


class Shadows(BaseModel):
    runbooks: list[Record]


@router.post(
    "/api/v1/incidents/{incident}/hand-over", tags=["people"], response_model=Incident,
    openapi_extra=takes(HandOver, required=True),
)  # fmt: skip
async def hand_over(request: Request, app: Hub, incident: Name) -> Json:
    """With what was tried, is pending and is left in place. Whoever is named accepts by taking it."""
    word = await json_body(request, HandOver)
    return Json(await app.hand_over(incident, spoken_by(request, word.by), word.to, word.note))


@router.post(
    "/api/v1/incidents/{incident}/steps", tags=["people"], response_model=Incident,
    openapi_extra=takes(ByHand, required=True),
)  # fmt: skip
async def step(request: Request, app: Hub, incident: Name) -> Json:
    """What somebody did by hand, and whether it worked."""
    word = await json_body(request, ByHand)
    return Json(await app.step(incident, spoken_by(request, word.by), word.step, word.result, word.note))


@router.post(
    "/api/v1/incidents/{incident}/break-glass", tags=["guardrails"], response_model=Incident,
    openapi_extra=takes(Glass, required=True),
)  # fmt: skip
async def break_glass(request: Request, app: Hub, incident: Name) -> Json:
    """For this incident no pause, freeze or window of hours counts until the time is over. Whoever is paged is told."""
    word = await json_body(request, Glass)
    return Json(await app.break_glass(incident, spoken_by(request, word.by), word.reason, word.lasts))


@router.post("/api/v1/incidents/{incident}/close", tags=["people"], response_model=Incident, openapi_extra=takes(Word))
async def close(request: Request, app: Hub, incident: Name) -> Json:
    """A resolved one, for good. 409 while something is still kept for now."""
    word = await json_body(request, Word)
    return Json(await app.close(incident, spoken_by(request, word.by), word.reason))


@router.get("/api/v1/obligations", tags=["people"], response_model=Obligations)
async def obligations(request: Request, app: Hub) -> Json:
    """What is kept for now, what is due first coming first."""
    return Json({"obligations": await app.obligations(caller_of(request).tenant)})


@router.post(
    "/api/v1/obligations/end", tags=["people"], response_model=Incident, openapi_extra=takes(Settled, required=True)
)
async def settle(request: Request, app: Hub) -> Json:
    """It is kept for good, or was reverted by hand. 404 when there is no such one any more."""
    word = await json_body(request, Settled)
    by, tenant = spoken_by(request, word.by), caller_of(request).tenant
    return Json(await app.settle_obligation(word.obligation, word.how, by, tenant))


@router.get("/api/v1/shadow", tags=["runbooks"], response_model=Shadows)
async def shadows(request: Request, app: Hub) -> Json:
    """How the runbooks that ran in shadow mode compare with what people did."""
    return Json({"runbooks": await app.shadows(caller_of(request).tenant)})
