"""Durations and rates."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.runbook.quantities import rate, seconds, spoken


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5m", 300), ("1h30m", 5400), ("1000ms", 1), ("2d", 172800), ("1w", 604800), (" 1h 5m ", 3900), ("0.5s", 0.5),
        (30, 30), (1.5, 1.5), ("30", 30), ("1.5", 1.5), (0, 0),
    ],
)  # fmt: skip
def test_seconds(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "5x", "5m3", "-5m", -1, True, None, "1h,5m", "11y", "4000w", "٣m", [], "5 minutes"]
)
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


@pytest.mark.parametrize(("text", "value"), [("2/10m", (2, 600)), ("1/h", (1, 3600)), (" 3 / 1h30m", (3, 5400))])
def test_rate(text, value):
    assert rate(text) == value


@pytest.mark.parametrize("text", ["2", "/10m", "0/1h", "2/", "-1/1h", "a/1h", "1/x", None, 5])
def test_what_is_no_rate(text):
    with pytest.raises(ValueError, match=r"rate|duration"):
        rate(text)


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0s"), (0.25, "250ms"), (1, "1s"), (90, "1m30s"), (86400, "1d"), (3725.5, "1h2m5.5s")]
)
def test_spoken(value, text):
    assert spoken(value) == text


@given(st.integers(0, 10**7))
def test_spoken_reads_back(total):
    assert seconds(spoken(total)) == total


@given(st.text(max_size=20) | st.integers() | st.floats() | st.none())
def test_only_value_errors(value):
    with contextlib.suppress(ValueError):
        assert 0 <= seconds(value) < float("inf")
