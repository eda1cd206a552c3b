"""What goes to the terminal: problems, errors, tables, JSON. Colours only for a terminal, and not with ``NO_COLOR``.

Never does: decide what is shown, or an exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import orjson

from quell.errors import InvalidInput, Problem, QuellError
from quell.redact import KNOWN

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_COLOURS = {"error": "red", "warning": "yellow"}


def coloured(stream: TextIO) -> bool:
    """Whether this stream shows colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, *styles: str, stream: TextIO) -> str:
    """The text in these styles, or plain when the stream shows no colours."""
    if not styles or not coloured(stream):
        return text
    return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}\x1b[0m"


def print_json(value: Any, *, to: Path | None = None) -> None:
    """One JSON document, on stdout or into a file. Raises ``OSError`` when that cannot be written."""
    data = orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n"
    if to is None:
        sys.stdout.write(data.decode())
    else:
        to.write_bytes(data)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """A table for people; for machines every command has ``--json``."""
    # Only tables need it, and it takes a tenth of a second that every other command would pay.
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 200  # a file or a pipe has no edge to cut at
    Console(highlight=False, no_color=not coloured(sys.stdout), width=width).print(table)


def place_of(problem: Problem) -> str:
    """``file:line:column``, as far as they are known."""
    return ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part) or "input"


def details_of(problem: Problem) -> list[str]:
    """What else is known of it, one line each."""
    lines = []
    if problem.path:
        lines.append(f"at {problem.path}")
    if problem.found is not None:
        lines.append(f"found {problem.found}")
    if problem.expected is not None:
        lines.append(f"expected {problem.expected}")
    if problem.nearest is not None:
        lines.append(f"nearest {problem.nearest!r}")
    return lines


def print_problems(
    problems: Iterable[Problem], texts: Mapping[str, str] | None = None, *, stream: TextIO | None = None
) -> None:
    """Each with its place and, when ``texts`` holds its file, the line it is on with a mark below."""
    out = stream or sys.stdout
    for problem in map(KNOWN.tree, problems):
        colour = _COLOURS.get(problem.severity, "cyan")
        out.write(
            f"{paint(place_of(problem), 'bold', stream=out)}: {paint(problem.severity, colour, stream=out)}: "
            f"{problem.message} {paint(f'[{problem.rule}]', 'dim', stream=out)}\n"
        )
        for line in _excerpt(problem, (texts or {}).get(problem.file)):
            out.write(paint(line, "dim", stream=out) + "\n")
        for line in details_of(problem):
            out.write(f"    {line}\n")


def _excerpt(problem: Problem, text: str | None) -> list[str]:
    """The line and a caret; a long line is cut around its column."""
    lines = text.splitlines() if text else []
    if not 0 < problem.line <= len(lines):
        return []
    line, column = lines[problem.line - 1].expandtabs(1), max(problem.column, 1)
    start = max(0, column - 60)
    shown = ("…" if start else "") + line[start : start + 100] + ("…" if len(line) > start + 100 else "")
    mark = " " * (column - 1 - start + (1 if start else 0)) + "^"
    number = f"{problem.line:>6}"
    return [f"{number} | {shown.rstrip()}", f"{' ' * len(number)} | {mark}"]


def as_data(problem: Problem) -> dict[str, Any]:
    """A problem for JSON."""
    return asdict(KNOWN.tree(problem))


def counted(number: int, one: str) -> str:
    """``1 error``, ``2 errors``."""
    return f"{number} {one}" if number == 1 else f"{number} {one}s"


def print_error(error: Exception, *, as_json: bool = False, hint: str = "") -> None:
    """An error in words, on stderr. ``hint`` is added to what nobody expected."""
    expected = isinstance(error, QuellError | OSError)
    if as_json:
        said: dict[str, Any] = {"error": _said(error)}
        if isinstance(error, InvalidInput):
            said["problems"] = [as_data(problem) for problem in error.problems]
        sys.stderr.write(orjson.dumps(said).decode() + "\n")
        return
    if isinstance(error, InvalidInput):
        print_problems(error.problems, stream=sys.stderr)
        return
    tail = "" if expected or not hint else f" ({hint})"
    sys.stderr.write(f"quell: {paint('error', 'red', stream=sys.stderr)}: {_said(error)}{tail}\n")


def _said(error: Exception) -> str:
    return KNOWN.text(_words(error))


def _words(error: Exception) -> str:
    if isinstance(error, InvalidInput):
        return counted(len(error.problems), "problem")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = str(error).strip().splitlines()[0] if str(error).strip() else ""
    if isinstance(error, QuellError):
        return text or type(error).__name__
    return f"unexpected {type(error).__name__}" + (f": {text}" if text else "")
