"""What is late, and when to look: a table of moments; what counts as a sign of life; the alert of a silent source."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.incident.alert import Alert, AlertStatus, Severity
from quell.intake.heartbeat import (
    PATIENCE_S,
    Expect,
    Place,
    Seen,
    State,
    again,
    alive,
    apart,
    judge,
    missing,
    returned,
    shown,
)
from quell.intake.per_source import SourceSettings

BEGAN = datetime(2026, 11, 29, 12, tzinfo=UTC)
PLACE = Place("prometheus", "acme", "production", "eu", {"team": "sre"})


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def expect(**given: Any) -> Expect:
    return Expect.model_validate({"every": "5m", **given})


def said(name: str = "Watchdog", status: AlertStatus = AlertStatus.FIRING, **labels: str) -> Alert:
    return Alert(source="prometheus", name=name, status=status, fingerprint=name, labels=labels, received_at=BEGAN)


@pytest.mark.parametrize(("heard", "now", "state", "late"), [
    (None, 0, State.NEVER, 360), (None, 359, State.NEVER, 360), (None, 360, State.LATE, 360),
    (100, 100, State.OK, 460), (100, 399, State.OK, 460), (100, 400, State.DUE, 460), (100, 459, State.DUE, 460),
    (100, 460, State.LATE, 460), (-100, 299, State.OK, 360), (-100, 359, State.DUE, 360), (-100, 360, State.LATE, 360),
])  # fmt: skip
def test_every_and_grace(heard: float | None, now: float, state: State, late: float) -> None:
    seen = Seen(BEGAN, at(heard) if heard is not None else None)
    judged = judge(expect(grace="1m"), seen, at(now))
    assert (judged.state, judged.late_at) == (state, at(late))


@pytest.mark.parametrize(("every", "listening", "late"), [
    ("5m", 0, 300), ("5m", 200, 500), ("5m", 1000, 1300), ("1d", 86_000, 86_900), ("1d", 86_399, 87_299),
    ("1d", 100, 86_400),
])  # fmt: skip
def test_after_a_start_it_is_given_time_to_be_heard_again(every: str, listening: float, late: float) -> None:
    judged = judge(expect(every=every), Seen(BEGAN), at(listening), at(listening))
    assert (judged.state, judged.late_at) == (State.NEVER, at(late))
    assert late - listening <= max(86_400 - listening, PATIENCE_S)


def test_slack_is_for_what_others_have_not_written_down_yet() -> None:
    assert judge(expect(), Seen(BEGAN, BEGAN), at(301), slack_s=2).state is State.DUE
    assert judge(expect(), Seen(BEGAN, BEGAN), at(302), slack_s=2).state is State.LATE


def test_what_fires_is_late_until_somebody_says_otherwise() -> None:
    assert judge(expect(), Seen(BEGAN, at(1), fires=True), at(2)).state is State.LATE


@given(
    every=st.integers(1, 10_000), grace=st.integers(0, 10_000), heard=st.none() | st.integers(-20_000, 20_000),
    now=st.integers(0, 60_000), listening=st.none() | st.integers(0, 60_000),
)  # fmt: skip
def test_whoever_looks_again_when_told_finds_it_late_and_not_before(
    every: int, grace: int, heard: int | None, now: int, listening: int | None
) -> None:
    expected = Expect(every=every, grace=grace)
    seen = Seen(BEGAN, at(heard) if heard is not None else None)
    since = at(listening) if listening is not None else None
    judged = judge(expected, seen, at(now), since)
    assert (judged.state is State.LATE) == (at(now) >= judged.late_at)
    assert judge(expected, seen, judged.late_at, since).state is State.LATE
    before = judge(expected, seen, judged.late_at - timedelta(microseconds=1), since)
    assert before.state is not State.LATE
    assert judged.late_at >= max(BEGAN, at(heard or 0)) + timedelta(seconds=every + grace) or (heard or 0) < 0


@pytest.mark.parametrize(("seen", "now", "state"), [
    (None, 0, State.NEVER), (Seen(BEGAN), 0, State.NEVER), (Seen(BEGAN), 301, State.DUE),
    (Seen(BEGAN, fires=True), 301, State.LATE), (Seen(BEGAN, at(10)), 11, State.OK),
])  # fmt: skip
def test_people_see_it_late_when_it_is_an_alert(seen: Seen | None, now: float, state: State) -> None:
    assert shown(expect(), seen, at(now)) is state
    assert shown(None, seen, at(now)) is None


# What counts.


def test_a_watchdog_counts_while_it_fires_and_stands_apart() -> None:
    expected = expect(alerts=["alertname=Watchdog", 'cluster=~"a|b"'])
    mine, other, elsewhere = said(cluster="a"), said("Down", cluster="a"), said(cluster="c")
    assert apart(expected, [mine, other, elsewhere]) == ([mine], [other, elsewhere])
    assert alive(expected, [mine])
    assert not alive(expected, [])
    assert not alive(expected, [said(status=AlertStatus.RESOLVED, cluster="a")])


def test_without_a_matcher_whatever_comes_counts() -> None:
    for one in (expect(), None):
        assert apart(one, [said()]) == ([], [said()])
        assert alive(one, [])


# What is written.


def test_the_short_form() -> None:
    assert SourceSettings.model_validate({"expect": "every 5m"}).expect == Expect(every=300)
    assert SourceSettings.model_validate({"expect": " Every 1h30m "}).expect == Expect(every=5400)
    assert SourceSettings.model_validate({"expect": {"every": "5m", "grace": "30s"}}).expect == Expect(
        every=300, grace=30
    )
    assert SourceSettings.model_validate({"expect": "every 5"}).expect == Expect(every=5)  # bare numbers are seconds
    assert SourceSettings().expect is None
    assert expect(grace="1m").spoken == "every 5m, 1m grace"


@pytest.mark.parametrize("wrong", [
    "5m", "every", "hourly", 5, True, [], {}, {"every": "0s"}, {"every": "5m", "grace": "-1s"},
    {"every": "5m", "alerts": ["alertname!=Watchdog"]}, {"every": "5m", "alerts": ['a=~"("']}, {"every": "400d"},
    {"every": "5m", "labels": {"heartbeat": "x"}}, {"every": "5m", "severity": "bad"}, {"every": "5m", "often": 1},
])  # fmt: skip
def test_what_is_wrong_is_told(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        SourceSettings.model_validate({"expect": wrong})


def test_what_is_expected_otherwise_has_another_digest() -> None:
    assert expect().digest == expect(severity="P1", name="Silent", labels={"a": "b"}).digest
    assert len({expect(**one).digest for one in ({}, {"grace": "1s"}, {"every": "6m"}, {"alerts": "a=b"})}) == 4


# The alert.


def test_the_alert_says_who_is_silent_for_how_long() -> None:
    expected = expect(severity="P1", service="metrics", labels={"team": "db", "tier": "0"})
    alert = missing(PLACE, expected, Seen(BEGAN, at(60)), at(400))
    assert (alert.name, alert.severity, alert.service) == ("HeartbeatMissing", Severity.P1, "metrics")
    assert (alert.tenant, alert.environment, alert.region) == ("acme", "production", "eu")
    assert alert.labels == {"team": "db", "tier": "0", "heartbeat": "prometheus"}
    assert alert.summary == "nothing heard from prometheus for 5m40s; it is expected every 5m"
    assert alert.starts_at == at(360)
    never = missing(PLACE, expected, Seen(BEGAN), at(301))
    assert never.summary == "nothing ever heard from prometheus for 5m1s; it is expected every 5m"
    assert never.fingerprint == alert.fingerprint


def test_said_again_and_resolved_it_is_the_same_alert() -> None:
    alert = missing(PLACE, expect(), Seen(BEGAN), at(301))
    changed = Place("prometheus", "acme", "production", "eu", {"team": "others"})
    later = again(alert, changed, expect(name="Silent"), Seen(BEGAN), at(361))
    assert (later.name, later.labels, later.received_at) == (alert.name, alert.labels, at(361))
    assert "6m1s" in later.summary
    over = returned(later, at(400), "is heard again")
    assert (over.status, over.fingerprint, over.labels) == (AlertStatus.RESOLVED, alert.fingerprint, alert.labels)
    assert over.summary == "prometheus is heard again"
