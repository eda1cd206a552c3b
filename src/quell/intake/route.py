"""Which runbook an alert is for, and why it and not another. Pure. Never does: read files, start anything.

The most specific first (``fit.Specific``), then the highest priority, then the id that sorts first: a total order, in
which the order of the files counts for nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from quell.incident.alert import Alert
from quell.intake.fit import NOTHING, Specific, fit
from quell.intake.matching import spoken
from quell.runbook.plan import Plan

MOST_NAMED = 10
"""Runbooks that were meant too and are named; of more it is said how many."""


class Candidate(NamedTuple):
    """One runbook that was looked at: whether it matches, how specifically, and why or why not."""

    runbook: str
    matches: bool
    specific: Specific
    why: str
    priority: int = 0

    @property
    def place(self) -> tuple[tuple[int, ...], int, str]:
        """Where it stands among those that match: the smallest is chosen."""
        return tuple(-count for count in self.specific.rank), -self.priority, self.runbook


@dataclass(frozen=True, slots=True)
class Route:
    """``plan`` None: no runbook is meant, and the default escalation is."""

    plan: Plan | None
    why: str
    candidates: tuple[Candidate, ...]


def route(alert: Alert, plans: Iterable[Plan], about: Collection[str] = ()) -> Route:
    """The one that is chosen, with every one that was looked at.

    ``about``: the names of the service that the alert is about; empty when it is not known. A runbook of another
    service is only meant when its trigger asks for labels.
    """
    by_id = {plan.id: plan for plan in plans}
    said = spoken(alert, next(iter(about), None))
    candidates = tuple(_look(alert, said, plan, about) for plan in by_id.values())
    fits = sorted((one for one in candidates if one.matches), key=lambda one: one.place)
    if not fits:
        return Route(None, f"no runbook has a trigger for {alert.name!r}", candidates)
    best = fits[0]
    return Route(by_id[best.runbook], best.why + _before(best, fits[1:]), candidates)


def _look(alert: Alert, said: Mapping[str, str], plan: Plan, about: Collection[str]) -> Candidate:
    tried = [fit(alert, said, trigger, plan, about) for trigger in plan.triggers]
    if hits := [one for one in tried if one.matches]:
        best = max(hits, key=lambda one: one.specific.rank)
        return Candidate(plan.id, True, best.specific, best.why, plan.priority)
    why = "; ".join([one.why for one in tried]) or "it has no trigger"
    return Candidate(plan.id, False, NOTHING, why, plan.priority)


def _before(best: Candidate, others: Sequence[Candidate]) -> str:
    """Which ones matched too, and why this one goes before each; those with the same reason together."""
    named: dict[str, list[str]] = {}
    for one in others[:MOST_NAMED]:
        named.setdefault(_because(best, one), []).append(one.runbook)
    told = [f"; before {', '.join(names)}: {reason}" for reason, names in named.items()]
    return "".join(told) + (f"; and before {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else "")


def _because(best: Candidate, other: Candidate) -> str:
    for place, (mine, theirs) in zip(Specific._fields, zip(best.specific, other.specific, strict=True), strict=True):
        if len(mine) != len(theirs):
            return f"it is more specific ({_said(place, [name for name in mine if name not in theirs])})"
    if best.priority != other.priority:
        return f"its priority {best.priority} > {other.priority}"
    return "its id sorts first"


def _said(place: str, names: Sequence[str]) -> str:
    """What the one asks for and the other does not."""
    listed = ", ".join(names)
    return {
        "labels": f"label {listed}", "service": f"the alert is about its service {listed}",
        "name": "it names the alert", "patterns": f"matchers on {listed}", "severity": "it asks for the severity",
        "source": "it asks for the source", "exclusions": f"it rules values of {listed} out",
    }[place]  # fmt: skip
