"""The published API of the incident-runbook example: ``POST /incidents/trigger`` and ``GET /incidents``.

Same bodies, same answers, on top of the real thing. Never does: more than that API had, except ``incidentId``,
``status``, ``service`` and ``title``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic import AliasChoices, Field
from starlette.responses import RedirectResponse, Response

from quell.app import App
from quell.errors import NotFound
from quell.incident.event import Event, EventKind
from quell.incident.incident import Incident
from quell.web.answers import Json, problem_json, wants_page
from quell.web.api import app_of, live_of
from quell.web.reading import Body, caller_of, json_body, spoken_by, takes
from quell.web.words import told

router = APIRouter()
NEWEST = 50
_RUNS = (EventKind.RUN_QUEUED, EventKind.RUN_STARTED, EventKind.DECIDED, EventKind.RUN_ENDED)
RAW = {"shell_command": "stdout", "database_query": "rows", "log_search": "count", "prometheus_query": "value"}
"""Which fact is the raw value of a check; of others ``value``, else all facts."""


STILL_RUNS: dict[str, Any] = {"description": "The diagnostics still run.", "content": {"application/json": {}}}


class Trigger(Body):
    """Which runbook, for which alert; ``context`` becomes the run's variables."""

    runbook_id: str = Field(validation_alias=AliasChoices("runbookId", "runbook_id"), min_length=1, max_length=200)
    alert_name: str | None = Field(
        default=None, validation_alias=AliasChoices("alertName", "alert_name"), max_length=500
    )
    context: dict[str, Any] | None = None
    service: str | None = Field(default=None, max_length=200)


@router.post(
    "/incidents/trigger", tags=["incidents"], openapi_extra=takes(Trigger, required=True), responses={202: STILL_RUNS}
)
@router.post("/api/v1/incidents/trigger", include_in_schema=False)
async def trigger(request: Request) -> Response:
    """Runs a runbook and waits for its diagnostics; 202 with ``Location`` when they take longer than that."""
    app, body = app_of(request), await json_body(request, Trigger)
    try:
        context = await app.trigger(
            body.runbook_id, alert_name=body.alert_name or "", variables=body.context,
            service=body.service, actor=spoken_by(request) or "api", tenant=caller_of(request).tenant,
        )  # fmt: skip
    except NotFound as error:
        return _unknown(app, body.runbook_id, error)
    where = {"Location": f"/api/v1/incidents/{context.incident}"}
    events = await _decided(request, app, context.incident)
    if events is None:
        return Json({"incidentId": context.incident, "message": "Runbook started; diagnostics still run."}, 202, where)
    known = await app.incident(context.incident)
    execution = execution_of(known, events)
    plan = await app.plan_of(known)
    order = {check.id: place for place, check in enumerate(plan.checks)} if plan else {}
    execution["diagnosticResults"].sort(key=lambda result: order.get(result["stepId"], 0))
    message = (
        f"Runbook executed. {len(execution['diagnosticResults'])} diagnostics run, "
        f"{len(execution['recommendedActions'])} actions recommended."
    )
    return Json({"execution": execution, "message": message}, 200, where)


def _unknown(app: App, runbook: str, error: NotFound) -> Json:
    body: dict[str, Any] = {"error": "Unknown runbook", "runbookId": runbook}
    if error.nearest:
        body["nearest"] = error.nearest
    for broken in app.library.broken:
        if broken.runbook == runbook:
            body["problems"] = [problem_json(problem) for problem in broken.problems]
    return Json(body, 404)


async def _decided(request: Request, app: App, incident: str) -> list[Event] | None:
    """The log as soon as it holds a decision or an end; None when that takes too long."""
    with live_of(request).waiting(incident) as moved:
        try:
            async with asyncio.timeout(app.settings.server.trigger_wait):
                while True:
                    moved.clear()
                    events = await app.timeline(incident)
                    if any(event.kind in (EventKind.DECIDED, EventKind.RUN_ENDED) for event in events):
                        return events
                    await moved.wait()
        except TimeoutError:
            return None


@router.get("/incidents", tags=["incidents"], responses={303: {"description": "A browser goes to the page."}})
async def incidents(request: Request, open: bool = False) -> Response:
    """The newest 50, with ``open`` of those that have not ended; as the example's table. A browser goes to the page."""
    if wants_page(request.scope):
        return RedirectResponse("/", 303)
    app = app_of(request)
    found = await app.incidents(limit=NEWEST, ended=False if open else None, tenant=caller_of(request).tenant)
    logs = await asyncio.gather(*(app.timeline(known.id) for known in found))
    return Json({"incidents": [row_of(known, events) for known, events in zip(found, logs, strict=True)]})


def row_of(incident: Incident, events: list[Event]) -> dict[str, Any]:
    """One row of the example's table, and what it lacked."""
    execution = execution_of(incident, events)
    return {
        "id": incident.id, "runbook_id": incident.runbook, "triggered_at": incident.opened_at,
        "severity": execution["overallSeverity"], "diagnostic_results": execution["diagnosticResults"],
        "recommended_actions": execution["recommendedActions"], "timeline": execution["timeline"],
        "status": incident.status, "service": incident.service, "title": incident.title,
    }  # fmt: skip


def execution_of(incident: Incident, events: list[Event]) -> dict[str, Any]:
    """The example's ``RunbookExecution``."""
    results = [_result(finding) for finding in incident.findings.values()]
    return {
        "runbookId": incident.runbook, "triggeredAt": incident.opened_at, "diagnosticResults": results,
        "recommendedActions": _recommended(events), "overallSeverity": _overall(results, events),
        "timeline": [{"timestamp": event.at, "event": told(event)} for event in events], "incidentId": incident.id,
    }  # fmt: skip


def _result(finding: dict[str, Any]) -> dict[str, Any]:
    return {
        "stepId": finding["check"], "name": finding["name"] or finding["check"], "status": finding["status"],
        "rawValue": _raw(finding), "message": finding["message"], "durationMs": round(finding["duration_ms"]),
    }  # fmt: skip


def _raw(finding: dict[str, Any]) -> Any:
    if finding["type"] == "http_check":
        return [{"name": one["target"], **one["facts"]} for one in finding["targets"]]
    facts = finding["facts"]
    for name in (RAW.get(finding["type"], "value"), "value"):
        if name in facts:
            return facts[name]
    return facts or None


def _recommended(events: list[Event]) -> list[str]:
    """The steps of every decision that holds, and of the one that was chosen instead."""
    decided = next((event.payload for event in events if event.kind is EventKind.DECIDED), None)
    if decided is None:
        return []
    meant = {*decided["recommended"], *decided["chosen"]}
    steps = [step for one in decided.get("explanations", ()) if one["decision"] in meant for step in one["then"]]
    return list(dict.fromkeys(steps))


def _overall(results: list[dict[str, Any]], events: list[Event]) -> str | None:
    """One of the example's three words. What could not be seen is never healthy; None: it is not known yet.

    Nothing is worse than critical, so that is known before the other diagnostics have ended.
    """
    seen = {result["status"] for result in results}
    if "critical" in seen:
        return "critical"
    if not seen or not _ended(events):
        return None
    return "healthy" if seen <= {"healthy"} else "warning"


def _ended(events: list[Event]) -> bool:
    """Whether the diagnostics of the newest run have: it has decided, or is over."""
    last = next((event.kind for event in reversed(events) if event.kind in _RUNS), None)
    return last in (EventKind.DECIDED, EventKind.RUN_ENDED)
