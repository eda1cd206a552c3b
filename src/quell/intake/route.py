"""Which runbook an alert is for, and why. Pure. Never does: read files, start anything."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from quell.incident.alert import Alert
from quell.runbook.plan import Plan, Trigger


@dataclass(frozen=True, slots=True)
class Candidate:
    """One runbook that was looked at: whether it matches, how specifically, and why or why not."""

    runbook: str
    matches: bool
    specific: int
    why: str


@dataclass(frozen=True, slots=True)
class Route:
    """``plan`` None: no runbook is meant, and the default escalation is."""

    plan: Plan | None
    why: str
    candidates: tuple[Candidate, ...]


def route(alert: Alert, plans: Iterable[Plan], about: Collection[str] = ()) -> Route:
    """The most specific match: most labels asked for, then the service's own, then the id that sorts first.

    ``about``: the names of the service that the alert is about; empty when it is not known. A runbook of another
    service is only meant when its trigger asks for labels.
    """
    by_id = {plan.id: plan for plan in plans}
    candidates = tuple(_look(alert, plan, about) for plan in by_id.values())
    fits = sorted((one for one in candidates if one.matches), key=lambda one: (-one.specific, one.runbook))
    if not fits:
        return Route(None, f"no runbook has a trigger for {alert.name!r}", candidates)
    best = fits[0]
    others = f"; before {', '.join(one.runbook for one in fits[1:])}" if len(fits) > 1 else ""
    return Route(by_id[best.runbook], best.why + others, candidates)


def _look(alert: Alert, plan: Plan, about: Collection[str]) -> Candidate:
    tried = [_trigger(alert, trigger, plan, about) for trigger in plan.triggers]
    hits = [(specific, why) for matches, specific, why in tried if matches]
    if hits:
        specific, why = max(hits)
        return Candidate(plan.id, True, specific, why)
    return Candidate(plan.id, False, 0, "; ".join(why for _, _, why in tried) or "it has no trigger")


def _trigger(alert: Alert, trigger: Trigger, plan: Plan, about: Collection[str]) -> tuple[bool, int, str]:
    if trigger.type == alert.source and trigger.type == "metric_threshold":
        mine = alert.labels.get("runbook") == plan.id and alert.labels.get("query") == trigger.metric_query
        return mine, 1, "its own metric crossed its threshold" if mine else "another runbook's metric"
    if trigger.type != "alert":
        return False, 0, f"its trigger is {trigger.type}"
    if trigger.alert_name is not None and trigger.alert_name != alert.name:
        return False, 0, f"its trigger is {trigger.alert_name!r}"
    for name, wanted in trigger.labels.items():
        if alert.labels.get(name) != wanted:
            return False, 0, f"label {name} is {alert.labels.get(name)!r}, not {wanted!r}"
    own = plan.service is not None and plan.service in about
    if plan.service and about and not own and not trigger.labels:
        return False, 0, f"it is for {plan.service!r}, the alert is about {next(iter(about))!r}"
    labels = ", ".join(f"{name}={value}" for name, value in trigger.labels.items())
    said = " and ".join(
        part for part in (f"alert {trigger.alert_name!r}" if trigger.alert_name else "", labels) if part
    )
    specific = 4 * len(trigger.labels) + 2 * own + (trigger.alert_name is not None)
    return True, specific, f"its trigger matches {said}" + (" and the service" if own else "")
