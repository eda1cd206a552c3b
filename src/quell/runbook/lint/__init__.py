"""What a Plan says that cannot be right: names, types, templates, windows; and what is likely not meant.

Each rule is one function over (plan, vocabulary) giving remarks, in the file of its subject; ``lint`` runs them all and
gives them places. Never does: stop at the first, ask a plug-in (the Vocabulary says what lint must know).
"""

from __future__ import annotations

from quell.errors import Problem
from quell.runbook.lint import addresses, approvers, calls, conditions, connections, shape, steps, triggers
from quell.runbook.lint.remark import Rule, placed, snaked
from quell.runbook.plan import Plan
from quell.runbook.source import Document, show_path
from quell.runbook.vocabulary import Vocabulary

RULES: tuple[Rule, ...] = (
    conditions.conditions,
    calls.types_known, calls.templates, calls.shell_lines, calls.parameters, calls.commands, calls.require_tells,
    calls.hints,
    connections.connections, addresses.addresses, approvers.approvers, steps.targets, steps.captures, steps.looks_once,
    triggers.severities, triggers.sources, triggers.matchers, triggers.contradictions,
    shape.unreachable, shape.cycles, shape.window, shape.service_known,
    shape.unread_critical, shape.no_interpret, shape.missing_escalation,
)  # fmt: skip


def lint(plan: Plan, vocabulary: Vocabulary, document: Document) -> list[Problem]:
    """Every remark of every rule, in the order of the document."""
    remarks = [remark for rule in RULES for remark in rule(plan, vocabulary)]
    # Paths of a Plan are snake_case; the document may spell them in camelCase.
    written = {snaked(show_path(path)): path for path in document.places} if remarks else {}
    problems = [placed(remark, document, written) for remark in remarks]
    return sorted(problems, key=lambda problem: (problem.line, problem.column, problem.rule))


__all__ = ["RULES", "lint"]
