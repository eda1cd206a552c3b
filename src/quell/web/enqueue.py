"""``POST /v2/enqueue``: PagerDuty's Events API v2, so that whatever can page PagerDuty can page Quell.

Its answers are PagerDuty's, since its senders know no others; while the database is away it is 503 with Retry-After, as
for every webhook, and they come again. Never does: validate (the source does), say which routing keys there are.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from quell.app import App
from quell.errors import InvalidInput, Refused
from quell.web.answers import Json

SOURCE = "pagerduty_events"
router = APIRouter()


async def enqueue(request: Request) -> Response:
    """202 with the ``dedup_key``, once the event is on disk; 400 with everything that is wrong with it."""
    app: App = request.app.state.app
    body = await request.body()
    try:
        receipt = await app.receive(app.addressed(SOURCE, request.headers, body), request.headers, body)
    except Refused as error:
        if error.rule != "signature":
            raise
        return _invalid([str(error)])
    except InvalidInput as error:
        return _invalid(problem.message for problem in error.problems)
    return Json({"status": "success", "message": "Event processed", "dedup_key": receipt.fingerprints[0]}, 202)


def _invalid(errors: Iterable[str]) -> Response:
    return Json({"status": "invalid event", "message": "Event object is invalid", "errors": list(errors)}, 400)


router.add_route("/v2/enqueue", enqueue, methods=["POST"])
