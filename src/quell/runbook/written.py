"""Where a document stands, kept beside what became of it: for what is found to be wrong only later, by its path.

Never does: keep what the document says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from quell.errors import Problem
from quell.runbook.source import Document, show_path

_LAST_PART = re.compile(r"(?:^|\.)[^.\[\]]*$|\[\d+\]$")


@dataclass(frozen=True, slots=True)
class Written:
    """A file, and the line and column of everything in it by its path; nothing of what was never a file."""

    file: str = ""
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> Written:
        return cls(document.file, {show_path(path): place for path, place in document.places.items()})

    def located(self, problems: Iterable[Problem]) -> list[Problem]:
        """Each with the place of what is wrong, or of the closest part around it, where only its path is known."""
        return [one if one.file or not self.file else self._located(one) for one in problems]

    def _located(self, problem: Problem) -> Problem:
        path = problem.path
        while path and path not in self.places:
            path = _LAST_PART.sub("", path)
        line, column = self.places.get(path, (0, 0)) if path else (0, 0)
        return replace(problem, file=self.file, line=line, column=column)
