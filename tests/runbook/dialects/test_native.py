"""The native dialect: what people write, in each of its spellings, and the Plan it becomes."""

from __future__ import annotations

import json

import pytest

from quell.registry import Registry
from quell.runbook.compile import compile_text
from quell.runbook.dialects import native
from quell.runbook.plan import Act, Approve, Call, Check, Interpret, Notify, Plan
from quell.runbook.source import Document
from quell.vocabulary_of import vocabulary_of
from tests.runbook.test_compile import plan_of
from tests.runbook.words import WORDS

SMALL = """\
id: small
service: api
triggers: [{type: manual}]
diagnostics:
- {id: errors, type: prometheus_query, config: {query: sum(x)}, interpret: {critical: value > 5, healthy: value <= 5}}
decision_tree:
- {condition: errors.critical, then: [fix]}
remediations:
- {id: fix, type: automated, action: {type: restart_service, config: {service: api}}}
escalation: {primary: log}
"""


def small(old: str = "", new: str = "") -> Plan:
    assert not old or SMALL.count(old) == 1
    return plan_of(SMALL.replace(old, new) if old else SMALL)


def fix(old: str, new: str) -> Act:
    act = small(old, new).by_id["fix"]
    assert isinstance(act, Act)
    return act


def with_fix(more: str) -> Act:
    """The step with more said of it."""
    return fix("config: {service: api}}}", f"config: {{service: api}}}}, {more}}}")


@pytest.mark.parametrize(
    ("data", "ours"),
    [
        ({"diagnostics": []}, True), ({"decisionTree": []}, True), ({"triggers": []}, True), ({"remediations": []}, True),
        ({"kind": "Agent", "triggers": []}, False), ({"id": "x"}, False), ([], False), ("triggers", False), (None, False),
    ],
)  # fmt: skip
def test_it_knows_its_own(data, ours):
    assert native.sniff(Document(data)) is ours


# A runbook as the schema of other tools has it: camelCase, conditions in the spelling of JavaScript.
FOREIGN = {
    "id": "feed-stale",
    "name": "Feed is stale",
    "description": "The feed has not moved",
    "severity": "P1",
    "service": "feed",
    "triggers": [
        {"type": "alert", "alertName": "FeedStale"},
        {"type": "manual"},
        {"type": "metric_threshold", "metricQuery": "feed_age_seconds", "threshold": 300},
    ],
    "diagnostics": [
        {"id": "pods", "name": "Pods", "description": "", "type": "prometheus_query", "config": {"query": "sum(up)"}, "timeout": 10,
         "interpret": {"healthy": "all_ready === true", "warning": "ready_count < total_count", "critical": "ready_count === 0"}},
        {"id": "deploys", "name": "Deploys", "description": "", "type": "shell_command", "config": {"command": "cat /var/log/deploys"},
         "interpret": {"healthy": "no_recent_deploy", "warning": "deploy_within_30m", "critical": "deploy_within_5m"}},
        {"id": "sources", "name": "Sources", "description": "", "type": "http_check",
         "config": {"urls": [{"name": "one", "url": "http://one.example/"}]}, "timeout": 15,
         "interpret": {"healthy": "all_healthy", "warning": "any_slow > 1000ms", "critical": "any_unreachable"}},
    ],
    "decisionTree": [
        {"condition": "diagnostics.pods.status === 'critical'", "then": ["restart", "call"], "description": "no pod"},
        {"condition": "diagnostics.deploys.status === 'critical'", "then": ["back"], "description": "a deploy"},
        {"condition": "diagnostics.sources.status !== 'healthy'", "then": ["call"], "description": "a source"},
    ],
    "remediations": [
        {"id": "restart", "name": "Restart", "description": "", "type": "automated",
         "action": {"type": "restart_service", "config": {"deployment": "feed", "namespace": "live"}}},
        {"id": "back", "name": "Back", "description": "", "type": "automated", "requiresApproval": True,
         "action": {"type": "rollback", "config": {"deployment": "feed"}}},
        {"id": "call", "name": "Call", "description": "", "type": "escalate"},
    ],
    "escalation": {"primary": "#feed", "secondary": "#sre", "escalateAfterMinutes": 15},
}  # fmt: skip


def test_a_runbook_of_another_tool_loads_unchanged():
    plan = plan_of(json.dumps(FOREIGN))
    (compiled,) = compile_text(json.dumps(FOREIGN), "a.json", WORDS)
    assert compiled.problems == ()
    assert [trigger.type for trigger in plan.triggers] == ["alert", "manual", "metric_threshold"]
    assert plan.triggers[2].operator == ">"
    assert [check.timeout_s for check in plan.checks] == [10, 30, 15]
    assert [entry.reads for entry in plan.decisions] == [("pods",), ("deploys",), ("sources",)]
    back = plan.by_id["back"]
    assert isinstance(back, Act)
    assert back.requires_approval
    assert (plan.escalation.primary, plan.escalation.secondary, plan.escalation.after_s) == ("#feed", "#sre", 900)


