"""``/api/v1``: everything a program may ask or do, described at ``/api/v1/openapi.json``.

Never does: hold a rule; each route is one call of the App.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from quell import __version__
from quell.app import App, Worker, differ
from quell.errors import InvalidInput, NotFound, Problem
from quell.incident.incident import Incident, Status
from quell.library import Entry
from quell.runbook.draw import draw
from quell.runbook.plan import Plan
from quell.web import paging
from quell.web.answers import Json, problem_json
from quell.web.live import Live
from quell.web.reading import MAX_NAME, STILL, Word, caller_of, json_body, spoken_by, takes
from quell.web.states import chosen_of, states_of

router = APIRouter()
DRAWING = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
"""A drawing brings its own stylesheet and nothing else."""


class Drawing(Response):
    media_type = "image/svg+xml"


class EventStream(StreamingResponse):
    """Server-sent events (WHATWG HTML, section 9.2), past proxies that collect."""

    media_type = "text/event-stream"

    def __init__(self, messages: Any, status_code: int = 200) -> None:
        super().__init__(messages, status_code, headers={"X-Accel-Buffering": "no"})


class Listed(BaseModel):
    """``next``: ask with it as ``before`` for those that come after; null when these are the last."""

    incidents: list[Incident]
    next: str | None


class Answered(BaseModel):
    """What came of an answer. ``answer`` is ``waiting`` while another person is needed."""

    approval: str
    incident: str
    answer: str
    by: str


def app_of(request: Request) -> App:
    app: App = request.app.state.app
    return app


def live_of(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


Hub = Annotated[App, Depends(app_of)]
Name = Annotated[str, Path(min_length=1, max_length=100)]
Limit = Annotated[int, Query(ge=1, le=500)]
LATEST = 2**31 - 1
"""No log is that long, and no number beyond it fits into the column."""
After = Annotated[int, Query(ge=0, le=LATEST)]


# The server itself.


@router.get("/healthz", tags=["server"])
async def healthz() -> Json:
    """The process answers."""
    return Json({"status": "ok"})


@router.get("/readyz", tags=["server"])
async def readyz(app: Hub) -> Json:
    """The database answers too; else 503."""
    await app.incidents(limit=1)
    return Json({"status": "ok", "runbooks": len(app.library.plans), "broken": len(app.library.broken)})


@router.get("/api/v1/version", tags=["server"])
async def version() -> Json:
    return Json({"version": __version__})


@router.post("/api/v1/reload", tags=["server"])
async def reload(app: Hub) -> Json:
    """Read the runbooks again; incidents in flight keep their Plan."""
    await app.reload()
    return Json(_library(app))


class Workers(BaseModel):
    """``differ``: those that are there act by different configurations."""

    workers: list[Worker]
    differ: bool


@router.get("/api/v1/workers", tags=["server"], response_model=Workers)
async def workers(request: Request, app: Hub) -> Json:
    """The processes that share the database, with the incidents that each has; those that ended stay for a day."""
    found = await app.workers(caller_of(request).tenant)
    return Json({"workers": found, "differ": differ(found)})


# Incidents.


@router.get("/api/v1/incidents", tags=["incidents"], response_model=Listed)
async def incidents(
    request: Request, app: Hub, limit: Limit = 50, status: Status | None = None, open: bool = False,
    before: paging.Start = "",
) -> Json:  # fmt: skip
    """Newest first; with ``open`` only those that have not ended. ``before``: ``next`` of the answer before, or a
    time."""
    found, after = await app.incidents_page(
        limit, status=status.value if status else None, ended=False if open else None, before=paging.read(before),
        tenant=caller_of(request).tenant,
    )  # fmt: skip
    return Json({"incidents": found, "next": paging.told(after) if after else None})


@router.get("/api/v1/incidents/{incident}", tags=["incidents"], response_model=Incident)
async def incident(app: Hub, incident: Name) -> Json:
    """A unique beginning of the id is enough, here and below."""
    return Json(await app.incident(incident))


@router.get("/api/v1/incidents/{incident}/timeline", tags=["incidents"])
async def timeline(app: Hub, incident: Name, after: After = 0) -> Json:
    """Its events with a sequence above ``after``."""
    return Json({"events": await app.timeline(incident, after)})


@router.get("/api/v1/incidents/{incident}/events", tags=["incidents"], response_class=EventStream)
async def events(request: Request, app: Hub, incident: Name, after: After = 0) -> EventStream:
    """Its events as server-sent events; ``Last-Event-ID`` or ``after`` says where to go on."""
    known = await app.incident(incident)
    return stream(request, live_of(request).events(known.id, after_of(request, after)))


@router.get("/api/v1/incidents/{incident}/plan", tags=["incidents"], response_model=Plan)
async def plan(app: Hub, incident: Name) -> Json:
    """The Plan that its run carries out."""
    return Json(await _plan(app, await app.incident(incident)))


@router.get("/api/v1/incidents/{incident}/plan.svg", tags=["incidents"], response_class=Drawing)
async def plan_drawn(app: Hub, incident: Name) -> Drawing:
    """The same, drawn and coloured by what has happened."""
    known = await app.incident(incident)
    plan = await _plan(app, known)
    events = await app.timeline(known.id)
    return drawing(draw(plan, states_of(known, plan, events), chosen=chosen_of(known), standalone=True))


async def _plan(app: App, known: Incident) -> Plan:
    plan = await app.plan_of(known)
    if plan is None:
        raise NotFound("plan of incident", known.id)
    return plan


@router.post("/api/v1/incidents/{incident}/take", tags=["people"], response_model=Incident, openapi_extra=takes(Word))
async def take(request: Request, app: Hub, incident: Name) -> Json:
    """A person takes over: no new action starts, approvals that wait are withdrawn."""
    word = await json_body(request, Word)
    return Json(await app.take(incident, spoken_by(request, word.by), word.reason))


@router.post("/api/v1/incidents/{incident}/return", tags=["people"], response_model=Incident, openapi_extra=takes(Word))
async def give_back(request: Request, app: Hub, incident: Name) -> Json:
    """The opposite of taking over."""
    word = await json_body(request, Word)
    return Json(await app.give_back(incident, spoken_by(request, word.by), word.reason))


@router.post("/api/v1/incidents/{incident}/ack", tags=["people"], response_model=Incident, openapi_extra=takes(Word))
async def acknowledge(request: Request, app: Hub, incident: Name) -> Json:
    """Somebody is on it: nobody else is paged."""
    word = await json_body(request, Word)
    return Json(await app.acknowledge(incident, spoken_by(request, word.by)))


@router.post(
    "/api/v1/incidents/{incident}/resolve", tags=["people"], response_model=Incident, openapi_extra=takes(Word)
)
async def resolve(request: Request, app: Hub, incident: Name) -> Json:
    """By hand."""
    word = await json_body(request, Word)
    return Json(await app.resolve(incident, spoken_by(request, word.by), word.reason))


# Approvals.


@router.post(
    "/api/v1/approvals/{approval}/approve", tags=["people"], response_model=Answered, openapi_extra=takes(Word)
)
async def approve(request: Request, app: Hub, approval: Name) -> Json:
    """By its id, its hash, or its incident when only one waits. 409 names the winner when somebody was faster."""
    word = await json_body(request, Word)
    return Json(await app.answer(approval, "approved", spoken_by(request, word.by), word.reason))


@router.post("/api/v1/approvals/{approval}/deny", tags=["people"], response_model=Answered, openapi_extra=takes(Word))
async def deny(request: Request, app: Hub, approval: Name) -> Json:
    word = await json_body(request, Word)
    return Json(await app.answer(approval, "denied", spoken_by(request, word.by), word.reason))


# Runbooks and alerts.


@router.get("/api/v1/runbooks", tags=["runbooks"])
async def runbooks(app: Hub) -> Json:
    """Those that run and those that do not, each with its state and every problem."""
    return Json(_library(app))


def _library(app: App) -> dict[str, Any]:
    library = app.library
    return {
        "runbooks": [brief(one.plan) | _soundness(one) for one in library.entries if one.runs and one.plan],
        "broken": [{"id": one.runbook, "file": one.file} | _soundness(one) for one in library.broken],
    }


def brief(plan: Plan) -> dict[str, Any]:
    """A runbook in a list."""
    return {
        "id": plan.id, "name": plan.name, "severity": plan.severity, "service": plan.service, "mode": plan.mode,
        "hash": plan.hash, "file": plan.origin.file, "checks": sum(1 for _ in plan.checks),
        "decisions": len(plan.decisions),
    }  # fmt: skip


def _soundness(one: Entry) -> dict[str, Any]:
    """``ok``, ``warnings``, ``problems`` (errors that a run survives) or ``broken`` (it does not run), and why."""
    return {"state": one.state, "problems": [problem_json(problem) for problem in one.problems]}


@router.get("/api/v1/runbooks/{runbook}", tags=["runbooks"], response_model=Plan)
async def runbook(app: Hub, runbook: Name) -> Json:
    """The compiled Plan. A broken one is 422 with its problems."""
    return Json(runnable(app, runbook))


@router.get("/api/v1/runbooks/{runbook}/plan.svg", tags=["runbooks"], response_class=Drawing)
async def runbook_drawn(app: Hub, runbook: Name) -> Drawing:
    return drawing(draw(runnable(app, runbook), standalone=True))


def runnable(app: App, runbook: str) -> Plan:
    """Raises ``NotFound``, and ``InvalidInput`` when it is there and broken."""
    entry = app.library.entry(runbook)
    if entry.plan is None or not entry.runs:
        raise InvalidInput(entry.problems or [Problem("the runbook does not load", file=entry.file)])
    return entry.plan


@router.get("/api/v1/quarantine", tags=["alerts"])
async def quarantine(request: Request, app: Hub, limit: Limit = 100) -> Json:
    """What could not be read, with the reason."""
    return Json({"quarantined": await app.quarantine(limit, caller_of(request).tenant)})


# Answers that are not JSON.


def drawing(svg: str) -> Drawing:
    return Drawing(svg, headers=DRAWING)


def after_of(request: Request, after: int) -> int:
    """Where a stream goes on: the browser's own memory counts more than the address."""
    last = request.headers.get("last-event-id", "")
    return min(int(last), LATEST) if last.isdecimal() and len(last) <= MAX_NAME else after


def stream(request: Request, messages: AsyncGenerator[bytes]) -> EventStream:
    """For as long as whoever asks is let in."""
    return EventStream(_while_let_in(request, messages))


async def _while_let_in(request: Request, messages: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """It ends with the token or the session that let it in: at its next message, which a quiet one has too."""
    still: Callable[[], Awaitable[bool]] = request.scope[STILL]
    async with contextlib.aclosing(messages):
        async for message in messages:
            if not await still():
                return
            yield message
