"""Text → Plans and problems: finds the dialect, lowers, lints. Pure: the caller reads the file.

Never does: raise for what an author wrote; the problems say it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from quell.errors import InvalidInput, Problem
from quell.runbook import dialects
from quell.runbook.lint import lint
from quell.runbook.plan import Plan
from quell.runbook.source import Document, load
from quell.runbook.vocabulary import Vocabulary

RUNNABLE = frozenset(
    {"undefined-remediation", "unreachable", "verify-too-short", "unknown-connection", "unknown-address", "command",
     "unknown-source", "never-matches"}
)  # fmt: skip
"""Errors of lint that a run survives safely: an undefined step pages, an unreachable one never runs, a window that is
too short ends in a page, without its connection or a command that may run a check finds an error and an action is
refused, a message that reaches nobody is in the log, and by a trigger that matches nothing no alert starts it."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A document's Plan (None when it cannot run) and everything wrong with it, warnings included."""

    plan: Plan | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def runnable(self) -> bool:
        return self.plan is not None and all(problem.rule in RUNNABLE for problem in self.errors)


@cache
def _dialects() -> tuple[ModuleType, ...]:
    names = [found.name for found in pkgutil.iter_modules(dialects.__path__) if not found.name.startswith("_")]
    return tuple(importlib.import_module(f"{dialects.__name__}.{name}") for name in sorted(names))


def compile_text(text: str, file: str, vocabulary: Vocabulary) -> list[Compiled]:
    """One ``Compiled`` per document of the text; one with problems only when it cannot be read at all."""
    try:
        documents = load(text, file)
    except InvalidInput as error:
        return [Compiled(None, error.problems)]
    if not documents:
        return [Compiled(None, (Problem("the file holds no document", "empty", file, 1, 1),))]
    return [_compile(document, vocabulary) for document in documents]


def same_ids(compiled: Iterable[Compiled]) -> list[Problem]:
    """Runbooks that share an id: only one of them could ever be meant."""
    first: dict[str, Plan] = {}
    problems = []
    for plan in (item.plan for item in compiled if item.plan):
        other = first.setdefault(plan.id, plan)
        if other is not plan:
            at, place = plan.origin, f"{other.origin.file}:{other.origin.line}"
            message = f"the id {plan.id!r} is taken by the runbook at {place}"
            problems.append(Problem(message, "duplicate-runbook", at.file, at.line, at.column, "id", found=plan.id))
    return problems


def same_triggers(plans: Iterable[Plan]) -> list[Problem]:
    """Triggers that mean the same alerts with nothing but the id to choose by; told where the one that is not chosen
    stands. Runbooks of different services are not alike: an alert is about one of them."""
    seen: dict[tuple[Any, ...], Plan] = {}
    problems = []
    for plan in sorted(plans, key=lambda one: one.id):
        for trigger in plan.triggers:
            first = seen.setdefault((plan.service, plan.priority, *trigger.asks), plan)
            if trigger.type == "alert" and first.id != plan.id:
                at, place = trigger.origin, f"{first.origin.file}:{first.origin.line}"
                problems.append(Problem(
                    f"the same alerts mean runbook {first.id!r} ({place}); only that its id sorts first decides",
                    "same-trigger", at.file, at.line, at.column, at.path, found=plan.id,
                    expected="another clause, or a priority in one of the two", severity="warning",
                ))  # fmt: skip
    return problems


def _compile(document: Document, vocabulary: Vocabulary) -> Compiled:
    for dialect in _dialects():
        if dialect.sniff(document):
            return _linted(dialect.lower(document, vocabulary), document, vocabulary)
    known = ", ".join(dialect.NAME for dialect in _dialects())
    problem = document.problem((), "this is no runbook in any dialect", rule="unknown-dialect", expected=known)
    return Compiled(None, (problem,))


def _linted(lowered: dialects.Lowered, document: Document, vocabulary: Vocabulary) -> Compiled:
    plan, believes = lowered.plan, lowered.believes
    found = lint(plan, vocabulary, document) if plan is not None else []
    problems = [*lowered.problems, *(problem for problem in found if believes is None or believes(problem))]
    ordered = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return Compiled(plan if believes is None else None, ordered)
