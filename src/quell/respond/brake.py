"""People stop what acts, and let it go on: the kill switch, and the breaker of a service, each pull recorded.

Works inside an open ``Change`` and in somebody's name. Never does: stop what looks, pages or tells; commit.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

from quell.engine import breaker
from quell.errors import InvalidInput, NotFound, Problem
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.pause import Pause, Scope
from quell.respond.change import Change
from quell.respond.people import named
from quell.runbook.quantities import spoken
from quell.store import events, pauses

SWITCHES = "switches"
"""The stream that remembers every pull."""
LONGEST_S = 30 * 86_400.0
"""A pause that nobody remembers must end; one that shall last longer is a rule of the guardrails."""


def pause(
    change: Change, tenant: str, scope: Scope, name: str, *, for_s: float, by: str, reason: str
) -> Pause:  # fmt: skip
    """From now on, by the database's clock. Raises ``InvalidInput``."""
    named(by)
    problems = []
    if not reason.strip():
        problems.append(Problem("say why: whoever is paged must know", "no-reason", path="reason", expected="a reason"))
    if not 0 < for_s <= LONGEST_S:
        problems.append(
            Problem(
                "a pause ends by itself, within 30 days", "pause-length", path="for", found=spoken(for_s),
                expected=f"more than 0 and at most {spoken(LONGEST_S)}",
            )
        )  # fmt: skip
    if (scope is Scope.ALL) == bool(name):
        meant = "no name" if scope is Scope.ALL else f"the {scope.value}'s name"
        problems.append(Problem(f"what is paused: {scope.value}", "pause-name", path="name", expected=meant))
    if problems:
        raise InvalidInput(problems)
    at = events.when(change.means.database.now_us(change.connection))
    pulled = Pause(
        id=secrets.token_hex(4), tenant=tenant, scope=scope, name=name, by=by, reason=reason.strip()[:500], at=at,
        until=at + timedelta(seconds=for_s),
    )  # fmt: skip
    pauses.add(change.connection, pulled)
    payload = {
        "pause": pulled.id, "scope": scope.value, "name": name, "until": pulled.until.isoformat(), "by": by,
        "reason": pulled.reason,
    }  # fmt: skip
    _record(change, tenant, NewEvent(kind=EventKind.PAUSED, payload=payload, actor=by))
    return pulled


def resume(
    change: Change, tenant: str, which: str | None, scope: Scope | None, name: str, *, by: str, reason: str
) -> list[Pause]:
    """End one pause by its id, or every one of a scope; without either, when only one is on, that one.

    Raises ``NotFound``, ``InvalidInput``. Returns what goes on.
    """
    named(by)
    now = change.means.database.now_us(change.connection)
    chosen = _chosen(pauses.on(change.connection, now), which, scope, name)
    for one in chosen:
        pauses.end(change.connection, one.id, by, now)
        payload = {"pause": one.id, "scope": one.scope.value, "name": one.name, "by": by, "reason": reason}
        _record(change, tenant, NewEvent(kind=EventKind.RESUMED, payload=payload, actor=by))
    return chosen


def reset(change: Change, tenant: str, service: str, by: str, reason: str) -> None:
    """How often the service was repaired is counted anew from now on. Raises ``InvalidInput``."""
    named(by)
    if not reason.strip():
        raise InvalidInput([Problem("say what was found: it stays in the log", "no-reason", path="reason")])
    now = change.means.database.now_us(change.connection)
    target = f"service/{service}"
    for one in {tenant, *breaker.tenants(change.connection, target)}:
        breaker.reset(change.connection, one, target, now, by, reason.strip()[:500])
    payload = {"service": service, "by": by, "reason": reason.strip()[:500]}
    _record(change, tenant, NewEvent(kind=EventKind.BREAKER_RESET, payload=payload, actor=by))


def _chosen(here: Sequence[Pause], which: str | None, scope: Scope | None, name: str) -> list[Pause]:
    if which is not None:
        found = [one for one in here if one.id == which]
        wanted = which
    elif scope is not None:
        found = [one for one in here if (one.scope, one.name) == (scope, name)]
        wanted = f"{scope.value} {name}".strip()
    elif len(here) > 1:
        ids = ", ".join(f"{one.id} ({one.what})" for one in here)
        raise InvalidInput([Problem(f"{len(here)} pauses are on; say which", "which-pause", expected=ids)])
    else:
        found, wanted = list(here), "any"
    if not found:
        raise NotFound("pause", wanted)
    return found


def _record(change: Change, tenant: str, new: NewEvent) -> None:
    change.told += events.append(change.connection, tenant, Stream.SYSTEM, SWITCHES, [new])
