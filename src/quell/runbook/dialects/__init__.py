"""One module per dialect: ``NAME``, ``sniff(document)`` and ``lower(document, vocabulary)``, which gives a ``Lowered``.

Never does: read a file, know a plug-in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quell.errors import Problem
from quell.runbook.plan import Plan


@dataclass(frozen=True, slots=True)
class Lowered:
    """What a dialect made of a document, and every problem of its form."""

    plan: Plan | None
    problems: Sequence[Problem]
    believes: Callable[[Problem], bool] | None = None
    """Of a document whose form is broken: ``plan`` is what remains of it, is there to be linted and must not run, and
    this says which of its problems are the author's."""


__all__ = ["Lowered"]
