"""Which runbook an alert is for: the most specific, always the same, with the reason for each that was not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quell.incident.alert import Alert, AlertStatus
from quell.intake.route import route
from quell.runbook.plan import Plan, Trigger


def alert(name: str = "Down", **labels: str) -> Alert:
    return Alert(
        source="s", name=name, status=AlertStatus.FIRING, fingerprint="f", labels=labels, received_at=datetime.now(UTC)
    )


def plan(name: str, *triggers: dict[str, Any]) -> Plan:
    return Plan(id=name, name=name, nodes=(), triggers=tuple(Trigger(type="alert", **one) for one in triggers))


BY_NAME = plan("b-name", {"alert_name": "Down"})
BY_LABEL = plan("a-label", {"labels": {"region": "eu"}})
BOTH = plan("z-both", {"alert_name": "Down", "labels": {"region": "eu"}})
MANUAL = Plan(id="manual", name="manual", nodes=(), triggers=(Trigger(type="manual"),))
ALL = [BY_NAME, BY_LABEL, BOTH, MANUAL]


def chosen(one: Alert, *plans: Plan) -> str | None:
    found = route(one, plans or ALL).plan
    return found.id if found else None


def test_the_most_specific_wins() -> None:
    assert chosen(alert()) == "b-name"
    assert chosen(alert("Up", region="eu")) == "a-label"
    assert chosen(alert(region="eu")) == "z-both"
    assert chosen(alert("Up")) is None


def test_equally_specific_ones_go_by_id() -> None:
    twins = [plan("two", {"alert_name": "Down"}), plan("one", {"alert_name": "Down"})]
    assert chosen(alert(), *twins) == chosen(alert(), *reversed(twins)) == "one"


def test_one_of_several_triggers_is_enough() -> None:
    assert chosen(alert("Late"), plan("x", {"alert_name": "Down"}, {"alert_name": "Late"})) == "x"


def test_it_says_why_and_why_not() -> None:
    found = route(alert(region="us"), ALL)
    why = {one.runbook: one.why for one in found.candidates}
    assert found.why.startswith("its trigger matches alert 'Down'")
    assert "label region is 'us', not 'eu'" in why["a-label"]
    assert why["manual"] == "its trigger is manual"
    assert route(alert("Up"), []).why == "no runbook has a trigger for 'Up'"


@given(st.permutations(ALL), st.sampled_from(["Down", "Up"]), st.sampled_from(["eu", "us"]))
def test_the_order_of_the_runbooks_does_not_matter(plans: list[Plan], name: str, region: str) -> None:
    assert chosen(alert(name, region=region), *plans) == chosen(alert(name, region=region))


def test_the_runbook_of_the_alerts_own_service_is_meant() -> None:
    def of(service: str, name: str, **more: Any) -> Plan:
        return plan(name, {"alert_name": "Down", **more}).model_copy(update={"service": service})

    def meant(*plans: Plan, about: tuple[str, ...]) -> str | None:
        found = route(alert(team="money"), plans, about).plan
        return found.id if found else None

    pay, shop = of("payment", "a-pay"), of("shop", "b-shop")
    labelled = of("payment", "c-pay", labels={"team": "money"})
    assert meant(pay, shop, about=("shop",)) == "b-shop"
    assert meant(pay, shop, about=("payments", "payment")) == "a-pay"
    assert meant(pay, about=("shop",)) is None
    assert meant(pay, shop, labelled, about=("shop",)) == "c-pay"  # somebody asked for these labels
    assert meant(shop, pay, about=()) == "a-pay"  # of no known service: looked at, and never acted on
