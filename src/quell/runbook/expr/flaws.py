"""What can be wrong with an expression, and where.

Never does: know files or lines; whoever read the document places a flaw in it with ``Flaw.problem``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from quell.errors import Problem, QuellError


@dataclass(frozen=True, slots=True, order=True)
class Flaw:
    """One mistake. ``column`` is the first column, ``end`` the column after the last; both start at 1."""

    column: int
    end: int
    message: str
    found: str | None = None
    expected: str | None = None
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        return f"column {self.column}: {self.message}{hint}"

    def problem(self, *, rule: str, file: str = "", line: int = 0, column: int = 0, path: str = "") -> Problem:
        """This flaw inside a document, where the expression starts at ``line`` and ``column`` (0: unknown)."""
        return Problem(
            message=self.message,
            rule=rule,
            file=file,
            line=line,
            column=column + self.column - 1 if column else 0,
            path=path,
            found=self.found,
            expected=self.expected,
            nearest=self.nearest,
        )


class ExprError(QuellError):
    """An expression that cannot be used. ``flaws`` holds everything found, in reading order."""

    def __init__(self, text: str, flaws: Iterable[Flaw]) -> None:
        self.text = text
        self.flaws = tuple(sorted(set(flaws), key=lambda flaw: (flaw.column, flaw.end, flaw.message)))
        super().__init__("; ".join(str(flaw) for flaw in self.flaws) or "invalid expression")


class ExprSyntaxError(ExprError):
    """The text is not an expression of the language."""


class ExprTypeError(ExprError):
    """The expression reads names, types or units that its scope does not have."""


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name most like ``word``, if one is like it at all."""
    by_folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None
