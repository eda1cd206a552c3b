"""From what was seen to what it means: the worst level first, and never healthy by not knowing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.finding import Finding, Health, Missing, Observation, Reading
from quell.respond.judge import judge
from quell.runbook.plan import Call, Check, Interpret

H = Health
LEVELS = {"healthy": "value < 70", "warning": "value >= 70", "critical": "value >= 90"}


def check(**interpret: str | None) -> Check:
    return Check(id="c", call=Call(type="t"), interpret=Interpret(**(interpret or LEVELS)), facts={"...": "any"})


def judged(reading: Reading, one: Check | None = None, **world: Any) -> Finding:
    return judge(one or check(), None, reading, world)


def seen(**facts: Any) -> Reading:
    return Reading(facts)


@pytest.mark.parametrize(
    ("value", "status"), [(10, H.HEALTHY), (70, H.WARNING), (89.9, H.WARNING), (90, H.CRITICAL), (99, H.CRITICAL)]
)
def test_the_worst_level_that_holds(value: float, status: Health) -> None:
    finding = judged(seen(value=value))
    assert finding.status is status
    assert str(value) in finding.clause


def test_nothing_that_holds_is_no_data() -> None:
    assert judged(seen(value=50), check(warning="value > 60", critical="value > 90")).status is H.NO_DATA
    assert judged(seen(value=50), Check(id="c", call=Call(type="t"), facts={"...": "any"})).status is H.NO_DATA


def test_a_missing_fact_is_no_data_with_its_reason() -> None:
    finding = judged(Reading({}, missing={"value": Missing("the series is empty")}))
    assert (finding.status, finding.error_class) == (H.NO_DATA, None)
    assert "the series is empty" in finding.message
    assert finding.missing == {"value": "the series is empty"}


def test_a_fact_that_is_missing_for_a_fault_is_an_error() -> None:
    finding = judged(Reading({}, missing={"value": Missing("7 series, say reduce", "ambiguous")}))
    assert (finding.status, finding.error_class) == (H.ERROR, "ambiguous")


def test_healthy_needs_all_that_it_reads() -> None:
    one = check(healthy="value < 70 && other < 5", critical="value >= 90")
    assert judged(seen(value=10), one).status in (H.NO_DATA, H.ERROR)
    assert judged(seen(value=95), one).status is H.CRITICAL
    assert judged(seen(value=10, other=1), one).status is H.HEALTHY


def test_a_healthy_level_does_not_hide_that_the_critical_one_cannot_be_told() -> None:
    """Critical cannot be told, healthy holds by its own words: those words decide, since they need nothing else."""
    one = check(healthy="up == true", critical="rate > 5")
    assert judged(seen(up=True), one).status is H.HEALTHY
    assert judged(seen(up=False), one).status in (H.NO_DATA, H.ERROR)


def test_a_condition_that_cannot_be_read_is_an_error() -> None:
    finding = judged(seen(value=1), check(healthy="value <"))
    assert (finding.status, finding.error_class) == (H.ERROR, "invalid")


# Targets.


def region(name: str, **facts: Any) -> Observation:
    return Observation(f"region={name}", facts, {"region": name})


def test_each_target_is_judged_and_the_worst_speaks() -> None:
    """Half a region is down, and the average would say warning."""
    finding = judged(Reading({}, (region("a", value=1), region("b", value=99), region("c", value=75))))
    assert finding.status is H.CRITICAL
    assert [target.status for target in finding.targets] == [H.HEALTHY, H.CRITICAL, H.WARNING]
    assert "1 of 3 critical: region=b" in finding.message


def test_a_target_nobody_can_see_is_worse_than_a_warning_and_not_healthy() -> None:
    blind = Observation("region=b", {}, {"region": "b"}, {"value": Missing("no answer", "timeout")})
    finding = judged(Reading({}, (region("a", value=75), blind)))
    assert (finding.status, finding.error_class) == (H.ERROR, "timeout")
    empty = Observation("region=b", {}, {"region": "b"}, {"value": Missing("no sample")})
    assert judged(Reading({}, (region("a", value=1), empty))).status is H.NO_DATA


def test_conditions_about_the_whole_are_judged_once() -> None:
    finding = judged(Reading({"value": 99}, (region("a", value=1),)))
    assert (finding.status, finding.targets) == (H.CRITICAL, ())


def test_conditions_may_read_the_world() -> None:
    assert judged(seen(value=5), check(critical="value > limit"), limit=3).status is H.CRITICAL


FACT = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=True)
    | st.integers()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
)


@given(st.dictionaries(st.sampled_from(["value", "other"]), FACT), st.booleans())
def test_healthy_only_when_it_is_known_to_be(facts: dict[str, Any], missing: bool) -> None:
    reading = Reading(facts, missing={"value": Missing("gone")} if missing and "value" not in facts else {})
    finding = judged(reading)
    value = facts.get("value")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    assert (finding.status is H.HEALTHY) == (number and value < 70)
    assert finding.status in (H.NO_DATA, H.ERROR) or number
