"""Whether matchers hold for an alert, and which one decided."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.alert import Alert, AlertStatus, Severity
from quell.incident.matcher import Matcher, parse_matchers
from quell.intake.matching import check, decide, holds, spoken, usable
from quell.runbook.expr.pattern import MAX_SUBJECT

LABELS = {"env": "prod", "pod": "web-1"}


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        ("env=prod", True), ("env=pro", False), ("env!=dev", True), ("env!=prod", False),
        ('env=~"prod|stage"', True), ('env=~"pro"', False), ('env=~"pro.*"', True), ('env!~"d.*"', True),
        ('env!~"p.*"', False), ("team=", True), ("team!=", False), ("team!=x", True), ('team=~".*"', True),
        ('team=~".+"', False),
    ],
)  # fmt: skip
def test_as_alertmanager_does(matcher: str, expected: bool) -> None:
    assert holds(parse_matchers(matcher)[0], LABELS) is expected


def test_the_first_that_does_not_hold_decides_and_is_told() -> None:
    fits, why = decide(parse_matchers("env=prod, pod=web-2, team=x"), LABELS)
    assert (fits, why) == (False, "pod=\"web-2\" does not hold: pod is 'web-1'")
    assert decide(parse_matchers("team=x"), LABELS)[1] == 'team="x" does not hold: it has no label team'
    assert decide(parse_matchers("env=prod"), LABELS) == (True, 'it matches {env="prod"}')


def test_what_matches_everything_is_usable_where_one_only_looks() -> None:
    usable(())
    usable(parse_matchers('team="", env=~".*"'))
    with pytest.raises(ValueError, match="env"):
        usable(parse_matchers('team="", env=~"("'))


def test_what_matches_everything_is_refused_and_what_cannot_be_used() -> None:
    for matchers in ("team=", 'env=~".*"', "env!=dev", "{}"):
        with pytest.raises(ValueError, match="match every alert"):
            check(parse_matchers(matchers))
    with pytest.raises(ValueError, match="env=~"):
        check(parse_matchers('env=~"("'))
    check(parse_matchers("env!=dev, pod=web-1"))


@given(st.text(max_size=20), st.text(max_size=20))
def test_not_is_the_opposite(value: str, wanted: str) -> None:
    labels = {"a": value}
    same, other = (Matcher(name="a", operator=operator, value=wanted) for operator in ("=", "!="))
    assert holds(same, labels) is not holds(other, labels)


def test_a_value_that_is_too_long_to_be_matched_fits_nothing() -> None:
    long = {"a": "x" * (MAX_SUBJECT + 1)}
    assert not holds(Matcher(name="a", operator="=~", value=".*"), long)
    assert holds(Matcher(name="a", operator="!~", value="y"), long)


def test_what_every_alert_has_goes_by_the_names_that_people_use() -> None:
    alert = Alert(
        source="am", name="Down", status=AlertStatus.FIRING, fingerprint="f", environment="prod", severity=Severity.P1,
        labels={"severity": "page"}, received_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    said = spoken(alert, "shop")
    assert said == {
        "alertname": "Down", "source": "am", "environment": "prod", "service": "shop", "severity": "page"
    }  # fmt: skip
