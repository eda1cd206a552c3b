"""The pages: the list of incidents, one incident, runbooks, alerts; and the plain forms by which people answer.

Works without JavaScript; with it, the same regions are sent again as they change. Never does: hold a rule, render
anything twice for two viewers.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from quell.app import App, differ
from quell.errors import InvalidInput, NotFound, Problem, Refused
from quell.incident.access import Role
from quell.incident.incident import Incident
from quell.library import State
from quell.runbook.outline import outline
from quell.runbook.quantities import seconds
from quell.web import paging
from quell.web.answers import wants_page
from quell.web.api import After, EventStream, Name, after_of, app_of, live_of, stream
from quell.web.desk import same
from quell.web.live import LIST, Regions
from quell.web.reading import caller_of, form_body, spoken_by
from quell.web.render import render
from quell.web.states import chosen_of
from quell.web.view import View, view_of
from quell.web.words import state_of

router = APIRouter(include_in_schema=False)
ROWS, PAGE_ROWS = 15, 100
MOST_COUNTED = 10_000
CSRF, BY = "quell_csrf", "quell_by"
YEAR_S = 365 * 86_400
INCIDENT = ("state", "asks", "findings", "decisions", "actions", "proof", "timeline", "plan")
"""The regions of an incident's page, in order."""


class Renderer:
    """Regions of a page by the name of its channel: an incident's id, or the list."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, name: str) -> tuple[int, Regions]:
        paused = {"paused": render("_paused.html", pauses=self.app.paused)}
        if name.startswith(LIST):
            newest, regions = await list_regions(self.app, name.removeprefix(LIST) or None)
            return newest, regions | paused
        view = await look(self.app, name)
        return view.incident.seq, incident_regions(view) | paused


async def look(app: App, incident: str, *, everything: bool = False) -> View:
    """Everything that the page of an incident tells. Raises ``NotFound``."""
    known = await app.incident(incident)
    return view_of(known, await app.timeline(known.id), await app.plan_of(known), everything=everything)


def incident_regions(view: View, token: str = "", by: str = "") -> Regions:
    """``token`` and ``by`` are the viewer's own; what is sent to all viewers has neither, and the page puts them in."""
    chosen = chosen_of(view.incident)
    return {name: render(f"_{name}.html", view=view, token=token, by=by, chosen=chosen) for name in INCIDENT}


async def list_regions(app: App, tenant: str | None, address: str = "") -> tuple[int, Regions]:
    """The list, and the notice above it: what is not over first, then the newest; it is small."""
    newest, _ = await app.changed(None)
    # Asked for apart: an old incident that is still open must not vanish behind newer ones that are over.
    shown = await app.incidents(limit=ROWS, ended=False, tenant=tenant)
    if room := ROWS - len(shown):
        shown += await app.incidents(limit=room, ended=True, tenant=tenant)
    more = await _how_many(app, tenant) - len(shown)
    told = f"{more} more" if more < MOST_COUNTED else f"More than {MOST_COUNTED:,}"
    return newest, {
        "notice": await _notice(app, tenant),
        "list": _list(app, shown, told, "/?all=1" if more > 0 else "", address),
    }


async def _how_many(app: App, tenant: str | None) -> int:
    """Counted, since nobody reads them yet; of very many as far as that is quick."""
    still_open = await app.count_incidents(MOST_COUNTED, ended=False, tenant=tenant)
    return still_open + await app.count_incidents(MOST_COUNTED, ended=True, tenant=tenant)


async def page_regions(app: App, tenant: str | None, start: paging.Place | None, *, ended: bool) -> Regions:
    """One page of all that there are: first those that are not over, then the others, each the newest first.
    ``ended``: it is among the others by now."""
    shown, link = list[Incident](), ""
    if not ended:
        shown, after = await app.incidents_page(PAGE_ROWS, ended=False, before=start, tenant=tenant)
        link, start = f"/?all=1&before={quote(paging.told(after))}" if after else "", None
    if not link:
        room = PAGE_ROWS - len(shown)
        found, after = await app.incidents_page(max(room, 1), ended=True, before=start, tenant=tenant)
        shown += found[:room]
        behind = f"&before={quote(paging.told(after))}" if after and room else ""
        link = f"/?all=1&ended=1{behind}" if after or len(found) > room else ""
    return {"notice": await _notice(app, tenant), "list": _list(app, shown, "Earlier", link)}


