"""Every condition of a Plan: its syntax, its names, its types. Never does: evaluate one."""

from __future__ import annotations

from collections.abc import Iterator

from quell.runbook.expr import ExprSyntaxError, Flaw, Scope, check_condition, parse
from quell.runbook.expr.tree import Binary, Expr, Literal, Path, walk
from quell.runbook.lint.calls import acts
from quell.runbook.lint.remark import Place, Remark
from quell.runbook.plan import Check, Origin, Plan
from quell.runbook.scope import STATUSES, action_scope, decision_scope, interpret_scope
from quell.runbook.vocabulary import Vocabulary, nearest


def conditions(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Every condition parses, reads only names that exist, and compares like with like."""
    decision = decision_scope(plan)
    for check in plan.checks:
        # A check whose facts are open (or whose type is unknown) can only be judged by form.
        scope = None if "..." in check.facts else interpret_scope(plan, check)
        for level in ("critical", "warning", "healthy"):
            yield from _condition(getattr(check.interpret, level), scope, check.origin, ("interpret", level))
    for entry in plan.decisions:
        yield from _condition(entry.when, decision, entry.origin, ("condition",))
    for act in acts(plan):
        own = None if "..." in act.facts else action_scope(plan, act)
        yield from _condition(act.precondition, own, act.origin, ("precondition",))
        post = act.postcondition.condition if act.postcondition else None
        yield from _condition(post, own, act.origin, ("postcondition", "check"))
        yield from _condition(act.undo.unless, decision, act.origin, ("undo", "unless"))
    if plan.verify.require:
        yield from _condition(plan.verify.require.condition, decision, plan.origin, ("verify", "require", "condition"))
        yield from _required(plan, vocabulary)


def _required(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """How the check that a verification requires is read."""
    require = plan.verify.require
    if require is None or require.check is None or require.interpret is None:
        return
    word = vocabulary.checks.get(require.check.type)
    facts = dict(word.facts(require.check.config)) if word else {"...": "any"}
    check = Check(id="require", call=require.check, facts=facts)
    scope = None if "..." in facts else interpret_scope(plan, check)
    for level in ("critical", "warning", "healthy"):
        place = ("verify", "require", "interpret", level)
        yield from _condition(getattr(require.interpret, level), scope, plan.origin, place)


def _condition(text: str | None, scope: Scope | None, origin: Origin, place: Place) -> Iterator[Remark]:
    if text is None:
        return
    try:
        tree = parse(text)
        flaws: tuple[Flaw, ...] = () if scope is None else (*check_condition(tree, scope), *_statuses(tree, scope))
        rule = "condition"
    except ExprSyntaxError as error:
        flaws, rule = tuple(error.flaws), "condition-syntax"
    for flaw in flaws:
        yield Remark(
            origin, place, f"{flaw.message} in {text!r}", rule, found=flaw.found, expected=flaw.expected,
            nearest=flaw.nearest, shift=max(0, flaw.column - 1),
        )  # fmt: skip


def _statuses(tree: Expr, scope: Scope) -> Iterator[Flaw]:
    """``errors.status == 'criticl'`` has the right type, and never holds."""
    for node, _ in walk(tree):
        if not isinstance(node, Binary) or node.op not in ("==", "!="):
            continue
        for path, text in ((node.left, node.right), (node.right, node.left)):
            if not isinstance(path, Path) or not isinstance(text, Literal) or not isinstance(text.value, str):
                continue
            if _is_status(path, scope) and text.value not in STATUSES:
                yield Flaw(
                    text.start + 1, text.end + 1, f"no status is {text.value!r}", found=text.value,
                    expected="one of " + ", ".join(STATUSES), nearest=nearest(text.value, STATUSES),
                )  # fmt: skip


def _is_status(path: Path, scope: Scope) -> bool:
    """The status of a finding; a column of that name in an answer may hold anything."""
    kind = scope.get(path.root)
    if path.root == "diagnostics" and kind is not None and len(path.steps) == 2:
        kind = kind.field(str(path.steps[0]))
    elif len(path.steps) != 1:
        return False
    return path.steps[-1] == "status" and kind is not None and "any_critical" in kind.field_names()
