"""Silences by Alertmanager's API: ``/api/v2/silences`` and ``/api/v2/silence/{id}``, as amtool asks for them.

Never does: decide what a silence may be, or match alerts (intake does).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StrictBool
from starlette.requests import Request
from starlette.responses import Response

from quell.alerting import Wanted
from quell.errors import InvalidInput, NotFound, Problem
from quell.incident.matcher import LONGEST, MOST, Matcher
from quell.incident.silence import Silence, SilenceState
from quell.web.alertmanager import app_of, filters, fits, time, told
from quell.web.answers import Json
from quell.web.needs import ALERTMANAGER
from quell.web.reading import MAX_NAME, Body, caller_of, held, parse_json, spoken_by

OPERATORS: dict[tuple[bool, bool], Literal["=", "!=", "=~", "!~"]] = {
    (False, True): "=", (False, False): "!=", (True, True): "=~", (True, False): "!~",
}  # fmt: skip
"""By (is a pattern, is equal)."""
NOBODY = "a client of the Alertmanager API"
"""Who ends a silence where nobody is asked who they are: the API has no word for it."""
_ORDER = {SilenceState.ACTIVE: 0, SilenceState.PENDING: 1, SilenceState.EXPIRED: 2}
_MOST_WORDS = 4096

router = APIRouter()


def _text(given: Any) -> Any:
    if not isinstance(given, str):
        raise ValueError("a time such as 2026-01-02T03:04:05Z is needed")
    return given


def _utc(given: datetime) -> datetime:
    """Raises ``ValueError``. Without its offset it is nobody's time."""
    if given.tzinfo is None:
        raise ValueError("a time needs its offset, such as the Z in 2026-01-02T03:04:05Z")
    try:
        return given.astimezone(UTC)
    except OverflowError:
        raise ValueError("no such time") from None


Moment = Annotated[datetime, BeforeValidator(_text), AfterValidator(_utc)]


class Wire(Body):
    """What Alertmanager does not know it leaves aside, and its clients send back what they were given."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class WireMatcher(Wire):
    name: str = Field(min_length=1, max_length=256)
    value: str = Field(max_length=LONGEST)
    isRegex: StrictBool  # noqa: N815 (as it stands on the wire)
    isEqual: StrictBool = True  # noqa: N815

    @property
    def meant(self) -> Matcher:
        return Matcher(name=self.name, operator=OPERATORS[self.isRegex, self.isEqual], value=self.value)


class WireSilence(Wire):
    id: str = Field(default="", max_length=MAX_NAME)
    matchers: tuple[WireMatcher, ...] = Field(min_length=1, max_length=MOST)
    startsAt: Moment  # noqa: N815
    endsAt: Moment  # noqa: N815
    createdBy: str = Field(max_length=MAX_NAME)  # noqa: N815
    comment: str = Field(max_length=_MOST_WORDS)


@told
async def post(request: Request) -> Response:
    """A new one, or one that is there, changed. 400 with every fault."""
    data = parse_json(await request.body())
    if not isinstance(data, dict):
        raise InvalidInput([Problem("the body is not an object", "type", expected="a silence")])
    given = held(data, WireSilence)
    if given.id:
        await _exactly(request, given.id)
    made = await app_of(request).alerting.silence(
        Wanted(
            matchers=[one.meant for one in given.matchers], starts_at=given.startsAt, ends_at=given.endsAt,
            by=spoken_by(request, given.createdBy), comment=given.comment,
            id=given.id,
        ),
        caller_of(request).tenant,
    )  # fmt: skip
    return Json({"silenceID": made.id})


@told
async def listed(request: Request) -> Response:
    """Those that hold, those that will, and those that ended in the last days. ``filter``: they have these matchers,
    letter by letter, as in Alertmanager."""
    wanted = filters(request)
    fits(wanted)
    by = set(request.query_params.getlist("creator"))
    now = datetime.now(UTC)
    found = [
        one
        for one in await app_of(request).alerting.silences(caller_of(request).tenant, ended=True)
        if all(matcher in one.matchers for matcher in wanted) and (not by or one.by in by)
    ]
    return Json([shown(one, now) for one in sorted(found, key=lambda one: _place(one, now))])


def _place(silence: Silence, now: datetime) -> tuple[int, float]:
    """The next to end, then the next to begin, then the last that ended."""
    state = silence.state(now)
    if state is SilenceState.PENDING:
        return _ORDER[state], silence.starts_at.timestamp()
    ends = silence.ends_at.timestamp()
    return _ORDER[state], ends if state is SilenceState.ACTIVE else -ends


@told
async def get(request: Request) -> Response:
    return Json(shown(await _exactly(request, request.path_params["silence"]), datetime.now(UTC)))


@told
async def end(request: Request) -> Response:
    """200 without a body; 404; 409 when it has ended already."""
    silence = await _exactly(request, request.path_params["silence"])
    await app_of(request).alerting.unsilence(silence.id, spoken_by(request) or NOBODY, caller_of(request).tenant)
    return Response()


async def _exactly(request: Request, silence: str) -> Silence:
    """By its whole id: to end one by a slip of the hand would page people. Raises ``NotFound``."""
    found = await app_of(request).alerting.find_silence(silence, caller_of(request).tenant)
    if found.id != silence:
        raise NotFound("silence", silence)
    return found


def shown(silence: Silence, now: datetime) -> dict[str, Any]:
    matchers = [
        {"name": one.name, "value": one.value, "isRegex": one.is_pattern, "isEqual": one.asks_for}
        for one in silence.matchers
    ]
    return {
        "id": silence.id, "status": {"state": silence.state(now).value}, "updatedAt": time(silence.updated_at),
        "matchers": matchers, "startsAt": time(silence.starts_at), "endsAt": time(silence.ends_at),
        "createdBy": silence.by, "comment": silence.comment,
    }  # fmt: skip


for _prefix in ALERTMANAGER:
    router.add_route(f"{_prefix}/api/v2/silences", listed, methods=["GET"])
    router.add_route(f"{_prefix}/api/v2/silences", post, methods=["POST"])
    router.add_route(f"{_prefix}/api/v2/silence/{{silence}}", get, methods=["GET"])
    router.add_route(f"{_prefix}/api/v2/silence/{{silence}}", end, methods=["DELETE"])
