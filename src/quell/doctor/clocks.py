"""Whether the clocks of others agree with this machine's: deadlines, ages of evidence and signatures hang on it.

An answer travels, and a Date header has whole seconds: how far two clocks are apart is known as a span only, and what
is judged is the least that it can be. Pure. Never does: read a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from quell.doctor.judgement import Judgement, error, ok, warning

WARNING_S, ERROR_S = 2.0, 30.0
_EXPECTED = f"at most {WARNING_S:g} s apart"
_ADVICE = "let both machines keep time by NTP (chronyc tracking, timedatectl), then look again"


@dataclass(frozen=True, slots=True)
class Span:
    """Their clock is ahead of ours by at least ``low_s`` and at most ``high_s``; behind where that is negative."""

    low_s: float
    high_s: float

    @property
    def least_s(self) -> float:
        """How far they are apart for sure."""
        return max(0.0, self.low_s, -self.high_s)


def span(theirs: float, before: float, after: float, *, resolution_s: float = 0.0) -> Span:
    """Their time was read at some moment between ``before`` and ``after`` of ours; ``resolution_s``: what it is cut to.

    All are epoch seconds.
    """
    return Span(theirs - after, theirs + resolution_s - before)


def judge(looked_at: str, seen: Span) -> Judgement:
    least = seen.least_s
    if least <= WARNING_S:
        return ok("clock", looked_at, f"agrees with ours within {max(abs(seen.low_s), abs(seen.high_s)):.1f} s")
    side = "ahead of" if seen.low_s > 0 else "behind"
    found = f"its clock is {least:.1f} s {side} ours"
    if least > ERROR_S:
        return error("clock", looked_at, found, _EXPECTED, _ADVICE)
    return warning("clock", looked_at, found, _EXPECTED, _ADVICE)
