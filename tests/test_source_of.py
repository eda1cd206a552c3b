"""A source as it is configured: every fault of every one at once, each with its place."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest

from quell import source_of
from quell.errors import InvalidInput, Problem
from quell.ports import Params, SourceType
from quell.registry import Registry, entry_of
from quell.settings import Settings

TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"


def bare() -> SourceType:
    """A type of somebody else's, with no parameter of its own."""
    module = ModuleType("bare")
    module.__dict__.update(Params=Params, verify=lambda *_: None, parse=lambda *_: ([], []))
    found: SourceType = entry_of("sources", "bare", module)
    return found


class Site(Registry):
    @property
    def sources(self) -> Mapping[str, SourceType]:
        return {**super().sources, "bare": bare()}


def faults(**sources: Any) -> dict[str, Problem]:
    settings = Settings.model_validate({"sources": sources})
    return {problem.path: problem for problem in source_of.faults(settings, Site())}


def test_every_fault_of_every_source_is_told_at_once() -> None:
    found = faults(
        alertmanager={"severites": {"page": "P1"}, "service_labels": 5, "max_body_bytes": 2_000_000},
        pagerduty={"dedup": {"by": ["service"]}},
        bare={"labels": {"team": 5}},
        odd={"type": "alertmanagr"},
        fine={"type": "alertmanager", "labels": {"a": "b"}, "dedup": {"by": ["service"]}},
    )
    assert set(found) == {
        "sources.alertmanager.severites", "sources.alertmanager.service_labels", "sources.alertmanager.max_body_bytes",
        "sources.pagerduty.dedup", "sources.bare.labels.team", "sources.odd.type",
    }  # fmt: skip
    wrong = found["sources.alertmanager.severites"]
    assert (wrong.nearest, wrong.found) == ("severities", "severites")
    assert "service_labels" in (wrong.expected or "")
    assert "rate" in (wrong.expected or "")
    assert found["sources.odd.type"].nearest == "alertmanager"
    assert found["sources.alertmanager.max_body_bytes"].expected == "at most server.max_body_bytes, 1048576"


def test_what_would_never_be_missed_or_at_once_is_told() -> None:
    settings = Settings.model_validate({
        "engine": {"poll": "5s"}, "services": {"shop": {}},
        "sources": {
            "nightly": {"type": "heartbeat"},
            "hasty": {"type": "alertmanager", "expect": "every 1s"},
            "picky": {"type": "heartbeat", "expect": {"every": "1d", "alerts": ["alertname=Watchdog"]}},
            "lost": {"type": "heartbeat", "expect": {"every": "1d", "service": "shpo"}},
            "odd": {"type": "alertmanagr", "expect": "every 5m"},
            "fine": {"type": "alertmanager", "expect": {"every": "5s", "alerts": ["a=b"], "service": "shop"}},
        },
    })  # fmt: skip
    found = {problem.path: problem for problem in source_of.faults(settings, Site())}
    assert set(found) == {
        "sources.nightly.expect", "sources.hasty.expect.every", "sources.picky.expect.alerts",
        "sources.lost.expect.service", "sources.odd.type",
    }  # fmt: skip
    hasty = found["sources.hasty.expect.every"]
    assert (hasty.found, hasty.expected) == ("1s", "at least engine.poll, 5s")
    assert found["sources.lost.expect.service"].nearest == "shop"
    assert found["sources.nightly.expect"].expected == "how often it is heard, such as every 5m"


@pytest.mark.parametrize(("kind", "refused"), [
    ("pagerduty", True), ("pagerduty_events", True), ("opsgenie", True), ("alertmanager", False), ("grafana", False),
    ("alertmanager_api", False), ("datadog", False), ("newrelic", False), ("cloudwatch", False), ("generic", False),
])  # fmt: skip
def test_what_ends_by_its_id_alone_is_not_told_apart_by_labels(kind: str, refused: bool) -> None:
    """Its end would have another fingerprint than what it ends."""
    more = {"topics": [TOPIC]} if kind == "cloudwatch" else {}
    assert bool(faults(**{kind: {"dedup": {"by": ["service"]}, **more}})) is refused


def test_every_type_that_we_have_says_whose_its_alerts_are() -> None:
    more = {"cloudwatch": {"topics": [TOPIC]}}
    for kind, known in Registry().sources.items():
        if known.heartbeat:  # it has none
            continue
        sources = {kind: more.get(kind, {}), "own": {"type": kind, "tenant": "acme", **more.get(kind, {})}}
        settings = Settings.model_validate({"tenant": "house", "sources": sources})
        for name, tenant in ((kind, "house"), ("own", "acme")):
            assert source_of.read(settings, Registry(), name)[1].tenant == tenant


def test_one_that_nobody_configured_is_as_it_is() -> None:
    kind, params = source_of.read(Settings(), Registry(), "alertmanager")
    assert (kind.name, params.tenant, params.labels) == ("alertmanager", "default", {})
    with pytest.raises(InvalidInput):
        source_of.read(Settings(), Registry(), "cloudwatch")


def test_the_place_of_a_source_is_that_of_its_alerts() -> None:
    settings = Settings.model_validate({
        "tenant": "house", "environment": "stage", "region": "eu",
        "sources": {
            "am": {"type": "alertmanager", "tenant": "acme", "labels": {"team": "sre", "env": "production"},
                   "environment_label": "env"},
            "zabbix": {"type": "generic", "labels": {"host": "host", "site": "$.site"}},
            "nightly": {"type": "heartbeat", "labels": {"team": "db", "region": "us"}, "expect": "every 1d"},
        },
    })  # fmt: skip

    def place(name: str) -> tuple[str, str, str, dict[str, str]]:
        found = source_of.place_of(settings, Registry(), name)
        return found.tenant, found.environment, found.region, dict(found.labels)

    assert place("am") == ("acme", "production", "eu", {"team": "sre", "env": "production"})
    assert place("zabbix") == ("house", "stage", "eu", {})  # its labels are paths
    assert place("nightly") == ("house", "stage", "us", {"team": "db", "region": "us"})
