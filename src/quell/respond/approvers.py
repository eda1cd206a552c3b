"""Whose yes counts: people, groups, and whoever is on call for the service at the moment of the answer.

What nobody can find out counts as a no: an answer is refused rather than taken from anybody.
Never does: ask for an approval, keep who is on call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError

from quell.errors import NotFound, Permanent, Refused, Transient, Unavailable
from quell.incident.access import folded
from quell.incident.action import Asks
from quell.incident.event import EventKind
from quell.ports import OnCall
from quell.respond.limits import ActionRule
from quell.respond.look import answer
from quell.respond.means import Means
from quell.runbook.plan import Approval
from quell.store import queries

_ASKED = frozenset({EventKind.OPENED, EventKind.RETURNED, EventKind.OVERRIDDEN})
"""Who did one of these had it run. An alert has nobody who asked."""
NAMELESS = frozenset({"api", "web"})
"""Who asks over HTTP in nobody's name."""
ONCALL, OWNER = "oncall", "owner"
"""Names that the service's entry in the catalogue gives a meaning."""
YES = frozenset({"approved", "done"})
"""Answers that not everybody may give. A no is anybody's."""
LOOKUP_S = 8.0
MOST_NAMED = 8
RESTRICTED = frozenset({Asks.APPROVAL, Asks.STEP})
"""What is asked of somebody in particular. That something happened, or may be taken back, anybody may say."""


class Demands(BaseModel):
    """What a yes needs: somebody of each of ``approvers`` (any of its names), ``people`` of them, never a requester."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approvers: tuple[tuple[str, ...], ...] = ()
    people: int = 1
    not_requester: bool = False


NO_DEMANDS = Demands()
"""One yes, of anybody who may give one."""


def demanded(approval: Approval, rule: ActionRule | None = None) -> Demands:
    """The runbook's and the guardrails' together: both must be met."""
    asked = [approval.approvers, rule.approvers if rule else ()]
    return Demands(
        approvers=tuple(names for names in asked if names),
        people=max(approval.people, (rule.people or 1) if rule else 1),
        not_requester=approval.not_requester or (rule is not None and rule.not_requester),
    )


@dataclass(frozen=True, slots=True)
class Circle:
    """Who counts. ``people``: the names of each, folded; ``shown``: what people call them."""

    name: str
    people: tuple[frozenset[str], ...]
    shown: tuple[str, ...]

    def names_of(self, by: str) -> frozenset[str]:
        """Every name of the person who is called so."""
        mine = (names for names in self.people if folded(by) in names)
        return frozenset({folded(by)}).union(*mine)

    def refuses(self, by: str) -> str | None:
        if any(folded(by) in names for names in self.people):
            return None
        if not self.shown:
            return f"nobody is in {self.name} now"
        left = len(self.shown) - MOST_NAMED
        who = ", ".join(self.shown[:MOST_NAMED]) + (f" and {left} more" if left > 0 else "")
        return f"{by} is not in {self.name}: only {who} may say yes"


async def allow(means: Means, row: Mapping[str, Any], by: str) -> frozenset[str]:
    """Whether ``by`` may say yes to the approval of this row, now. Returns every name by which they are known, folded.

    Raises ``Refused`` (approver, requester), and ``Unavailable`` when who is on call cannot be found out for now.
    """
    request, names = orjson.loads(row["request"]), frozenset({folded(by)})
    if Asks(request.get("asks", Asks.APPROVAL)) not in RESTRICTED:
        return names
    service, requesters = await means.database.read(lambda connection: _about(connection, row["incident"]))
    for circle in await circles_of(means, request, service):
        if (why := circle.refuses(by)) is not None:
            raise Refused("approver", why, value=by, limit=circle.name)
        names |= circle.names_of(by)
    if request.get("not_requester"):
        if nameless := NAMELESS.intersection(requesters):
            why = f"nobody knows who asked for this to be run ({', '.join(sorted(nameless))}); run it again with a name"
            raise Refused("requester", why)
        if (same := next((one for one in requesters if folded(one) in names), None)) is not None:
            raise Refused("requester", f"{same} asked for this to be run, so another person must say yes", value=same)
    return names


async def circles_of(means: Means, request: Mapping[str, Any], service: str | None) -> list[Circle]:
    """The circles that a yes must come from, as they are now. ``from`` is one only where its name means people."""
    found, whom = [], str(request.get("from") or "")
    if (asked := await _members(means, whom, service)) is not None:
        found.append(_circle([whom], asked))
    elif request.get("from_people"):  # it meant people when it was asked, and the configuration has changed since
        found.append(_circle([whom], ()))
    for names in request.get("approvers") or ():
        people: list[OnCall] = []
        for name in names:
            known = await _members(means, name, service)
            people += [OnCall(name)] if known is None and name not in (ONCALL, OWNER) else known or ()
        found.append(_circle(names, people))
    return found


def _circle(names: Iterable[str], people: Iterable[OnCall]) -> Circle:
    known = list(dict.fromkeys(people))
    everybody = tuple(frozenset(folded(name) for name in (one.name, *one.also)) for one in known)
    return Circle(" or ".join(names), everybody, tuple(dict.fromkeys(one.name for one in known)))


def means_people(means: Means, name: str, service: str | None) -> bool:
    """Whether a name is a group or a schedule now."""
    name = meant(means, name, service)
    return name in means.schedules or name in means.groups


def _about(connection: sa.Connection, incident: str) -> tuple[str | None, tuple[str, ...]]:
    """The incident's service, and who had it run: whoever triggered it or gave it back."""
    known = queries.incident(connection, incident)
    log = queries.timeline(connection, known.tenant, known.id)
    asked = (event.actor for event in log if event.kind in _ASKED)
    return known.service, tuple(dict.fromkeys(name for name in asked if name and name != "quell"))


def meant(means: Means, name: str, service: str | None) -> str:
    """What ``oncall`` and ``owner`` stand for, as the catalogue says; any other name is itself."""
    known = means.world.services.get(service or "")
    said = {ONCALL: known.oncall, OWNER: known.owner}.get(name, name) if known else name
    return said or name


async def _members(
    means: Means, name: str, service: str | None, above: frozenset[str] = frozenset()
) -> tuple[OnCall, ...] | None:
    """Everybody behind a name; None when it is neither a group nor a schedule."""
    name = meant(means, name, service)
    if name in means.schedules:
        return await on_call(means, name)
    if name not in means.groups or name in above:
        return None
    people: list[OnCall] = []
    for one in means.groups[name]:
        inner = await _members(means, one, service, above | {name})
        people += [OnCall(one)] if inner is None else inner
    return tuple(people)


async def on_call(means: Means, schedule: str) -> tuple[OnCall, ...]:
    """Who a schedule says is on call now. Raises ``Refused`` or ``Unavailable`` when that cannot be found out."""
    choice = means.schedules[schedule]
    try:
        kind = means.world.registry.schedule(choice.type)
        params = kind.params.model_validate(choice.params)
        probe = means.world.probe(timeout_s=LOOKUP_S, key=f"schedule/{schedule}")
        return tuple(await answer(kind.on_call(params, probe, means.world.clock()), LOOKUP_S))
    except Transient as error:
        why = f"who is on call in {schedule} cannot be found out: {error}"
        raise Unavailable(why, retry_after=error.retry_after or 5.0) from None
    except (Permanent, NotFound, ValidationError) as error:
        said = "its configuration is wrong" if isinstance(error, ValidationError) else str(error)
        raise Refused("approver", f"who is on call in {schedule} cannot be found out: {said}", limit=schedule) from None
