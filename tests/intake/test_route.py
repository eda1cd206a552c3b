"""Which runbook an alert is for: the most specific, always the same, with the reason for each that was not."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.alert import Alert, AlertStatus, Severity
from quell.intake.route import route
from quell.runbook.plan import Plan, Trigger


def alert(name: str = "Down", **labels: str) -> Alert:
    return Alert(
        source="s", name=name, status=AlertStatus.FIRING, fingerprint="f", labels=labels, received_at=datetime.now(UTC)
    )


def plan(name: str, *triggers: dict[str, Any], priority: int = 0) -> Plan:
    asked = tuple(Trigger(type="alert", **one) for one in triggers)
    return Plan(id=name, name=name, nodes=(), triggers=asked, priority=priority)


BY_NAME = plan("b-name", {"alert_name": "Down"})
BY_LABEL = plan("a-label", {"labels": {"region": "eu"}})
BOTH = plan("z-both", {"alert_name": "Down", "labels": {"region": "eu"}})
MANUAL = Plan(id="manual", name="manual", nodes=(), triggers=(Trigger(type="manual"),))
BEST_ASKS: dict[str, Any] = {
    "alert_name": "Down", "labels": {"region": "eu", "team": "core"}, "severity": ("P1",), "source": ("s",),
    "matchers": ('env=~"p.*"', 'zone!="b"'),
}  # fmt: skip
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


# Priority, and why the one and not the others.


def test_the_more_specific_goes_before_the_higher_priority() -> None:
    lax = plan("lax", {"alert_name": "Down"}, priority=100)
    assert chosen(alert(region="eu"), lax, BOTH) == "z-both"
    assert chosen(alert(), lax, BY_NAME) == "lax"
    assert chosen(alert(), plan("last", {"alert_name": "Down"}, priority=-1), plan("z", {"alert_name": "Down"})) == "z"


WHY = [
    (plan("x", {"labels": {"region": "eu"}}), "it is more specific (label team)"),
    (plan("x", {"labels": {"region": "eu", "team": "core"}}), "it is more specific (it names the alert)"),
    (plan("x", {"alert_name": "Down", "labels": {"region": "eu", "team": "core"}}),
     "it is more specific (matchers on env)"),
    (plan("x", {"alert_name": "Down", "labels": {"region": "eu", "team": "core"}, "matchers": ('env=~"p.*"',)}),
     "it is more specific (it asks for the severity)"),
    (plan("x", {**BEST_ASKS, "source": ()}), "it is more specific (it asks for the source)"),
    (plan("x", {**BEST_ASKS, "matchers": ('env=~"p.*"',)}), "it is more specific (it rules values of zone out)"),
    (plan("x", BEST_ASKS), "its priority 10 > 0"),
    (plan("x", BEST_ASKS, priority=10), "its id sorts first"),
]  # fmt: skip


@pytest.mark.parametrize(("other", "reason"), WHY, ids=[reason for _, reason in WHY])
def test_it_says_which_others_matched_and_why_it_goes_first(other: Plan, reason: str) -> None:
    best = plan("best", BEST_ASKS, priority=10)
    one = alert(region="eu", team="core", env="prod").model_copy(update={"severity": Severity.P1})
    for plans in ([best, other], [other, best]):
        found = route(one, plans)
        assert found.plan is best
        assert found.why.endswith(f"; before x: {reason}")


def test_the_runbook_of_its_service_says_so() -> None:
    ours = BY_NAME.model_copy(update={"service": "shop"})
    found = route(
        alert(),
        [ours, plan("x", {"alert_name": "Down", "severity": ("P1",)}), plan("y", {"alert_name": "Down"})],
        ["shop"],
    )
    assert found.why == (
        "its trigger matches alert 'Down' and the service; before y: it is more specific (the alert is about its "
        "service shop)"
    )


def test_of_very_many_it_names_some() -> None:
    found = route(alert(), [plan(f"p{number:02}", {"alert_name": "Down"}) for number in range(30)])
    assert found.why.endswith("p09, p10: its id sorts first; and before 19 more")
    assert len(found.candidates) == 30


CLAUSES = st.fixed_dictionaries(
    {"alert_name": st.sampled_from([None, "Down"]), "labels": st.sampled_from([{}, {"region": "eu"}]),
     "matchers": st.lists(st.sampled_from(['region="eu"', 'region!=""', 'zone!="b"', 'alertname=~"D.*"']), max_size=2).map(tuple),
     "severity": st.sampled_from([(), ("P1",), ("P2",)]), "source": st.sampled_from([(), ("s",)])}
)  # fmt: skip
MANY = st.lists(
    st.builds(
        lambda name, triggers, priority, service: plan(name, *triggers, priority=priority).model_copy(
            update={"service": service}
        ),
        st.sampled_from("abcdefgh"), st.lists(CLAUSES, min_size=1, max_size=2), st.integers(-1, 1),
        st.sampled_from([None, "shop"]),
    ), max_size=6, unique_by=lambda one: one.id,
)  # fmt: skip


@given(MANY, st.randoms(), st.sampled_from([(), ("shop",), ("bank",)]))
def test_the_order_is_total_whatever_the_order_of_the_files(
    plans: list[Plan], by_chance: Random, about: tuple[str, ...]
) -> None:
    one = alert(region="eu").model_copy(update={"severity": Severity.P1})
    shuffled = list(plans)
    by_chance.shuffle(shuffled)
    found, again = route(one, plans, about), route(one, shuffled, about)
    assert (found.plan, found.why) == (again.plan, again.why)
    fits = [looked for looked in found.candidates if looked.matches]
    assert len({looked.place for looked in fits}) == len(fits)
    assert (found.plan is None) == (not fits)
    if found.plan is not None:
        # Without it, the next of the order is chosen: nothing but the order decides.
        rest = route(one, [plan for plan in plans if plan.id != found.plan.id], about).plan
        follower = sorted(fits, key=lambda looked: looked.place)[1:2]
        assert (rest.id if rest else None) == (follower[0].runbook if follower else None)
