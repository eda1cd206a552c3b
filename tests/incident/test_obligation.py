"""What is kept for now, in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime

from quell.incident.obligation import Obligation


def test_it_says_what_whose_and_when() -> None:
    due = datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    owed = Obligation(id="run:a.1/scale/1/", incident="a", what="2 replicas more", owner="payments", revert_at=due)
    assert owed.says == "2 replicas more; payments is asked at 2026-12-01 08:30 UTC"
