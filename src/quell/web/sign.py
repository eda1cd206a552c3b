"""Signing in and out, and who one is: the page for it, the link that a start prints, ``/api/v1/me``.

Never does: show a token, take one from an address (a link's secret is no token, and works once).
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from quell.errors import Refused
from quell.incident.access import Caller
from quell.web.answers import Json
from quell.web.desk import SESSION, Desk
from quell.web.pages import keep, not_forged
from quell.web.reading import caller_of, form_body, spoken_by
from quell.web.render import render

router = APIRouter()
BACK_HOME = "/"


def desk_of(request: Request) -> Desk:
    desk: Desk = request.app.state.desk
    return desk


@router.get("/sign-in", include_in_schema=False)
async def sign_in_page(request: Request, token: str = "") -> Response:
    """With a link's secret: signed in, once. Without: the form, or who one is already."""
    if token:
        return await _signed_in(request, token, BACK_HOME, link=True)
    try:
        await desk_of(request).who(request.headers, request.client)
    except Refused:
        return HTMLResponse(render("sign_in.html", back=BACK_HOME))
    return RedirectResponse(BACK_HOME, 303)


@router.post("/sign-in", include_in_schema=False)
async def sign_in(request: Request) -> Response:
    """A browser shows a token once and gets a cookie that stands for it."""
    form = await form_body(request)
    back = form.get("back", BACK_HOME)
    ours = back.startswith("/") and not back.startswith(("//", "/\\"))
    return await _signed_in(request, form.get("token", "").strip(), back if ours else BACK_HOME)


async def _signed_in(request: Request, given: str, back: str, *, link: bool = False) -> Response:
    cookie, lasts_s = await desk_of(request).sign_in(given, request.client, link=link)
    response = RedirectResponse(back, 303)
    keep(request, response, SESSION, cookie, lasts_s)
    return response


@router.post("/sign-out", include_in_schema=False)
async def sign_out(request: Request) -> Response:
    """The session is over, wherever its cookie has got to."""
    not_forged(request, await form_body(request))
    await desk_of(request).sign_out(request.headers)
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(SESSION, httponly=True, samesite="strict")
    return response


@router.get("/api/v1/me", tags=["access"])
async def me(request: Request) -> Json:
    """Who asks, and what they may."""
    return Json(_shown(caller_of(request), spoken_by(request)))


def _shown(caller: Caller, by: str) -> dict[str, object]:
    return {"name": by, "role": caller.role, "tenant": caller.tenant, "proxy": caller.proxy, "token": caller.token}


@router.post("/api/v1/sign-in-links", tags=["access"], status_code=201)
async def sign_in_link(request: Request) -> Json:
    """A path by which a browser signs in as whoever asks here, once, within a quarter of an hour, on this server."""
    return Json({"path": f"/sign-in?token={desk_of(request).link(caller_of(request))}"}, 201)
