"""Decisions of the guard per second, with every kind of rule configured, for an action that nothing forbids."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.conditions import rate
from quell.incident.action import Radius, Risk
from quell.respond.guard import Question, Ruling, rule_on
from quell.settings import parse_settings

RAILS = """
guardrails:
  approval_from_risk: irreversible
  risks: {medium: {max_magnitude: 9}}
  actions: {restart_service: {rate: 2/10m, parameters: {service: {one_of: [payment, mail]}, batch: {max: 3}}}}
  blast_radius: {targets: 3, share: 50%, regions: 1}
  freezes:
  - {name: end of the year, from: 2026-12-20, until: 2027-01-05, timezone: Europe/Zurich}
  - {name: weekends, from: 2020-01-03T18:00, for: 62h, repeat: FREQ=WEEKLY;BYDAY=FR, timezone: Europe/Zurich}
  hours:
  - {name: office, from: 2020-01-06T08:00, for: 10h, repeat: 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR'}
  ownership: {also: {platform: ['*']}}
  commands:
  - {run: /usr/bin/true, args: [now]}
  - {run: kubectl, args: [rollout, restart, '/[a-z]+/[a-z0-9-]+/'], flags: {-n|--namespace: '/[a-z0-9-]{1,63}/', -v: }}
  overrides: [{environments: [staging], actions: {restart_service: {rate: 50/1h}}}]
"""


def measure() -> dict[str, Any]:
    rails = parse_settings(RAILS, "quell.yaml", Path()).guardrails
    question = Question(
        action="restart_service", risk=Risk.MEDIUM, params={"service": "payment", "batch": 1}, service="payment",
        targets=("payment/payment-1", "payment/payment-2", "payment/payment-3"), magnitude=3, owner="payments",
        owned_by="payments", environment="production", now=datetime(2026, 11, 25, 12, tzinfo=UTC),
        radius=Radius(at_once=1, of=3, healthy=3, healthy_left=2),
    )  # fmt: skip
    assert rule_on(question, rails) == Ruling()
    return {"decision_us": round(1_000_000 / rate(lambda: rule_on(question, rails)), 2)}
