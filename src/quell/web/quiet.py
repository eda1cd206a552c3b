"""What keeps alerts quiet: ``/api/v1/silences``, ``/api/v1/maintenance``, and the page for both.

Never does: hold a rule; each route, and each form of the page, is one call of the App.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from starlette.responses import Response

from quell.app import App
from quell.errors import InvalidInput, NotFound, Problem
from quell.incident.matcher import LONGEST, MOST, Matcher, parse_matchers
from quell.incident.silence import Silence, SilenceState
from quell.runbook.quantities import seconds
from quell.web.answers import Json
from quell.web.api import Hub, Name, app_of
from quell.web.forms import Wrong, carried_out, done, form_page, sent_form
from quell.web.reading import MAX_NAME, Body, caller_of, held, json_body, spoken_by, takes

router = APIRouter()
PAGE = "/silences"
_FIELDS = {"endsAt": "for", "createdBy": "by", "comment": "reason"}
"""What a silence is told in Alertmanager's words, in those of our bodies and forms."""


def _readable(text: str) -> str:
    parse_matchers(text)
    return text


Matching = Annotated[str, Field(min_length=1, max_length=LONGEST), AfterValidator(_readable)]


class Hush(Body):
    """Which alerts, for how long, why. ``alert`` in the place of matchers: whatever has the labels of this one."""

    matchers: tuple[Matching, ...] = Field(default=(), max_length=MOST)
    alert: str | None = Field(default=None, max_length=1000)
    lasts: Annotated[float, BeforeValidator(seconds)] = Field(alias="for")
    reason: str = Field(max_length=500)
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Ending(Body):
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Told(BaseModel):
    """A silence. ``holds``: how many alerts it keeps quiet now."""

    id: str
    what: str
    matchers: tuple[Matcher, ...]
    state: SilenceState
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    by: str
    reason: str
    holds: int
    says: str


class Silences(BaseModel):
    silences: list[Told]


class Window(BaseModel):
    """``until``: when it ends, while it is on; ``next``: when it begins next."""

    name: str
    what: str
    on: bool
    until: datetime | None
    next: datetime | None
    holds: int


class Windows(BaseModel):
    maintenance: list[Window]


def told(silence: Silence, at: datetime, holds: int = 0) -> Told:
    return Told(
        **silence.model_dump(exclude={"tenant", "comment", "matchers"}), matchers=silence.matchers, what=silence.what,
        state=silence.state(at), reason=silence.comment, holds=holds, says=silence.says,
    )  # fmt: skip


@router.get("/api/v1/silences", tags=["alerts"], response_model=Silences)
async def silences(request: Request, app: Hub, ended: bool = False) -> Json:
    """Those that have not ended, the last to end first; with ``ended`` those of the last five days too."""
    return Json({"silences": await _silences(app, caller_of(request).tenant, ended)})


@router.get("/api/v1/silences/{silence}", tags=["alerts"], response_model=Told)
async def one_silence(request: Request, app: Hub, silence: Name) -> Json:
    """One by its id, or a unique beginning of it."""
    tenant = caller_of(request).tenant
    found = await app.alerting.find_silence(silence, tenant)
    holds = (await app.alerting.held(tenant)).get(found.held_as, 0)
    return Json(told(found, datetime.now(UTC), holds))


@router.post(
    "/api/v1/silences", tags=["alerts"], response_model=Told, status_code=201, openapi_extra=takes(Hush, required=True)
)
async def silence(request: Request, app: Hub) -> Json:
    """From now on alerts that fit every matcher open nothing and page nobody, until it ends. They are recorded."""
    hush = await json_body(request, Hush)
    made = await _hushed(app, hush, spoken_by(request, hush.by), caller_of(request).tenant)
    return Json(told(made, made.updated_at), 201)


@router.post("/api/v1/silences/{silence}/end", tags=["alerts"], response_model=Told, openapi_extra=takes(Ending))
async def end(request: Request, app: Hub, silence: Name) -> Json:
    """What it held and still fires is looked at again now. 409 when it has ended already."""
    ending = await json_body(request, Ending)
    with _in_our_words():
        over = await app.alerting.unsilence(silence, spoken_by(request, ending.by), caller_of(request).tenant)
    return Json(told(over, over.ends_at))


@router.get("/api/v1/maintenance", tags=["alerts"], response_model=Windows)
async def maintenance(request: Request, app: Hub) -> Json:
    """The windows of the configuration: whether each is on, until when, and when it is on next."""
    return Json({"maintenance": await _windows(app, caller_of(request).tenant)})


async def _silences(app: App, tenant: str | None, ended: bool) -> list[Told]:
    now, holds = datetime.now(UTC), await app.alerting.held(tenant)
    found = await app.alerting.silences(tenant, ended=ended)
    return [told(one, now, holds.get(one.held_as, 0)) for one in found]


async def _windows(app: App, tenant: str | None) -> list[Window]:
    holds = await app.alerting.held(tenant)
    return [
        Window(
            name=one.name, what=one.what, on=one.on, until=one.until, next=one.next, holds=holds.get(one.held_as, 0)
        )
        for one in await app.alerting.maintenance()
    ]  # fmt: skip


async def _hushed(app: App, hush: Hush, by: str, tenant: str | None) -> Silence:
    matchers = tuple(one for text in hush.matchers for one in parse_matchers(text))
    if hush.alert is not None and matchers:
        problem = Problem("name an alert or matchers, not both", "silence", path="alert", found=hush.alert)
        raise InvalidInput([problem])
    if hush.alert is not None:
        matchers = await app.alerting.matchers_of(hush.alert, tenant)
    with _in_our_words():
        return await app.alerting.silence_for(matchers, hush.lasts, by, hush.reason, tenant)


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(replace(one, path=_FIELDS.get(one.path, one.path)) for one in error.problems) from None


# The page.


@router.get(PAGE, include_in_schema=False)
async def silences_page(request: Request, app: Hub, alert: str = "", ended: bool = False) -> Response:
    """``alert``: one whose labels the form begins with."""
    matchers = await app.alerting.matchers_of(alert, caller_of(request).tenant) if alert else ()
    return await _page(request, matchers=", ".join(str(one) for one in matchers), ended=ended)


async def _page(request: Request, wrong: Wrong | None = None, *, matchers: str = "", ended: bool = False) -> Response:
    app, tenant = app_of(request), caller_of(request).tenant
    found = await _silences(app, tenant, ended)
    return form_page(
        request, "silences.html", wrong, matchers=matchers, ended=ended, windows=await _windows(app, tenant),
        on=[one for one in found if one.state is not SilenceState.EXPIRED],
        over=[one for one in found if one.state is SilenceState.EXPIRED], most=LONGEST,
    )  # fmt: skip


@router.post(PAGE, include_in_schema=False)
async def silences_form(request: Request, app: Hub) -> Response:
    """Make a silence or end one from the page."""
    form, tenant = await sent_form(request), caller_of(request).tenant

    async def act() -> Any:
        match form.do:
            case "silence":
                typed = {name: form.text(name) for name in ("for", "reason")}
                matchers = (form.text("matchers"),) if form.text("matchers") else ()
                return await _hushed(app, held({**typed, "matchers": matchers}, Hush), form.by, tenant)
            case "end":
                with _in_our_words():
                    return await app.alerting.unsilence(form.of, form.by, tenant)
        raise NotFound("form", form.do)

    wrong = await carried_out(request, form, act)
    return await _page(request, wrong) if isinstance(wrong, Wrong) else done(request, form, PAGE)
