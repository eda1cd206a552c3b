"""What stops actions, and lets them go on: ``/api/v1/pauses``, ``/api/v1/breakers``, and the page for both.

Never does: hold a rule; each route, and each form of the page, is one call of the App.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field
from starlette.responses import Response

from quell.errors import NotFound
from quell.incident.pause import Pause, Scope
from quell.runbook.quantities import seconds
from quell.web.answers import Json
from quell.web.api import Hub, Name, app_of
from quell.web.forms import Form, Wrong, carried_out, done, form_page, sent_form
from quell.web.reading import MAX_NAME, Body, Word, held, json_body, spoken_by, takes

router = APIRouter()
PAGE = "/guardrails"
SCOPES = {
    Scope.ALL: "Everything, of every tenant", Scope.SERVICE: "On a service", Scope.RUNBOOK: "By a runbook",
    Scope.ACTION: "An action, by its type", Scope.TENANT: "For a tenant",
}  # fmt: skip


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


# The page.


@router.get(PAGE, include_in_schema=False)
async def guardrails(request: Request) -> Response:
    return await _page(request)


async def _page(request: Request, wrong: Wrong | None = None) -> Response:
    app = app_of(request)
    on, repaired = await app.pauses(), await app.breakers()
    return form_page(
        request, "guardrails.html", wrong, on=on, breakers=repaired, scopes=list(SCOPES.items()),
        house=app.settings.tenant,
    )  # fmt: skip


@router.post(PAGE, include_in_schema=False)
async def guardrails_form(request: Request, app: Hub) -> Response:
    """Pause, resume or reset from the page."""
    form = await sent_form(request)

    async def act() -> None:
        match form.do:
            case "pause":
                pull = held({name: form.text(name) for name in ("scope", "name", "for", "reason")}, Pull)
                await app.pause(pull.scope, pull.name, for_s=pull.lasts, by=form.by, reason=pull.reason)
            case "resume":
                await app.resume(form.of, None, "", by=form.by, reason=_why(form))
            case "reset":
                await app.reset(form.of, form.by, _why(form))
            case _:
                raise NotFound("form", form.do)

    wrong = await carried_out(request, form, act)
    return await _page(request, wrong) if isinstance(wrong, Wrong) else done(request, form, PAGE)


def _why(form: Form) -> str:
    return held({"reason": form.text("reason")}, Word).reason
