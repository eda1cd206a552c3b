"""Always an answer to "why?": of an alert and of an incident, as data and as pages.

An alert's id may hold dots, slashes and more; it comes percent-encoded, and what was encoded is never taken for a part
of the address. Never does: hold a rule, say what was not recorded.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from quell.incident.alert import AlertStatus
from quell.telling.explained import RULES, alert_blocks, headline, incident_blocks, incident_headline
from quell.web import paging
from quell.web.answers import Json
from quell.web.api import Hub, Limit, Name
from quell.web.pages import page_of
from quell.web.reading import MAX_NAME, caller_of

router = APIRouter()
AlertName = Annotated[str, Path(min_length=1, max_length=2000)]
Called = Annotated[str | None, Query(max_length=MAX_NAME)]
_WHY = "/why"


class Alerts(BaseModel):
    """``next``: ask with it as ``before`` for those that come after; null when these are the last. ``total``: how many
    there are of the name that was asked for, or at all, counted up to 100,000; null unless it was asked for."""

    alerts: list[dict[str, Any]]
    next: str | None
    total: int | None = None


class WhyAlert(BaseModel):
    """What decided about an alert. ``tried``: each rule in its order, whether it held, and why; ``history``: what
    followed each time that it came; ``guard``: what was allowed, asked, refused of what its incident would do."""

    alert: dict[str, Any]
    outcome: str
    reason: str
    signature: str
    runbook: str | None
    dedup_key: str
    group_key: str
    tried: list[dict[str, Any]]
    history: list[dict[str, Any]]
    incident: dict[str, Any] | None
    guard: list[dict[str, Any]]
    told: list[dict[str, Any]]


class WhyIncident(BaseModel):
    """Why an incident is what it is. ``alerts``: at most 50, those that fire first; ``more``: how many others."""

    incident: dict[str, Any]
    service_why: str
    runbook: str | None
    runbook_why: str
    alerts: list[dict[str, Any]]
    more: int
    guard: list[dict[str, Any]]
    told: list[dict[str, Any]]


@router.get("/api/v1/alerts", tags=["alerts"], response_model=Alerts)
async def alerts(
    request: Request, app: Hub, limit: Limit = 100, status: AlertStatus | None = None,
    before: paging.Start = "", name: Called = None, total: bool = False,
) -> Json:  # fmt: skip
    """The newest alerts with what became of them. ``before``: ``next`` of the answer before, or a time; ``name``: only
    those that are called so."""
    said = status.value if status else None
    tenant, start = caller_of(request).tenant, paging.read(before)
    found, after = await app.alerting.alerts(tenant, limit=limit, status=said, before=start, name=name)
    count = await app.alerting.count(tenant, name) if total else None
    return Json({"alerts": found, "next": paging.told(after) if after else None, "total": count})


@router.get("/api/v1/alerts/{alert:path}/why", tags=["alerts"], response_model=WhyAlert)
async def why(request: Request, app: Hub, alert: AlertName) -> Json:
    """What decided about an alert, and what followed. By its id, its fingerprint or the beginning of one, or its name;
    409 when several are called so. Percent-encode it."""
    if _is_name(request):
        return await one(request, app, alert + _WHY)
    return Json((await app.alerting.why(alert, caller_of(request).tenant)).as_json)


@router.get("/api/v1/alerts/{alert:path}", tags=["alerts"])
async def one(request: Request, app: Hub, alert: AlertName) -> Json:
    """One alert, named as for ``why``, with its last word and what became of it."""
    return Json(await app.alerting.alert(alert, caller_of(request).tenant))


def _is_name(request: Request) -> bool:
    """Whether the end of the address belongs to the name: its slash was encoded."""
    raw: bytes = request.scope.get("raw_path") or b""
    return raw.lower().endswith(b"%2fwhy")


@router.get("/api/v1/incidents/{incident}/why", tags=["incidents"], response_model=WhyIncident)
async def why_incident(app: Hub, incident: Name) -> Json:
    """Why each of its alerts is part of it, why this runbook, what the guards said, who was told."""
    return Json((await app.alerting.why_incident(incident)).as_json)


# Pages.


@router.get("/alerts/{alert:path}", include_in_schema=False)
async def page(request: Request, app: Hub, alert: AlertName) -> Response:
    told, now = (await app.alerting.why(alert, caller_of(request).tenant)).as_json, datetime.now(UTC)
    blocks, says = alert_blocks(told, now), headline(told)
    return page_of(request, "alert.html", told=told, blocks=blocks, says=says, rules=RULES)


@router.get("/incidents/{incident}/why", include_in_schema=False)
async def incident_page(request: Request, app: Hub, incident: Name) -> Response:
    told = (await app.alerting.why_incident(incident)).as_json
    blocks, says = incident_blocks(told), incident_headline(told)
    return page_of(request, "incident_why.html", told=told, blocks=blocks, says=says)
