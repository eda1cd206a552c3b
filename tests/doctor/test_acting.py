"""Which connections actions may use: named, by default, or not known before a template is filled."""

from __future__ import annotations

from typing import Any

import pytest

from quell.doctor.acting import acted_on, strings
from quell.registry import Registry
from quell.runbook.plan import Act, Call, Check, Plan, Undo
from quell.settings import ConnectionSettings
from quell.vocabulary_of import vocabulary_of

KNOWN = {
    "ledger": ConnectionSettings(type="postgresql"), "reports": ConnectionSettings(type="postgresql"),
    "cache": ConnectionSettings(type="redis"), "jobs": ConnectionSettings(type="http"),
    "metrics": ConnectionSettings(type="prometheus"),
}  # fmt: skip


def used(call: Call, undo: Call | None = None) -> set[str]:
    plan = Plan(id="p", name="p", nodes=(Act(id="a", call=call, undo=Undo(call=undo)), Check(id="c", call=CHECK)))
    return set(acted_on([plan], vocabulary_of(Registry(), connections=KNOWN), KNOWN))


CHECK = Call(type="prometheus_query", config={"connection": "metrics", "query": "up"})


@pytest.mark.parametrize(
    ("action", "config", "names"),
    [
        ("run_script", {"database": "ledger", "sql": "update t set n = 1"}, {"ledger"}),
        ("run_script", {"database": "${alert.labels.db}", "sql": "select 1"}, {"ledger", "reports"}),
        ("terminate_sessions", {"idle_over": "${x}"}, {"ledger", "reports"}),
        ("run_script", {"command": ["echo", "${x}"]}, set()),
        ("flush_cache", {"pattern": "session:*"}, {"cache"}),
        ("job", {"job": "jobs:nightly"}, {"jobs"}),
        ("restart_service", {"service": "shop"}, set()),
        ("no_such_action", {"x": ["ledger"]}, {"ledger"}),
    ],
)
def test_what_an_action_may_use(action: str, config: dict[str, Any], names: set[str]) -> None:
    assert used(Call(type=action, config=config)) == names


def test_what_takes_it_back_counts_too() -> None:
    undo = Call(type="run_script", config={"database": "reports", "sql": "update t set n = 1"})
    assert used(Call(type="restart_service", config={"service": "shop"}), undo) == {"reports"}


def test_strings_are_found_however_deep() -> None:
    assert list(strings({"a": ["b", {"c": ("d", 1)}]})) == ["b", "d"]
