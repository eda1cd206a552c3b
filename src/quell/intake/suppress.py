"""Whether an alert stays quiet: a maintenance window, a silence, or another alert that explains it. Pure.

Never does: look anything up, decide what a quiet alert means (correlation does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from quell.incident.silence import Silence, SilenceState
from quell.incident.tried import Tried
from quell.intake.matching import decide
from quell.intake.rules import InhibitRule, Maintenance, Rules


@dataclass(frozen=True, slots=True)
class Quiet:
    """``by``: what keeps it quiet; ``until``: when that ends by itself (UTC), None when nobody can tell."""

    by: str
    why: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Other:
    """Another alert that fires, with the labels that matchers see."""

    id: str
    name: str
    labels: Mapping[str, str]


Found = tuple[list[Tried], Quiet | None]
"""Every rule that was tried, and what keeps it quiet."""


def quiet(
    rules: Rules, silences: Iterable[Silence], others: Sequence[Other], labels: Mapping[str, str], now: datetime
) -> Found:  # fmt: skip
    """The first that keeps it quiet: a window that was planned, a silence that somebody made, an alert that fires.

    ``others``: what else fires.
    """
    tried: list[Tried] = []
    looks: list[Callable[[], Found]] = [
        lambda: in_maintenance(rules.maintenance, labels, now),
        lambda: silenced(silences, labels, now),
        lambda: inhibited(rules.inhibit_rules, labels, others),
    ]
    for look in looks:
        seen, found = look()
        tried += seen
        if found is not None:
            return tried, found
    return tried, None


def in_maintenance(windows: Iterable[Maintenance], labels: Mapping[str, str], now: datetime) -> Found:
    tried: list[Tried] = []
    for window in windows:
        rule = f"maintenance {window.name}"
        fits, why = decide(window.matchers, labels)
        end = window.end_of(now)
        if fits and end is not None:
            until = f"until {end:%Y-%m-%d %H:%M} UTC"
            tried.append(Tried(rule, True, f"{why}, {until}"))
            return tried, Quiet(rule, f"maintenance {window.name!r} is on {until}", end)
        tried.append(Tried(rule, False, why if not fits else "it is not on now"))
    return tried, None


def silenced(silences: Iterable[Silence], labels: Mapping[str, str], now: datetime) -> Found:
    """Of several that match, the one that lasts longest keeps it quiet."""
    tried: list[Tried] = []
    found: list[Silence] = []
    for silence in silences:
        if silence.state(now) is SilenceState.ACTIVE:
            fits, why = decide(silence.matchers, labels)
            tried.append(Tried(silence.held_as, fits, why))
            found += [silence] if fits else []
    if not found:
        return tried, None
    longest = max(found, key=lambda one: one.ends_at)
    return tried, Quiet(longest.held_as, longest.says, longest.ends_at)


def inhibited(rules: Iterable[InhibitRule], labels: Mapping[str, str], others: Sequence[Other]) -> Found:
    """An alert that could be the source of a rule itself is not inhibited by its like."""
    tried: list[Tried] = []
    for rule in rules:
        named = f"inhibit rule {rule.called}"
        fits, why = decide(rule.target_matchers, labels)
        if not fits:
            tried.append(Tried(named, False, f"not its target: {why}"))
            continue
        both, _ = decide(rule.source_matchers, labels)
        source = next((one for one in others if _explains(rule, one, labels, both)), None)
        if source is not None:
            tried.append(Tried(named, True, f"{source.name!r} fires and explains it"))
            return tried, Quiet(named, f"{source.name!r} fires, which explains it ({named})", None)
        tried.append(Tried(named, False, "no alert fires that would explain it"))
    return tried, None


def _explains(rule: InhibitRule, other: Other, labels: Mapping[str, str], both: bool) -> bool:
    if not decide(rule.source_matchers, other.labels)[0]:
        return False
    if both and decide(rule.target_matchers, other.labels)[0]:
        return False
    return all(other.labels.get(name, "") == labels.get(name, "") for name in rule.equal)
