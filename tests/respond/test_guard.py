"""Every rule of the guard with its value and limit, and what must hold whatever the question is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.incident.action import Radius, Risk
from quell.incident.pause import Pause, Scope
from quell.ports import Command
from quell.respond.guard import RISKS, Question, Ruling, rule_on
from quell.respond.limits import (
    DEFAULT_ACTIONS,
    ActionRule,
    BlastRadius,
    Breaker,
    Freeze,
    Hours,
    Ownership,
    ParameterRule,
)  # fmt: skip
from quell.respond.rails import Guardrails
from quell.respond.shapes import Shape
from quell.runbook.plan import Guard

ASK = Question(action="restart_service", risk=Risk.MEDIUM, params={}, targets=("shop",), service="shop")
OPEN = Guardrails()
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
PAUSE = Pause(id="p1", tenant="default", scope=Scope.ALL, by="ann", reason="we move the network", at=NOON,
              until=NOON + timedelta(hours=1))  # fmt: skip


def rails(action: str = "restart_service", **rule: Any) -> Guardrails:
    return Guardrails(actions={action: ActionRule(**rule)})


def asked(**changes: Any) -> Question:
    return replace(ASK, **changes)


def freeze(**change: Any) -> Freeze:
    given = {"name": "the sale", "from": "2026-11-27", "until": "2026-12-01", "reason": "people buy"}
    return Freeze.model_validate({**given, **change})


def hours(**change: Any) -> Hours:
    given = {"name": "business hours", "from": "2026-01-01T08:00", "for": "10h",
             "repeat": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"}  # fmt: skip
    return Hours.model_validate({**given, **change})


# The surroundings.


@pytest.mark.parametrize(
    ("question", "rule", "says"),
    [
        (asked(ended=True), "incident_ended", "ended"),
        (asked(taken_by="anna"), "taken", "anna"),
        (asked(trigger_gone=True), "trigger_gone", "by itself"),
        (asked(service=None), "unknown_service", "never act"),
        (asked(service=None, risk=Risk.LOW), "unknown_service", "never act"),
    ],
)
def test_what_forbids_every_action(question: Question, rule: str, says: str) -> None:
    ruling = rule_on(question, OPEN)
    assert (ruling.rule, ruling.ask) == (rule, False)
    assert says in ruling.reason


def test_telling_somebody_needs_no_service() -> None:
    assert rule_on(asked(service=None, risk=Risk.NONE), OPEN).rule is None


def test_an_undo_runs_although_the_alert_is_gone_and_asks_nobody() -> None:
    question = asked(trigger_gone=True, undoing=True, own_undo=True, risk=Risk.IRREVERSIBLE, asks_approval=True)
    ruling = rule_on(question, OPEN)
    assert (ruling.rule, ruling.ask) == (None, False)
    assert rule_on(replace(question, own_undo=False), OPEN).ask, "another call is an action of its own"
    assert rule_on(replace(question, taken_by="anna"), OPEN).rule == "taken"
    assert rule_on(replace(question, ended=True), OPEN).rule == "incident_ended"


def test_paused_nothing_acts_not_even_an_undo() -> None:
    ruling = rule_on(asked(paused=PAUSE), OPEN)
    assert (ruling.rule, ruling.value, ruling.limit) == ("paused", "p1", PAUSE.until.isoformat())
    assert "we move the network" in ruling.reason
    assert rule_on(asked(paused=PAUSE, undoing=True, own_undo=True), OPEN).rule == "paused"


# What commands it would run.


def test_a_command_fits_a_shape_or_is_refused_an_undo_too() -> None:
    narrow = Guardrails(commands=(Shape.model_validate({"run": "df", "flags": {"-P": None}}),))
    fits, not_ = (Command(("df", "-P")),), (Command(("df", "-P")), Command(("df", "-P", "--evil")))
    assert rule_on(asked(commands=not_), OPEN) == Ruling()
    assert rule_on(asked(commands=fits), narrow) == Ruling()
    assert rule_on(asked(), narrow) == Ruling()
    for question in (asked(commands=not_), asked(commands=not_, approved=True), asked(commands=not_, undoing=True),
                     asked(commands=not_, undoing=True, own_undo=True)):  # fmt: skip
        ruling = rule_on(question, narrow)
        assert (ruling.rule, ruling.value, ruling.limit) == ("command", "'--evil'", "one of -P")
        assert "the flag '--evil' is unknown" in ruling.reason
    closed = Guardrails(default_allow=False, commands=narrow.commands)
    assert rule_on(asked(commands=not_), closed).rule == "not_allowed"


# Whose it is.


@pytest.mark.parametrize(
    ("owner", "owned_by", "rules", "refused"),
    [
        ("payments", "payments", OPEN, False),
        ("payments", "", OPEN, False),
        ("", "", OPEN, False),
        ("payments", "finance", OPEN, True),
        ("", "finance", OPEN, True),
        ("payments", "finance", Guardrails(ownership=Ownership(also={"payments": ("shop",)})), False),
        ("payments", "finance", Guardrails(ownership=Ownership(also={"payments": ("mail",)})), True),
        ("platform", "finance", Guardrails(ownership=Ownership(also={"platform": ("*",)})), False),
        ("payments", "finance", Guardrails(ownership=Ownership(enforced=False)), False),
    ],
)
def test_a_runbook_acts_only_on_what_its_owner_owns(
    owner: str, owned_by: str, rules: Guardrails, refused: bool
) -> None:
    ruling = rule_on(asked(owner=owner, owned_by=owned_by), rules)
    assert ruling.rule == ("ownership" if refused else None)
    if refused:
        assert (ruling.value, ruling.limit) == (owner, owned_by)


# When.


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, True),
        ({"actions": ["rollback"]}, False),
        ({"actions": ["restart_service"]}, True),
        ({"exempt": ["restart_service"]}, False),
        ({"services": ["mail"]}, False),
        ({"services": ["mail", "shop"]}, True),
        ({"tenants": ["acme"]}, False),
        ({"environments": ["production"]}, True),
        ({"environments": ["staging"]}, False),
        ({"until": "2026-11-28T11:00"}, False),
    ],
)
def test_a_freeze_holds_for_what_it_names(change: dict[str, Any], refused: bool) -> None:
    ruling = rule_on(asked(now=NOON, environment="production"), Guardrails(freezes=(freeze(**change),)))
    assert ruling.rule == ("freeze" if refused else None)
    if refused:
        assert (ruling.value, ruling.limit) == ("the sale", "2026-12-01T00:00:00+00:00")
        assert "the sale freezes changes until 2026-12-01 00:00 UTC: people buy" in ruling.reason


def test_a_freeze_that_may_be_lifted_asks() -> None:
    rules = Guardrails(freezes=(freeze(ask=True),))
    ruling = rule_on(asked(now=NOON), rules)
    assert (ruling.rule, ruling.ask) == (None, True)
    assert "the sale" in ruling.reason
    assert rule_on(asked(now=NOON, approved=True), rules) == Ruling()


def test_taking_back_and_telling_somebody_wait_for_nothing() -> None:
    rules = Guardrails(freezes=(freeze(),), hours=(hours(),))
    late = datetime(2026, 11, 28, 22, tzinfo=UTC)
    assert rule_on(asked(now=late, undoing=True), rules).rule is None
    assert rule_on(asked(now=late, risk=Risk.NONE), rules).rule is None


@pytest.mark.parametrize(("hour", "open_"), [(7, False), (8, True), (17, True), (18, False)])
def test_only_in_business_hours(hour: int, open_: bool) -> None:
    friday = datetime(2026, 11, 27, hour, tzinfo=UTC)
    ruling = rule_on(asked(now=friday), Guardrails(hours=(hours(),)))
    assert ruling.rule == (None if open_ else "hours")
    assert rule_on(asked(now=friday, action="job"), Guardrails(hours=(hours(actions=["set_flag"]),))).rule is None
    asks = rule_on(asked(now=friday), Guardrails(hours=(hours(ask=True),)))
    assert (asks.rule, asks.ask) == (None, not open_)


def test_one_of_several_hours_that_nobody_may_lift_refuses() -> None:
    night = hours(name="nights", ask=True, **{"from": "2026-01-01T22:00"})
    evening = datetime(2026, 11, 27, 20, tzinfo=UTC)
    assert rule_on(asked(now=evening), Guardrails(hours=(hours(), night))).rule == "hours"
    both = Guardrails(hours=(hours(ask=True), night))
    assert (rule_on(asked(now=evening), both).rule, rule_on(asked(now=evening), both).ask) == (None, True)


def test_any_of_several_hours_will_do() -> None:
    night = hours(name="nights", **{"from": "2026-01-01T22:00"})
    both = Guardrails(hours=(hours(), night))
    assert rule_on(asked(now=datetime(2026, 11, 27, 23, tzinfo=UTC)), both).rule is None
    assert rule_on(asked(now=datetime(2026, 11, 27, 20, tzinfo=UTC)), both).rule == "hours"


# How much at once.


@pytest.mark.parametrize(
    ("radius", "limits", "rule"),
    [
        ((1, 3, 3, 2), {}, None),
        ((3, 3, 3, 0), {}, "last_healthy"),
        ((1, 3, 1, 0), {}, "last_healthy"),
        ((1, 3, 0, 0), {}, None),  # nobody is served anyway
        ((1, 1, 1, 0), {}, None),  # there is only one by design
        ((3, 3, 3, 0), {"keep_last": False}, None),
        ((2, 4, 4, 2), {"targets": 2}, None),
        ((3, 4, 4, 1), {"targets": 2}, "blast_targets"),
        ((2, 4, 4, 2), {"share": "50%"}, None),
        ((3, 4, 4, 1), {"share": "50%"}, "blast_share"),
        ((1, 1, 1, 0), {"share": 0.5}, "blast_share"),
    ],
)
def test_no_more_at_once_than_allowed(
    radius: tuple[int, int, int, int], limits: dict[str, Any], rule: str | None
) -> None:
    question = asked(radius=Radius(**dict(zip(("at_once", "of", "healthy", "healthy_left"), radius, strict=True))))
    assert rule_on(question, Guardrails(blast_radius=BlastRadius.model_validate(limits))).rule == rule
    assert rule_on(question, rails(blast_radius=BlastRadius.model_validate(limits))).rule == rule


# How often.


def test_what_was_repaired_too_often_asks_a_person() -> None:
    for count in (0, 1, 2):
        assert rule_on(asked(remedied=count), OPEN) == Ruling()
    ruling = rule_on(asked(remedied=3), OPEN)
    assert (ruling.rule, ruling.ask, ruling.value) == (None, True, 3)
    assert "shop was repaired 3 times within 1d: from 3 on a person decides" in ruling.reason
    assert rule_on(asked(remedied=3, approved=True), OPEN) == Ruling()
    assert rule_on(asked(remedied=99), Guardrails(breaker=Breaker(enabled=False))) == Ruling()
    assert rule_on(asked(remedied=99, risk=Risk.NONE), OPEN) == Ruling()
    assert rule_on(asked(remedied=99, undoing=True), OPEN) == Ruling()


# The rules of the configuration.


def test_an_action_that_is_not_allowed() -> None:
    assert rule_on(ASK, rails(allow=False)).rule == "not_allowed"


def test_with_default_deny_only_what_is_named_may_run() -> None:
    closed = Guardrails(default_allow=False, actions={"set_flag": ActionRule()})
    assert rule_on(asked(action="set_flag"), closed).rule is None
    for action in ("run_script", *DEFAULT_ACTIONS):
        assert rule_on(asked(action=action, magnitude=1), closed).rule == "not_allowed"


@pytest.mark.parametrize(
    ("rule", "value", "broken"),
    [
        (ParameterRule(one_of=("a", "b")), "c", "one of a, b"),
        (ParameterRule(one_of=("a", "b")), "a", None),
        (ParameterRule(min=1, max=3), 0, "at least 1"),
        (ParameterRule(min=1, max=3), 4, "at most 3"),
        (ParameterRule(min=1, max=3), 3, None),
        (ParameterRule(max=3), "2", "a number"),
        (ParameterRule(max=3), True, "a number"),
        (ParameterRule(max=3), None, "a number"),
        (ParameterRule(pattern="[a-z]+"), "abc", None),
        (ParameterRule(pattern="[a-z]+"), "abc; rm", "match [a-z]+"),
        (ParameterRule(pattern="[a-z]+"), "abc\n", "match"),
    ],
)
def test_values_of_parameters(rule: ParameterRule, value: object, broken: str | None) -> None:
    ruling = rule_on(asked(params={"x": value}), rails(parameters={"x": rule}))
    if broken is None:
        assert ruling.rule is None
    else:
        assert (ruling.rule, ruling.value, ruling.limit) == ("parameter", value, "x")
        assert broken in ruling.reason


def test_a_parameter_inside_identifiers_is_bound_too() -> None:
    question = asked(params={"identifiers": {"role": "postgres"}, "params": {"limit": 9}})
    assert rule_on(question, rails(parameters={"role": ParameterRule(one_of=("app",))})).value == "postgres"
    assert rule_on(question, rails(parameters={"limit": ParameterRule(max=5)})).value == 9


def test_more_at_once_than_allowed_is_refused_and_never_clamped() -> None:
    ruling = rule_on(asked(magnitude=4), rails(max_magnitude=3))
    assert (ruling.rule, ruling.value, ruling.limit) == ("max_magnitude", 4, 3)
    assert rule_on(asked(magnitude=3), rails(max_magnitude=3)).rule is None


@pytest.mark.parametrize("magnitude", [None, float("nan"), float("inf")])
def test_where_there_is_a_limit_not_knowing_how_much_is_over_it(magnitude: float | None) -> None:
    assert rule_on(asked(magnitude=magnitude), rails(max_magnitude=3)).rule == "max_magnitude"
    assert rule_on(asked(magnitude=magnitude), OPEN).rule is None


def test_an_old_release_is_not_rolled_back_by_itself() -> None:
    question = asked(action="rollback", facts={"release_age_s": 7200.0})
    ruling = rule_on(question, OPEN)
    assert (ruling.rule, ruling.value, ruling.limit) == ("max_release_age", 7200.0, 3600.0)
    assert rule_on(replace(question, facts={"release_age_s": 60}), OPEN).rule is None


@pytest.mark.parametrize("facts", [{}, {"release_age_s": None}, {"release_age_s": float("nan")}])
def test_a_release_of_an_unknown_age_is_not_rolled_back_by_itself(facts: dict[str, Any]) -> None:
    assert rule_on(asked(action="rollback", facts=facts), OPEN).rule == "max_release_age"
    unlimited = Guardrails(actions={"rollback": ActionRule(max_release_age=None)})
    assert rule_on(asked(action="rollback", facts=facts), unlimited).rule is None


# The runbook only narrows.


def test_the_runbooks_guard_narrows_values() -> None:
    guard = Guard(allow={"role": ["app", "reports"]})
    assert rule_on(asked(params={"role": "app"}, guard=guard), OPEN).rule is None
    assert rule_on(asked(params={"role": ["app", "reports"]}, guard=guard), OPEN).rule is None
    for value in ("postgres", ["app", "postgres"], None):
        assert rule_on(asked(params={"role": value}, guard=guard), OPEN).rule == "guard"


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 200))
def test_the_tighter_of_two_limits_counts(outer: float, inner: float, magnitude: float) -> None:
    ruling = rule_on(
        asked(magnitude=magnitude, guard=Guard(limits={"max_magnitude": inner})), rails(max_magnitude=outer)
    )
    assert (ruling.rule is None) == (magnitude <= min(outer, inner))


def test_a_limit_that_is_no_number_refuses() -> None:
    ruling = rule_on(asked(magnitude=1, guard=Guard(limits={"max_magnitude": "three"})), rails(max_magnitude=3))
    assert ruling.rule == "max_magnitude"


def test_a_runbook_cannot_allow_what_the_configuration_forbids() -> None:
    question = asked(
        params={"role": "postgres"}, guard=Guard(allow={"role": ["postgres"]}, limits={"max_magnitude": 99})
    )
    assert rule_on(question, rails(parameters={"role": ParameterRule(one_of=("app",))})).rule == "parameter"
    assert rule_on(replace(question, magnitude=50), rails(max_magnitude=3)).rule == "max_magnitude"


# Approvals.


@pytest.mark.parametrize(
    ("question", "rules", "says"),
    [
        (asked(asks_approval=True), OPEN, "the runbook asks"),
        (ASK, rails(requires_approval=True), "guardrails ask for approval of restart_service"),
        (asked(risk=Risk.IRREVERSIBLE), OPEN, "risk irreversible"),
        (asked(risk=Risk.HIGH), Guardrails(approval_from_risk=Risk.MEDIUM), "risk medium"),
        (asked(mode="approve"), OPEN, "approve mode"),
        (asked(action="failover_db"), OPEN, "failover_db"),
    ],
)
def test_who_must_be_asked(question: Question, rules: Guardrails, says: str) -> None:
    ruling = rule_on(question, rules)
    assert (ruling.rule, ruling.ask) == (None, True)
    assert says in ruling.reason
    agreed = rule_on(replace(question, approved=True), rules)
    assert (agreed.rule, agreed.ask) == (None, False)


@pytest.mark.parametrize("risk", list(Risk))
@pytest.mark.parametrize("start", list(Risk))
def test_approval_by_risk(risk: Risk, start: Risk) -> None:
    ruling = rule_on(asked(risk=risk), Guardrails(approval_from_risk=start))
    assert ruling.ask == (RISKS.index(risk) >= RISKS.index(start))


def test_a_yes_does_not_lift_a_limit() -> None:
    for question, rules in (
        (asked(paused=PAUSE), OPEN),
        (asked(radius=Radius(at_once=1, of=3, healthy=1, healthy_left=0)), OPEN),
        (asked(owned_by="finance"), OPEN),
        (asked(now=NOON), Guardrails(freezes=(freeze(),))),
        (asked(taken_by="anna"), OPEN),
        (ASK, rails(allow=False)),
        (asked(magnitude=9), rails(max_magnitude=3)),
    ):
        assert rule_on(replace(question, approved=True), rules).rule is not None


# Whatever is asked.

VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b", "c"])
PARAMS = st.dictionaries(st.sampled_from("pqrs"), VALUES, max_size=4)
RULES = st.builds(
    ActionRule, allow=st.booleans(), requires_approval=st.booleans(), max_magnitude=st.none() | st.integers(0, 5),
    parameters=st.dictionaries(
        st.sampled_from("pqrs"),
        st.builds(ParameterRule, one_of=st.none() | st.just(("a", 1)), min=st.none() | st.integers(-3, 3), max=st.none() | st.integers(-3, 3)),
        max_size=3,
    ),
)  # fmt: skip
QUESTIONS = st.builds(
    Question, action=st.sampled_from(["x", "y", "rollback"]), risk=st.sampled_from(Risk), params=PARAMS,
    targets=st.just(("t",)), magnitude=st.none() | st.integers(0, 6), service=st.none() | st.just("shop"),
    asks_approval=st.booleans(), approved=st.booleans(), mode=st.sampled_from(["auto", "approve"]),
    guard=st.builds(Guard, allow=st.dictionaries(st.sampled_from("pqrs"), st.just(["a", "b"]), max_size=2)),
    taken_by=st.none() | st.just("anna"), trigger_gone=st.booleans(), undoing=st.booleans(), own_undo=st.booleans(), ended=st.booleans(),
)  # fmt: skip
RAILS = st.builds(
    Guardrails, default_allow=st.booleans(), approval_from_risk=st.sampled_from(Risk),
    actions=st.dictionaries(st.sampled_from(["x", "y", "rollback"]), RULES, max_size=3),
)  # fmt: skip


def backwards(mapping: dict[str, Any]) -> dict[str, Any]:
    return dict(reversed(mapping.items()))


@given(QUESTIONS, RAILS)
def test_whether_something_is_refused_does_not_depend_on_the_order_of_keys(
    question: Question, rules: Guardrails
) -> None:
    turned = replace(
        question, params=backwards(dict(question.params)), guard=Guard(allow=backwards(question.guard.allow))
    )
    other = Guardrails(
        default_allow=rules.default_allow, approval_from_risk=rules.approval_from_risk,
        actions={name: rule.model_copy(update={"parameters": backwards(rule.parameters)}) for name, rule in backwards(rules.actions).items()},
    )  # fmt: skip
    here, there = rule_on(question, rules), rule_on(turned, other)
    assert (here.rule, here.ask) == (there.rule, there.ask)


@given(QUESTIONS, RAILS)
def test_nothing_unknown_is_ever_allowed(question: Question, rules: Guardrails) -> None:
    ruling = rule_on(question, rules)
    if ruling.rule is not None:
        assert not ruling.ask
        return
    rule = rules.rule(question.action)
    assert question.service is not None or question.risk is Risk.NONE
    assert rule.allow
    assert not question.ended
    assert not question.taken_by
    assert question.undoing or not question.trigger_gone
    if rule.max_magnitude is not None:
        assert question.magnitude is not None
        assert question.magnitude <= rule.max_magnitude
    for name, bound in rule.parameters.items():
        assert name not in question.params or bound.broken_by(question.params[name]) is None
    if not ruling.ask and not question.approved and not question.own_undo:
        assert not any((question.asks_approval, rule.requires_approval, question.mode == "approve"))


# What is written wrongly is refused when it is read.


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": "often"}, {"rate": "0/10m"}, {"rate": "2"}, {"parameters": {"x": {"pattern": "("}}}, {"max_magnitud": 3},
        {"max_release_age": "soon"}, {"max_magnitude": "many"},
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_meant_does_not_load(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Guardrails.model_validate({"actions": {"restart_service": wrong}})


def test_rates_are_read() -> None:
    assert ActionRule(rate="2/10m").limit == (2, 600.0)
    assert ActionRule().limit is None
    assert OPEN.rule("restart_service").limit == (2, 600.0)
