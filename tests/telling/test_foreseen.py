"""What would follow, put in order: the chosen one first, those that match before those that do not, rules apart."""

from __future__ import annotations

from quell.incident.tried import Tried
from quell.telling.foreseen import Looked, foreseen
from quell.telling.why import Why

TRIED = (
    Tried("service", True, "the alert names 'shop'"), Tried("severity", True, "P1, as its source says"),
    Tried("maintenance night", False, "not its time"), Tried("silence 3f", True, "it matches {a=\"b\"}"),
    Tried("runbook a", False, "no"), Tried("runbook d", True, "too"), Tried("runbook c", True, "chosen"),
    Tried("runbook b", True, "too"), Tried("runbook", True, "chosen; before b, d: its priority 1 > 0"),
    Tried("correlation", True, "silenced"),
)  # fmt: skip


def test_everything_has_its_place() -> None:
    why = Why({"name": "Down"}, "held", "silenced", "", "c", "dedup", "group", TRIED)
    found = foreseen(why, "server")
    assert [one.name for one in found.candidates] == ["c", "b", "d", "a"]
    assert found.rules == (
        Looked(name="maintenance night", matches=False, why="not its time"),
        Looked(name="silence 3f", matches=True, why='it matches {a="b"}'),
    )
    assert (found.runbook, found.why, found.outcome) == ("c", "chosen; before b, d: its priority 1 > 0", "held")
    assert (found.service, found.severity, found.reason) == (
        "the alert names 'shop'",
        "P1, as its source says",
        "silenced",
    )
    assert type(found).model_validate(found.model_dump(mode="json")) == found
