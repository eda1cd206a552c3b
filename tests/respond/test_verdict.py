"""Before and after: the five verdicts, by status, by value, per target."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.action import Verdict
from quell.incident.finding import Finding, Health, TargetFinding
from quell.respond.verdict import Signal, classify, compare, limits_of, turned
from quell.runbook.expr import Bound
from quell.runbook.plan import Call, Check, Interpret, Plan

H, V = Health, Verdict
BAD_ABOVE = (Bound("value", ">=", 1.0),)
BAD_BELOW = (Bound("free", "<", 10.0),)


def found(status: Health, **facts: Any) -> Finding:
    return Finding(check="c", status=status, facts=facts)


def signal(before: Finding, now: Finding, limits: tuple[Bound, ...] = BAD_ABOVE) -> Signal:
    return Signal("c", before, now, limits)


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (H.CRITICAL, H.HEALTHY, V.RECOVERED), (H.CRITICAL, H.WARNING, V.IMPROVED), (H.WARNING, H.CRITICAL, V.WORSE),
        (H.HEALTHY, H.WARNING, V.WORSE), (H.HEALTHY, H.HEALTHY, V.RECOVERED), (H.CRITICAL, H.CRITICAL, V.UNCHANGED),
        (H.CRITICAL, H.NO_DATA, V.CANNOT_TELL), (H.CRITICAL, H.ERROR, V.CANNOT_TELL),
        (H.NO_DATA, H.WARNING, V.CANNOT_TELL), (H.ERROR, H.CRITICAL, V.CANNOT_TELL), (H.ERROR, H.HEALTHY, V.RECOVERED),
        (H.HEALTHY, H.NO_DATA, V.CANNOT_TELL),
    ],
)  # fmt: skip
def test_by_status(before: Health, now: Health, verdict: Verdict) -> None:
    assert compare(signal(found(before), found(now))) is verdict


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (30, 8, V.IMPROVED),
        (30, 29, V.UNCHANGED),
        (30, 30, V.UNCHANGED),
        (30, 45, V.WORSE),
        (8, 30, V.WORSE),
        (30, 36, V.UNCHANGED),
    ],
)
def test_within_a_status_the_value_speaks(before: float, now: float, verdict: Verdict) -> None:
    """From 30 % to 8 % is still critical, and better."""
    assert compare(signal(found(H.CRITICAL, value=before), found(H.CRITICAL, value=now))) is verdict


@pytest.mark.parametrize(("before", "now", "verdict"), [(2, 8, V.IMPROVED), (8, 0, V.WORSE), (5, 5, V.UNCHANGED)])
def test_where_less_is_bad_more_is_better(before: float, now: float, verdict: Verdict) -> None:
    assert compare(signal(found(H.CRITICAL, free=before), found(H.CRITICAL, free=now), BAD_BELOW)) is verdict


def targets(status: Health, **values: float) -> Finding:
    members = tuple(TargetFinding(target=name, status=status, facts={"value": value}) for name, value in values.items())
    return Finding(check="c", status=status, targets=members)


def test_one_target_that_gets_worse_is_worse_whatever_the_others_do() -> None:
    before = targets(H.CRITICAL, a=30, b=30)
    assert compare(signal(before, targets(H.CRITICAL, a=2, b=60))) is V.WORSE
    assert compare(signal(before, targets(H.CRITICAL, a=2, b=30))) is V.IMPROVED
    assert compare(signal(before, targets(H.CRITICAL, a=30, b=31))) is V.UNCHANGED


def test_a_new_target_says_nothing_about_before() -> None:
    assert compare(signal(targets(H.CRITICAL, a=30), targets(H.CRITICAL, b=90))) is V.UNCHANGED


# All signals together.

GOOD = signal(found(H.CRITICAL), found(H.HEALTHY))
BETTER = signal(found(H.CRITICAL), found(H.WARNING))
SAME = signal(found(H.CRITICAL), found(H.CRITICAL))
WORSE = signal(found(H.WARNING), found(H.CRITICAL))
BLIND = signal(found(H.CRITICAL), found(H.NO_DATA))
CALM = signal(found(H.HEALTHY), found(H.HEALTHY))


@pytest.mark.parametrize(
    ("signals", "enough", "verdict"),
    [
        ([GOOD, CALM], None, V.RECOVERED), ([GOOD], True, V.RECOVERED), ([GOOD], False, V.CANNOT_TELL),
        ([], None, V.CANNOT_TELL), ([], True, V.CANNOT_TELL), ([GOOD, BLIND], None, V.CANNOT_TELL),
        ([GOOD, SAME], None, V.IMPROVED), ([BETTER, SAME], None, V.IMPROVED), ([SAME, CALM], None, V.UNCHANGED),
        ([GOOD, WORSE], None, V.WORSE), ([WORSE, BLIND], False, V.WORSE), ([SAME], None, V.UNCHANGED),
        ([BETTER], False, V.CANNOT_TELL),
    ],
)  # fmt: skip
def test_together(signals: list[Signal], enough: bool | None, verdict: Verdict) -> None:
    assert classify(signals, enough=enough) is verdict
    assert classify(reversed(signals), enough=enough) is verdict


FINDINGS = st.builds(lambda status, value: found(status, value=value), st.sampled_from(Health), st.floats(-5, 99))


@given(st.lists(st.builds(signal, FINDINGS, FINDINGS), max_size=4), st.none() | st.booleans())
def test_recovered_only_when_every_signal_is_known_to_be_healthy(signals: list[Signal], enough: bool | None) -> None:
    verdict = classify(signals, enough=enough)
    healthy = bool(signals) and all(one.now.status is H.HEALTHY for one in signals)
    assert (verdict is V.RECOVERED) == (healthy and enough is not False)
    if verdict in (V.IMPROVED, V.UNCHANGED):
        assert enough is not False
        assert all(one.now.status not in (H.NO_DATA, H.ERROR) for one in signals)


# What its own conditions call bad.


def limits(facts: dict[str, str], **interpret: str) -> list[tuple[str, str, float]]:
    check = Check(id="c", call=Call(type="t"), interpret=Interpret(**interpret), facts=facts)
    plan = Plan(id="p", name="p", nodes=(check,))
    return [(one.name, one.op, one.limit) for one in limits_of(plan, check)]


def test_limits_come_from_the_warning_and_else_from_the_critical_condition() -> None:
    number = {"value": "number"}
    assert limits(number, warning="value >= 1", critical="value >= 5") == [("value", ">=", 1)]
    assert limits(number, critical="5 < value") == [("value", ">", 5)]
    assert limits(number, healthy="value < 1") == []
    assert limits(number, critical="value >") == []


def test_limits_are_in_the_units_of_the_fact() -> None:
    assert limits({"latency": "duration:ms"}, critical="latency > 1000") == [("latency", ">", 1)]
    assert limits({"age": "duration:s"}, critical="age > 5m") == [("age", ">", 300)]
    assert limits({"rate": "percent"}, critical="rate > 5%") == [("rate", ">", 5)]
    assert limits({"rate": "ratio"}, critical="rate > 5%") == [("rate", ">", 0.05)]


def per_target(**statuses: Health) -> Finding:
    targets = tuple(TargetFinding(target=name, status=status) for name, status in statuses.items())
    worst = Health.CRITICAL if Health.CRITICAL in statuses.values() else Health.HEALTHY
    return Finding(check="c", status=worst, targets=targets)


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        ({"a": H.CRITICAL, "b": H.HEALTHY}, {"b": H.HEALTHY}, V.CANNOT_TELL),  # a died: that is no recovery
        ({"a": H.CRITICAL, "b": H.HEALTHY}, {"b": H.HEALTHY, "c": H.HEALTHY}, V.RECOVERED),  # c took its place
        ({"a": H.CRITICAL, "b": H.HEALTHY}, {"a": H.HEALTHY}, V.RECOVERED),  # only a healthy one is gone
    ],
)
def test_one_that_was_bad_and_is_gone_has_not_recovered(
    before: dict[str, Health], now: dict[str, Health], verdict: Verdict
) -> None:
    assert compare(signal(per_target(**before), per_target(**now))) is verdict


def test_only_what_was_bad_can_turn() -> None:
    good, bad, blind = found(H.HEALTHY), found(H.WARNING), found(H.NO_DATA)
    assert turned([signal(bad, good)])
    assert not turned([signal(good, good), signal(blind, good), signal(bad, bad)])
