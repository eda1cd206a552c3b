"""The runbooks: whether each can run, can be meant by an alert, and may act on what it is for.

Pure. Never does: read a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from quell.doctor.judgement import Judgement, error, listed, ok, warning
from quell.incident.service import Service, names_of
from quell.intake.fit import asks_for_labels
from quell.library import Entry, Library, State
from quell.runbook.plan import Act, Plan, Trigger
from quell.runbook.template import has_template
from quell.runbook.vocabulary import nearest


class Allows(Protocol):
    """Whose runbooks may act on whose services."""

    def allows(self, owner: str, service: str, owned_by: str) -> bool: ...


def judge(
    library: Library, catalogue: Mapping[str, Service], sources: Iterable[str], ownership: Allows
) -> Iterator[Judgement]:
    """``sources``: those that are configured."""
    if not library.entries:
        advice = "name files and folders under runbooks"
        yield warning("runbook", "runbooks", "there is none", "runbooks for the alerts that come", advice)
        return
    sound = [entry for entry in library.entries if entry.state in (State.OK, State.WARNINGS)]
    yield from (_unsound(entry) for entry in library.entries if entry not in sound)
    if sound:
        noted = sum(entry.state is State.WARNINGS for entry in sound)
        more = f", {noted} with remarks (quell lint)" if noted else ""
        yield ok("runbook", "runbooks", f"{len(sound)} of {len(library.entries)} can be relied on{more}")
    plans = list(library.plans.values())
    matching = [judged for plan in plans for judged in _triggers(plan, plans, catalogue)]
    yield from matching
    if by_alert := [plan.id for plan in plans if any(one.type == "alert" for one in plan.triggers)]:
        yield from _sources(by_alert, list(sources))
    if plans and not matching:
        yield ok("trigger", "triggers", f"each of {len(plans)} can be meant" if len(plans) > 1 else "it can be meant")
    owned = [judged for plan in plans for judged in _ownership(plan, catalogue, ownership)]
    yield from owned
    if catalogue and plans and not owned:
        yield ok("owner", "owners", "each runbook may act on the services that it is for")


def _unsound(entry: Entry) -> Judgement:
    errors = [problem for problem in entry.problems if problem.severity == "error"]
    first = f": {errors[0].message}" if errors else ""
    looked_at = entry.runbook or entry.file
    expected = "a runbook without problems"
    advice = f"quell lint {entry.file}, with the --config that this was asked with"
    if entry.state is State.BROKEN:
        return error("runbook", looked_at, f"it is broken and cannot run{first}", expected, advice)
    return warning("runbook", looked_at, f"it runs with {len(errors)} problems{first}", expected, advice)


def _triggers(plan: Plan, plans: Iterable[Plan], catalogue: Mapping[str, Service]) -> Iterator[Judgement]:
    expected = "a trigger that some alert fits"
    if not plan.triggers:
        found = "it has no trigger: only a person starts it"
        yield warning("trigger", plan.id, found, expected, "add a trigger; or type: manual, to say that it is meant so")
        return
    alerts = [trigger for trigger in plan.triggers if trigger.type == "alert"]
    if not alerts:
        return
    if catalogue and plan.service and not _names(plan.service, catalogue):
        known = [name for one in catalogue.values() for name in (one.name, *one.aliases)]
        near = nearest(plan.service, known)
        found = f"its service {plan.service!r} is not in the catalogue: no alert about a known service is for it"
        advice = f"did you mean {near!r}?" if near else f"add {plan.service} to services, or correct it"
        yield warning("trigger", plan.id, found, "a service of the catalogue", advice)
    first = [shadow(plan, trigger, plans, catalogue) for trigger in alerts]
    if all(first):
        other = listed(dict.fromkeys(one for one in first if one))
        found = f"{other} is meant by every alert that it is for"
        advice = f"ask for more in one of the two, give {plan.id} a higher priority, or remove it"
        yield warning("trigger", plan.id, found, expected, advice)


def _names(service: str, catalogue: Mapping[str, Service]) -> tuple[str, ...]:
    return next((names for one in catalogue.values() if service in (names := names_of([one], one.name))), ())


def shadow(plan: Plan, trigger: Trigger, plans: Iterable[Plan], catalogue: Mapping[str, Service]) -> str | None:
    """A runbook that routing chooses before this one for whatever fits this trigger; None when there may be an alert
    that this one is chosen for."""
    return next((other.id for other in plans if other.id != plan.id and _before(other, plan, trigger, catalogue)), None)


def _before(other: Plan, plan: Plan, trigger: Trigger, catalogue: Mapping[str, Service]) -> bool:
    """Routing counts what the trigger asks for and whether the service is the runbook's own; then its priority, then
    its id.

    So only a trigger that asks for exactly the same can go before it always, and only by its service, priority or id.
    """
    same = any(one.asks == trigger.asks for one in other.triggers)
    if not same or (-other.priority, other.id) > (-plan.priority, plan.id):
        return False
    mine, theirs = (_names(one.service, catalogue) if one.service else () for one in (plan, other))
    if mine:  # an alert about its service is its own, and goes before what is not
        return mine == theirs
    # Without labels, a runbook with a service is not meant by alerts about another one.
    narrower = other.service is not None and not asks_for_labels(trigger) and bool(catalogue)
    return not narrower or plan.service is not None


def _sources(runbooks: list[str], sources: list[str]) -> Iterator[Judgement]:
    if sources:
        return
    found = f"no source is configured, and alerts start {listed(runbooks)}"
    advice = "name it under sources, with a token; unnamed, /webhooks/alertmanager takes alerts from whoever posts"
    yield warning("source", "sources", found, "a source that alerts come from", advice)


def _ownership(plan: Plan, catalogue: Mapping[str, Service], ownership: Allows) -> Iterator[Judgement]:
    """As the guard will ask: by the names that the catalogue has, for every action."""
    named: dict[str, None] = {}
    for node in plan.nodes:
        if isinstance(node, Act):
            said = node.call.config.get("service")
            target = said if isinstance(said, str) and not has_template(said) else plan.service
            named |= {target: None} if target else {}
    owner = plan.owner or _owner(plan.service, catalogue)
    for service in named:
        owned_by = _owner(service, catalogue)
        if not ownership.allows(owner, service, owned_by):
            whose = f"it is a runbook of {owner}" if owner else "it has no owner"
            found = f"{whose}, and {service} is {owned_by}'s: every action will be refused"
            expected = f"owner {owned_by}, or a rule that lets it"
            advice = f"set its owner, or guardrails.ownership.also: {{{owner or 'OWNER'}: [{service}]}}"
            yield error("owner", plan.id, found, expected, advice)


def _owner(service: str | None, catalogue: Mapping[str, Service]) -> str:
    known = catalogue.get(service or "")
    return known.owner if known else ""
