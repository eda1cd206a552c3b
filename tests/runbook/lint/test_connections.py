"""Connections that are not configured, as each installed plug-in declares its own: told by name, type and place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from quell.errors import Problem
from quell.registry import Registry
from quell.runbook.compile import compile_text
from quell.vocabulary_of import uses_of, vocabulary_of
from tests.runbook.marked import marked

HEAD = "id: a\nservice: api\ntriggers: [{type: manual}]\nescalation: {primary: log}\n"


@dataclass(frozen=True)
class Configured:
    type: str
    options: dict[str, Any] = field(default_factory=dict)


SITE = {
    "main": Configured("prometheus"), "payments": Configured("postgresql"), "ledger": Configured("sqlite", {"vantages": {"az-a": "x"}}),
    "cache": Configured("redis"), "rundeck": Configured("http"), "logs": Configured("loki"),
}  # fmt: skip


def problems(text: str, site: dict[str, Configured] | None) -> list[Problem]:
    words = vocabulary_of(Registry(), connections=site)
    return [one for item in compile_text(text, "a.yaml", words) for one in item.problems if one.severity == "error"]


def check(written: str) -> str:
    return f"{HEAD}diagnostics:\n- {{id: c, {written}}}\n"


def action(written: str, more: str = "") -> str:
    step = f"{{id: fix, type: automated, action: {{{written}}}{more}}}"
    return f"{HEAD}decision_tree: [{{otherwise: true, then: [fix]}}]\nremediations:\n- {step}\n"


NAMED = [
    (check("type: prometheus_query, config: {query: sum(x), connection: ¦mian}"), "diagnostics[0].config.connection", "main"),
    (check("type: prometheus_query, config: {query: sum(x), connection: ¦cache}"), "diagnostics[0].config.connection", None),
    (check("type: database_query, config: {query: select 1, database: ¦payment}"), "diagnostics[0].config.database", "payments"),
    (check("type: database_query, config: {query: select 1, from: [payments, ¦legder]}"), "diagnostics[0].config.from[1]", "ledger"),
    (check("type: database_query, config: {query: select 1, database: ledger, from: [az-a, ¦az-b]}"), "diagnostics[0].config.from[1]", "az-a"),
    (check("type: database_query, config: {query: select 1, database: ¦legder, from: [payments]}"), "diagnostics[0].config.database", "ledger"),
    (check("type: deployments, config: {database: ¦leger}"), "diagnostics[0].config.database", "ledger"),
    (check("type: log_search, config: {service: api, connection: ¦log}"), "diagnostics[0].config.connection", "logs"),
    (check("type: redis, config: {connection: ¦chace}"), "diagnostics[0].config.connection", "cache"),
    (action("type: run_script, config: {sql: select 1, database: ¦paymnets}"), "remediations[0].action.config.database", "payments"),
    (action("type: run_script, config: {sql: select 1, database: payments}", ", undo: {sql: select 2, database: ¦leger}"), "remediations[0].undo.database", "ledger"),
    (action("type: terminate_sessions, config: {role: app, database: ¦payment}"), "remediations[0].action.config.database", "payments"),
    (action("type: failover_db, config: {to: ¦ledger}"), "remediations[0].action.config.to", None),
    (action("type: failover_db, config: {to: payments, primary: ¦pay}"), "remediations[0].action.config.primary", None),
    (action("type: flush_cache, config: {cache: ¦cahce, pattern: 'a:*'}"), "remediations[0].action.config.cache", "cache"),
    (action("type: drain_queue, config: {queue: a, connection: ¦main}"), "remediations[0].action.config.connection", None),
    (action("type: set_flag, config: {flag: a, connection: ¦rundek}"), "remediations[0].action.config.connection", "rundeck"),
    (action("type: job, config: {job: ¦'rundek:fence'}"), "remediations[0].action.config.job", "rundeck"),
    (action("type: job, config: {job: 'a:b', connection: ¦rundek}"), "remediations[0].action.config.connection", "rundeck"),
    (HEAD + "verify: {require: {query: up > 0, connection: ¦mian}}\n", "verify.require.connection", "main"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "near"), NAMED, ids=lambda value: str(value)[-60:])
def test_a_connection_that_is_not_there_or_does_not_fit(text: str, path: str, near: str | None) -> None:
    text, place = marked(text)
    (problem,) = problems(text, SITE)
    assert (problem.rule, problem.path, problem.nearest) == ("unknown-connection", path, near), problem
    assert (problem.line, problem.column) == place
    assert problems(text, None) == []


LEFT_OUT = [
    (check("type: prometheus_query, config: ¦{query: sum(x)}"), "main"),
    (check("type: redis, config: ¦{key: a}"), "cache"),
    (check("type: log_search, config: ¦{service: api}"), "logs"),
    (action("type: job, config: ¦{job: fence}"), "rundeck"),
    (action("type: flush_cache, config: ¦{pattern: 'a:*'}"), "cache"),
    (HEAD.replace("{type: manual}", "¦{type: metric_threshold, metric_query: up, threshold: 1}"), "main"),
    (HEAD + "verify: {require: ¦up > 0}\n", "main"),
]


@pytest.mark.parametrize(("text", "only"), LEFT_OUT, ids=lambda value: str(value)[-60:])
def test_left_out_it_is_the_only_one_and_there_must_be_one(text: str, only: str) -> None:
    text, place = marked(text)
    assert problems(text, SITE) == problems(text, None) == []
    for site in ({}, {name: way for name, way in SITE.items() if name != only}):
        (problem,) = problems(text, site)
        assert problem.rule == "unknown-connection"
        assert "none is configured" in problem.message
        assert (problem.line, problem.column) == place
    two = {**SITE, "other": SITE[only]}
    (problem,) = problems(text, two)
    assert "2 of type" in problem.message
    assert problem.expected == "one of " + ", ".join(sorted([only, "other"]))
    assert problems(text, {**two, "default": SITE[only]}) == []


QUIET = [
    check("type: shell_command, config: {command: [ls]}"),
    check("type: log_search, config: {files: /var/log/a}"),
    check("type: deployments, config: {service: api}"),
    check("type: database_query, config: {query: select 1, database: '${vars.db}'}"),
    check("type: database_query, config: {query: select 1, from: [payments], max_rows: '${vars.n}'}"),
    action("type: run_script, config: {command: [ls]}"),
    action("type: run_script, config: {script: /opt/fix}"),
    action("type: set_flag, config: {flag: a, file: /srv/flags.json}"),
    action("type: job, config: {job: '${vars.where}:fence'}"),
]


@pytest.mark.parametrize("text", QUIET, ids=lambda value: str(value)[-60:])
def test_what_needs_none_or_is_not_known_yet_is_left_alone(text: str) -> None:
    assert problems(text, {"payments": SITE["payments"]}) == []


def test_an_undo_of_the_same_type_is_not_told_again() -> None:
    text = action("type: run_script, config: {sql: select 1, database: gone}", ", undo: {sql: select 2}")
    assert [one.path for one in problems(text, SITE)] == ["remediations[0].action.config.database"]
    left_out = action("type: run_script, config: {sql: select 1}", ", undo: {sql: select 2}")
    assert len(problems(left_out, {})) == 1


def test_such_a_runbook_still_runs_for_its_other_checks() -> None:
    words = vocabulary_of(Registry(), connections={})
    (compiled,) = compile_text(check("type: prometheus_query, config: {query: sum(x)}"), "a.yaml", words)
    assert compiled.errors
    assert compiled.runnable


def test_a_plug_in_without_a_mark_uses_nothing() -> None:
    assert uses_of(Registry().check("shell_command").params, {"command": ["ls"]}) == []
