"""Severities as the world spells them, and fingerprints that depend on labels alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.alert import Alert, AlertStatus, Severity, called, fingerprint_of, severity_of

LABELS = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6)


@pytest.mark.parametrize(
    ("spoken", "severity"),
    [("critical", "P1"), (" PAGE ", "P1"), ("sev2", "P2"), ("Warning", "P3"), ("info", "P4"), ("none", "P4"),
     ("", None), (None, None), ("fnord", None), ("P0", None)],
)  # fmt: skip
def test_severities(spoken: str | None, severity: str | None) -> None:
    assert severity_of(spoken) == (Severity(severity) if severity else None)


@given(LABELS, st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order(labels: dict[str, str], random: object) -> None:
    items = list(labels.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert fingerprint_of(dict(items)) == fingerprint_of(labels)


@given(LABELS, LABELS)
def test_other_labels_give_another_fingerprint(one: dict[str, str], other: dict[str, str]) -> None:
    assert (fingerprint_of(one) == fingerprint_of(other)) == (one == other)


def test_a_value_cannot_pass_for_the_next_label() -> None:
    assert fingerprint_of({"a": "1", "b": "2"}) != fingerprint_of({"a": "1b2"})
    assert fingerprint_of({"a": "1", "b": "2"}, ["b"]) == fingerprint_of({"a": "1"})


def alert(**labels: str) -> Alert:
    return Alert(source="s", name=labels["alertname"], status=AlertStatus.FIRING, fingerprint=fingerprint_of(labels),
                 labels=labels, received_at=datetime(2026, 3, 1, tzinfo=UTC))  # fmt: skip


def test_what_sets_an_alert_apart() -> None:
    first = alert(alertname="PoolFull", severity="critical", job="db", pod="a")
    assert alert(alertname="PoolFull", severity="warning", job="db", pod="b").apart_from(first) == {"pod": "b"}
    assert alert(alertname="Slow", job="db", zone="1").apart_from(first) == {"zone": "1"}
    assert first.apart_from(None) == first.apart_from(first) == {}


def test_an_alert_is_called_by_its_name_and_a_few_labels() -> None:
    assert called("PoolFull", {}) == "PoolFull"
    assert called("PoolFull", {"pod": "b", "az": "1"}) == "PoolFull az=1 pod=b"
    assert len(called("PoolFull", {f"label{n}": "x" * 400 for n in range(50)})) < 140


DETAILS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(LABELS, st.dictionaries(st.text(), DETAILS, max_size=3), st.none() | st.datetimes(timezones=st.just(UTC)))
def test_what_is_written_quickly_reads_as_what_is_written_slowly(
    labels: dict[str, str], details: dict[str, object], ends: datetime | None
) -> None:
    one = Alert(
        source="am", name="A", status=AlertStatus.FIRING, fingerprint="f", labels=labels, severity=Severity.P1,
        received_at=datetime(2026, 1, 2, tzinfo=UTC), ends_at=ends, details=details,
    )  # fmt: skip
    assert Alert.model_validate_json(one.as_json()) == Alert.model_validate_json(one.model_dump_json())
