"""Whether a trigger fits an alert, how much it asks for, and which clause decided. Pure.

Never does: compare runbooks (``route`` does), look anything up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from quell.incident.alert import Alert
from quell.incident.matcher import Matcher, parse_matchers
from quell.intake import matching
from quell.runbook.plan import Plan, Trigger

Names = tuple[str, ...]
_OWN_COLUMN = frozenset({"alertname", "source"})
"""What matchers may ask for beside labels: it counts as the keys of a trigger that say the same."""


class Specific(NamedTuple):
    """What a trigger asks for, in the order in which it counts: of two, the one that asks for more at the first place
    where they differ is the more specific. ``labels``: asked for with a value; ``patterns``: in any other way that an
    alert without the label does not fit; ``exclusions``: what such an alert fits as well."""

    labels: Names = ()
    service: Names = ()
    name: Names = ()
    patterns: Names = ()
    severity: Names = ()
    source: Names = ()
    exclusions: Names = ()

    @property
    def rank(self) -> tuple[int, ...]:
        return tuple(len(names) for names in self)


NOTHING = Specific()


class Fit(NamedTuple):
    """``why`` names the clause that decided, with the value that it met."""

    matches: bool
    why: str
    specific: Specific = NOTHING


@dataclass(frozen=True, slots=True)
class _Read:
    """The matchers of a trigger, and the names that they ask for."""

    matchers: tuple[Matcher, ...] = ()
    exact: Names = ()
    patterns: Names = ()
    exclusions: Names = ()
    flaw: str = ""


_UNASKED = _Read()


def asks_for_labels(trigger: Trigger) -> bool:
    """Whether it asks for more of an alert than its name, severity and source: then it may mean one about another
    service than its runbook's own."""
    read = _read(trigger.matchers)
    return bool(trigger.labels) or not _OWN_COLUMN.issuperset((*read.exact, *read.patterns))


def fit(alert: Alert, said: Mapping[str, str], trigger: Trigger, plan: Plan, about: Collection[str]) -> Fit:
    """``said``: the alert as matchers see it; ``about``: the names of its service, none when it is not known."""
    if trigger.type == "metric_threshold" and alert.source == trigger.type:
        mine = alert.labels.get("runbook") == plan.id and alert.labels.get("query") == trigger.metric_query
        why = "its own metric crossed its threshold" if mine else "another runbook's metric"
        return Fit(mine, why, Specific(name=("alertname",)))
    if trigger.type != "alert":
        return Fit(False, f"its trigger is {trigger.type}")
    if trigger.alert_name is not None and trigger.alert_name != alert.name:
        return Fit(False, f"its trigger is {trigger.alert_name!r}, the alert is {alert.name!r}")
    read = _read(trigger.matchers) if trigger.matchers else _UNASKED
    if (against := _against(alert, said, trigger, read)) is not None:
        return Fit(False, against)
    own = plan.service is not None and plan.service in about
    if plan.service and about and not own and not asks_for_labels(trigger):
        return Fit(False, f"it is for {plan.service!r}, the alert is about {next(iter(about))!r}")
    why = "its trigger matches " + " and ".join(_met(alert, said, trigger, read))
    return Fit(True, why + (" and the service" if own else ""), _specific(trigger, read, plan.service if own else None))


def _against(alert: Alert, said: Mapping[str, str], trigger: Trigger, read: _Read) -> str | None:
    """The first clause but its name that does not hold, None when all do."""
    for name, wanted in trigger.labels.items():
        if (value := alert.labels.get(name)) is None:
            return f"it has no label {name}, {wanted!r} is asked for"
        if value != wanted:
            return f"label {name} is {value!r}, not {wanted!r}"
    if read.flaw:
        return f"its matchers cannot be read: {read.flaw}"
    holds, why = matching.decide(read.matchers, said)
    if not holds:
        return why
    if trigger.severity and (alert.severity is None or alert.severity.value not in trigger.severity):
        asked = " or ".join(trigger.severity)
        met = f"severity is {alert.severity}, not {asked}"
        return met if alert.severity else f"it has no severity, {asked} is asked for"
    if trigger.source and alert.source not in trigger.source:
        return f"source is {alert.source!r}, not {' or '.join(map(repr, trigger.source))}"
    return None


def _met(alert: Alert, said: Mapping[str, str], trigger: Trigger, read: _Read) -> list[str]:
    """Each clause, with the value that it met where that is not the clause itself."""
    met = [f"alert {trigger.alert_name!r}"] if trigger.alert_name else []
    met += [", ".join(f"{name}={value}" for name, value in trigger.labels.items())] if trigger.labels else []
    for one in read.matchers:
        value = said.get(one.name)
        meant = f" ({one.name} is {value!r})" if value is not None else f" (it has no label {one.name})"
        met.append(f"{one}" + ("" if one.operator == "=" and value is not None else meant))
    met += [f"severity {alert.severity}"] if trigger.severity else []
    return met + ([f"source {alert.source!r}"] if trigger.source else [])


def _specific(trigger: Trigger, read: _Read, service: str | None) -> Specific:
    return Specific(
        labels=tuple(sorted({*trigger.labels, *(name for name in read.exact if name not in _OWN_COLUMN)})),
        service=(service,) if service else (),
        name=("alertname",) if trigger.alert_name is not None or "alertname" in read.exact else (),
        patterns=read.patterns,
        severity=("severity",) if trigger.severity else (),
        source=("source",) if trigger.source or "source" in read.exact else (),
        exclusions=read.exclusions,
    )


@lru_cache(maxsize=4096)
def _read(texts: tuple[str, ...]) -> _Read:
    """What cannot be read matches nothing. Kept: the same few are held against every alert."""
    exact, patterns, exclusions = set[str](), set[str](), set[str]()
    try:
        matchers = tuple(one for text in texts for one in parse_matchers(text))
        for one in matchers:
            if one.operator == "=" and one.value:
                exact.add(one.name)
            else:
                (exclusions if matching.holds(one, {}) else patterns).add(one.name)
    except ValueError as error:
        return _Read(flaw=str(error))
    return _Read(matchers, tuple(sorted(exact)), tuple(sorted(patterns)), tuple(sorted(exclusions)))
