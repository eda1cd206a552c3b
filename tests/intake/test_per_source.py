"""What a site says of one source, and what it makes of an alert: never more than what the alert leaves open."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.incident.alert import Alert, AlertStatus, Severity
from quell.intake.per_source import SourceSettings, as_one, as_said, flaws_of_labels, severity_by

NAMES = st.text("abc", min_size=1, max_size=2)
LABELS = st.dictionaries(NAMES, st.text("xyz", max_size=3), max_size=5)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def alert(status: str = "firing", fingerprint: str = "f", **fields: Any) -> Alert:
    told = {"name": "Slow", "source": "s", "received_at": NOW, **fields}
    return Alert(status=AlertStatus(status), fingerprint=fingerprint, **told)


def said(**given: Any) -> SourceSettings:
    return SourceSettings.model_validate(given)


def after(one: Alert, site: SourceSettings, **more: Any) -> Alert:
    return one.model_copy(update=as_said(one, site, **more))


# Labels.


@given(own=LABELS, defaults=LABELS)
def test_default_labels_never_override(own: dict[str, str], defaults: dict[str, str]) -> None:
    labels = after(alert(labels=own), said(), labels=defaults).labels
    assert labels == defaults | own
    assert own.items() <= labels.items()


def test_a_later_word_that_names_its_alert_alone_gets_none() -> None:
    """What is stored says what it is about; with a label of its own it would be taken for all that it is."""
    for status in ("resolved", "acknowledged"):
        assert as_said(alert(status), said(), labels={"team": "a"}) == {}
    assert as_said(alert("resolved", labels={"x": "1"}), said(), labels={"team": "a"}) != {}


def test_what_is_as_it_was_costs_no_copy() -> None:
    assert (
        as_said(alert(labels={"team": "b"}, severity="P1"), said(severities={"P1": "P1"}), labels={"team": "a"}) == {}
    )


def test_a_label_that_is_no_text_is_told() -> None:
    assert list(flaws_of_labels({"a": "b", "": "c", "d": 1, "e": ["f"]})) == [
        ("", "a label has a name"), ("d", "a text is expected here; write it in quotes"),
        ("e", "a text is expected here"),
    ]  # fmt: skip


# Severities.


@pytest.mark.parametrize(
    ("fields", "label", "expected"),
    [
        ({"labels": {"severity": "page"}}, "severity", "P1"),
        ({"labels": {"severity": " PAGE "}}, "severity", "P1"),
        ({"labels": {"level": "ticket", "severity": "page"}}, "level", "P3"),
        ({"labels": {"level": "dull", "severity": "page"}}, "level", "P1"),
        ({"labels": {"priority": "ticket"}, "severity": "P4"}, "severity", "P3"),
        ({"details": {"severity": "4"}}, "severity", "P2"),
        ({"details": {"severity": ["page"]}}, "severity", None),
        ({"severity": "P3"}, "severity", "P4"),
        ({"labels": {"severity": "critical"}, "severity": "P1"}, "severity", "P1"),
        ({}, "severity", None),
    ],
)
def test_a_word_means_what_the_site_says(fields: dict[str, Any], label: str, expected: str | None) -> None:
    site = said(severities={"Page": "P1", "ticket": "P3", 4: "P2", "P3": "P4"})
    found = after(alert(**fields), site, severity_label=label).severity
    assert found == (Severity(expected) if expected else None)


def test_a_word_may_stand_in_a_default_label() -> None:
    found = after(alert(labels={"a": "b"}), said(severities={"page": "P2"}), labels={"severity": "page"})
    assert found.severity is Severity.P2


@given(words=st.dictionaries(NAMES, st.sampled_from(list(Severity)), max_size=4), labels=LABELS)
def test_a_word_that_the_site_does_not_know_changes_nothing(words: dict[str, Severity], labels: dict[str, str]) -> None:
    own = alert(labels={**labels, "severity": "unheard-of"}, severity=Severity.P2)
    assert severity_by(own, words, "severity") is Severity.P2


# What tells alerts apart.

OPEN = st.dictionaries(st.sampled_from(["pod", "value"]), st.text("xyz", max_size=3))


@given(labels=LABELS.filter(bool), one=OPEN, other=OPEN)
def test_two_alerts_that_differ_only_in_labels_that_are_left_out_are_one(
    labels: dict[str, str], one: dict[str, str], other: dict[str, str]
) -> None:
    site = said(dedup={"leave_out": ["pod", "value"]})
    found = {
        after(alert(fingerprint=f, labels=labels | more), site).fingerprint for f, more in (("1", one), ("2", other))
    }
    assert len(found) == 1


@given(one=LABELS.filter(bool), other=LABELS.filter(bool))
def test_two_that_differ_in_another_label_are_two(one: dict[str, str], other: dict[str, str]) -> None:
    site = said(dedup={"leave_out": ["pod"]})
    found = [after(alert(labels=labels), site).fingerprint for labels in (one, other)]
    assert (found[0] == found[1]) is (one == other)


@given(labels=LABELS, others=LABELS)
def test_by_labels_nothing_else_tells_alerts_apart(labels: dict[str, str], others: dict[str, str]) -> None:
    site, kept = said(dedup={"by": ["cluster", "service"]}), {"cluster": "eu"}
    found = {
        after(alert(fingerprint=f, labels=more | kept), site).fingerprint for f, more in (("1", labels), ("2", others))
    }
    assert len(found) == 1


def test_by_labels_the_name_counts_too_and_so_does_the_service() -> None:
    site = said(dedup={"by": ["service"]})
    labels = {"x": "1"}
    found = [
        after(alert(labels=labels, service="shop"), site), after(alert(labels=labels, service="pay"), site),
        after(alert(labels=labels, service="shop", name="Down"), site),
    ]  # fmt: skip
    assert len({one.fingerprint for one in found}) == 3


def test_left_without_anything_it_keeps_its_own() -> None:
    assert after(alert(labels={"x": "1"}), said(dedup={"by": ["cluster"]})).fingerprint == "f"
    assert after(alert(labels={"x": "1"}), said(dedup={"leave_out": ["alertname", "x"]})).fingerprint == "f"
    assert after(alert(), said(dedup={"leave_out": ["pod"]})).fingerprint == "f", "an id alone is all that it says"


def test_one_that_fires_is_not_ended_by_another_that_is_the_same() -> None:
    one, other = alert("firing", "a"), alert("resolved", "a")
    elsewhere, alone = alert("resolved", "a", tenant="eu"), alert("resolved", "b")
    assert as_one([other, one, elsewhere, alone]) == [one, elsewhere, alone]


# What is wrong.


@pytest.mark.parametrize(
    ("given_", "places"),
    [
        ({"dedup": {}}, ["dedup"]),
        ({"dedup": {"by": ["a"], "leave_out": ["b"]}}, ["dedup"]),
        ({"dedup": {"leave_out": [" "]}}, ["dedup.leave_out"]),
        ({"dedup": {"leaveout": ["b"]}}, ["dedup.leaveout"]),
        ({"severities": {"page": "P9"}}, ["severities.page"]),
        ({"severities": {"page": "P1", "PAGE": "P2"}}, ["severities"]),
        ({"severities": {" ": "P2"}}, ["severities"]),
        ({"max_body_bytes": 12}, ["max_body_bytes"]),
        ({"rate": "often"}, ["rate"]),
        ({"rate": "0/s"}, ["rate"]),
        ({"rate": "5/0s"}, ["rate"]),
        ({"burst": 5}, ["burst"]),
        ({"rate": "often", "burst": 0, "labels": [], "tenant": ""}, ["burst", "labels", "rate", "tenant"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place_all_at_once(given_: dict[str, Any], places: list[str]) -> None:
    with pytest.raises(ValidationError) as wrong:
        said(**given_)
    assert sorted(".".join(map(str, one["loc"])) for one in wrong.value.errors()) == places


def test_a_rate_in_numbers() -> None:
    assert said(rate="100/s").limit == (100, 1.0, 100)
    assert said(rate="1000/m", burst=50).limit == (1000, 60.0, 50)
    assert said().limit is None


def test_its_type_gets_what_it_has_parameters_for() -> None:
    site = said(type="x", token="env:T", labels={"a": "b"}, tenant="acme", rate="1/s")
    assert site.params_for({"token", "labels", "tenant"}, "us") == {
        "token": "env:T",
        "labels": {"a": "b"},
        "tenant": "acme",
    }
    assert site.params_for({"token"}, "us") == {"token": "env:T"}
    assert said().params_for({"labels", "tenant"}, "us") == {"tenant": "us"}
