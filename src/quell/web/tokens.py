"""Tokens, made, listed and revoked: ``/api/v1/tokens``, and the page for it.

Never does: hold a rule; each route, and each form of the page, is one call of the App. Shows no token's text twice, but
to whoever clicked twice.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field
from starlette.responses import Response

from quell.access import DEFAULT_S
from quell.errors import NotFound
from quell.incident.access import Role, Token
from quell.runbook.quantities import seconds, spoken
from quell.web.answers import Json
from quell.web.api import Hub, Name, app_of
from quell.web.forms import Form, Wrong, carried_out, done, form_page, named, sent_form
from quell.web.reading import MAX_NAME, Body, Word, held, json_body, spoken_by, takes
from quell.web.sign import desk_of

router = APIRouter()
PAGE = "/tokens"
MAY = {
    Role.VIEWER: "look", Role.RESPONDER: "look and work on incidents", Role.APPROVER: "also say yes or no to actions",
    Role.ADMIN: "do everything",
}  # fmt: skip


class Wanted(Body):
    """Whose it is, what they may, how long. ``proxy``: it speaks for others, whom X-Quell-User names."""

    name: str = Field(max_length=MAX_NAME)
    role: Role
    tenant: str | None = Field(default=None, max_length=MAX_NAME)
    lasts: Annotated[float, BeforeValidator(seconds)] = Field(default=DEFAULT_S, alias="for")
    proxy: bool = False
    by: str | None = Field(default=None, max_length=MAX_NAME)


class Listed(BaseModel):
    tokens: list[Token]


@router.get("/api/v1/tokens", tags=["access"], response_model=Listed)
async def tokens(app: Hub) -> Json:
    """Every token with its state, the oldest first; the text of none."""
    return Json({"tokens": [one.told(state) for one, state in await app.access.every()]})


@router.post(
    "/api/v1/tokens", tags=["access"], response_model=Token, status_code=201, openapi_extra=takes(Wanted, required=True)
)
async def create(request: Request, app: Hub) -> Json:
    """The answer has the token's text, as ``text``, this once. 409 when somebody has the name."""
    wanted = await json_body(request, Wanted)
    made, text = await app.access.create(
        wanted.name, wanted.role, spoken_by(request, wanted.by), tenant=wanted.tenant, lasts_s=wanted.lasts,
        proxy=wanted.proxy,
    )  # fmt: skip
    return Json(made.told("valid") | {"text": text}, 201)


@router.delete("/api/v1/tokens/{token}", tags=["access"], openapi_extra=takes(Word))
async def revoke(request: Request, app: Hub, token: Name) -> Json:
    """By its id or its name, and every session it began; ``local``: the sessions that links began."""
    word = await json_body(request, Word)
    gone = await app.access.revoke(token, spoken_by(request, word.by), word.reason)
    desk_of(request).forget()
    return Json(gone.told("revoked") if gone else {"name": token, "state": "revoked"})


# The page.


@router.get(PAGE, include_in_schema=False)
async def tokens_page(request: Request) -> Response:
    return await _page(request)


async def _page(request: Request, wrong: Wrong | None = None, made: Token | None = None, text: str = "") -> Response:
    roles = [(role, f"{role}: may {may}") for role, may in MAY.items()]
    return form_page(
        request, "tokens.html", wrong, tokens=await app_of(request).access.every(), made=made, text=text, roles=roles,
        may=MAY, lasts=spoken(DEFAULT_S),
    )  # fmt: skip


@router.post(PAGE, include_in_schema=False)
async def tokens_form(request: Request, app: Hub) -> Response:
    """Make or revoke one from the page. What is made is shown in the answer, and nowhere else."""
    form = await sent_form(request)

    async def act() -> tuple[Token, str] | None:
        match form.do:
            case "create":
                wanted = held(_wanted(form), Wanted)
                return await app.access.create(
                    wanted.name, wanted.role, form.by, tenant=wanted.tenant, lasts_s=wanted.lasts, proxy=wanted.proxy
                )
            case "revoke":
                await app.access.revoke(form.of, form.by, held({"reason": form.text("reason")}, Word).reason)
                desk_of(request).forget()
                return None
        raise NotFound("form", form.do)

    made = await carried_out(request, form, act)
    if isinstance(made, Wrong):
        return await _page(request, made)
    return named(request, form, await _page(request, None, *made)) if made else done(request, form, PAGE)


def _wanted(form: Form) -> dict[str, object]:
    texts = {name: form.text(name) for name in ("name", "role", "for")}
    return {**texts, "tenant": form.text("tenant") or None, "proxy": "proxy" in form.typed}
