"""The runbooks of a house: read from files, compiled, the broken ones kept with their problems beside the good ones.

Never does: start anything. A file that no longer loads does not stop the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from quell.errors import NotFound, Problem
from quell.runbook.compile import compile_text
from quell.runbook.plan import Plan
from quell.runbook.vocabulary import Vocabulary, nearest

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
CONFIGURATION = "quell.yaml"
"""May lie among the runbooks without being one."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A file, or a document of one, that cannot run, and why."""

    file: str
    runbook: str | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Library:
    """Runbooks by id. ``warnings`` are those of runbooks that do run."""

    plans: dict[str, Plan] = field(default_factory=dict)
    broken: tuple[Broken, ...] = ()
    warnings: tuple[Problem, ...] = ()

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
    broken: list[Broken] = []
    warnings: list[Problem] = []
    for file in files_of(paths):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            broken.append(Broken(str(file), None, (Problem(f"cannot be read: {error}", "unreadable", str(file)),)))
            continue
        for compiled in compile_text(text, str(file), vocabulary):
            plan = compiled.plan
            if plan is None or not compiled.runnable:
                broken.append(Broken(str(file), plan.id if plan else None, compiled.errors))
            elif plan.id in plans:
                taken = Problem(
                    f"runbook id {plan.id!r} is taken by {plans[plan.id].origin.file}", "duplicate-id", str(file)
                )
                broken.append(Broken(str(file), plan.id, (taken,)))
            else:
                plans[plan.id] = plan
                warnings += compiled.problems
    return Library(plans, tuple(broken), tuple(warnings))
