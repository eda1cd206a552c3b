"""Whether somebody is reached: each configured notifier, and each address that a runbook or the site escalates to.

Pure. Never does: send; ``askers.messages`` does, when it is told to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quell.doctor.asked import Failure
from quell.doctor.judgement import Judgement, error, listed, ok, warning
from quell.errors import NotFound, Permanent
from quell.ports import OnCall
from quell.respond.destination import destination
from quell.runbook.lint.addresses import fault_of
from quell.runbook.plan import Notify, Plan
from quell.runbook.template import has_template
from quell.runbook.vocabulary import Sender, Vocabulary

LOG = "log"
_EXPECTED = "an address that reaches a person"


@dataclass(frozen=True, slots=True)
class Way:
    """A notifier with its parameters; ``own``: the name it is configured under, empty for an address."""

    to: str
    type: str
    params: Mapping[str, Any] = field(default_factory=dict)
    own: str = ""


def addressed(default: str, plans: Iterable[Plan]) -> dict[str, tuple[str, ...]]:
    """Address → who escalates or tells something there: runbooks, and the site itself."""
    found: dict[str, dict[str, None]] = {default: {"escalation": None}} if default else {}
    for plan in plans:
        told = [plan.escalation.primary, plan.escalation.secondary, *plan.escalation.further]
        told += [node.to for node in plan.nodes if isinstance(node, Notify)]
        for to in told:
            if to and not has_template(to):
                found.setdefault(to, {})[plan.id] = None
    return {to: tuple(whose) for to, whose in found.items()}


def judge_address(to: str, whose: Iterable[str], vocabulary: Vocabulary) -> Judgement:
    looked_at = f"{to} ({listed(whose)})"
    if fault := fault_of(to, vocabulary):
        near = f"did you mean {fault.near!r}?" if fault.near else "configure it, or name another address"
        return error("address", looked_at, fault.message, fault.expected or _EXPECTED, near)
    way = way_to(to, vocabulary)
    if way is None:
        return error("address", looked_at, "it leads nowhere", _EXPECTED, "name a notifier or an address")
    if way.type == LOG:
        found = "it is written to the log, and reaches nobody by itself"
        return warning("address", looked_at, found, _EXPECTED, "name a notifier that people see")
    return ok("address", looked_at, f"goes through {way.type}")


def judge_default(default: str, plans: Iterable[Plan]) -> Judgement | None:
    """Where pages go that nobody was named for."""
    if default:
        return None
    lacking = [plan.id for plan in plans if not plan.escalation.primary]
    whose = f"of {listed(lacking)}, and of alerts" if lacking else "of alerts"
    found = f"pages {whose} that no runbook is for are written to the log only"
    return warning("address", "escalation", found, _EXPECTED, "set escalation to whom to page where nobody is named")


def judge_notifier(name: str, kind: str, seen: str | Failure) -> Judgement:
    """``seen``: how it is reached."""
    looked_at = f"{kind} notifier {name}"
    if isinstance(seen, Failure):
        advice = f"correct notifiers.{name}, or what it goes through"
        return error("notifier", looked_at, seen.words, "a notifier that can send", advice)
    return ok("notifier", looked_at, seen)


def judge_schedule(name: str, kind: str, seen: tuple[OnCall, ...] | Failure) -> Judgement:
    """``seen``: who is on call now. Without an answer no yes that needs this schedule is taken."""
    looked_at = f"{kind} schedule {name}"
    if isinstance(seen, Failure):
        advice = f"correct schedules.{name}, or what it goes through"
        return error("schedule", looked_at, seen.words, "who is on call", advice)
    if not seen:
        advice = "look whether it has a gap: until it is closed nobody can say yes for it"
        return warning("schedule", looked_at, "nobody is on call now", "somebody on call", advice)
    ends = [one.until for one in seen if one.until]
    until = f", until {min(ends):%Y-%m-%d %H:%M} UTC" if ends else ""
    return ok("schedule", looked_at, f"{listed([one.name for one in seen])} on call{until}")


def judge_sent(to: str, seen: str | Failure) -> Judgement:
    if isinstance(seen, Failure):
        advice = "look at what it says: in an incident this message would not have come"
        return error("notify", to, f"the test message was not taken: {seen.words}", "a message that is taken", advice)
    return ok("notify", to, f"the test message was sent: {seen}")


def ways(settings_notifiers: Mapping[str, Sender], addresses: Iterable[str], vocabulary: Vocabulary) -> list[Way]:
    """Every notifier that is configured, then every address beside them that leads somewhere; none twice."""
    found = [Way(name, one.type, one.params, name) for name, one in settings_notifiers.items()]
    for to in addresses:
        way = way_to(to, vocabulary) if fault_of(to, vocabulary) is None else None
        if way is not None and not any((way.type, way.params) == (one.type, one.params) for one in found):
            found.append(way)
    return found


def way_to(to: str, vocabulary: Vocabulary) -> Way | None:
    """As paging finds it; None where it finds nobody, or cannot choose."""
    kinds, configured = vocabulary.notifier_kinds, vocabulary.notifiers or {}
    try:
        found = destination(to, (kinds[name] for name in kinds), configured, vocabulary.connections or {})
    except (NotFound, Permanent):
        return None
    return Way(to, found.type, found.params, to if to in configured else "")
