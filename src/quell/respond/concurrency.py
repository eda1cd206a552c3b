"""How many incidents are worked on at once, of a runbook and of a tenant, and whose turn it is. Pure.

An incident *works* from its turn on until its run ends; while it waits for a person or for a time it is *away*, and
takes nobody's place. What came back from there works on, even beyond the limit: what was agreed to is not put off.
Never does: read a clock, know what an incident is about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from quell.respond.limits import Rule, Seconds
from quell.runbook.plan import Plan

MOST = 1_000_000
"""Where nobody says how many."""


class Share(Rule):
    """How much of the work a tenant may have."""

    max_concurrent: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many of its incidents are worked on at once, of all runbooks together; any number when left out. One that
    waits for a person does not count."""
    queue_size: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many more may wait for their turn, the most severe first. For one more than that a person is paged at
    once."""
    timeout_seconds: Annotated[Seconds, Field(gt=0, le=7 * 86_400)] = 1800.0
    """How long one may wait for its turn, and how long it may then be worked on, until a person is paged. What waits
    for people does not count."""


class Shares(Share):
    """How much of the work each tenant may have: every tenant as much, but those that are named."""

    tenants: dict[str, Share] = Field(default_factory=dict)
    """Another share for a tenant, in place of this one."""

    def of(self, tenant: str) -> Share:
        return self.tenants.get(tenant, self)


class State(StrEnum):
    QUEUED = "queued"
    WORKING = "working"
    AWAY = "away"
    OVER = "over"
    """It works, for longer than it may: nothing more is begun for it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A run of an incident that is limited. ``priority``: 1 goes first, then whoever waits since longest.

    ``most`` and ``size``: its runbook's limits. Times in microseconds: ``since`` it is what it is now; ``worked``
    before; ``timeout``: how long it may wait, and work.
    """

    incident: str
    number: int
    tenant: str
    runbook: str
    state: State
    priority: int
    since: int
    worked: int
    timeout: int
    most: int
    size: int

    @property
    def works(self) -> bool:
        return self.state in (State.WORKING, State.OVER)


@dataclass(frozen=True, slots=True)
class Asked:
    """What limits the runs of a Plan for a tenant."""

    most: int
    size: int
    timeout: int
    """In microseconds: the shorter of both."""


def asked_of(plan: Plan, share: Share | None) -> Asked | None:
    """None where nothing does."""
    own = plan.rate_limit
    given = [one for one in (own, share) if one is not None]
    if not given:
        return None
    timeout = int(min(one.timeout_seconds for one in given) * 1_000_000)
    return Asked((own and own.max_concurrent) or MOST, own.queue_size if own else MOST, timeout)


@dataclass(frozen=True, slots=True)
class Moves:
    """``begin``: whose turn it is, in this order. ``full``: who has no place in the queue, with the reason."""

    begin: tuple[Turn, ...]
    full: tuple[tuple[Turn, str], ...]


def moves(turns: Iterable[Turn], share: Share | None) -> Moves:
    """What is to be done about the runs of one tenant. Of those that wait, one that its runbook's limit holds up holds
    up none of another runbook."""
    known = list(turns)
    works = Counter(turn.runbook for turn in known if turn.works)
    total, most = works.total(), (share.max_concurrent if share else None) or MOST
    begin, wait = list[Turn](), list[Turn]()
    for turn in sorted((one for one in known if one.state is State.QUEUED), key=_order):
        if total < most and works[turn.runbook] < turn.most:
            works[turn.runbook] += 1
            total += 1
            begin.append(turn)
        else:
            wait.append(turn)
    return Moves(tuple(begin), tuple(_full(wait, works, total, share)))


def _order(turn: Turn) -> tuple[int, int, str, int]:
    return turn.priority, turn.since, turn.incident, turn.number


def _full(
    wait: Sequence[Turn], works: Mapping[str, int], total: int, share: Share | None
) -> Iterable[tuple[Turn, str]]:  # fmt: skip
    """Whoever is last goes first."""
    size = share.queue_size if share and share.max_concurrent else MOST
    waits, queued = Counter[str](), 0
    for turn in wait:
        if waits[turn.runbook] >= turn.size:
            yield turn, f"the queue of runbook {turn.runbook} is full: {_said(works[turn.runbook], turn.size)}"
        elif queued >= size:
            yield turn, f"the queue of tenant {turn.tenant} is full: {_said(total, size)}"
        else:
            waits[turn.runbook] += 1
            queued += 1


def _said(works: int, waits: int) -> str:
    return f"{works} of its incidents {_are(works)} worked on, and {_wait(waits)}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _wait(count: int) -> str:
    return "1 waits" if count == 1 else f"{count} wait"


def _worked_on(count: int, whose: str) -> str:
    return f"{count} incident{'' if count == 1 else 's'} of {whose} {_are(count)} worked on, which is the most"


def why_queued(turn: Turn, turns: Iterable[Turn], share: Share | None) -> str:
    """For people: what holds it up, and how many wait before it."""
    known = list(turns)
    own = [one for one in known if one.runbook == turn.runbook]
    works, everybody = sum(one.works for one in own), sum(one.works for one in known)
    before = sum(one.state is State.QUEUED and _order(one) < _order(turn) for one in known)
    if works >= turn.most:
        held = _worked_on(works, f"runbook {turn.runbook}")
    elif share and share.max_concurrent and everybody >= share.max_concurrent:
        held = _worked_on(everybody, f"tenant {turn.tenant}")
    else:
        held = "others came before it"
    return f"{held}; {_wait(before)} before it" if before else held


def overdue(turn: Turn, now: int) -> bool:
    """Whether it has waited, or worked, for longer than it may."""
    if turn.state is State.QUEUED:
        return now - turn.since > turn.timeout
    return turn.state is State.WORKING and turn.worked + now - turn.since > turn.timeout