async def _notice(app: App, tenant: str | None) -> str:
    aside = await app.quarantine(100, tenant)
    return render("_notice.html", states=[one.state for one in app.library.entries], aside=len(aside))


def _list(app: App, shown: Sequence[Incident], more: str, link: str, address: str = "") -> str:
    """``more``: what the ``link`` to the next page is called; none where there is no other."""
    rows = [(known, state_of(known, (), _plan(app, known))) for known in shown]
    at = (app.settings.server.base_url or address).rstrip("/")
    return render("_list.html", rows=rows, more=more, link=link, address=at)


def _plan(app: App, known: Incident) -> Any:
    """The Plan, when it is the one that is loaded: the list asks the database for none."""
    plan = app.library.plans.get(known.runbook or "")
    return plan if plan and plan.hash == known.plan else None


# Pages.


@router.get("/")
async def incidents(
    request: Request, all: bool = False, ended: bool = False, before: paging.Start = ""
) -> Response:  # fmt: skip
    """What there is to do now; with ``all`` a page of all there are, ``ended`` and ``before`` say which."""
    app, tenant, address = app_of(request), caller_of(request).tenant, str(request.base_url)
    if all:
        regions = await page_regions(app, tenant, paging.read(before), ended=ended)
        return page_of(request, "list.html", regions=_safe(regions))
    seq, regions = await list_regions(app, tenant, address)
    return page_of(request, "list.html", regions=_safe(regions), live="/live", seq=seq)


@router.get("/incidents/{incident}")
async def incident(request: Request, incident: Name, all: bool = False) -> Response:
    view = await look(app_of(request), incident, everything=all)
    regions = incident_regions(view, _token(request), _name(request))
    live = f"/incidents/{view.incident.id}/live"
    says = view.state.read_by(caller_of(request).may(Role.APPROVER))
    return page_of(
        request, "incident.html", view=view, says=says, regions=_safe(regions), seq=view.incident.seq, live=live
    )


@router.get("/runbooks")
async def runbooks(request: Request) -> Response:
    worst = list(State)[::-1]
    entries = sorted(app_of(request).library.entries, key=lambda entry: worst.index(entry.state))
    shadows = {one.runbook: one for one in await app_of(request).shadows(caller_of(request).tenant)}
    return page_of(request, "runbooks.html", entries=entries, shadows=shadows)


@router.get("/runbooks/{runbook}")
async def runbook(request: Request, runbook: Name) -> Response:
    """One that does not run has a page too: its problems are what somebody looks for."""
    entry = app_of(request).library.entry(runbook)
    text = outline(entry.plan) if entry.plan else ""
    return page_of(request, "runbook.html", entry=entry, plan=entry.plan, outline=text)


@router.get("/alerts")
async def alerts(request: Request) -> Response:
    app, tenant = app_of(request), caller_of(request).tenant
    told, aside = await app.alerts(100, tenant), await app.quarantine(100, tenant)
    return page_of(request, "alerts.html", alerts=told, aside=aside, sources=await app.heartbeats.listed(tenant))


@router.get("/workers")
async def workers(request: Request) -> Response:
    found = await app_of(request).workers(caller_of(request).tenant)
    return page_of(request, "workers.html", workers=found, differ=differ(found))


def _safe(regions: Regions) -> dict[str, Markup]:
    """Rendered with autoescape already."""
    return {name: Markup(html) for name, html in regions.items()}  # noqa: S704


def _name(request: Request) -> str:
    """As a proxy vouches for it, else as the viewer gave it last."""
    return spoken_by(request, unquote(request.cookies.get(BY, "")))


def _token(request: Request) -> str:
    """The viewer's own CSRF token: whoever posts must show the cookie and repeat it in the form."""
    token: str = getattr(request.state, "csrf", "") or request.cookies.get(CSRF, "") or secrets.token_urlsafe(18)
    request.state.csrf = token
    return token


