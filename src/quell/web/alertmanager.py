"""``/api/v2``: Alertmanager's API, so that a Prometheus, amtool and whatever else speaks to one can speak to Quell.

The same answers at ``/alertmanager/api/v2``. What is wrong is told as there: 400 or 404 with one JSON string. Silences
are in ``silencing``. Format: github.com/prometheus/alertmanager, api/v2/openapi.yaml.
Never does: read what is posted (the source does), hold a rule about alerts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from quell import __version__
from quell.alerting import Firing, chosen
from quell.app import App
from quell.errors import Conflict, InvalidInput, NotFound, Problem
from quell.incident.matcher import Matcher, parse_matchers
from quell.redact import KNOWN
from quell.web.answers import Json, status_of
from quell.web.needs import ALERTMANAGER
from quell.web.reading import caller_of

KIND = "alertmanager_api"
"""The type of the sources that are posted to here."""
SPOKEN = "0.25.0"
"""The version of Alertmanager whose API this is: clients choose by it what they ask for."""
RECEIVER = "quell"
"""All there is: who hears of an alert is decided for its incident, by its runbook and the site's escalation."""
CONFIG = f"route: {{receiver: {RECEIVER}}}\nreceivers: [{{name: {RECEIVER}}}]\n"
UNKNOWN_END = "0001-01-01T00:00:00.000Z"
"""Go's zero time: nobody has said when it ends."""
_SILENCE, _INHIBITION, _COMES_AND_GOES = "silence ", "inhibit rule ", "flapping"
_YES, _NO = frozenset({"true", "1", "yes", "on", "t", "y"}), frozenset({"false", "0", "no", "off", "f", "n"})
_BEGAN = datetime.now(UTC)

Handler = Callable[[Request], Awaitable[Response]]
router = APIRouter()


def told(handler: Handler) -> Handler:
    """What is wrong, as Alertmanager says it."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except InvalidInput as error:
            return said([_sentence(problem) for problem in error.problems])
        except (NotFound, Conflict) as error:
            return said([str(error)], status_of(error))

    return answer


def said(what: Iterable[str], status: int = 400) -> Response:
    return Json(KNOWN.tree("; ".join(what)), status)


def _sentence(problem: Problem) -> str:
    place = f"{problem.path}: " if problem.path else ""
    found = f", found {problem.found}" if problem.found else ""
    return place + problem.message + found + (f", expected {problem.expected}" if problem.expected else "")


def app_of(request: Request) -> App:
    app: App = request.app.state.app
    return app


def time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def filters(request: Request) -> list[Matcher]:
    """Every ``filter`` of a query. Raises ``InvalidInput``."""
    found: list[Matcher] = []
    problems: list[Problem] = []
    for text in request.query_params.getlist("filter"):
        try:
            found += parse_matchers(text)
        except ValueError as error:
            problems.append(Problem(f"bad matcher format: {error}", "filter", path="filter"))
    if problems:
        raise InvalidInput(problems)
    return found


def fits(matchers: list[Matcher], path: str = "filter") -> Callable[[Mapping[str, str]], bool]:
    """Raises ``InvalidInput`` for a pattern that cannot be used."""
    try:
        return chosen(matchers)
    except ValueError as error:
        raise InvalidInput([Problem(str(error), "pattern", path=path)]) from None


# The server.


async def status(request: Request) -> Response:
    """``versionInfo.version`` is that of the API; ours is the ``revision``."""
    version = {
        "version": SPOKEN, "revision": f"quell {__version__}", "branch": "quell", "buildUser": "", "buildDate": "",
        "goVersion": "",
    }  # fmt: skip
    cluster = {"status": "disabled", "peers": list[str]()}
    return Json({"cluster": cluster, "versionInfo": version, "config": {"original": CONFIG}, "uptime": time(_BEGAN)})


async def receivers(request: Request) -> Response:
    return Json([{"name": RECEIVER}])


# Alerts.


@told
async def post_alerts(request: Request) -> Response:
    """200 once all of it is on disk; 400 with what was wrong with some of them: the others are in."""
    app, body = app_of(request), await request.body()
    receipt = await app.receive(app.reception.meant(KIND, request.headers, body), request.headers, body)
    return said(receipt.quarantined) if receipt.quarantined else Response()


@told
async def get_alerts(request: Request) -> Response:
    """What fires now, of every source."""
    return Json(sorted((shown(one) for one in await _asked_for(request)), key=lambda one: one["fingerprint"]))


@told
async def groups(request: Request) -> Response:
    """By their incidents; those that are part of none are one group without labels."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in await _asked_for(request):
        found.setdefault(one.incident or "", []).append(shown(one))
    return Json(
        [
            {
                "labels": {"incident": incident} if incident else {}, "receiver": {"name": RECEIVER},
                "alerts": sorted(alerts, key=lambda one: one["fingerprint"]),
            }
            for incident, alerts in sorted(found.items())
        ]
    )  # fmt: skip


