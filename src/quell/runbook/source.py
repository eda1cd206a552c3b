"""YAML and JSON with places: every value knows its line and column, so that problems can name them.

YAML as people expect it (the core schema of YAML 1.2): ``on``, ``yes`` and ``12:30`` stay text, a key given twice is an
error, depth and size are bounded. Never does: fill templates, know what a document means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from quell.errors import InvalidInput, Problem
from quell.runbook.plan import Origin

MAX_BYTES = 1_048_576
MAX_NODES = 50_000
MAX_DEPTH = 40
MAX_NUMBER = 2**53 - 1
_LONGEST_NUMBER = 40
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_COLLECTIONS = frozenset({"tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})

Path = tuple[str | int, ...]

_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Parser):  # type: ignore[misc, valid-type]
    """Composes only; scalars are resolved by the core schema."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    ("float", r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$", "-+0123456789."),
):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def snake(name: str) -> str:
    """``maxRows`` as ``max_rows``; anything else stays."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), name) if name[:1].islower() else name


def show_path(path: Path) -> str:
    """``("remediations", 2, "action")`` as ``remediations[2].action``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


@dataclass(frozen=True, slots=True)
class Document:
    """One document: plain data, and the place of everything in it."""

    data: Any
    places: Mapping[Path, tuple[int, int]] = field(default_factory=dict)
    file: str = ""
    insets: Mapping[Path, int] = field(default_factory=dict)
    """For a text on one line: how many characters stand between its place and its first letter (1 for a quote)."""

    def written(self, path: Path) -> Path:
        """The path with each key as the author spelled it: ``decision_tree`` may be ``decisionTree`` there."""
        found: list[str | int] = []
        here = self.data
        for wanted in path:
            part = wanted
            if isinstance(here, dict) and part not in here:
                part = next((key for key in here if snake(key) == snake(str(wanted))), wanted)
            found.append(part)
            inside = (isinstance(here, dict) and part in here) or (
                isinstance(here, list) and isinstance(part, int) and part < len(here)
            )
            here = here[part] if inside else None
        return tuple(found)

    def at(self, path: Path) -> Any:
        """The value at a path, however its keys are spelled; None when there is none."""
        here = self.data
        for part in self.written(path):
            inside = (isinstance(here, dict) and part in here) or (
                isinstance(here, list) and isinstance(part, int) and part < len(here)
            )
            here = here[part] if inside else None
        return here

    def origin(self, path: Path) -> Origin:
        """The place of a value, or of the closest parent that has one."""
        path = self.written(path)
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                line, column = self.places[path[:end]]
                return Origin(file=self.file, line=line, column=column, path=show_path(path))
        return Origin(file=self.file, path=show_path(path))

    def problem(self, path: Path, message: str, **more: Any) -> Problem:
        origin = self.origin(path)
        return Problem(
            message, file=origin.file, line=origin.line, column=origin.column + more.pop("shift", 0), path=origin.path,
            **more,
        )  # fmt: skip


def load(text: str, file: str = "") -> list[Document]:
    """All documents of a text. Raises ``InvalidInput`` with the place of what cannot be read."""
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise InvalidInput([Problem(f"larger than {MAX_BYTES} bytes", "too-large", file)])
    problems: list[Problem] = []
    documents = []
    try:
        for node in yaml.compose_all(_joined(text.removeprefix("\ufeff")), Loader=_Loader):
            if node is not None:
                reader = _Reader(file, problems)
                data = reader.read(node, ())
                documents.append(Document(data, reader.places, file, reader.insets))
    except yaml.YAMLError as error:
        problems.append(_syntax_problem(error, file))
    except RecursionError:
        problems.append(Problem(f"nested deeper than {MAX_DEPTH}", "too-deep", file))
    if problems:
        raise InvalidInput(problems)
    return documents


def _joined(text: str) -> str:
    """JSON writes a letter beyond U+FFFF as two escapes (RFC 8259, 7), which YAML does not know."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    return _PAIR.sub(
        lambda f: f"{f[1]}\\U{0x10000 + ((int(f[2], 16) & 0x3FF) << 10) + (int(f[3], 16) & 0x3FF):08x}", text
    )


def _syntax_problem(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    if mark is None:
        return Problem(str(what), "syntax", file)
    return Problem(str(what), "syntax", file, mark.line + 1, mark.column + 1)


class _Reader:
    """Turns composed nodes into data and notes where each was."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.places: dict[Path, tuple[int, int]] = {}
        self.insets: dict[Path, int] = {}
        self._count = 0

    def read(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_NODES or len(path) > MAX_DEPTH:
            self._complain(node, path, "too much: more nodes or deeper than a runbook can be", "too-large")
            raise InvalidInput(self.problems)
        self.places[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            self._complain(node, path, f"tag {node.tag} is not allowed", "syntax")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._complain(key_node, path, "a key must be text", "syntax")
                continue
            key = str(key_node.value)
            if key in result:
                self._complain(key_node, (*path, key), f"key {key!r} is given twice", "duplicate-key")
            result[key] = self.read(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Hashable:
        text, tag = str(node.value), node.tag.rsplit(":", 1)[-1]
        # With escapes, or folded over lines, the columns of the file are not those of the text.
        width = node.end_mark.column - node.start_mark.column - len(text)
        if node.start_mark.line == node.end_mark.line and width == (2 if node.style else 0):
            self.insets[path] = width // 2
        if tag == "null":
            return None
        if tag == "bool":
            return text.lower() == "true"
        if tag in ("int", "float"):
            return self._number(node, path, text, tag)
        if tag not in ("str", "!"):
            self._complain(node, path, f"tag {node.tag} is not allowed", "syntax")
        return text

    def _number(self, node: yaml.Node, path: Path, text: str, tag: str) -> int | float | str:
        """JSON's numbers as RFC 8785 can hash them: finite, whole ones up to 2^53 - 1."""
        if len(text) > _LONGEST_NUMBER or ".inf" in text or ".nan" in text:
            number: int | float = math.inf
        elif tag == "int":
            number = int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
        else:
            number = float(text)
        if abs(number) > MAX_NUMBER if isinstance(number, int) else not math.isfinite(number):
            shown = text if len(text) <= _LONGEST_NUMBER else text[:_LONGEST_NUMBER] + "…"
            self._complain(
                node, path, f"{shown} is no number that JSON can carry exactly; as text it needs quotes", "number"
            )
            return text
        return number

    def _complain(self, node: yaml.Node, path: Path, message: str, rule: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(message, rule, self.file, mark.line + 1, mark.column + 1, show_path(path)))
