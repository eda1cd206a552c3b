"""Lines for a terminal as data: rows with a mark, a label and text, laid out to a width, painted only at the end.

What a check or a person wrote is cleaned first, so that nothing they say can steer the terminal.
Never does: I/O.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

Span = tuple[str, str]
"""A text and its style: ``bold``, ``dim``, ``red``, ``green``, ``yellow``, ``cyan`` or empty."""
Line = tuple[Span, ...]
Paint = Callable[[str, str], str]

TIME, LABEL = 8, 12
NARROWEST = 40
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_ASCII = str.maketrans({
    "✓": "+", "✗": "x", "▶": ">", "→": "->", "●": "*", "…": "...", "·": "-", "⏸": "?", "»": ">",
})  # fmt: skip


def clean(text: object) -> str:
    """One line without control, formatting or direction characters (terminal escapes among them)."""
    folded = re.sub(r"[\t\r\n\v\f]+", " ", str(text)).strip()
    return "".join("\ufffd" if unicodedata.category(letter) in _HIDDEN else letter for letter in folded)


@dataclass(frozen=True, slots=True)
class Row:
    """``at`` is a time already written; ``more`` stands below ``text``, dim unless it says otherwise."""

    text: str = ""
    label: str = ""
    mark: str = ""
    style: str = ""
    at: str = ""
    more: tuple[Row, ...] = ()

    def timed(self, at: str) -> Row:
        return replace(self, at=at)


def under(texts: Iterable[str], style: str = "dim") -> tuple[Row, ...]:
    """Rows for ``more``; empty texts are left out."""
    return tuple(Row(text, style=style) for text in texts if text)


def layout(row: Row, *, width: int | None = None, time: bool = True) -> Iterator[Line]:
    """The lines of a row: time, mark, label, text. ``width`` None does not wrap (a file, a pipe).

    The style is the mark's; a row without a mark gives it to its text.
    """
    indent = (TIME + 1 if time else 1) + 2 + LABEL + 1
    label, tone = clean(row.label), "" if row.mark else row.style
    head: list[Span] = [(f"{row.at:>{TIME}} " if time else " ", "dim"), (f"{row.mark or ' '} ", row.style)]
    first, *rest = _wrapped(row.text, width, indent, taken=max(0, len(label) - LABEL))
    yield (*head, (f"{label:<{LABEL}} ", "bold"), (first, tone))
    yield from (((" " * indent, ""), (text, tone)) for text in rest)
    for below in row.more:
        yield from _below(below, width, indent)


def _below(row: Row, width: int | None, indent: int) -> Iterator[Line]:
    mark = f"{row.mark} " if row.mark else ""
    label = f"{clean(row.label):<{LABEL - 2}} " if row.label else ""
    tone = "" if row.mark else row.style
    for number, text in enumerate(_wrapped(row.text, width, indent + len(mark) + len(label))):
        lead = ((mark, row.style), (label, "dim")) if not number else ((" " * len(mark + label), ""),)
        yield ((" " * indent, ""), *lead, (text, tone))


def _wrapped(text: str, width: int | None, indent: int, taken: int = 0) -> list[str]:
    """``taken``: columns of the first line that a long label has used already."""
    shown = clean(text)
    if width is None:
        return [shown]
    room = max(width - indent, NARROWEST)
    taken = min(taken, room - 1)
    first, *rest = textwrap.wrap(shown, room, initial_indent=" " * taken, break_on_hyphens=False) or [" " * taken]
    return [first[taken:], *rest]


def write(lines: Iterable[Line], paint: Paint, *, unicode: bool = True) -> str:
    """The lines as text, each ended by a newline."""
    out = []
    for line in lines:
        spans = [(text if unicode else text.translate(_ASCII), style) for text, style in line]
        while spans and not spans[-1][0].strip():
            spans.pop()
        if spans:
            spans[-1] = (spans[-1][0].rstrip(), spans[-1][1])
        out.append("".join(paint(text, style) if style and text.strip() else text for text, style in spans))
    return "".join(line + "\n" for line in out)
