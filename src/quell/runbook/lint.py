"""What a Plan says that cannot be right: names, types, templates, windows; and what is likely not meant.

Each rule is one function over (plan, vocabulary) giving findings; ``lint`` runs them all and gives them places.
Never does: stop at the first, ask a plug-in (the Vocabulary says what lint must know).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from quell.errors import Problem
from quell.runbook.expr import ExprSyntaxError, Flaw, Scope, check_condition, parse
from quell.runbook.names import names_of
from quell.runbook.plan import DECIDE, Act, Call, Check, Notify, Origin, Plan
from quell.runbook.quantities import spoken
from quell.runbook.scope import action_scope, decision_scope, interpret_scope
from quell.runbook.source import Document, show_path
from quell.runbook.template import check as check_template
from quell.runbook.template import has_template
from quell.runbook.vocabulary import ActionWord, CheckWord, Vocabulary, nearest

Place = tuple[str | int, ...]
_HUMP = re.compile(r"(?<=[a-z0-9])[A-Z]")


@dataclass(frozen=True, slots=True)
class Remark:
    """A problem before it knows its line: ``place`` is a path below the origin of a node or decision."""

    origin: Origin
    place: Place
    message: str
    rule: str
    severity: str = "error"
    found: str | None = None
    expected: str | None = None
    nearest: str | None = None
    shift: int | None = None
    """How many characters into the text the trouble is, when it is about a part of it."""


Rule = Callable[[Plan, Vocabulary], Iterator[Remark]]


def lint(plan: Plan, vocabulary: Vocabulary, document: Document) -> list[Problem]:
    """Every remark of every rule, in the order of the document."""
    remarks = [remark for rule in RULES for remark in rule(plan, vocabulary)]
    # Paths of a Plan are snake_case; the document may spell them in camelCase.
    written = {snaked(show_path(path)): path for path in document.places} if remarks else {}
    problems = [_placed(remark, document, written) for remark in remarks]
    return sorted(problems, key=lambda problem: (problem.line, problem.column, problem.rule))


def _placed(remark: Remark, document: Document, written: Mapping[str, Place]) -> Problem:
    """At the value itself, or at the closest parent that is written down."""
    base, place = remark.origin.path, show_path(remark.place)
    path = base + ("." if base and place and not place.startswith("[") else "") + place
    known = _written(snaked(path), written)
    line, column = document.places.get(known, (remark.origin.line, remark.origin.column))
    inset = document.insets.get(known)
    if snaked(show_path(known)) == snaked(path) or inset is not None:
        path = show_path(known)
    column += remark.shift + inset if remark.shift is not None and inset is not None else 0
    return Problem(
        remark.message, remark.rule, document.file, line, column, path, remark.found, remark.expected, remark.nearest,
        remark.severity,
    )  # fmt: skip


def _written(path: str, written: Mapping[str, Place]) -> Place:
    """The place of this path or of its closest parent; the document's own when there is none."""
    while path and path not in written:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return written.get(path, ())


def snaked(path: str) -> str:
    return _HUMP.sub(lambda found: "_" + found[0].lower(), path)


# Conditions: syntax, names, types.


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
    for act in _acts(plan):
        own = None if "..." in act.facts else action_scope(plan, act)
        yield from _condition(act.precondition, own, act.origin, ("precondition",))
        post = act.postcondition.condition if act.postcondition else None
        yield from _condition(post, own, act.origin, ("postcondition", "check"))
        yield from _condition(act.undo.unless, decision, act.origin, ("undo", "unless"))
    if plan.verify.require:
        yield from _condition(plan.verify.require.condition, decision, plan.origin, ("verify", "require"))


def _condition(text: str | None, scope: Scope | None, origin: Origin, place: Place) -> Iterator[Remark]:
    if text is None:
        return
    try:
        tree = parse(text)
        flaws: tuple[Flaw, ...] = () if scope is None else tuple(check_condition(tree, scope))
        rule = "condition"
    except ExprSyntaxError as error:
        flaws, rule = tuple(error.flaws), "condition-syntax"
    for flaw in flaws:
        yield Remark(
            origin, place, f"{flaw.message} in {text!r}", rule, found=flaw.found, expected=flaw.expected,
            nearest=flaw.nearest, shift=max(0, flaw.column - 1),
        )  # fmt: skip


# Templates and parameters.


