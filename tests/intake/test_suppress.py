"""What keeps an alert quiet, and why each rule did or did not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from quell.incident.tried import Tried
from quell.intake.rules import InhibitRule, Maintenance, Rules
from quell.intake.suppress import Other, Quiet, in_maintenance, inhibited, quiet, silenced
from tests.incident.test_silence import AT, HOUR, silence

LABELS = {"alertname": "Down", "env": "prod", "cluster": "a"}


def window(**given: Any) -> Maintenance:
    return Maintenance.model_validate(
        {"name": "disks", "matchers": "env=prod", "from": "2026-01-01T11:00", "for": "2h", **given}
    )


def test_a_window_that_is_on_and_matches() -> None:
    tried, found = in_maintenance([window()], LABELS, AT)
    assert found == Quiet("maintenance disks", "maintenance 'disks' is on until 2026-01-01 13:00 UTC", AT + HOUR)
    assert tried == [Tried("maintenance disks", True, 'it matches {env="prod"}, until 2026-01-01 13:00 UTC')]


def test_a_window_that_is_over_or_for_others() -> None:
    assert in_maintenance([window()], LABELS, AT + HOUR)[1] is None
    tried, found = in_maintenance([window(matchers="env=dev")], LABELS, AT)
    assert (found, tried[0].held) == (None, False)
    assert "env is 'prod'" in tried[0].why


def test_a_window_by_the_clock_of_its_zone_again_and_again() -> None:
    weekly = window(
        **{"from": "2026-01-01T01:00", "for": "1h", "repeat": "FREQ=WEEKLY;BYDAY=TH", "timezone": "Europe/Zurich"}
    )
    assert in_maintenance([weekly], LABELS, datetime(2026, 1, 8, 0, 30, tzinfo=UTC))[1] is not None
    assert in_maintenance([weekly], LABELS, datetime(2026, 1, 8, 1, 30, tzinfo=UTC))[1] is None
    # In summer its one o'clock is an hour earlier by UTC.
    assert in_maintenance([weekly], LABELS, datetime(2026, 7, 8, 23, 30, tzinfo=UTC))[1] is not None


def test_of_several_silences_the_one_that_lasts_longest() -> None:
    short, long = silence(name="a"), silence(name="b", ends=AT + 2 * HOUR)
    other = silence("alertname=Up", name="c")
    tried, found = silenced([short, long, other], LABELS, AT)
    assert found is not None
    assert (found.by, found.until) == ("silence b", AT + 2 * HOUR)
    assert [(one.rule, one.held) for one in tried] == [("silence a", True), ("silence b", True), ("silence c", False)]


def test_a_silence_that_has_not_begun_or_has_ended_is_not_tried() -> None:
    assert silenced([silence(starts=AT + HOUR, ends=AT + 2 * HOUR), silence(ends=AT)], LABELS, AT) == ([], None)


def rule(**given: Any) -> InhibitRule:
    return InhibitRule.model_validate(
        {"source_matchers": "alertname=ClusterDown", "target_matchers": "env=prod", "equal": ["cluster"], **given}
    )


SOURCE = Other("x", "ClusterDown", {"alertname": "ClusterDown", "cluster": "a", "env": "prod"})


def test_an_alert_that_explains_it_keeps_it_quiet() -> None:
    tried, found = inhibited([rule()], LABELS, [SOURCE])
    assert found is not None
    assert found.until is None
    assert "'ClusterDown' fires" in found.why
    assert tried[0].held


def test_another_cluster_another_target_or_nothing_that_fires() -> None:
    elsewhere = Other("x", "ClusterDown", {"alertname": "ClusterDown", "cluster": "b"})
    assert inhibited([rule()], LABELS, [elsewhere])[1] is None
    assert inhibited([rule()], LABELS, [])[1] is None
    assert inhibited([rule(target_matchers="env=dev")], LABELS, [SOURCE])[1] is None
    # A label that neither has is alike.
    assert inhibited([rule(equal=["rack"])], LABELS, [SOURCE])[1] is not None


def test_one_that_is_source_and_target_is_not_inhibited_by_its_like() -> None:
    both = rule(source_matchers="env=prod", equal=[])
    assert inhibited([both], LABELS, [SOURCE])[1] is None
    plain = Other("y", "Plain", {"env": "prod", "alertname": "Plain"})
    assert inhibited([rule(source_matchers="env=prod", target_matchers="alertname=Down", equal=[])], LABELS, [plain])[1]


def test_what_was_planned_comes_first_and_what_was_tried_is_told() -> None:
    rules = Rules(maintenance=(window(matchers="env=dev"),), inhibit_rules=(rule(),))
    tried, found = quiet(rules, [silence()], [SOURCE], LABELS, AT)
    assert found is not None
    assert found.by == "silence s1"
    assert [one.rule for one in tried] == ["maintenance disks", "silence s1"]
    tried, found = quiet(rules, [], [], LABELS, AT + timedelta(days=9))
    assert (found, len(tried)) == (None, 2)
