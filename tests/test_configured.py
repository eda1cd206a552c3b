"""What a start refuses, it refuses at once: every fault of every part, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.configured import configured
from quell.errors import InvalidInput
from quell.registry import Registry
from quell.settings import load_settings

WRONG = """\
connections:
  ledger: {type: postgresql, url: "postgresql://db/x", password: "env:QUELL_NO_SUCH_SECRET"}
sources:
  prod: {type: alertmanger}
schedules:
  nights: {type: rotaton}
guardrails:
  actions:
    restart_servce: {requires_approval: true}
"""


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "quell.yaml"
    path.write_text(WRONG)
    with pytest.raises(InvalidInput) as refused:
        configured(load_settings(path), Registry())
    told = {problem.path: (problem.file, problem.line, problem.nearest) for problem in refused.value.problems}
    lines = [problem.line for problem in refused.value.problems]
    assert lines == sorted(lines), "as one reads"
    file = str(path)
    assert told == {
        "connections.ledger": (file, 2, None),
        "sources.prod.type": (file, 4, "alertmanager"),
        "schedules.nights.type": (file, 6, "rotation"),
        "guardrails.actions.restart_servce": (file, 9, "restart_service"),
    }


def test_what_is_right_comes_to_something(tmp_path: Path) -> None:
    path = tmp_path / "quell.yaml"
    path.write_text(
        "connections: {ledger: {type: sqlite, url: ledger.db}}\nguardrails: {actions: {restart: {requires_approval: true}}}\n"
    )
    found = configured(load_settings(path), Registry())
    assert list(found.connections) == ["ledger"]
    assert list(found.rails.actions) == ["restart_service"]
