"""What names a condition or template of a Plan may read, and their types.

Built from the Plan alone (it carries the facts its checks publish), so that a Plan stored last year reads the same.
Never does: hold values; ``respond.view`` makes those in the same shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quell.runbook.expr import Scope, Type, parse_type, record
from quell.runbook.plan import Act, Check, Plan

ROOTS = frozenset({"alert", "incident", "vars", "captured", "trigger", "diagnostics"})
"""Names that are there without anybody giving them."""
STATUSES = ("healthy", "warning", "critical", "no_data", "error")

ANY_RECORD: dict[str, Any] = {"...": "any"}
ALERT: dict[str, Any] = {
    "name": "string", "status": "string", "service": "string", "severity": "string", "fingerprint": "string",
    "source": "string", "summary": "string", "url": "string", "starts_at": "time", "environment": "string",
    "region": "string", "tenant": "string", "labels": {"...": "string"}, "annotations": {"...": "string"},
}  # fmt: skip
INCIDENT: dict[str, Any] = {
    "id": "string",
    "severity": "string",
    "service": "string",
    "title": "string",
    "run": "number",
}
ENVELOPE: dict[str, Any] = {
    "status": "string", "error_class": "string", "message": "string", "target_count": "number", "age_s": "number",
    **dict.fromkeys(STATUSES, "flag"),
    **{f"{amount}_{status}": "bool" for amount in ("any", "all") for status in STATUSES},
}  # fmt: skip
"""What every check offers beside its own facts, when read by its id from outside."""

ACT: dict[str, Any] = {
    "started": "bool", "done": "bool", "failed": "bool", "refused": "bool", "unknown": "bool", "result": "string",
    "summary": "string", "output": ANY_RECORD,
}  # fmt: skip


def _types(specs: Mapping[str, Any]) -> Scope:
    return {name: parse_type(spec) for name, spec in specs.items()}


# What is the same for every Plan is read once: lint asks for the scopes of thousands of checks.
_ANY = parse_type("any")
_ACT = parse_type(ACT)
_GIVEN = _types({"alert": ALERT, "incident": INCIDENT, "vars": ANY_RECORD, "trigger": ENVELOPE})
_ENVELOPE = _types(ENVELOPE)


def _view(facts: Mapping[str, Any]) -> Type:
    """A check as seen by its id: its facts, and over them what every check has."""
    own = _types({name: spec for name, spec in facts.items() if name != "..."})
    return record({**own, **_ENVELOPE}, open="..." in facts)


def _world(plan: Plan) -> Scope:
    captured = record(dict.fromkeys(captured_names(plan), _ANY))
    known = {**_GIVEN, "captured": captured, **dict.fromkeys(plan.variables, _ANY)}
    for node in plan.nodes:
        if node.for_each:
            known |= dict.fromkeys(node.for_each.values, _ANY)
        if isinstance(node, Act):
            known[node.id] = _ACT
    views = {check.id: _view(check.facts) for check in plan.checks}
    return known | views | {"diagnostics": record(views)}


def captured_names(plan: Plan) -> set[str]:
    """What is remembered before acting: by ``capture``, or given by hand."""
    names: set[str] = set()
    for node in plan.nodes:
        if isinstance(node, Act):
            given = node.call.config.get("captured")
            names |= {*node.capture, *(given if isinstance(given, Mapping) else ())}
    return names


def decision_scope(plan: Plan) -> Scope:
    """For decisions, guards, ``undo.unless``, ``verify.require`` and templates."""
    return _world(plan)


def interpret_scope(plan: Plan, check: Check) -> Scope:
    """For a check's own conditions: its facts by their bare names, everything else by its path."""
    return {**_world(plan), **_types(check.facts)}


def action_scope(plan: Plan, act: Act) -> Scope:
    """For pre- and postconditions: the facts the action observes by their bare names."""
    return {**_world(plan), **_types(act.facts)}