async def _asked_for(request: Request) -> list[Firing]:
    query, problems = request.query_params, list[Problem]()
    wanted: dict[str, bool] = {}
    for name in ("active", "silenced", "inhibited", "unprocessed"):
        given = query.get(name, "true")
        wanted[name] = given.lower() in _YES
        if given.lower() not in _YES | _NO:
            problems.append(Problem("not a boolean", "boolean", path=name, found=given[:80], expected="true or false"))
    if problems:
        raise InvalidInput(problems)
    fit = fits(filters(request))
    if (receiver := query.get("receiver")) is not None:
        of_receiver = fits([Matcher(name="receiver", operator="=~", value=receiver)], "receiver")
        if not of_receiver({"receiver": RECEIVER}):
            return []
    found = await app_of(request).alerting.firing(caller_of(request).tenant)
    return [one for one in found if _is_wanted(one, wanted) and fit(one.labels)]


def _is_wanted(one: Firing, wanted: Mapping[str, bool]) -> bool:
    state = state_of(one)
    if state["inhibitedBy"]:
        return wanted["inhibited"]
    if state["silencedBy"] or state["mutedBy"]:
        return wanted["silenced"]
    return wanted["unprocessed" if state["state"] == "unprocessed" else "active"]


def state_of(one: Firing) -> dict[str, Any]:
    """What keeps it quiet is the silence's id, the rule that inhibits it, or, in ``mutedBy``, something else's name."""
    held = "" if one.held == _COMES_AND_GOES else one.held
    silence = [held.removeprefix(_SILENCE)] if held.startswith(_SILENCE) else []
    inhibition = [held] if held.startswith(_INHIBITION) else []
    other = [held] if held and not silence and not inhibition else []
    state = "suppressed" if held else "unprocessed" if one.unseen else "active"
    return {"state": state, "silencedBy": silence, "inhibitedBy": inhibition, "mutedBy": other}


def shown(one: Firing) -> dict[str, Any]:
    """An alert as it was posted. What every alert has a name, so has this one."""
    alert = one.alert
    return {
        "labels": {"alertname": alert.name, **alert.labels}, "annotations": alert.annotations,
        "fingerprint": alert.fingerprint, "generatorURL": alert.url or "", "receivers": [{"name": RECEIVER}],
        "startsAt": time(alert.starts_at or one.began_at), "updatedAt": time(one.said_at),
        "endsAt": time(alert.ends_at) if alert.ends_at else UNKNOWN_END, "status": state_of(one),
    }  # fmt: skip


for _prefix in ALERTMANAGER:
    router.add_route(f"{_prefix}/api/v2/status", status, methods=["GET"])
    router.add_route(f"{_prefix}/api/v2/receivers", receivers, methods=["GET"])
    router.add_route(f"{_prefix}/api/v2/alerts", get_alerts, methods=["GET"])
    router.add_route(f"{_prefix}/api/v2/alerts", post_alerts, methods=["POST"])
    router.add_route(f"{_prefix}/api/v2/alerts/groups", groups, methods=["GET"])
