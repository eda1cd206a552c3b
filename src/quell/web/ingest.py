"""Where monitoring posts its alerts: a plain route, since every alert of a storm comes through here.

Heartbeats may come by GET, too. Answers when all of it is on disk, so a sender that gets no 2xx may send again. Never
does: validate (sources do).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from quell.app import App
from quell.incident.access import Caller
from quell.web.answers import Json
from quell.web.reading import CALLER

router = APIRouter()


async def webhook(request: Request) -> Response:
    """``{"accepted": 2, "incidents": [...], "quarantined": [reasons]}``; 202 when nothing of it could be used, and with
    ``"queued": true`` when so many come that it is on disk and will be looked at in its turn: then ``accepted`` counts
    what is wrong as well, which is quarantined when it is read.

    ``"ignored": "incident.annotated"`` when it was something that says nothing of an alert; ``"noted": "confirmed the
    subscription to …"`` when something else was done about it; ``"heartbeats": 1`` when it was a sign of life.
    """
    app: App = request.app.state.app
    source, body = request.path_params["source"], await request.body()
    return Json(*await taken_in(app, source, request.headers, body, request.scope.get(CALLER)))


async def taken_in(
    app: App, source: str, headers: Mapping[str, str], body: bytes, caller: Caller | None
) -> tuple[dict[str, Any], int]:  # fmt: skip
    """The answer, and its status."""
    receipt = await app.receive(source, headers, body, _sender(caller))
    told: dict[str, Any] = {
        "accepted": receipt.accepted,
        "incidents": list(receipt.incidents),
        "quarantined": list(receipt.quarantined),
    }
    if receipt.ignored is not None:
        told["ignored"] = receipt.ignored
    if receipt.noted is not None:
        told["noted"] = receipt.noted
    if receipt.heartbeats:
        told["heartbeats"] = receipt.heartbeats
    if receipt.queued:
        told["queued"] = True
    later = receipt.queued or (receipt.quarantined and not receipt.accepted)
    return told, 202 if later else 200


async def ping(request: Request) -> Response:
    """A heartbeat by GET or HEAD, for what can do no more than fetch an address. 405 where alerts are posted."""
    app: App = request.app.state.app
    if not app.reception.kind_of(request.path_params["source"]).heartbeat:
        raise HTTPException(405, "alerts are posted there", headers={"Allow": "POST"})
    return await webhook(request)


def _sender(caller: Caller | None) -> str:
    """How the gate knew who posts; empty where it asked nobody, because the source does or this machine is trusted."""
    if caller is None or not caller.token:
        return ""
    return "came with a token of Quell's" + (f": {caller.name}" if caller.name else "")


router.add_route("/webhooks/{source}", webhook, methods=["POST"])
router.add_route("/webhooks/{source}", ping, methods=["GET"])
