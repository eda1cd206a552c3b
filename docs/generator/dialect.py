"""``runbook.md`` and ``conditions.md``: the native dialect and its language of conditions.

Every example of a condition is evaluated while the page is made, so that it cannot say what is not so.
Never does: repeat a key, a type or a function by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from docs.generator.models import fields_table, nested, title
from docs.generator.plugins import FACT_WORDS
from docs.generator.prose import body, markdown, one_line, page, quoted, table
from quell.incident.action import Verdict
from quell.runbook import expr, scope
from quell.runbook.dialects import _native_schema as schema
from quell.runbook.expr import lex, types, units
from quell.runbook.expr.functions import FUNCTIONS
from quell.runbook.expr.parse import MAX_DEPTH, MAX_NODES
from quell.runbook.plan import Verify
from quell.runbook.template import __doc__ as template_doc

_RUNBOOK = """
```yaml
id: checkout-slow
severity: P2
service: checkout
triggers:
- {type: alert, alert_name: CheckoutSlow}
diagnostics:
- id: latency
  type: http_check
  config: {url: 'http://checkout.example.com/health'}
  timeout: 5s
  interpret: {healthy: all_healthy, warning: any_slow > 500ms, critical: any_unreachable}
decision_tree:
- {condition: latency.critical, then: restart}
- {otherwise: true, then: page}
remediations:
- id: restart
  type: automated
  action: {restart_service: checkout}
  guard: {max_replicas: 3, rate: 2/1h}
- {id: page, type: escalate}
verify: {signals: [trigger, latency], stable_for: 1m, within: 5m}
escalation: {primary: 'slack:sre', secondary: 'pagerduty:sre', escalate_after_minutes: 10}
```
"""

_POLICIES = {
    "resolve": "the incident is resolved",
    "mitigate": "users are served, the incident stays open as mitigated",
    "next": "the next recommended decision is tried",
    "diagnose": "what was done is kept; the checks run again, then the decisions",
    "page": "nothing more is done by itself; a person is paged with the evidence",
    "undo_and_page": "what declares an undo for this verdict is taken back, then a person is paged",
}

_SAMPLE: Mapping[str, Any] = {
    "value": "number", "latency": "duration:ms", "used": "percent:bare", "errors": "ratio", "free": "bytes",
    "names": "list<string>", "note": "string", "ready": "bool",
}  # fmt: skip
_GIVEN: Mapping[str, Any] = {
    "value": 82, "latency": 1.2, "used": 91.5, "errors": 0.02, "free": 3 * 2**30, "names": ["eu", "us"], "note": "late",
    "ready": True,
}  # fmt: skip
_EXAMPLES = (
    "value >= 70 && value < 90", "value >= 70 AND NOT value >= 90", "ready === true", "note !== 'late'",
    "note = 'late'",
    "latency > 1000ms", "latency > 500", "latency <= 1.2s", "used >= 90%", "used >= 90", "errors > 0.1%",
    "errors > 0.01",
    "free < 10GiB", "'eu' in names", "size(names) == 2", "note.startsWith('la')", "note.matches('l.te')",
    "has(names) ? value : 0", "value / 4 > 20", "max(value, 90)",
)  # fmt: skip


def runbook() -> str:
    """``runbook.md``."""
    return page(
        "# Runbooks",
        "A runbook is one YAML or JSON document; a file may hold several, separated by `---`. Keys are snake_case or "
        "camelCase. An unknown key is an error. `quell lint` finds every problem, `quell plan` shows what a runbook "
        "compiles to. Durations are `30s`, `5m`, `1h30m`, `250ms` or bare seconds.",
        _RUNBOOK,
        "Conditions are explained in [conditions](conditions.md), `type` and `config` of diagnostics in "
        "[checks](checks.md), of actions in [actions](actions.md); which of several runbooks an alert is for, in "
        "[which runbook an alert is for](../routing.md).",
        "## Runbook",
        fields_table(schema.RunbookText),
        *(part for model in nested(schema.RunbookText) for part in _section(model)),
        "## Templates",
        body(template_doc),
        "## Verdicts and policies",
        "After each remediation verification gives one of five verdicts, and the runbook's policy says what then:",
        table(("verdict", "policy, unless said otherwise", "key"), _verdicts()),
        table(("policy", "what it means"), ((f"`{name}`", text) for name, text in _policies())),
        "No verdict is given before the signals can show a change: a query over 5 minutes needs 5 minutes and a "
        "scrape. A `within` that is shorter than that is an error of lint.",
    )


def _section(model: type[BaseModel]) -> Iterable[str]:
    yield f"## {title(model)}"
    yield markdown(model.__dict__.get("__doc__") or "")
    yield fields_table(model)


def _verdicts() -> Iterable[tuple[str, str, str]]:
    for verdict in Verdict:
        key = f"on_{verdict.value}"
        yield f"`{verdict.value}`", f"`{Verify.model_fields[key].default}`", f"`verify.{key}`"


def _policies() -> Iterable[tuple[str, str]]:
    """In the order of the schema; a policy without an explanation is a fault of this file."""
    words = Verify.model_fields["on_improved"].annotation
    return ((word, _POLICIES[word]) for word in words.__args__)  # type: ignore[union-attr]


def conditions() -> str:
    """``conditions.md``."""
    return page(
        "# Conditions",
        one_line(expr.__doc__),
        "## Where it leaves CEL",
        _left_out(),
        "## Spelling",
        body(lex.__doc__),
        "## Precedence",
        body(sys.modules[expr.parse.__module__].__doc__),
        "## Examples",
        f"With {', '.join(f'`{name}` = {_shown(name)}' for name in _SAMPLE)}:",
        table(("condition", "gives"), ((f"`{text}`", _result(text)) for text in _EXAMPLES)),
        "What cannot be known is neither true nor false: a condition that needs a missing fact does not hold, and "
        "neither does its negation.",
        "## Functions",
        table(("function", "kind"), ((f"`{one.usage}`", _kind(one)) for one in FUNCTIONS.values())),
        "## Types",
        "As facts declare them:",
        table(
            ("type", "its value, and what it is compared with"),
            ((f"`{name}`", text) for name, text in FACT_WORDS.items()),
        ),
        f"Durations: {quoted(unit for unit in units.DURATION_UNITS if unit != 'µs')}. Sizes: "
        f"{quoted(units.SIZE_UNITS)}. "
        "A bare number next to a duration, percent or size is an error unless the fact's type says how it is read.",
        "## Names",
        "In a diagnostic's `interpret`, the facts of its check stand by their bare names. Everywhere else a check is "
        "read by its id (`latency.any_slow`, or `diagnostics.latency.any_slow`). Every check also has:",
        _fields(scope.ENVELOPE),
        "A flag is true or false, and has fields: `errors.critical` holds when the check is critical, "
        "`errors.critical.region` lists the label of the targets that are. Every remediation, by its id, has:",
        _fields(scope.ACT),
        "`alert` has:",
        _fields(scope.ALERT),
        "`incident` has:",
        _fields(scope.INCIDENT),
        "`trigger` has what every check has; `vars` holds the runbook's variables, which also stand by their bare "
        "names; `captured` what an action captured before it acted.",
        f"An expression has at most {lex.MAX_TEXT} characters, {MAX_NODES} parts and {MAX_DEPTH} levels.",
    )


def _left_out() -> str:
    """The paragraph of the package that says so."""
    paragraphs = (expr.__doc__ or "").split("\n\n")
    return body("\n\n" + next(one for one in paragraphs if one.startswith("Where it leaves CEL")))


def _fields(specs: Mapping[str, Any]) -> str:
    def shown(spec: Any) -> str:
        return spec if isinstance(spec, str) else "record"

    return table(("name", "type"), ((f"`{name}`", shown(spec)) for name, spec in specs.items()))


def _kind(function: Any) -> str:
    ways = [word for word, held in (("function", function.function), ("method", function.method)) if held]
    return " and ".join(ways)


def _result(text: str) -> str:
    program = expr.compile(text, {name: types.parse_type(spec) for name, spec in _SAMPLE.items()})
    value = program.value(_GIVEN)
    return str(value).lower() if isinstance(value, bool) else f"`{value:g}`"


_SHOWN = {"latency": "1.2 s", "used": "91.5 %", "errors": "2 %", "free": "3 GiB"}


def _shown(name: str) -> str:
    return _SHOWN.get(name) or f"`{str(_GIVEN[name]).lower() if isinstance(_GIVEN[name], bool) else _GIVEN[name]}`"