def test_without_verify_the_signals_are_the_checks_that_decide():
    plan = plan_of(json.dumps(FOREIGN))
    # A shell command tells no current state, so it cannot verify anything.
    assert plan.verify.signals == ("trigger", "pods", "sources")
    assert plan.verify.earliest_s == 15.0


def test_escalation_needs_no_minutes():
    assert small().escalation.after_s == 1800


@pytest.mark.parametrize(
    "action",
    ["{restart_service: api}", "{restart_service: {service: api}}", "{type: restart_service, config: {service: api}}",
     "{type: restart_service}"],
)  # fmt: skip
def test_ways_to_write_an_action(action):
    act = fix("{type: restart_service, config: {service: api}}", action)
    assert act.call.model_dump() == {"type": "restart_service", "config": {"service": "api"}}


def test_the_runbooks_service_is_only_for_what_needs_one():
    assert fix("{type: restart_service, config: {service: api}}", "{type: flush_cache}").call.config == {}
    other = fix("{type: restart_service, config: {service: api}}", "{type: restart_service, config: {service: web}}")
    assert other.call.config == {"service": "web"}


@pytest.mark.parametrize(
    ("text", "never", "on", "call"),
    [
        ("undo: none", True, ("worse",), None),
        ("undo: {on: [worse, unchanged]}", False, ("worse", "unchanged"), None),
        ("undo: {on: failed}", False, ("failed",), None),
        ("undo: {type: set_flag, flag: x}", False, ("worse",), ("set_flag", {"flag": "x"})),
        ("undo: {batch: 2}", False, ("worse",), ("restart_service", {"service": "api", "batch": 2})),
    ],
)
def test_undo(text, never, on, call):
    undo = with_fix(text).undo
    assert (undo.never, undo.on) == (never, on)
    assert (undo.call and (undo.call.type, undo.call.config)) == call


def test_postcondition_in_short_and_in_full():
    short = with_fix("postcondition: all_ready").postcondition
    full = with_fix("postcondition: {check: all_ready, within: 2m}").postcondition
    assert short is not None
    assert full is not None
    assert (short.condition, short.within_s, full.within_s) == ("all_ready", 60, 120)


def test_guard_bounds_parameters_and_sets_limits():
    guard = with_fix("guard: {service: [api, web], max_replicas: 3, rate: 2/10m, max_magnitude: 5}").guard
    assert guard.allow == {"service": ["api", "web"]}
    assert guard.limits == {"max_replicas": 3, "max_magnitude": 5}
    assert (guard.rate_count, guard.rate_per_s) == (2, 600)


def test_guard_bounds_names_inside_identifiers():
    act = fix(
        "{type: restart_service, config: {service: api}}}",
        "{type: run_script, config: {sql: 'alter role {role}', identifiers: {role: x}}}, guard: {role: app}}",
    )
    assert act.guard.allow == {"role": ["app"]}


def test_asking_whom_means_asking():
    act = with_fix("approval: {from: dba, people: 2, expires: 5m, on_no_answer: deny}")
    assert act.requires_approval
    assert act.approval.model_dump() == {"ask": "dba", "people": 2, "expires_s": 300, "on_no_answer": "deny"}


def test_for_each_names_one_variable():
    each = with_fix("for_each: {pod: '${errors.critical}', batch: 2, stop_on: [worse], quorum: 1}").for_each
    assert each is not None
    assert (each.values, each.batch, each.stop_on, each.quorum) == ({"pod": "${errors.critical}"}, 2, ("worse",), 1)


def test_retry_counts_the_tries_after_the_first():
    assert with_fix("retry: 2").retry.attempts == 3
    assert with_fix("retry: {attempts: 4, backoff: 5s}").retry.model_dump() == {"attempts": 4, "backoff_s": 5}


def test_manual_and_escalate():
    text = SMALL.replace("then: [fix]", "then: [look, tell, fix]").replace(
        "remediations:\n",
        "remediations:\n- {id: look, type: manual, instructions: Look}\n- {id: tell, type: escalate, to: log}\n",
    )
    plan = plan_of(text)
    look, tell = plan.by_id["look"], plan.by_id["tell"]
    assert isinstance(look, Approve)
    assert (look.instructions, look.approval.expires_s) == ("Look", 3600)
    assert isinstance(tell, Notify)
    assert (tell.escalate, tell.to) == (True, "log")


def test_a_check_that_reads_another_waits_for_it():
    text = SMALL.replace(
        "decision_tree:",
        "- {id: more, type: log_search, config: {pattern: '${errors.labels.code}'}, interpret: {critical: count > errors.value, healthy: count == 0}}\n"
        "decision_tree:",
    ).replace("condition: errors.critical", "condition: errors.critical && more.critical")  # fmt: skip
    plan = plan_of(text)
    assert ("errors", "more", "settled") in {(edge.source, edge.target, edge.on) for edge in plan.edges}