def page_of(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """A template as whoever asks sees it."""
    token = _token(request)
    paused = app_of(request).paused
    me = caller_of(request)
    html = render(template, token=token, by=_name(request), me=me, pauses=paused, **values)
    response = HTMLResponse(html, status)
    if request.cookies.get(CSRF) != token:
        keep(request, response, CSRF, token)
    return response


def keep(request: Request, response: Response, name: str, value: str, for_s: float = YEAR_S) -> None:
    """A cookie that no script reads and no other site's page sends along."""
    secure = "https" in (request.url.scheme, urlsplit(app_of(request).settings.server.base_url).scheme)
    response.set_cookie(name, value, max_age=int(for_s), httponly=True, secure=secure, samesite="strict")


# Live.


@router.get("/live")
async def live_list(request: Request, after: After = 0) -> EventStream:
    channel = LIST + (caller_of(request).tenant or "")
    return stream(request, live_of(request).watch(channel, after_of(request, after)))


@router.get("/incidents/{incident}/live")
async def live_incident(request: Request, incident: Name, after: After = 0) -> EventStream:
    known = await app_of(request).incident(incident)
    return stream(request, live_of(request).watch(known.id, after_of(request, after)))


# Forms.


@router.post("/approvals/{approval}")
async def answer(request: Request, approval: Name) -> Response:
    """Approve or deny from the page."""

    async def act(app: App, form: dict[str, str], by: str) -> str:
        said = form.get("answer", "")
        if said not in ("approved", "denied"):
            raise NotFound("answer", said)
        result = await app.answer(approval, said, by, form.get("reason", ""))
        return str(result["incident"])

    return await _acted(request, act)


@router.post("/incidents/{incident}/break-glass")
async def break_glass(request: Request, incident: Name) -> Response:
    """A route of its own: it needs another role than the others."""

    async def act(app: App, form: dict[str, str], by: str) -> str:
        return (await app.break_glass(incident, by, form.get("reason", ""), _lasting(form.get("for", "")))).id

    return await _acted(request, act)


@router.post("/obligations/end")
async def settle(request: Request) -> Response:
    """Keep for good what was kept for now, or say that it was taken back by hand."""

    async def act(app: App, form: dict[str, str], by: str) -> str:
        tenant = caller_of(request).tenant
        return (await app.settle_obligation(form.get("obligation", ""), form.get("how", ""), by, tenant)).id

    return await _acted(request, act)


@router.post("/incidents/{incident}/{deed}")
async def person(request: Request, incident: Name, deed: str) -> Response:
    """Take over, give back, acknowledge, hand over, record a step, resolve or close from the page."""

    async def act(app: App, form: dict[str, str], by: str) -> str:
        reason = form.get("reason", "")
        match deed:
            case "take":
                return (await app.take(incident, by, reason)).id
            case "return":
                return (await app.give_back(incident, by, reason)).id
            case "ack":
                return (await app.acknowledge(incident, by)).id
            case "resolve":
                return (await app.resolve(incident, by, reason)).id
            case "close":
                return (await app.close(incident, by, reason)).id
            case "hand-over":
                return (await app.hand_over(incident, by, form.get("to", ""), reason)).id
            case "step":
                done, failed = form.get("done", ""), form.get("failed", "")
                what, result = done or failed or form.get("step", ""), "failed" if failed else "done"
                return (await app.step(incident, by, what, form.get("result", result), reason)).id
        raise NotFound("page", deed)

    return await _acted(request, act)


def _lasting(text: str) -> float:
    """Raises ``InvalidInput``."""
    try:
        return seconds(text)
    except ValueError as error:
        raise InvalidInput([Problem(str(error), "duration", path="for", found=text[:80], expected="15m")]) from None


async def _acted(request: Request, act: Callable[[App, dict[str, str], str], Awaitable[str]]) -> Response:
    """303 back to the incident; 204 for the page's own JavaScript, which sees the change arrive by itself."""
    form = await form_body(request)
    not_forged(request, form)
    by = spoken_by(request, form.get("by"))
    incident = await act(app_of(request), form, by)
    alone = wants_page(request.scope)
    response = RedirectResponse(f"/incidents/{incident}", 303) if alone else Response(status_code=204)
    keep(request, response, BY, quote(by))  # a cookie holds no letters beyond Latin-1
    return response


def not_forged(request: Request, form: dict[str, str]) -> None:
    """Raises ``Refused``."""
    if not same(form.get("csrf", ""), request.cookies.get(CSRF, "")):
        raise Refused("csrf", "this form is not from a page of ours, or its cookie is gone; load the page again")
