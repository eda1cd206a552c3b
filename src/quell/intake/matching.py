"""Whether matchers hold for an alert, and which one decided. Pure. Never does: parse matchers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quell.incident.alert import Alert
from quell.incident.matcher import Matcher
from quell.runbook.expr.pattern import MAX_SUBJECT, compile_pattern


def check(matchers: Sequence[Matcher]) -> None:
    """Raises ``ValueError`` for a pattern that cannot be used, and for a list that would match everything."""
    usable(matchers)
    if not any(not holds(matcher, {}) for matcher in matchers):
        raise ValueError("at least one matcher must ask for a label that is not empty: these match every alert")


def usable(matchers: Sequence[Matcher]) -> None:
    """Raises ``ValueError`` for a pattern that cannot be used."""
    for matcher in matchers:
        if matcher.is_pattern:
            try:
                compile_pattern(matcher.value)
            except ValueError as error:
                raise ValueError(f"{matcher}: {error}") from None


def spoken(alert: Alert, service: str | None = None) -> dict[str, str]:
    """The labels that matchers see: the alert's own, and what every alert has under the names that people use."""
    said = {
        "alertname": alert.name, "source": alert.source, "environment": alert.environment, "region": alert.region,
        "service": service or alert.service or "", "severity": alert.severity.value if alert.severity else "",
    }  # fmt: skip
    return {name: value for name, value in said.items() if value} | dict(alert.labels)


def matchers_of(alert: Alert) -> tuple[Matcher, ...]:
    """What this alert fits: its name and every label. One with another label more fits it too."""
    said = {"alertname": alert.name} | dict(sorted(alert.labels.items()))
    return tuple(Matcher(name=name, operator="=", value=value) for name, value in said.items() if value)


def holds(matcher: Matcher, labels: Mapping[str, str]) -> bool:
    """A pattern is held against the whole value. A value that is too long to be matched fits nothing."""
    value = labels.get(matcher.name, "")
    if not matcher.is_pattern:
        return (value == matcher.value) is matcher.asks_for
    if len(value) > MAX_SUBJECT:
        return not matcher.asks_for
    return compile_pattern(matcher.value).whole(value) is matcher.asks_for


def decide(matchers: Sequence[Matcher], labels: Mapping[str, str]) -> tuple[bool, str]:
    """Whether every one holds, and why or why not: the first that does not, with the value that it met."""
    for matcher in matchers:
        if not holds(matcher, labels):
            value = labels.get(matcher.name)
            met = f"{matcher.name} is {value!r}" if value is not None else f"it has no label {matcher.name}"
            return False, f"{matcher} does not hold: {met}"
    return True, "it matches {" + ", ".join(str(one) for one in matchers) + "}"
