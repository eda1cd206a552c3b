"""Maintenance as people ask for it: what is on, until when, what comes next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from quell.intake.planned import planned
from quell.intake.rules import Maintenance

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def window(name: str, begins: str, **more: Any) -> Maintenance:
    return Maintenance.model_validate({"name": name, "matchers": 'env="dev", team!="x"', "from": begins, **more})


def test_each_says_where_it_stands() -> None:
    weekend = window("weekend", "2026-01-02T18:00", repeat="FREQ=WEEKLY;BYDAY=FR", **{"for": "62h"})
    (one,) = planned([weekend], NOW)
    assert (one.on, one.until, one.next) == (
        True, datetime(2026, 11, 30, 8, tzinfo=UTC), datetime(2026, 12, 4, 18, tzinfo=UTC)
    )  # fmt: skip
    assert (one.what, one.held_as) == ('{env="dev", team!="x"}', "maintenance weekend")
    (off,) = planned([weekend], datetime(2026, 12, 1, tzinfo=UTC))
    assert (off.on, off.next) == (False, datetime(2026, 12, 4, 18, tzinfo=UTC))


def test_what_is_on_stands_first_and_what_is_over_last() -> None:
    found = planned(
        [
            window("over", "2026-01-01", until="2026-01-02"),
            window("later", "2027-01-01", until="2027-01-02"),
            window("soon", "2026-12-01", until="2026-12-02"),
            window("short", "2026-11-28", until="2026-11-29"),
            window("long", "2026-11-01", until="2026-12-01"),
        ],
        NOW,
    )
    assert [one.name for one in found] == ["long", "short", "soon", "later", "over"]
