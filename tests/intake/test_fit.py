"""Whether a trigger fits an alert: each clause alone and with others, what decided, and how much it counts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.alert import Alert, AlertStatus
from quell.intake.fit import Fit, Specific, asks_for_labels, fit
from quell.intake.matching import spoken
from quell.runbook.plan import Plan, Trigger

LABELS = {"alertname": "Down", "team": "core", "env": "prod"}


def alert(**more: Any) -> Alert:
    given_ = {"source": "prod", "name": "Down", "severity": "P1", "labels": LABELS, **more}
    return Alert(status=AlertStatus.FIRING, fingerprint="f", received_at=datetime.now(UTC), **given_)


def fits(one: Alert, about: tuple[str, ...] = (), service: str | None = None, **clauses: Any) -> Fit:
    trigger = Trigger(type="alert", **clauses)
    said = spoken(one, about[0] if about else None)
    return fit(one, said, trigger, Plan(id="x", name="x", nodes=(), service=service, triggers=(trigger,)), about)


MATCHING: list[tuple[dict[str, Any], str, dict[str, tuple[str, ...]]]] = [
    ({"alert_name": "Down"}, "alert 'Down'", {"name": ("alertname",)}),
    ({"labels": {"team": "core"}}, "team=core", {"labels": ("team",)}),
    ({"matchers": ('team="core"',)}, 'team="core"', {"labels": ("team",)}),
    ({"matchers": ("team=core, env=prod",)}, 'team="core" and env="prod"', {"labels": ("env", "team")}),
    ({"matchers": ('env=~"prod|stage"',)}, "env=~\"prod|stage\" (env is 'prod')", {"patterns": ("env",)}),
    ({"matchers": ('env!=""',)}, "env!=\"\" (env is 'prod')", {"patterns": ("env",)}),
    ({"matchers": ('env!="dev"',)}, "env!=\"dev\" (env is 'prod')", {"exclusions": ("env",)}),
    ({"matchers": ('zone=""',)}, 'zone="" (it has no label zone)', {"exclusions": ("zone",)}),
    ({"matchers": ('zone=~".*"',)}, 'zone=~".*" (it has no label zone)', {"exclusions": ("zone",)}),
    ({"matchers": ('alertname="Down"',)}, 'alertname="Down"', {"name": ("alertname",)}),
    ({"matchers": ('alertname=~"D.*"',)}, "alertname=~\"D.*\" (alertname is 'Down')", {"patterns": ("alertname",)}),
    ({"matchers": ('source="prod"',)}, 'source="prod"', {"source": ("source",)}),
    ({"severity": ("P1", "P2")}, "severity P1", {"severity": ("severity",)}),
    ({"source": ("dev", "prod")}, "source 'prod'", {"source": ("source",)}),
    (
        {"alert_name": "Down", "labels": {"team": "core"}, "severity": ("P1",)},
        "alert 'Down' and team=core and severity P1",
        {"name": ("alertname",), "labels": ("team",), "severity": ("severity",)},
    ),
    # The same said twice counts once.
    ({"labels": {"team": "core"}, "matchers": ('team="core"',)}, 'team=core and team="core"', {"labels": ("team",)}),
]
AGAINST: list[tuple[dict[str, Any], str]] = [
    ({"alert_name": "Up"}, "its trigger is 'Up', the alert is 'Down'"),
    ({"labels": {"team": "shop"}}, "label team is 'core', not 'shop'"),
    ({"labels": {"zone": "a"}}, "it has no label zone, 'a' is asked for"),
    ({"matchers": ('env=~"dev|stage"',)}, "env=~\"dev|stage\" does not hold: env is 'prod'"),
    ({"matchers": ("team=core", 'zone="a"')}, 'zone="a" does not hold: it has no label zone'),
    ({"severity": ("P2", "P3")}, "severity is P1, not P2 or P3"),
    ({"source": ("dev", "test")}, "source is 'prod', not 'dev' or 'test'"),
    # What lint would have refused fits nothing.
    ({"matchers": ("team",)}, "its matchers cannot be read: 'team', column 5: expected one of = != =~ !~ after 'team'"),
    ({"matchers": ('team!~"a("',)}, "its matchers cannot be read: a '(' is not closed"),
    ({"severity": ("urgent",)}, "severity is P1, not urgent"),
]


@pytest.mark.parametrize(("clauses", "said", "counts"), MATCHING)
def test_what_fits_and_how_much_it_counts(clauses: dict[str, Any], said: str, counts: dict[str, Any]) -> None:
    assert fits(alert(), **clauses) == Fit(True, f"its trigger matches {said}", Specific(**counts))


@pytest.mark.parametrize(("clauses", "said"), AGAINST)
def test_the_clause_that_decided_is_named_with_the_value_it_met(clauses: dict[str, Any], said: str) -> None:
    assert fits(alert(), **clauses) == Fit(False, said)


def test_without_a_severity_none_is_met() -> None:
    found = fits(alert(severity=None), severity=("P1", "P2"))
    assert found == Fit(False, "it has no severity, P1 or P2 is asked for")


def test_matchers_see_the_service_that_the_alert_is_about() -> None:
    assert fits(alert(), ("payment", "pay"), matchers=('service="payment"',)).matches
    assert not fits(alert(), (), matchers=('service="payment"',)).matches


@pytest.mark.parametrize(
    ("clauses", "meant"),
    [
        ({"alert_name": "Down"}, False), ({"alert_name": "Down", "severity": ("P1",), "source": ("prod",)}, False),
        ({"matchers": ('alertname=~"D.*"',)}, False), ({"matchers": ('alertname="Down", source="prod"',)}, False),
        ({"alert_name": "Down", "matchers": ('env!="dev"',)}, False),
        ({"matchers": ('env=~"prod|stage"',)}, True), ({"matchers": ("team=core",)}, True),
        ({"labels": {"team": "core"}}, True),
    ],
)  # fmt: skip
def test_a_runbook_of_another_service_is_meant_only_by_labels(clauses: dict[str, Any], meant: bool) -> None:
    assert asks_for_labels(Trigger(type="alert", **clauses)) is meant
    found = fits(alert(), ("shop",), "payment", **clauses)
    assert found.matches is meant
    assert meant or found.why == "it is for 'payment', the alert is about 'shop'"
    own = fits(alert(), ("shop", "payment"), "payment", **clauses)
    assert own.specific.service == ("payment",)
    assert own.why.endswith(" and the service")


CLAUSE = st.sampled_from([clauses for clauses, _, _ in MATCHING] + [clauses for clauses, _ in AGAINST])


def joined(clauses: list[dict[str, Any]]) -> dict[str, Any]:
    """One trigger that asks for all of it; of one name or severity the last counts."""
    told: dict[str, Any] = {}
    for one in clauses:
        for key, value in one.items():
            if key == "labels":
                told[key] = {**told.get(key, {}), **value}
            elif key == "matchers":
                told[key] = (*told.get(key, ()), *value)
            else:
                told[key] = value
    return told


@given(st.lists(CLAUSE, min_size=1, max_size=5), CLAUSE, st.sampled_from([None, "shop", "payment"]))
def test_another_clause_that_holds_never_makes_it_less_specific(
    before: list[dict[str, Any]], more: dict[str, Any], service: str | None
) -> None:
    about = ("shop",)
    less, now = (
        fits(alert(), about, service, **joined(before)),
        fits(alert(), about, service, **joined([*before, more])),
    )
    if less.matches and now.matches:
        assert now.specific.rank >= less.specific.rank
        assert all(a >= b for a, b in zip(now.specific.rank, less.specific.rank, strict=True))


@given(st.lists(CLAUSE, min_size=1, max_size=5))
def test_it_fits_exactly_when_each_clause_does(clauses: list[dict[str, Any]]) -> None:
    alone = [{key: value} for key, value in joined(clauses).items()]
    assert fits(alert(), **joined(clauses)).matches is all(fits(alert(), **one).matches for one in alone)
