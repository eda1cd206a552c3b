"""What would follow from an alert by files alone: the same way as that of every alert, and nothing is left behind."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quell.incident.imagined import Imagined
from quell.rehearsal import rehearse
from quell.runbook.plan import Plan, Trigger
from quell.settings import parse_settings
from quell.telling.why import Why

SITE = """
services: {shop: {aliases: [store], tier: 0}, bank: {}}
environment: live
maintenance: [{name: upgrade, matchers: 'env="dev"', from: '2026-01-01T00:00:00', until: '2026-02-01T00:00:00'}]
"""
BOOKS = [
    Plan(id="down", name="down", nodes=(), service="shop", triggers=(Trigger(type="alert", alert_name="Down"),)),
    Plan(id="all", name="all", nodes=(), triggers=(Trigger(type="alert", source=("alertmanager",)),), priority=900),
]


def told(tmp_path: Path, month: int = 3, **said: Any) -> Why:
    settings = parse_settings(SITE, "quell.yaml", tmp_path)
    return rehearse(settings, BOOKS, Imagined.model_validate(said), datetime(2026, month, 1, 12, tzinfo=UTC))


def test_it_would_open_an_incident_of_its_runbook(tmp_path: Path) -> None:
    why = told(tmp_path, labels={"alertname": "Down", "service": "store"})
    assert (why.outcome, why.runbook, why.alert["service"]) == ("opened", "down", "shop")
    assert why.group_key.startswith("live/")
    rules = {one.rule: one for one in why.tried}
    assert rules["runbook"].why == (
        "its trigger matches alert 'Down' and the service; before all: it is more specific (the alert is about its "
        "service shop)"
    )
    assert rules["runbook all"].held


def test_it_is_held_by_a_window_that_is_planned(tmp_path: Path) -> None:
    why = told(tmp_path, 1, labels={"alertname": "Down", "env": "dev"})
    assert why.outcome == "held"
    assert "upgrade" in why.reason
    assert told(tmp_path, 3, labels={"alertname": "Down", "env": "dev"}).outcome == "opened"


def test_no_runbook_is_an_answer(tmp_path: Path) -> None:
    why = told(tmp_path, name="Up", source="grafana")
    assert (why.outcome, why.runbook) == ("opened", None)
    assert [one.why for one in why.tried if one.rule == "runbook all"] == ["source is 'grafana', not 'alertmanager'"]


def test_each_time_nothing_has_happened_before(tmp_path: Path) -> None:
    said: dict[str, Any] = {"labels": {"alertname": "Down"}}
    assert told(tmp_path, **said) == told(tmp_path, **said)
    assert told(tmp_path, status="resolved", **said).outcome == "nothing"
    assert list(tmp_path.iterdir()) == []
