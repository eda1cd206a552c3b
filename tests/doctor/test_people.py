"""Whom an incident would reach: addresses of runbooks and of the site, as paging finds them."""

from __future__ import annotations

import pytest

from quell.doctor.judgement import Level
from quell.doctor.people import addressed, judge_address, judge_default, judge_sent, way_to, ways
from quell.registry import Registry
from quell.runbook.plan import Escalation, Notify, Plan
from quell.settings import ConnectionSettings, NotifierSettings
from quell.vocabulary_of import vocabulary_of

NOTIFIERS = {"oncall": NotifierSettings.model_validate({"type": "pagerduty", "routing_key": "env:KEY"})}
CONNECTIONS = {"sre": ConnectionSettings(type="slack"), "ops": ConnectionSettings(type="slack")}
WORDS = vocabulary_of(Registry(), connections=CONNECTIONS, notifiers=NOTIFIERS)
PLAN = Plan(
    id="fix", name="fix", nodes=(Notify(id="n", to="#sre"), Notify(id="m", to="${owner}")),
    escalation=Escalation(primary="oncall", secondary="slack:ops"),
)  # fmt: skip


def test_who_is_addressed_and_by_whom() -> None:
    found = addressed("oncall", [PLAN])
    assert found == {"oncall": ("escalation", "fix"), "slack:ops": ("fix",), "#sre": ("fix",)}


@pytest.mark.parametrize(
    ("to", "level"),
    [
        ("oncall", Level.OK),
        ("slack:ops", Level.OK),
        ("#nowhere", Level.ERROR),
        ("onccall", Level.ERROR),
        ("log:oncall", Level.WARNING),
        ("pagerduty:payments", Level.OK),
        ("webhook:ops", Level.ERROR),
    ],
)
def test_an_address(to: str, level: Level) -> None:
    judged = judge_address(to, ["fix"], WORDS)
    assert judged.level is level, judged
    assert bool(judged.advice) == (level is not Level.OK)


def test_a_typo_is_shown_its_neighbour() -> None:
    assert judge_address("onccall", ["fix"], WORDS).advice == "did you mean 'oncall'?"


def test_nobody_named_anywhere() -> None:
    assert judge_default("oncall", [PLAN]) is None
    bare = Plan(id="bare", name="bare", nodes=())
    judged = judge_default("", [PLAN, bare])
    assert judged is not None
    assert "of bare, and of alerts" in judged.found


def test_ways_are_told_once() -> None:
    found = ways(NOTIFIERS, ["oncall", "#sre", "#nowhere", "slack:ops"], WORDS)
    assert [(way.to, way.type, way.own) for way in found] == [
        ("oncall", "pagerduty", "oncall"), ("#sre", "slack", ""), ("slack:ops", "slack", ""),
    ]  # fmt: skip
    way = way_to("pagerduty:payments", WORDS)
    assert way is not None
    assert way.params == {"routing_key": "env:KEY", "target": "pagerduty:payments"}


def test_what_was_sent() -> None:
    assert judge_sent("oncall", "ok").level is Level.OK
