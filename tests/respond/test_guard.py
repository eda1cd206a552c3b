"""Every rule of the guard with its value and limit, and what must hold whatever the question is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.incident.action import Risk
from quell.respond.guard import DEFAULT_ACTIONS, RISKS, ActionRule, Guardrails, ParameterRule, Question, rule_on
from quell.runbook.plan import Guard

ASK = Question(action="restart_service", risk=Risk.MEDIUM, params={}, targets=("shop",), service="shop")
OPEN = Guardrails()


def rails(action: str = "restart_service", **rule: Any) -> Guardrails:
    return Guardrails(actions={action: ActionRule(**rule)})


def asked(**changes: Any) -> Question:
    return replace(ASK, **changes)


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
