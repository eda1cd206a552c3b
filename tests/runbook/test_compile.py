"""Text → Plans: what is the same Plan however it is written, and that nothing an author writes raises."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from quell.runbook.compile import compile_text, same_ids
from quell.runbook.draw import draw
from quell.runbook.outline import outline
from quell.runbook.plan import Plan
from quell.runbook.source import load
from tests.runbook.test_lint import GOOD
from tests.runbook.words import WORDS

FULL = """\
id: api-errors
service: api
triggers:
- {type: alert, alert_name: ApiErrors, labels: {team: core}, for: 30s}
- {type: metric_threshold, metric_query: api_errors, threshold: 5}
variables: {limit: 3}
diagnostics:
- {id: errors, type: prometheus_query, config: {query: 'sum(x)', max_age: 1m}, timeout: 10, retry: 1,
   interpret: {critical: value >= 5, healthy: value < 5}}
- {id: deploy, type: deployments, config: {service: api}, needs: [errors], interpret: {critical: age < 10m, healthy: age >= 10m}}
decision_tree:
- {condition: errors.critical && deploy.critical, then: [hold, back]}
- {otherwise: true, then: [page]}
decision_mode: all
max_rounds: 2
remediations:
- {id: hold, type: automated, action: {type: set_flag, config: {flag: deploys, value: held}},
   revert: {after: 4h, ask: owner}, on_unknown: stop}
- {id: back, type: automated, requires_approval: true, approval: {from: dba, people: 2, on_no_answer: deny},
   for_each: {region: '${errors.critical}', batch: 2, stop_on: worse},
   action: {type: rollback, config: {service: api, max_age: 3}}, guard: {service: api, rate: 1/1h, max_magnitude: 3},
   postcondition: {check: all_ready, within: 2m}, undo: none}
- {id: page, type: escalate}
verify: {signals: [errors], stable_for: 1m, within: 5m, on_improved: keep_and_page, on_cannot_tell: page}
escalation: {primary: log, secondary: log, escalate_after_minutes: 5}
"""


def plan_of(text: str) -> Plan:
    (compiled,) = compile_text(text, "a.yaml", WORDS)
    assert compiled.plan is not None, compiled.problems
    assert not compiled.errors, compiled.errors
    return compiled.plan


def camel(value: Any, *, keys: bool = True) -> Any:
    """Every key in camelCase, as another author would write it."""
    if isinstance(value, dict):
        return {_camel(name): camel(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [camel(inner) for inner in value]
    return value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def data() -> Any:
    return copy.deepcopy(load(FULL)[0].data)


def test_camel_case_and_snake_case_are_the_same_plan():
    assert plan_of(json.dumps(camel(data()))).hash == plan_of(FULL).hash


def test_json_and_yaml_are_the_same_plan():
    assert plan_of(json.dumps(data())).hash == plan_of(json.dumps(data(), indent=3)).hash == plan_of(FULL).hash
    assert plan_of(yaml.safe_dump(data(), sort_keys=True)).hash == plan_of(FULL).hash


def test_where_it_is_written_is_not_part_of_the_hash():
    shifted = "\n\n# a note\n" + FULL.replace("- {id: page", "\n\n-   {id: page")
    (compiled,) = compile_text(shifted, "elsewhere/b.yaml", WORDS)
    assert compiled.plan is not None
    assert compiled.plan.hash == plan_of(FULL).hash
    assert compiled.plan.by_id["page"].origin != plan_of(FULL).by_id["page"].origin


def test_a_stored_plan_reads_back_with_the_same_hash():
    plan = plan_of(FULL)
    assert Plan.model_validate_json(plan.model_dump_json()).hash == plan.hash


@pytest.mark.parametrize("change", ["value >= 6", "value > 5"])
def test_what_it_does_is_part_of_the_hash(change):
    assert plan_of(FULL.replace("value >= 5", change)).hash != plan_of(FULL).hash


def test_several_runbooks_in_one_file():
    other = GOOD.replace("api-errors", "other")
    found = compile_text(f"{GOOD}---\n{other}", "a.yaml", WORDS)
    assert [item.plan.id for item in found if item.plan] == ["api-errors", "other"]
    assert found[1].plan is not None
    assert found[1].plan.origin.line == GOOD.count("\n") + 2
    assert same_ids(found) == []


def test_an_id_taken_by_another_file_is_told():
    found = [*compile_text(GOOD, "a.yaml", WORDS), *compile_text(GOOD, "b.yaml", WORDS)]
    (problem,) = same_ids(found)
    assert (problem.rule, problem.file, problem.path, problem.found) == (
        "duplicate-runbook", "b.yaml", "id", "api-errors",
    )  # fmt: skip
    assert "a.yaml:1" in problem.message


def test_a_step_nobody_wrote_becomes_a_page_and_still_runs():
    (compiled,) = compile_text(GOOD.replace("then: [roll_back]", "then: [roll_back, tell_everyone]"), "a.yaml", WORDS)
    assert compiled.errors
    assert compiled.runnable
    assert compiled.plan is not None
    node = compiled.plan.by_id["tell_everyone"]
    assert node.kind == "notify"
    assert node.escalate


def test_a_type_error_does_not_run():
    (compiled,) = compile_text(GOOD.replace("value >= 5", "valu >= 5"), "a.yaml", WORDS)
    assert not compiled.runnable


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty"),
        ("# nothing", "empty"),
        ("a: 1", "unknown-dialect"),
        ("[1]", "unknown-dialect"),
        ("x", "unknown-dialect"),
    ],
)
def test_what_is_no_runbook_says_so(text, rule):
    (compiled,) = compile_text(text, "a.yaml", WORDS)
    (problem,) = compiled.problems
    assert (problem.rule, problem.line) == (rule, 1)
    assert compiled.plan is None
    assert not compiled.runnable


def _paths(value: Any, path: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in inner for found in _paths(child, (*path, key)))]


PATHS = _paths(load(FULL)[0].data)[1:]
ODD = st.sampled_from([
    None, True, 0, -1, 1e300, "", " ", "x", "value >", "${", "${a.b", "${errors.nothing}", "errors.critical", [], {}, [[]],
    {"": ""}, {"type": "none"}, "9" * 50, "é\u2028", "1/0", "-5m", ["page", "page"], {"a": {"b": [1]}},
])  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(PATHS), ODD | st.just(...) | st.text(max_size=12)), min_size=1, max_size=4))
def test_a_changed_document_never_raises_and_every_problem_has_a_place(changes):
    changed = data()
    for path, value in changes:
        _put(changed, path, copy.deepcopy(value) if value is not ... else value)
    for compiled in compile_text(json.dumps(changed), "a.yaml", WORDS):
        for problem in compiled.problems:
            assert problem.file == "a.yaml"
            assert problem.line >= 1
            assert problem.column >= 1
            assert problem.message
            assert problem.rule
        if compiled.plan is not None:
            assert compiled.plan.hash
            assert outline(compiled.plan)
            assert draw(compiled.plan)


def _put(value: Any, path: tuple, new: Any) -> None:
    """Puts ``new`` at the path, or takes away what is there for ``...``; paths that are gone are left."""
    for part in path[:-1]:
        if not _holds(value, part):
            return
        value = value[part]
    if not _holds(value, path[-1]):
        return
    if new is ...:
        del value[path[-1]]
    else:
        value[path[-1]] = new


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value
