"""What can still be said of a runbook whose form is broken: its rest, with what is malformed left out.

A parser's error recovery: who wrote ten mistakes is told ten, not the first kind of them. An entry that lost more than
a needless key keeps its name, so that others may go on naming it. Never does: give a Plan that may run, believe what is
wrong only because something was left out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from quell.errors import Problem
from quell.runbook.dialects._native_schema import RunbookText
from quell.runbook.dialects._native_words import IDENTIFIER
from quell.runbook.source import Document, Path, show_path, snake

_ROUNDS = 4
_ENTRIES = ("triggers", "diagnostics", "decision_tree", "remediations")
_NAMED = ("diagnostics", "remediations")
_NAMING = (*_NAMED, "variables")
_NEEDED = {"id": "rest", "triggers": [{"type": "manual"}]}
_OF_THE_WHOLE = frozenset(
    {"unreachable", "cycle", "unmet-need", "verify-too-short", "unread-critical", "unread", "no-escalation"}
)
_PLAIN = frozenset(
    {"name", "description", "timeout", "retry", "attempts", "backoff", "stable_for", "within", "every", "owner"}
)
_OF_NAMES = frozenset({"undefined-remediation", "unknown-step", "condition", "template"})


@dataclass(slots=True)
class Rest:
    """The rest of a runbook, and which problems of it are its own."""

    data: dict[str, Any]
    broken: set[Path] = field(default_factory=set)
    """Entries that are not what their author meant any more."""
    names: set[str] = field(default_factory=set)
    """What those are called."""
    nameless: bool = False
    """Something is gone that others may name."""

    def believes(self, problem: Problem) -> bool:
        """Whether a problem of the rest is one of the runbook, too."""
        if problem.rule in _OF_THE_WHOLE or (self.nameless and problem.rule in _OF_NAMES):
            return False
        if any(re.match(re.escape(show_path(path)) + r"(?![\w-])", problem.path) for path in self.broken):
            return False
        # A flaw of a condition quotes all of it: only what comes before is about the names at fault.
        about = problem.message.partition(" in ")[0]
        said = re.findall(r"[\w-]+", f"{about} {problem.found or ''}")
        return not self.names.intersection(said)


def rest_of(document: Document, error: ValidationError, problems: Iterable[Problem]) -> tuple[RunbookText, Rest] | None:
    """``problems``: what ``error`` means, in its order. None when nothing is left that could be read."""
    rest = Rest(copy.deepcopy(document.data))
    told: Iterator[Problem | None] = iter(problems)
    for number in range(_ROUNDS):
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            path = Document(rest.data).written(tuple(item["loc"]))
            _leave_out(rest, path, needless=_needless(path, next(told, None)), whole=number > 0)
        try:
            return RunbookText.model_validate(rest.data), rest
        except ValidationError as still:
            error = still
    return None


def _needless(path: Path, problem: Problem | None) -> bool:
    """Without this key the entry says what it said: nothing reads it, or its default does as well."""
    if problem is None or problem.rule == "missing-key":
        return False
    meant = problem.nearest if problem.rule == "unknown-key" else str(path[-1]) if path else ""
    return meant is None or snake(meant) in _PLAIN


def _leave_out(rest: Rest, path: Path, *, needless: bool, whole: bool) -> None:
    """The key in question where there is one, else the entry around it."""
    section = snake(str(path[0])) if path else ""
    entry = path[:2] if section in _ENTRIES and len(path) > 1 else path[:1]
    if whole or not needless:
        rest.broken.add(entry)
        rest.names |= {name} if (name := _name(rest, entry)) else set()
    if len(entry) == 1:
        rest.nameless |= section in _NAMING or section not in RunbookText.model_fields
    if not whole and (found := _deepest(rest.data, path, len(entry))):
        holder, key = found
        del holder[key]
    elif len(entry) == 2:
        _replace(rest, section, entry)
    elif entry:
        rest.data.pop(str(entry[0]), None)
    for name, value in _NEEDED.items():
        rest.data.setdefault(name, copy.deepcopy(value))


def _deepest(data: Any, path: Path, least: int) -> tuple[dict[str, Any], str] | None:
    """The mapping and the key deepest on the path and below its entry; None where the entry itself is in question."""
    found: tuple[dict[str, Any], str] | None = None
    for depth, part in enumerate(path):
        if isinstance(data, dict) and part in data:
            found = (data, str(part)) if depth >= least else found
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            # What is missing, or a rule over the whole: taking a neighbour away would not mend it.
            return found if depth > least else None
    return found


def _replace(rest: Rest, section: str, entry: Path) -> None:
    """With something that says nothing, so that the places of the others stay."""
    name = _name(rest, entry)
    rest.nameless |= section in _NAMED and not name
    name = name or f"rest_{section}_{entry[1]}"
    stand_ins: dict[str, dict[str, Any]] = {
        "triggers": {"type": "manual"},
        "diagnostics": {"id": name, "type": "unknown"},
        "decision_tree": {"otherwise": True, "then": [name]},
        "remediations": {"id": name, "type": "manual", "instructions": name},
    }
    rest.data[str(entry[0])][entry[1]] = stand_ins[section]


def _name(rest: Rest, entry: Path) -> str:
    """The id of an entry, where it has one that can be read."""
    if len(entry) < 2 or snake(str(entry[0])) not in _NAMED:
        return ""
    found = rest.data[str(entry[0])][entry[1]]
    name = found.get("id") if isinstance(found, dict) else None
    return name if isinstance(name, str) and re.fullmatch(IDENTIFIER, name) else ""


__all__ = ["Rest", "rest_of"]
