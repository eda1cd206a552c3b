"""What shadow mode tells: the same only when all is known to have been done."""

from __future__ import annotations

import pytest

from quell.incident.shadow import VERDICTS, judged, records


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (["done"], "same"),
        (["done", "done"], "same"),
        (["done", "refused"], "same"),
        (["done", "not_done"], "other"),
        (["cannot_tell", "not_done"], "other"),
        (["done", "cannot_tell"], "cannot_tell"),
        (["refused"], "cannot_tell"),
        ([], "cannot_tell"),
    ],
)
def test_the_verdict(found: list[str], verdict: str) -> None:
    told, reason = judged([{"call": f"call {one}", "found": one, "why": "seen"} for one in found])
    assert told == verdict
    assert told in VERDICTS
    assert reason


def test_a_record_counts_by_runbook() -> None:
    same, other = {"verdict": "same", "after_s": 10.0}, {"verdict": "other", "after_s": 30.0}
    one, two = records([("b", same), ("a", None), ("b", other), ("b", {"verdict": "cannot_tell"}), ("b", None)])
    assert (one.runbook, one.runs, one.pending, one.median_s) == ("a", 1, 1, None)
    assert (two.runs, two.same, two.other, two.cannot_tell, two.pending, two.median_s) == (4, 1, 1, 1, 1, 30.0)
