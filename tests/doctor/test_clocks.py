"""Spans of two clocks: what is said of them is true of every pair of clocks that gives such a span."""

from hypothesis import given
from hypothesis import strategies as st

from quell.doctor.clocks import ERROR_S, WARNING_S, judge, span
from quell.doctor.judgement import Level

SECONDS = st.floats(0, 100, allow_nan=False)


@given(st.floats(-1000, 1000), SECONDS, SECONDS, st.sampled_from([0.0, 1.0]))
def test_the_true_offset_is_within_the_span(offset: float, there: float, back: float, cut: float) -> None:
    before, read, after = 10_000.0, 10_000.0 + there, 10_000.0 + there + back
    theirs = read + offset
    seen = span(theirs - (theirs % cut if cut else 0.0), before, after, resolution_s=cut)
    assert seen.low_s - 1e-6 <= offset <= seen.high_s + 1e-6
    assert seen.least_s <= abs(offset) + 1e-6
    judged = judge("it", seen)
    if judged.level is not Level.OK:
        assert abs(offset) > WARNING_S - 1e-6
        assert ("ahead" in judged.found) == (offset > 0)
    if judged.level is Level.ERROR:
        assert abs(offset) > ERROR_S - 1e-6


@given(st.floats(-1000, 1000))
def test_a_quick_answer_tells_it_exactly(offset: float) -> None:
    level = judge("it", span(50_000.0 + offset, 50_000.0, 50_000.0)).level
    apart = abs(50_000.0 + offset - 50_000.0)
    assert level is (Level.ERROR if apart > ERROR_S else Level.WARNING if apart > WARNING_S else Level.OK)


def test_a_slow_answer_proves_nothing() -> None:
    assert judge("it", span(1_010.0, 1_000.0, 1_020.0)).level is Level.OK
