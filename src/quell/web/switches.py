"""``/api/v1/pauses`` and ``/api/v1/breakers``: what stops actions, and lets them go on.

Never does: hold a rule; each route is one call of the App.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field

from quell.incident.pause import Pause, Scope
from quell.runbook.quantities import seconds
from quell.web.answers import Json
from quell.web.api import Hub, Name
from quell.web.reading import MAX_NAME, Body, Word, json_body, spoken_by, takes

router = APIRouter()


class Pull(Body):
    """What is stopped, for how long, why."""

    scope: Scope
    name: str = Field(default="", max_length=MAX_NAME)
    lasts: Annotated[float, BeforeValidator(seconds)] = Field(alias="for")
    reason: str = Field(max_length=500)
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Release(Body):
    """A pause by its id, or all of a scope; neither, when only one is on."""

    pause: str | None = Field(default=None, max_length=MAX_NAME)
    scope: Scope | None = None
    name: str = Field(default="", max_length=MAX_NAME)
    reason: str = Field(default="", max_length=500)
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Paused(BaseModel):
    pauses: list[Pause]


@router.get("/api/v1/pauses", tags=["guardrails"], response_model=Paused)
async def pauses(app: Hub) -> Json:
    """What is paused now."""
    return Json({"pauses": [shown(one) for one in await app.pauses()]})


@router.post(
    "/api/v1/pauses", tags=["guardrails"], response_model=Pause, status_code=201,
    openapi_extra=takes(Pull, required=True),
)  # fmt: skip
async def pause(request: Request, app: Hub) -> Json:
    """No action that it covers runs until it ends. 404 names the nearest service, runbook or action."""
    pull = await json_body(request, Pull)
    made = await app.pause(
        pull.scope, pull.name, for_s=pull.lasts, by=spoken_by(request, pull.by), reason=pull.reason
    )  # fmt: skip
    return Json(shown(made), 201)


@router.post("/api/v1/pauses/resume", tags=["guardrails"], openapi_extra=takes(Release))
async def resume(request: Request, app: Hub) -> Json:
    """What was paused may act again."""
    free = await json_body(request, Release)
    ended = await app.resume(free.pause, free.scope, free.name, by=spoken_by(request, free.by), reason=free.reason)
    return Json({"resumed": [shown(one) for one in ended]})


@router.get("/api/v1/breakers", tags=["guardrails"])
async def breakers(app: Hub) -> Json:
    """Services that were repaired lately; a tripped one asks a person before it is repaired again."""
    found = await app.breakers()
    return Json({"breakers": [{**asdict(one), "tripped": one.tripped} for one in found]})


@router.post("/api/v1/breakers/{service}/reset", tags=["guardrails"], openapi_extra=takes(Word, required=True))
async def reset(request: Request, app: Hub, service: Name) -> Json:
    """From now on it is counted anew. 404 names the nearest service."""
    word = await json_body(request, Word)
    by = spoken_by(request, word.by)
    await app.reset(service, by, word.reason)
    return Json({"service": service, "by": by, "reason": word.reason})


def shown(pause: Pause) -> dict[str, Any]:
    return {**pause.model_dump(mode="json"), "what": pause.what, "says": pause.says}


def header(pause: Pause) -> str:
    """For the header of an answer: what and how long; who and why may have letters that no header can carry."""
    return (
        f"{pause.scope.value} {pause.name} until {pause.until:%Y-%m-%dT%H:%M:%SZ}".replace("  ", " ")
        .encode("ascii", "backslashreplace")
        .decode()
    )
