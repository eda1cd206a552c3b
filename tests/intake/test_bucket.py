"""A token bucket next to what it promises: no more than its rate, nothing in part, and nobody kept out for good."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quell.intake.bucket import Bucket

TINY = 1e-3


def test_it_holds_a_burst_and_fills_by_the_second() -> None:
    bucket = Bucket(10, 1.0, 20)
    assert bucket.take(20, 100.0) == 0
    assert bucket.take(5, 100.0) == 0.5
    assert bucket.take(5, 100.25) == 0.25
    assert bucket.refused == 10
    assert bucket.take(5, 100.5) == 0
    assert bucket.take(20, 200.0) == 0
    assert bucket.take(1, 200.0) == 0.1, "more than a burst does not gather"


def test_nothing_is_taken_in_part() -> None:
    bucket = Bucket(1, 1.0, 10)
    assert bucket.take(4, 0.0) == 0
    assert bucket.take(7, 0.0) == 1
    assert bucket.take(6, 0.0) == 0, "what was refused left the rest where it was"


def test_more_than_a_burst_is_let_in_after_a_quiet_time_and_paid_for() -> None:
    bucket = Bucket(10, 1.0, 10)
    assert bucket.take(50, 0.0) == 0
    assert bucket.take(1, 0.0) == 4.1
    assert bucket.take(50, 4.0) == 1


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 1.0, 1)
    assert bucket.take(1, 50.0) == 0
    assert bucket.take(1, 10.0) == 1


@given(
    most=st.integers(1, 100), per_s=st.floats(0.5, 60), burst=st.integers(1, 200),
    coming=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 300)), max_size=40),
)  # fmt: skip
def test_never_more_than_the_rate_and_nobody_waits_for_good(
    most: int, per_s: float, burst: int, coming: list[tuple[float, int]]
) -> None:
    bucket, now, taken, biggest = Bucket(most, per_s, burst), 0.0, 0, 0
    for pause, count in coming:
        now += pause
        wait_s = bucket.take(count, now)
        if wait_s:
            now += wait_s
            assert bucket.take(count, now) == 0, "it said when it would be let in"
        taken, biggest = taken + count, max(biggest, count)
        assert taken <= max(burst, biggest) + now * most / per_s + TINY + len(coming) * 1e-5
