"""The runbooks of a house: read from files, compiled, the broken ones kept with their problems beside the good ones.

Never does: start anything. A file that no longer loads does not stop the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from quell.errors import NotFound, Problem
from quell.runbook.compile import Compiled, compile_text, same_triggers
from quell.runbook.plan import Plan
from quell.runbook.vocabulary import Vocabulary, nearest

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
CONFIGURATION = "quell.yaml"
"""May lie among the runbooks without being one."""


class State(StrEnum):
    """How sound a runbook is. ``problems``: errors that a run survives, such as a step that is defined nowhere."""

    OK = "ok"
    WARNINGS = "warnings"
    PROBLEMS = "problems"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Entry:
    """A runbook as it was read: one document, or a file in which none could be found.

    ``plan`` is there for some that do not run, too: it could be read, and must not be carried out.
    """

    file: str
    runbook: str | None
    problems: tuple[Problem, ...]
    plan: Plan | None = None
    runs: bool = False

    @property
    def state(self) -> State:
        if not self.runs:
            return State.BROKEN
        if any(problem.severity == "error" for problem in self.problems):
            return State.PROBLEMS
        return State.WARNINGS if self.problems else State.OK


@dataclass(frozen=True, slots=True)
class Library:
    """``plans`` are those that run, by id; ``entries`` are all, in the order of their files."""

    plans: dict[str, Plan] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()

    @property
    def broken(self) -> tuple[Entry, ...]:
        """Those that cannot run."""
        return tuple(entry for entry in self.entries if not entry.runs)

    def entry(self, runbook: str) -> Entry:
        """The one that runs, else the one that cannot. Raises ``NotFound`` with the nearest name."""
        found = [entry for entry in self.entries if entry.runbook == runbook]
        if not found:
            raise NotFound("runbook", runbook, nearest(runbook, [one.runbook for one in self.entries if one.runbook]))
        return max(found, key=lambda entry: entry.runs)

    def plan(self, runbook: str) -> Plan:
        """Raises ``NotFound`` with the nearest name."""
        if runbook not in self.plans:
            raise NotFound("runbook", runbook, nearest(runbook, self.plans))
        return self.plans[runbook]


def files_of(paths: Iterable[Path]) -> list[Path]:
    """The files named, and all runbook files below the folders named, sorted."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = (one for one in path.rglob("*") if one.suffix in SUFFIXES and one.name != CONFIGURATION)
            found += sorted(one for one in inside if one.is_file())
        else:
            found.append(path)
    return found


def load_library(paths: Iterable[Path], vocabulary: Vocabulary) -> Library:
    """Everything below ``paths``; a path that cannot be read is a broken file."""
    plans: dict[str, Plan] = {}
    entries: list[Entry] = []
    for file in files_of(paths):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            entries.append(Entry(str(file), None, (Problem(f"cannot be read: {error}", "unreadable", str(file)),)))
            continue
        for compiled in compile_text(text, str(file), vocabulary):
            entry = _entry(str(file), compiled, plans)
            entries.append(entry)
            if entry.plan and entry.runs:
                plans[entry.plan.id] = entry.plan
    return Library(plans, tuple(_alike(entries, plans)))


def _alike(entries: Iterable[Entry], plans: Mapping[str, Plan]) -> Iterator[Entry]:
    """Each with what is known only of all of them together: a trigger that another one has too."""
    told: dict[str, list[Problem]] = {}
    for problem in same_triggers(plans.values()):
        told.setdefault(str(problem.found), []).append(problem)
    for entry in entries:
        more = told.get(entry.runbook or "", ()) if entry.runs else ()
        yield replace(entry, problems=(*entry.problems, *more)) if more else entry


def _entry(file: str, compiled: Compiled, plans: Mapping[str, Plan]) -> Entry:
    plan = compiled.plan
    if plan is not None and compiled.runnable and plan.id in plans:
        taken = Problem(f"runbook id {plan.id!r} is taken by {plans[plan.id].origin.file}", "duplicate-id", file)
        return Entry(file, plan.id, (taken, *compiled.problems), plan)
    return Entry(file, plan.id if plan else None, compiled.problems, plan, compiled.runnable)