@pytest.mark.parametrize(
    ("given", "condition", "query"),
    [
        ("errors.value < 100", "errors.value < 100", None),
        ("'sum(api:rps) > 5'", None, "sum(api:rps) > 5"),
        ("{query: 'sum(api:rps) > 5'}", None, "sum(api:rps) > 5"),
        ("{config: {query: 'sum(api:rps) > 5'}}", None, "sum(api:rps) > 5"),
        ("'rps{to=\"a.b\"} > ${errors.value}'", None, 'rps{to="a.b"} > ${errors.value}'),
    ],
)
def test_require_is_about_our_checks_or_a_query(given, condition, query):
    require = plan_of(SMALL + f"verify: {{signals: [errors], require: {given}}}\n").verify.require
    assert require is not None
    assert require.condition == condition
    assert (require.check and require.check.config["query"]) == query


def test_a_required_check_is_read_as_it_says():
    given = "{type: shell_command, command: [ab], interpret: {healthy: exit_code == 0}}"
    require = plan_of(SMALL + f"verify: {{require: {given}}}\n").verify.require
    assert require is not None
    assert require.check == Call(type="shell_command", config={"command": ["ab"]})
    assert require.interpret == Interpret(healthy="exit_code == 0")


@pytest.mark.parametrize(
    ("word", "policy"), [("keep_and_page", "page"), ("keep_and_diagnose", "diagnose"), ("next", "next")]
)
def test_policies(word, policy):
    assert plan_of(SMALL + f"verify: {{on_improved: {word}}}\n").verify.on_improved == policy


def test_the_earliest_verdict_is_that_of_the_slowest_signal():
    text = SMALL.replace("query: sum(x)", "query: 'sum(rate(x[5m]))'").replace(
        "{type: manual}", "{type: alert, alert_name: A, for: 2m}"
    )
    assert plan_of(text + "verify: {signals: [trigger]}\n").verify.earliest_s == 135
    assert plan_of(text + "verify: {signals: [trigger, errors]}\n").verify.earliest_s == 315
    assert plan_of(text).verify.within_s >= 315 + 30


def test_facts_are_part_of_the_plan():
    check = small().by_id["errors"]
    assert isinstance(check, Check)
    assert check.facts["value"] == "number"
    typed = small("config: {query: sum(x)}", "config: {query: sum(x), unit: percent}").by_id["errors"]
    assert isinstance(typed, Check)
    assert typed.facts["value"] == "percent:bare"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{type: manual}", "{type: alert}", "needs alert_name, labels, matchers, severity or source"),
        ("{type: manual}", "{type: metric_threshold, metric_query: x}", "threshold"),
        ("type: automated, action: {type: restart_service, config: {service: api}}", "type: automated", "needs an action"),
        ("{id: fix, type: automated,", "{id: fix, type: manual,", "only an automated one"),
        ("then: [fix]", "then: [fix], otherwise: true", "either condition or otherwise"),
        ("service: api}}}", "service: api}}, timeout: 0}", "must be more than 0"),
        ("service: api}}}", "service: api}}, approval: {people: 0}}", "must be at least 1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_told(old, new, message):
    assert SMALL.count(old) == 1
    (compiled,) = compile_text(SMALL.replace(old, new), "a.yaml", WORDS)
    assert compiled.plan is None
    (problem,) = compiled.problems
    assert message in problem.message
    assert problem.line > 1


def test_what_a_trigger_asks_in_every_spelling():
    asked = "{type: alert, matchers: 'env=prod', severity: [critical, P1, Warning], source: prod}"
    listed = "{type: alert, matchers: ['env=prod'], severity: [P1, warn], source: [prod, prod]}"
    words = vocabulary_of(Registry())
    for text in (asked, listed):
        (compiled,) = compile_text(SMALL.replace("{type: manual}", text), "a.yaml", words)
        (trigger,) = compiled.plan.triggers
        assert (trigger.matchers, trigger.severity, trigger.source) == (("env=prod",), ("P1", "P3"), ("prod",))
        assert trigger.origin.path == "triggers[0]"


@pytest.mark.parametrize(
    ("priority", "rule"),
    [("10", None), ("-1000", None), ("1001", "wrong-value"), ("high", "wrong-value"), ("1.5", "wrong-value")],
)
def test_a_priority_is_a_whole_number(priority, rule):
    (compiled,) = compile_text(f"priority: {priority}\n{SMALL}", "a.yaml", WORDS)
    told = [(problem.rule, problem.path) for problem in compiled.problems if problem.path == "priority"]
    assert told == ([(rule, "priority")] if rule else [])
    assert rule or compiled.plan.priority == int(priority)
