"""What a trigger asks of alerts, held against what alerts can have: a clause that none can fit is told.

What matchers mean is said again here in a few lines only as far as it can be told without an alert. Never does: know an
alert.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from quell.runbook.expr.pattern import compile_pattern
from quell.runbook.lint.remark import Place, Remark
from quell.runbook.plan import Plan, Trigger
from quell.runbook.vocabulary import Asks, Vocabulary, nearest

OWN_METRIC = "metric_threshold"
"""The source of alerts that runbooks raise themselves, from a metric that they watch."""


def severities(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A word that stands for no severity fits no alert."""
    alerts = vocabulary.alerts
    if alerts is None:
        return
    for trigger, place, word in _words(plan, "severity"):
        if alerts.severity(word) is None:
            near = nearest(word.lower(), alerts.severities)
            yield Remark(
                trigger.origin, place, f"{word!r} is no severity", "unknown-severity", found=repr(word),
                expected="P1 to P4, or a word such as critical, error, warning, info", nearest=near,
            )  # fmt: skip


def sources(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """With a configuration at hand, alerts come from what it calls its sources, or from one that needs none."""
    known = vocabulary.alerts.sources if vocabulary.alerts else None
    if known is None:
        return
    for trigger, place, name in _words(plan, "source"):
        if name not in known and name != OWN_METRIC:
            yield Remark(
                trigger.origin, place, f"no source {name!r} is configured: no alert comes from it", "unknown-source",
                found=repr(name), expected="one of " + ", ".join(sorted(known)), nearest=nearest(name, known),
            )  # fmt: skip


def matchers(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """What cannot be read or is no pattern; and what alone would mean nearly every alert."""
    for trigger in plan.triggers:
        found, flaws = _read(trigger, vocabulary)
        yield from flaws
        alone = not (trigger.alert_name or trigger.labels or trigger.severity or trigger.source)
        if trigger.matchers and alone and not flaws and found and all(_fits(one, "") for _, one in found):
            yield Remark(
                trigger.origin, ("matchers",),
                "these matchers fit every alert that lacks the label: nothing is asked for", "matches-all", "warning",
                found=", ".join(_shown(one) for _, one in found), expected="a name, a label or a value to ask for",
            )  # fmt: skip


def contradictions(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Two clauses that no value of a label fits both."""
    for trigger in plan.triggers:
        found, _ = _read(trigger, vocabulary)
        for place, one in found:
            wanted = trigger.labels.get(one.name)
            if wanted is not None and not _fits(one, wanted):
                yield _never(trigger, place, f"{_shown(one)} and the label {one.name}={wanted} never hold together")
            elif one.name == "alertname" and trigger.alert_name and not _fits(one, trigger.alert_name):
                yield _never(trigger, place, f"{_shown(one)} and alert_name {trigger.alert_name} never hold together")
            elif one.name == "source" and trigger.source and not any(_fits(one, name) for name in trigger.source):
                asked = " or ".join(trigger.source)
                yield _never(trigger, place, f"{_shown(one)} and source {asked} never hold together")
        for (_, first), (place, second) in combinations(found, 2):
            exact, other = (first, second) if first.operator == "=" else (second, first)
            if exact.operator == "=" and exact.name == other.name and not _fits(other, exact.value):
                yield _never(trigger, place, f"{_shown(first)} and {_shown(second)} never hold together")


def _never(trigger: Trigger, place: Place, said: str) -> Remark:
    return Remark(trigger.origin, place, f"{said}: this trigger matches nothing", "never-matches")


def _words(plan: Plan, key: str) -> Iterable[tuple[Trigger, Place, str]]:
    for trigger in plan.triggers:
        for position, word in enumerate(getattr(trigger, key)):
            yield trigger, (key, position), word


def _read(trigger: Trigger, vocabulary: Vocabulary) -> tuple[list[tuple[Place, Asks]], list[Remark]]:
    """Every matcher that can be used, with its place, and what is wrong with the others."""
    found: list[tuple[Place, Asks]] = []
    flaws: list[Remark] = []
    for position, text in enumerate(trigger.matchers if vocabulary.alerts else ()):
        place = ("matchers", position)
        try:
            for one in vocabulary.alerts.matchers(text) if vocabulary.alerts else ():
                if one.operator in ("=~", "!~"):
                    compile_pattern(one.value)
                found.append((place, one))
        except ValueError as error:
            flaws.append(
                Remark(
                    trigger.origin, place, f"it cannot be used: {error}", "matchers", found=text[:80],
                    expected='as Alertmanager writes them: severity="critical", env=~"prod|stage"',
                )
            )  # fmt: skip
    return found, flaws


def _fits(one: Asks, value: str) -> bool:
    same = value == one.value if one.operator in ("=", "!=") else compile_pattern(one.value).whole(value)
    return same is (one.operator in ("=", "=~"))


def _shown(one: Asks) -> str:
    return f'{one.name}{one.operator}"{one.value}"'
