"""A Plan as text that a person can check against what was meant: everything that will be asked, decided and done.

Never does: I/O, colours, leave out a limit or a default that matters.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quell.runbook.plan import (
    DECIDE,
    Act,
    Approval,
    Approve,
    Check,
    Decision,
    Guard,
    Node,
    Notify,
    Plan,
    RateLimit,
    Retry,
    Trigger,
    Undo,
    Verify,
    Wait,
)
from quell.runbook.quantities import spoken

WIDTH = 110
_LABEL = 12
_POLICIES = {
    "next": "the next decision", "diagnose": "diagnose and decide again", "undo_and_page": "undo, then page",
    "mitigate": "keep open as mitigated",
}  # fmt: skip

Row = tuple[str, str]
"""A label and what it says; an empty label continues the one before."""


def outline(plan: Plan) -> str:
    """The whole Plan, ending with a newline."""
    blocks = [
        _head(plan),
        _section("Checks", "all at once; one that needs another waits for it", (_check(plan, c) for c in plan.checks)),
        _section("Decisions", _mode(plan), (_decision(n, d) for n, d in enumerate(plan.decisions, 1))),
        _section(
            "Steps", "", (_step(node) for node in plan.nodes if not isinstance(node, Check) and node.id != DECIDE)
        ),
        _section("Verification", "", [("", _verify(plan.verify))] if plan.decisions else []),
        _section("Escalation", "", [("", _escalation(plan))]),
        _section("At once", "for each tenant", [("", _at_once(plan.rate_limit))] if plan.rate_limit else []),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _head(plan: Plan) -> str:
    title = plan.id if plan.name == plan.id else f"{plan.id}: {plan.name}"
    rows: list[Row] = []
    if plan.description:
        rows.append(("about", plan.description))
    rows.append(("severity", plan.severity))
    rows.append(("service", plan.service or "none: what acts on the alert's service finds none"))
    if plan.owner:
        rows.append(("owner", plan.owner))
    if plan.mode != "auto":
        rows.append(
            ("mode", {"approve": "approve: every action asks first", "dry_run": "dry_run: nothing acts"}[plan.mode])
        )
    rows += [("starts on" if not index else "", _trigger(trigger)) for index, trigger in enumerate(plan.triggers)]
    if plan.priority:
        rows.append(("priority", f"{plan.priority}, among runbooks that an alert means equally"))
    if plan.variables:
        rows.append(("variables", _fields(plan.variables)))
    rows.append(("plan", f"sha256:{plan.hash}"))
    return "\n".join([title, *_lines(rows, 2)])


def _trigger(trigger: Trigger) -> str:
    if trigger.type == "manual":
        return "a person asks"
    held = f", for {spoken(trigger.for_s)}" if trigger.for_s else ""
    if trigger.type == "metric_threshold":
        return f"{trigger.metric_query} {trigger.operator} {trigger.threshold:g}{held}"
    labels = ", ".join([*(f'{name}="{value}"' for name, value in sorted(trigger.labels.items())), *trigger.matchers])
    severity = f"of severity {' or '.join(trigger.severity)}" if trigger.severity else ""
    source = f"from {' or '.join(trigger.source)}" if trigger.source else ""
    parts = ("alert", trigger.alert_name or "", f"{{{labels}}}" if labels else "", severity, source)
    return " ".join(part for part in parts if part) + held


def _section(title: str, note: str, entries: Iterable[tuple[str, list[Row]]]) -> str:
    lines = [f"{title} ({note})" if note else title]
    for head, rows in entries:
        if head:
            lines.append(f"  {head}")
        lines += _lines(rows, 4 if head else 2)
    return "\n".join(lines) if len(lines) > 1 else ""


def _lines(rows: Iterable[Row], indent: int) -> Iterator[str]:
    for label, text in rows:
        start = " " * indent + f"{label:<{_LABEL - 1}} "
        for line in textwrap.wrap(text, WIDTH - indent - _LABEL, break_long_words=False) or [""]:
            yield (start + line).rstrip()
            start = " " * (indent + _LABEL)


# Checks.


def _check(plan: Plan, check: Check) -> tuple[str, list[Row]]:
    rows = list(_about(check))
    needs = [edge.source for edge in plan.edges if edge.target == check.id]
    if needs:
        rows.append(("after", ", ".join(needs)))
    rows += _call_rows(check.call.config)
    rows.append(("timeout", spoken(check.timeout_s) + _retry(check.retry)))
    levels = [
        (level, condition)
        for level in ("critical", "warning", "healthy")
        if (condition := getattr(check.interpret, level)) is not None
    ]
    rows += levels or [("judged", "never: its facts are read by others")]
    rows.append(("facts", ", ".join(f"{name} {_type(spec)}" for name, spec in sorted(check.facts.items())) or "none"))
    if check.lag_s:
        rows.append(("late by", f"up to {spoken(check.lag_s)}"))
    return f"{check.id}  {check.call.type}", rows


def _type(spec: Any) -> str:
    return spec if isinstance(spec, str) else "record"


def _retry(retry: Retry) -> str:
    return f", tried {retry.attempts} times, {spoken(retry.backoff_s)} apart" if retry.attempts > 1 else ""


def _about(node: Node) -> Iterator[Row]:
    about = ". ".join(
        part.rstrip(".") for part in (node.name if node.name != node.id else "", node.description) if part
    )
    if about:
        yield "about", about


def _call_rows(config: Mapping[str, Any]) -> Iterator[Row]:
    for label, value in sorted(config.items()):
        yield label, _value(value)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return " ".join(value.split())
    return json.dumps(value, ensure_ascii=False)


def _fields(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in sorted(values.items()))


# Decisions.


def _mode(plan: Plan) -> str:
    rounds = "once" if plan.max_rounds == 1 else f"at most {plan.max_rounds} rounds"
    if plan.decision_mode == "all":
        return f"all that hold, then verification, {rounds}"
    return f"those that hold, in order, each followed by verification, {rounds}"


def _decision(number: int, decision: Decision) -> tuple[str, list[Row]]:
    head = f"{number}. " + (f"when {decision.when}" if decision.when is not None else "otherwise")
    rows = [("then", " → ".join(decision.then))]
    if decision.description:
        rows.append(("because", decision.description))
    if decision.reads:
        rows.append(("reads", ", ".join(decision.reads)))
    return head, rows


# Steps.


def _step(node: Node) -> tuple[str, list[Row]]:
    rows = list(_about(node))
    if isinstance(node, Act):
        return f"{node.id}  {node.call.type}", [*rows, *_act(node)]
    if isinstance(node, Approve):
        said = [("do", node.instructions)] if node.instructions and node.instructions != node.description else []
        return f"{node.id}  by a person", [*rows, *said, ("answer", _approval(node.approval))]
    if isinstance(node, Notify):
        kind = "page a person, who takes over" if node.escalate else "tell"
        told = [("to", node.to)] if node.to else []
        said = [("says", node.message)] if node.message and node.message != node.description else []
        return f"{node.id}  {kind}", [*rows, *told, *said]
    if isinstance(node, Wait):
        until = ("until", f"{node.window}, every day") if node.window else ("for", spoken(node.seconds))
        return f"{node.id}  wait, then look anew", [*rows, until]
    return f"{node.id}  {node.kind}", rows


def _act(act: Act) -> Iterator[Row]:
    yield from _call_rows(act.call.config)
    if act.for_each:
        each = act.for_each
        values = ", ".join(f"{name} in {_value(value)}" for name, value in each.values.items())
        quorum = f", {each.quorum} are enough" if each.quorum else ""
        yield "for each", f"{values}, {each.batch} at a time, stops on {' or '.join(each.stop_on)}{quorum}"
    yield "approval", f"asked: {_approval(act.approval)}" if act.requires_approval else "not asked"
    if guard := _guard(act.guard):
        yield "guard", guard
    for name, query in sorted(act.capture.items()):
        yield "captures", f"{name}: {_value(query)}"
    if act.precondition:
        yield "only if", act.precondition
    if act.postcondition:
        yield "done when", f"{act.postcondition.condition}, within {spoken(act.postcondition.within_s)}"
    yield "undo", _undo(act.undo)
    if act.revert:
        yield "revert", f"after {spoken(act.revert.after_s)}, asking {act.revert.ask}"
    yield "timeout", spoken(act.timeout_s) + _retry(act.retry)
    if act.on_unknown == "stop":
        yield "if unknown", "stop"


def _approval(approval: Approval) -> str:
    people = "" if approval.people == 1 else f", {approval.people} people"
    people += f", of {', '.join(approval.approvers)}" if approval.approvers else ""
    people += ", not whoever asked for it" if approval.not_requester else ""
    silence = "page" if approval.on_no_answer == "page" else "no"
    return f"{approval.ask}{people}, within {spoken(approval.expires_s)}; silence means {silence}"


def _guard(guard: Guard) -> str:
    parts = [f"{name} one of {_value(values)}" for name, values in sorted(guard.allow.items())]
    parts += [f"{name} {_value(value)}" for name, value in sorted(guard.limits.items())]
    if guard.rate_count is not None and guard.rate_per_s is not None:
        parts.append(f"at most {guard.rate_count} in {spoken(guard.rate_per_s)}")
    return "; ".join(parts)


def _undo(undo: Undo) -> str:
    if undo.never:
        return "never: a point of no return"
    call = f"{undo.call.type} ({_fields(undo.call.config)})" if undo.call else "the action's own, if it has one"
    unless = f", unless {undo.unless}" if undo.unless else ""
    return f"on {' or '.join(undo.on) or 'nothing'}{unless}: {call}"


# The end.


def _verify(verify: Verify) -> list[Row]:
    earliest = verify.earliest_s + verify.stable_for_s
    rows = [
        ("signals", ", ".join(verify.signals)),
        (
            "earliest",
            f"{spoken(earliest)} after the action: {spoken(verify.earliest_s)} until a change shows, "
            f"then {spoken(verify.stable_for_s)} stable",
        ),
        ("latest", f"{spoken(verify.within_s)}, looking every {spoken(verify.every_s)}"),
    ]
    if verify.require:
        rows.append(
            ("requires", verify.require.text or verify.require.condition or _value(verify.require.model_dump()))
        )
    for verdict in ("recovered", "improved", "unchanged", "worse", "cannot_tell"):
        policy = getattr(verify, f"on_{verdict}")
        rows.append((verdict.replace("_", " "), _POLICIES.get(policy, policy)))
    return rows


def _at_once(given: RateLimit) -> list[Row]:
    most = given.max_concurrent
    waits = (
        [("queue", f"up to {given.queue_size} more, by turns; for one beyond that a person is paged")] if most else []
    )
    works = f"at most {most}; an incident that waits for a person does not count"
    return [
        ("work", works if most else "any number"),
        *waits,
        ("time", f"{spoken(given.timeout_seconds)}, then a person is paged"),
    ]


def _escalation(plan: Plan) -> list[Row]:
    given = plan.escalation
    if not given.primary:
        return [("primary", "nobody")]
    rows = [("primary", given.primary + (", at once" if given.immediately else ""))]
    if given.secondary:
        then = ", then ".join((given.secondary, *given.further))
        rows.append(("secondary", f"{then}, {spoken(given.after_s)} later without an answer"))
    rows.append(
        (
            "again",
            f"{spoken(given.repage_s)} after an acknowledgement that nothing follows" if given.repage_s else "never",
        )
    )
    return rows
