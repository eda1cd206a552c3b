"""Docstrings as Markdown: examples become fenced blocks, names become code, "Never does" stands alone.

Never does: change the words.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence

_NEVER = re.compile(r"\s*\bNever (?:does|pretends):\s*")
_FENCE = re.compile(r"^```", re.MULTILINE)


def markdown(doc: str, language: str = "yaml") -> str:
    """A docstring's text; an indented block is an example in ``language``."""
    doc = inspect.cleandoc(doc)
    parts, fenced = [], False
    for block in _blocks(doc):
        if block.startswith("```"):
            parts.append(block)
            fenced = True
        elif block.startswith("    "):
            parts.append(f"```{language}\n{textwrap.dedent(block).strip()}\n```")
            fenced = True
        else:
            parts += _sentences(block)
    return "\n\n".join(part for part in parts if part) if fenced or parts else ""


def _blocks(doc: str) -> list[str]:
    """Paragraphs, fenced blocks and indented blocks, each whole."""
    found: list[str] = []
    inside = False
    for paragraph in doc.split("\n\n"):
        fences = len(_FENCE.findall(paragraph))
        indented = paragraph.startswith("    ")
        if found and (inside or (indented and found[-1].startswith("    "))):
            found[-1] += "\n\n" + paragraph
        else:
            found.append(paragraph)
        inside = inside ^ (fences % 2 == 1)
    return [part for block in found for part in _split_fence(block)]


def _split_fence(block: str) -> list[str]:
    """A fence right under its paragraph, or right above one, is a block of its own."""
    if "```" not in block:
        return [block]
    return [
        part.strip("\n") for part in re.split(r"(?m)(^```[a-z]*\n.*?^```$)", block, flags=re.DOTALL) if part.strip()
    ]


def _sentences(block: str) -> list[str]:
    text = code(" ".join(line.strip() for line in block.splitlines()))
    text = re.sub(r"\s*Example \(service catalogue\)::$", "In the service catalogue:", text)
    text = re.sub(r"::$", ":", text)
    before, found, after = _split(text)
    return [before, f"**Never does:** {after}"] if found else [before]


def _split(text: str) -> tuple[str, bool, str]:
    match = _NEVER.search(text)
    return (text[: match.start()], True, text[match.end() :]) if match else (text, False, "")


def body(doc: str | None) -> str:
    """A module's docstring without its first paragraph and what it never does: what a reader of the page can use."""
    whole = inspect.cleandoc(doc or "").split("\n\n", 1)
    return markdown(_NEVER.split(whole[1])[0]) if len(whole) > 1 else ""


def code(text: str) -> str:
    """``x`` as `x`."""
    return text.replace("``", "`")


def one_line(doc: str | None) -> str:
    """The first paragraph of a docstring, as one line."""
    first = inspect.cleandoc(doc or "").split("\n\n")[0]
    return code(" ".join(first.split()))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; empty when it has no rows."""
    lines = ["| " + " | ".join(cell(part) for part in row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", "|" + " --- |" * len(head), *lines])


def cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def quoted(words: Iterable[str]) -> str:
    """``a``, ``b`` as code, with commas."""
    return ", ".join(f"`{word}`" for word in words)


def page(*parts: str) -> str:
    """The parts of a page, one blank line between them, one newline at the end."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def anchor(title: str) -> str:
    """The anchor that renderers give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
