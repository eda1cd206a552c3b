"""Paths → runbooks: finds the files, reads them, compiles them with the words of the plug-ins that are installed.

Never does: print, or raise for what an author wrote.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from quell.errors import Problem
from quell.registry import Registry
from quell.runbook.compile import Compiled, compile_text
from quell.runbook.source import MAX_BYTES
from quell.runbook.vocabulary import Vocabulary
from quell.vocabulary_of import vocabulary_of

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
STDIN = "-"
CONFIGURATION = "quell.yaml"
FILE_VARIABLE = "QUELL_CONFIG"
"""Names the configuration when no option does."""
_SKIPPED = frozenset({"node_modules", "__pycache__"})
_LIKE_A_RUNBOOK = re.compile(
    r"""^\s*[{"']*\s*["']?(?:diagnostics?|decision_?[tT]rees?|remediations?|triggers)["']?\s*:""", re.MULTILINE
)
"""What makes a file found on a walk worth a look; one that is named is always looked at."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file and what came of it: one ``Compiled`` per document. ``text`` is empty when it could not be read."""

    name: str
    text: str
    documents: tuple[Compiled, ...]

    @property
    def shown(self) -> str:
        """The file as problems name it."""
        return shown(self.name)


def vocabulary(config: Path | None = None) -> Vocabulary:
    """The words of every installed plug-in, and of the site: services, connections, variables, scrape interval, and
    what commands its guardrails allow.

    The site is what ``config`` says, else ``$QUELL_CONFIG`` or ``./quell.yaml``; without any there is none to hold
    runbooks against. Raises ``InvalidInput``.
    """
    if config is None and not os.environ.get(FILE_VARIABLE) and not Path(CONFIGURATION).is_file():
        return vocabulary_of(Registry())
    from quell.cli.config import find_settings  # most lints need no configuration, and its models take time to load

    site = find_settings(config)
    return vocabulary_of(
        Registry(), services=site.services or None, connections=site.connections, notifiers=site.notifiers,
        circles=site.circles, sources=site.sources,
        variables=site.variables, scrape_s=site.scrape_interval, misfit=site.guardrails.misfit,
    )  # fmt: skip


Config = Annotated[
    Path | None,
    typer.Option("--config", help="The site's quell.yaml: services, connections, variables, scrape interval."),
]
"""The option of every command that compiles runbooks."""


def sheets(paths: Iterable[str], words: Vocabulary) -> Iterator[Sheet]:
    """Each file once, in order; directories are walked for runbooks."""
    seen: set[str] = set()
    for path in paths:
        for name, named in _files(path):
            if name in seen:
                continue
            seen.add(name)
            text = read(name)
            if isinstance(text, Problem):
                yield Sheet(name, "", (Compiled(None, (text,)),))
            elif named or _LIKE_A_RUNBOOK.search(text):
                yield Sheet(name, text, tuple(compile_text(text, shown(name), words)))


def shown(name: str) -> str:
    return "<stdin>" if name == STDIN else name


def _files(path: str) -> Iterator[tuple[str, bool]]:
    """Files with whether a person named them."""
    if path == STDIN or not Path(path).is_dir():
        yield path, True
        return
    for found in sorted(Path(path).rglob("*")):
        inside = found.relative_to(path).parts
        hidden = any(part.startswith(".") or part in _SKIPPED for part in inside)
        is_runbook = found.suffix.lower() in SUFFIXES and found.name != CONFIGURATION
        if is_runbook and not hidden and found.is_file():
            yield str(found), False


def read(name: str) -> str | Problem:
    """The text of a file, or why there is none."""
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if name == STDIN else _bytes(Path(name))
    except OSError as error:
        return Problem(error.strerror or str(error), "no-file", shown(name))
    if len(data) > MAX_BYTES:
        return Problem(
            f"larger than {MAX_BYTES} bytes", "too-large", shown(name), expected="a runbook of at most 1 MiB"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        return Problem("not UTF-8 text", "syntax", shown(name), line, column, found=f"byte 0x{data[error.start]:02x}")


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
