"""What names a condition or template of a Plan may read, and their types.

Built from the Plan alone (it carries the facts its checks publish), so that a Plan stored last year reads the same.
Never does: hold values; ``respond.view`` makes those in the same shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


class _Names(Mapping[str, Type]):
    """What may be read, each type made when it is asked for: of many checks a condition reads few."""

    def __init__(self, plan: Plan, own: Mapping[str, Any]) -> None:
        self._known, self._own = _world(plan), own
        self._facts = {check.id: check.facts for check in plan.checks}

    def __getitem__(self, name: str) -> Type:
        if name in self._own:
            return parse_type(self._own[name])
        if name in self._facts:
            return _view(self._facts[name])
        if name == "diagnostics":
            return record({check: _view(facts) for check, facts in self._facts.items()})
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._facts or name in self._known or name == "diagnostics"

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._own, *self._facts, *self._known, "diagnostics")))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _world(plan: Plan) -> Scope:
    captured = record(dict.fromkeys(captured_names(plan), _ANY))
    known = {**_GIVEN, "captured": captured, **dict.fromkeys(plan.variables, _ANY)}
    for node in plan.nodes:
        if node.for_each:
            known |= dict.fromkeys(node.for_each.values, _ANY)
        if isinstance(node, Act):
            known[node.id] = _ACT
    return known


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
    return _Names(plan, {})


def interpret_scope(plan: Plan, check: Check) -> Scope:
    """For a check's own conditions: its facts by their bare names, everything else by its path."""
    return _Names(plan, check.facts)


def action_scope(plan: Plan, act: Act) -> Scope:
    """For pre- and postconditions: the facts the action observes by their bare names."""
    return _Names(plan, act.facts)