def templates(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Every reference in a parameter names something that exists."""
    scope = decision_scope(plan)
    for node, group, call in _calls(plan):
        for flaw in check_template(call.config, scope):
            yield Remark(
                node.origin, (*group, flaw.path), flaw.message, "template", found=flaw.found, expected=flaw.expected,
                nearest=flaw.nearest,
            )  # fmt: skip
    for note in (node for node in plan.nodes if isinstance(node, Notify)):
        for flaw in check_template(note.message, scope):
            yield Remark(note.origin, (), flaw.message, "template", found=flaw.found, nearest=flaw.nearest)


def shell_lines(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A value never becomes part of a shell line: one string runs in a shell only when nothing is filled into it."""
    for node, group, call in _calls(plan):
        word = _word(node, call, vocabulary)
        for name in word.shell if word else ():
            value = call.config.get(name)
            if isinstance(value, str) and has_template(value):
                yield Remark(
                    node.origin, (*group, name), f"a template in a shell line: {value!r}", "template-in-shell",
                    expected="the command as a list (argv), or the value through env",
                )  # fmt: skip


def parameters(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """What each plug-in says of its own parameters."""
    for node, group, call in _calls(plan):
        word = _word(node, call, vocabulary)
        for place, message in word.faults(call.config) if word else ():
            yield Remark(node.origin, (*group, *place), message, "parameter")


def undo_known(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """What takes an action back is an action too."""
    for act in _acts(plan):
        call = act.undo.call
        if call is not None and call.type not in vocabulary.actions and call.type != act.call.type:
            yield Remark(
                act.origin, ("undo", "type"), f"unknown action type {call.type!r}", "unknown-action", found=call.type,
                expected="one of " + ", ".join(sorted(vocabulary.actions)),
                nearest=nearest(call.type, vocabulary.actions),
            )  # fmt: skip


def _calls(plan: Plan) -> Iterator[tuple[Check | Act, Place, Call]]:
    """Every call with the place of its parameters below its node."""
    for check in plan.checks:
        yield check, ("config",), check.call
    for act in _acts(plan):
        yield act, ("action", "config"), act.call
        if act.undo.call is not None:
            yield act, ("undo",), act.undo.call


def _word(node: Check | Act, call: Call, vocabulary: Vocabulary) -> CheckWord | ActionWord | None:
    return vocabulary.checks.get(call.type) if isinstance(node, Check) else vocabulary.actions.get(call.type)


def _acts(plan: Plan) -> Iterator[Act]:
    return (node for node in plan.nodes if isinstance(node, Act))


# Shape.


def unreachable(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A remediation that no decision names, and a decision behind ``otherwise``, can never run."""
    used = {step for decision in plan.decisions for step in decision.then}
    for node in plan.nodes:
        if node.id not in used and not isinstance(node, Check) and node.id != DECIDE:
            yield Remark(node.origin, (), f"step {node.id!r} is in no decision and can never run", "unreachable")
    for before, entry in zip(plan.decisions, plan.decisions[1:], strict=False):
        if before.when is None:
            yield Remark(entry.origin, (), "a decision after otherwise can never be reached", "unreachable")


def cycles(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Checks that need one another wait for ever."""
    needs = {check.id: {e.source for e in plan.edges if e.target == check.id} for check in plan.checks}
    done: set[str] = set()
    while True:
        free = {name for name, sources in needs.items() if name not in done and not (sources & set(needs)) - done}
        if not free:
            break
        done |= free
    for name in sorted(set(needs) - done):
        yield Remark(plan.by_id[name].origin, ("needs",), f"{name!r} waits for itself through its needs", "cycle")


def window(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A verification that ends before its signals can tell always says the wrong thing."""
    verify = plan.verify
    needed = verify.earliest_s + verify.stable_for_s
    if plan.decisions and verify.within_s < needed:
        yield Remark(
            plan.origin, ("verify", "within"),
            f"verification ends after {spoken(verify.within_s)}, before its signals can tell: they need "
            f"{spoken(verify.earliest_s)} to show a change and must hold for {spoken(verify.stable_for_s)}",
            "verify-too-short", found=spoken(verify.within_s), expected=f"at least {spoken(needed)}",
        )  # fmt: skip


def service_known(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """With a catalogue at hand, the runbook's service is in it."""
    known = vocabulary.services
    if known is not None and plan.service and plan.service not in known:
        yield Remark(
            plan.origin, ("service",), f"service {plan.service!r} is not in the catalogue", "unknown-service",
            "warning", nearest=nearest(plan.service, known),
        )  # fmt: skip


# Likely not meant.


def unread_critical(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A check that can be critical without any decision caring is evidence that changes nothing."""
    for check in plan.checks:
        if check.interpret.critical and plan.decisions and not _reads_critical(plan, check.id):
            yield Remark(
                check.origin, ("interpret", "critical"), f"no decision reads that {check.id!r} is critical",
                "unread-critical", "warning",
            )  # fmt: skip


def _reads_critical(plan: Plan, name: str) -> bool:
    for entry in plan.decisions:
        if entry.when is None or name not in entry.reads:
            continue
        text = entry.when.replace('"', "'").replace(" ", "")
        if f"{name}.status" not in text or f"{name}.status===" + "'critical'" in text:
            return True
        if f"{name}.status=='critical'" in text or f"{name}.status!=" in text:
            return True
    return False


def hints(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """What a check type says of a config where one ``value`` is read: several series, a ratio without aggregation."""
    for check in plan.checks:
        word = vocabulary.checks.get(check.call.type)
        read = {name for text in check.interpret.model_dump().values() for name in names_of(text)}
        for hint in (word.hint(check.call.config) or "").split("\n") if word else ():
            if hint and "value" in read:
                yield Remark(check.origin, ("config",), hint, "hint", "warning")


def no_interpret(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A check without conditions is always ``no_data``; fine when decisions read its facts, else forgotten."""
    read = {name for entry in plan.decisions for name in entry.reads}
    for check in plan.checks:
        if (
            not any((check.interpret.healthy, check.interpret.warning, check.interpret.critical))
            and check.id not in read
        ):
            yield Remark(
                check.origin, (), f"{check.id!r} has no interpret and no decision reads it", "unread", "warning"
            )


def missing_escalation(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Somebody has to be told when nothing helps."""
    if not plan.escalation.primary:
        yield Remark(plan.origin, (), "no escalation: nobody is told when nothing helps", "no-escalation", "warning")
    pages = any(isinstance(node, Notify) and node.escalate for node in plan.nodes)
    if plan.decisions and not pages and not plan.escalation.primary:
        yield Remark(plan.origin, (), "no step escalates either", "no-escalation", "warning")


RULES: tuple[Rule, ...] = (
    conditions, templates, shell_lines, parameters, undo_known, unreachable, cycles, window, service_known,
    unread_critical, hints, no_interpret, missing_escalation,
)  # fmt: skip
