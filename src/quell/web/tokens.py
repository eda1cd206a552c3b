"""``/api/v1/tokens``: made, listed, revoked. Never does: hold a rule; each route is one call of the App."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field

from quell.access import DEFAULT_S
from quell.incident.access import Role, Token
from quell.runbook.quantities import seconds
from quell.web.answers import Json
from quell.web.api import Hub, Name
from quell.web.reading import MAX_NAME, Body, Word, json_body, spoken_by, takes
from quell.web.sign import desk_of

router = APIRouter()


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
