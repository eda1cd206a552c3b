"""Silences are made, changed and ended here, each recorded with who did it. Works inside an open transaction.

What a silence held is looked at again when it ends, by itself or by hand. Never does: judge alerts, commit.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from quell.errors import Conflict, InvalidInput, Problem
from quell.incident.event import Event, EventKind, NewEvent, Stream
from quell.incident.matcher import Matcher
from quell.incident.silence import Silence, SilenceState
from quell.intake import accept, matching
from quell.store import events, silences

STREAM = "silences"
"""The system stream that remembers every silence."""
LONGEST = timedelta(days=366)
"""A silence that nobody remembers must end; what shall always be quiet is no alert."""
MOST_WORDS = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """A silence as somebody asks for it. ``id``: of the one that it replaces."""

    matchers: Sequence[Matcher]
    starts_at: datetime
    ends_at: datetime
    by: str
    comment: str
    id: str = ""


def make(connection: sa.Connection, tenant: str, wanted: Wanted, now: datetime) -> tuple[Silence, list[Event]]:
    """A new one; or one that is there, changed: where its matchers change or it has ended, that is a new one in its
    place, as in Alertmanager. Raises ``InvalidInput`` with every fault, ``NotFound`` (the one that it replaces)."""
    problems = list(_faults(wanted, now))
    if problems:
        raise InvalidInput(problems)
    before = silences.find(connection, tenant, wanted.id) if wanted.id else None
    starts = max(wanted.starts_at, now)
    if before is not None and _is_the_same(before, wanted, now):
        # What has begun has begun; its end, its words and, before it begins, its beginning may still change.
        starts = before.starts_at if before.state(now) is SilenceState.ACTIVE else starts
        made = before.model_copy(
            update={
                "starts_at": starts, "ends_at": wanted.ends_at, "updated_at": now, "by": wanted.by.strip(),
                "comment": wanted.comment.strip(),
            }
        )  # fmt: skip
        told = [_made(made)]
    else:
        made = Silence(
            id=str(uuid.uuid4()), tenant=tenant, matchers=tuple(wanted.matchers), starts_at=starts,
            ends_at=wanted.ends_at, updated_at=now, by=wanted.by.strip(), comment=wanted.comment.strip(),
        )  # fmt: skip
        told = []
        if before is not None and before.state(now) is not SilenceState.EXPIRED:
            silences.end(connection, before, now)
            told.append(_ended(before, made.by))
        told.append(_made(made, before.id if before else ""))
    silences.put(connection, made)
    if before is not None:
        accept.look_now(connection, tenant, [before.held_as])
    return made, events.append(connection, tenant, Stream.SYSTEM, STREAM, told)


def end(connection: sa.Connection, tenant: str, silence: str, by: str, now: datetime) -> tuple[Silence, list[Event]]:
    """It holds nothing any more. Raises ``NotFound``, ``InvalidInput`` without a name, ``Conflict`` when it has ended
    already."""
    if not by.strip():
        raise InvalidInput([_nobody()])
    known = silences.find(connection, tenant, silence)
    if known.state(now) is SilenceState.EXPIRED:
        raise Conflict(f"silence {known.id} ended at {known.ends_at:%Y-%m-%d %H:%M} UTC")
    silences.end(connection, known, now)
    accept.look_now(connection, tenant, [known.held_as])
    told = events.append(connection, tenant, Stream.SYSTEM, STREAM, [_ended(known, by)])
    return silences.find(connection, tenant, known.id), told


def _is_the_same(before: Silence, wanted: Wanted, now: datetime) -> bool:
    unordered = {str(one) for one in before.matchers} == {str(one) for one in wanted.matchers}
    return unordered and before.state(now) is not SilenceState.EXPIRED


def _faults(wanted: Wanted, now: datetime) -> Sequence[Problem]:
    found: list[Problem] = []

    def fault(path: str, message: str, expected: str) -> None:
        found.append(Problem(message, "silence", path=path, expected=expected))

    if not wanted.matchers:
        fault("matchers", "a silence says which alerts it is for", 'a matcher such as alertname="DiskFull"')
    else:
        try:
            matching.check(wanted.matchers)
        except ValueError as error:
            fault("matchers", str(error), "matchers as Alertmanager writes them, which some alerts do not fit")
    if wanted.ends_at <= wanted.starts_at:
        fault("endsAt", "it ends before it begins", "an end after the beginning")
    elif wanted.ends_at <= now:
        fault("endsAt", "it would have ended already", "an end in the future")
    elif wanted.ends_at - max(wanted.starts_at, now) > LONGEST:
        fault("endsAt", "a silence ends by itself within a year", f"at most {LONGEST.days} days")
    if not wanted.by.strip():
        found.append(_nobody())
    if not wanted.comment.strip():
        fault("comment", "say why: whoever misses the page must know", "a sentence")
    if len(wanted.comment) > MOST_WORDS:
        fault("comment", "the comment is too long", f"at most {MOST_WORDS} characters")
    return found


def _nobody() -> Problem:
    return Problem("say who you are: the log keeps who did it", "silence", path="createdBy", expected="a name")


def _made(silence: Silence, replaces: str = "") -> NewEvent:
    payload = {
        "silence": silence.id, "matchers": [str(one) for one in silence.matchers], "by": silence.by,
        "starts_at": silence.starts_at.isoformat(), "ends_at": silence.ends_at.isoformat(), "comment": silence.comment,
    }  # fmt: skip
    if replaces:
        payload["replaces"] = replaces
    return NewEvent(kind=EventKind.SILENCE_MADE, payload=payload, actor=silence.by)


def _ended(silence: Silence, by: str) -> NewEvent:
    payload = {"silence": silence.id, "by": by, "matchers": [str(one) for one in silence.matchers]}
    return NewEvent(kind=EventKind.SILENCE_ENDED, payload=payload, actor=by)
