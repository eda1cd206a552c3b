"""Schedules: who is on call now, nobody, or why that cannot be told."""

from __future__ import annotations

from pathlib import Path

from tests.doctor.house import of, report

TURN = {"type": "rotation", "members": ["ann", "ben"], "every": "1w"}


def test_each_is_asked_and_a_fault_of_one_hides_no_other(tmp_path: Path) -> None:
    told = report(
        tmp_path,
        schedules={
            "shop": {**TURN, "starts": "2026-01-05"},
            "later": {**TURN, "starts": "2099-01-05"},
            "lost": {"type": "ical", "file": "nowhere.ics"},
            "wrong": {"type": "rotaton"},
        },
    )
    found = {one.looked_at: (str(one.level), one.found) for one in of(told, "schedule")}
    assert found["rotation schedule shop"][0] == "ok"
    assert "on call, until" in found["rotation schedule shop"][1]
    assert found["rotation schedule later"] == ("warning", "nobody is on call now")
    assert found["ical schedule lost"][0] == "error"
    assert "nowhere.ics" in found["ical schedule lost"][1]
    assert found["rotaton schedule wrong"][0] == "error"
