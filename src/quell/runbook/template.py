"""Filling the leaves of a parsed document, once.

``${path}`` reads a value, ``${path:-default}`` falls back, ``${a.b == "c"}`` is an expression, ``$${`` is a plain
``${``. A leaf that is exactly one reference keeps the value's type. What a value brings is never read again as a
template. Names of the environment need the caller's allow-list and become secrets.
Never does: read the environment, quote for a shell, or fill the keys of a mapping.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from quell.errors import Problem
from quell.runbook.expr.check import resolve
from quell.runbook.expr.evaluate import step
from quell.runbook.expr.flaws import ExprSyntaxError, nearest
from quell.runbook.expr.lex import path_steps
from quell.runbook.expr.parse import parse
from quell.runbook.expr.tree import Expr, Path, paths
from quell.runbook.expr.types import Absent, Flag, Scope
from quell.runbook.expr.values import plain_number
from quell.runbook.places import climbs, in_url
from quell.runbook.secret import Secret

__all__ = ["Filled", "Reference", "Secret", "check", "fill", "has_template", "references"]

MAX_LEAVES = 100_000
"""Leaves of one document; YAML aliases can make a short text very large."""
MAX_DEPTH = 64
MAX_FILLED = 1 << 20
"""Characters of one filled text."""

_ENVIRONMENT = re.compile(r"(?:env\.)?([A-Z][A-Z0-9_]*)\Z")
_DEFAULTED = re.compile(r"\s*([^{}\s:'\"]+)\s*:-")
_CLOSING = re.compile(r"""(?:[^{}"']|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')*\}""", re.DOTALL)
_SCALARS: dict[str, Any] = {"true": True, "false": False, "null": None}
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?\Z")


@dataclass(frozen=True, slots=True)
class Reference:
    """One name that a document reads. ``start`` and ``end`` are offsets in the leaf, ``location`` is the leaf.

    ``expression`` is the whole body when the name stands inside an expression.
    """

    path: str
    default: str | None
    start: int
    end: int
    location: str
    expression: str | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """The filled value, what went wrong (those leaves are left as they were), and each name used with its value."""

    value: Any
    problems: tuple[Problem, ...]
    used: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Hole:
    """A ``${…}`` in a text. ``body`` is None when it is not closed."""

    start: int
    end: int
    body: str | None
    default: str | None = None


def has_template(value: Any) -> bool:
    """Whether any leaf has a ``${…}``; an escaped ``$${`` is none."""
    return any(_holes(text) for text, _ in _texts(value, "", 0) if isinstance(text, str))


def references(value: Any) -> tuple[Reference, ...]:
    """Every name that ``value`` reads, in reading order. Bodies that cannot be parsed are left to ``check``."""
    found: list[Reference] = []
    for text, location in _texts(value, "", 0):
        for hole in _holes(text) if isinstance(text, str) else ():
            if hole.body is None or isinstance(tree := _tree(hole.body), Problem):
                continue
            body = None if isinstance(tree, Path) else hole.body
            found.extend(
                Reference(path.name, hole.default, hole.start, hole.end, location, body) for path in paths(tree)
            )
    return tuple(found)


def check(value: Any, scope: Scope, *, allowed_env: Set[str] = frozenset()) -> tuple[Problem, ...]:
    """Every unknown name, type error and malformed reference in ``value``, without filling it."""
    problems: list[Problem] = []
    for text, location in _texts(value, "", 0):
        if isinstance(text, Problem):
            problems.append(text)
            continue
        for hole in _holes(text):
            problems.extend(_check_hole(hole, location, scope, allowed_env))
    return tuple(problems)


def fill(
    value: Any,
    env: Mapping[str, Any],
    *,
    environ: Mapping[str, str] | None = None,
    allowed_env: Set[str] = frozenset(),
    is_url: Callable[[str], bool] = lambda location: False,
) -> Filled:
    """``value`` with every reference replaced by what ``env`` holds.

    ``is_url`` says of a location whether an address is there: what comes into the middle of one is percent-encoded.

    ``environ`` are the environment variables; only those in ``allowed_env`` are read, as ``Secret``. A default
    stands in for a name that is missing, null or empty, but not for one that the allow-list refuses.
    """
    filler = _Filler(env, environ or {}, allowed_env, is_url)
    filler.problems.extend(item for item, _ in _texts(value, "", 0) if isinstance(item, Problem))
    if filler.problems:  # too large or too deep: nothing is filled
        return Filled(value, tuple(filler.problems), {})
    return Filled(filler.value(value, ""), tuple(filler.problems), filler.used)


# --- reading ---


def _texts(value: Any, location: str, depth: int) -> Iterator[tuple[str | Problem, str]]:
    """Every text leaf with its location (``config.urls[0]``), or the problem that ends the walk."""
    stack: list[tuple[Any, str, int]] = [(value, location, depth)]
    leaves = 0
    while stack:
        item, place, level = stack.pop()
        leaves += 1
        if level > MAX_DEPTH or leaves > MAX_LEAVES:
            message = "nested too deeply" if level > MAX_DEPTH else f"more than {MAX_LEAVES} values"
            yield Problem(message, "template-size", path=place), place
            return
        if isinstance(item, str):
            yield item, place
        elif isinstance(item, Mapping):
            for key in item:
                if isinstance(key, str) and _holes(key):
                    yield Problem("keys are not filled", "template-key", path=place, found=key), place
            below = [(inner, f"{place}.{key}" if place else str(key), level + 1) for key, inner in item.items()]
            stack.extend(reversed(below))
        elif isinstance(item, list | tuple):
            stack.extend((item[at], f"{place}[{at}]", level + 1) for at in reversed(range(len(item))))


def _holes(text: str) -> tuple[_Hole, ...]:
    return _scan(text) if "${" in text else ()


@lru_cache(maxsize=4096)
def _scan(text: str) -> tuple[_Hole, ...]:
    holes: list[_Hole] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start > at and text[start - 1] == "$":
            at = start + 2
            continue
        hole = _hole(text, start)
        holes.append(hole)
        at = hole.end
    return tuple(holes)


def _hole(text: str, start: int) -> _Hole:
    defaulted = _DEFAULTED.match(text, start + 2)
    if defaulted:
        close = text.find("}", defaulted.end())
        if close >= 0:
            return _Hole(start, close + 1, defaulted[1], text[defaulted.end() : close])
    elif closing := _CLOSING.match(text, start + 2):
        return _Hole(start, closing.end(), text[start + 2 : closing.end() - 1].strip())
    return _Hole(start, len(text), None)


@lru_cache(maxsize=4096)
def _tree(body: str) -> Expr | Problem:
    """A body as a tree: a dotted path with hyphens if it is one, an expression otherwise."""
    steps = path_steps(body)
    if steps is not None and body not in _SCALARS:
        return Path(*steps, start=0, end=len(body))
    try:
        return parse(body)
    except ExprSyntaxError as error:
        first = error.flaws[0]
        return Problem(f"not a reference: {first.message}", "template-syntax", column=first.column, found=body)


@lru_cache(maxsize=4096)
def _reader(body: str) -> Callable[[Mapping[str, Any]], Any]:
    tree = _tree(body)
    return step(resolve(tree, None).tree if not isinstance(tree, Problem) else Path("_"))


def _check_hole(hole: _Hole, location: str, scope: Scope, allowed_env: Set[str]) -> Iterator[Problem]:
    column = hole.start + 3
    if hole.body is None:
        yield _unclosed(hole, location)
        return
    tree = _tree(hole.body)
    if isinstance(tree, Problem):
        yield Problem(tree.message, tree.rule, column=column + tree.column - 1, path=location, found=tree.found)
        return
    name = _environment_name(tree, scope)
    if name is not None:
        if name not in allowed_env:
            yield _not_allowed(name, hole, location, allowed_env)
        return
    for flaw in resolve(tree, scope).flaws:
        yield flaw.problem(rule="template-unknown", column=column, path=location)


def _environment_name(tree: Expr, known: Mapping[str, Any]) -> str | None:
    """The variable that ``${NAME}`` or ``${env.NAME}`` asks for, unless ``NAME`` is a value of the run."""
    match = _ENVIRONMENT.match(tree.name) if isinstance(tree, Path) and tree.name not in known else None
    return match[1] if match else None


def _unclosed(hole: _Hole, location: str) -> Problem:
    message = "'${' is not closed"
    return Problem(message, "template-syntax", column=hole.start + 1, path=location, expected="} or $${ for plain text")


def _not_allowed(name: str, hole: _Hole, location: str, allowed_env: Set[str]) -> Problem:
    return Problem(
        f"the environment variable {name} is not allowed here",
        "template-environment",
        column=hole.start + 1,
        path=location,
        found=name,
        nearest=nearest(name, allowed_env),
    )


# --- filling ---


class _Filler:
    """One walk over one document. Collects problems and the values used."""

    def __init__(
        self, env: Mapping[str, Any], environ: Mapping[str, str], allowed_env: Set[str], is_url: Callable[[str], bool]
    ) -> None:
        self.env, self.environ, self.allowed_env, self.is_url = env, environ, allowed_env, is_url
        self.problems: list[Problem] = []
        self.used: dict[str, Any] = {}

    def value(self, value: Any, location: str) -> Any:
        if isinstance(value, str):
            return self.text(value, location)
        if isinstance(value, Mapping):
            return {
                key: self.value(inner, f"{location}.{key}" if location else str(key)) for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(inner, f"{location}[{at}]") for at, inner in enumerate(value)]
        return value

    def text(self, text: str, location: str) -> Any:
        holes = _holes(text)
        if not holes:
            return text.replace("$${", "${")
        if len(holes) == 1 and (holes[0].start, holes[0].end) == (0, len(text)):
            found = self.read(holes[0], location)
            return text if isinstance(found, Problem) else found
        parts: list[str] = []
        at, secret, whole, url = 0, False, True, self.is_url(location)
        for hole in holes:
            parts.append(text[at : hole.start].replace("$${", "${"))
            found = self.read(hole, location, written=True)
            if isinstance(found, Problem):
                whole = False
                continue
            secret = secret or _holds_secret(found)
            parts.append(in_url("".join(parts), _written(found)) if url else _written(found))
            at = hole.end
        parts.append(text[at:].replace("$${", "${"))
        filled = "".join(parts)
        if whole and len(filled) > MAX_FILLED:
            self.problems.append(Problem(f"longer than {MAX_FILLED} characters", "template-size", path=location))
            whole = False
        if whole and url and climbs(filled) and not climbs(text):
            self.problems.append(Problem("a value would change the path of the address", "template-url", path=location))
            whole = False
        if not whole:
            return text
        return Secret(filled) if secret else filled

    def read(self, hole: _Hole, location: str, *, written: bool = False) -> Any:
        """The value of a hole, or the Problem that was recorded. ``written`` takes a default as plain text."""
        problem = self.wrong(hole, location)
        if problem is not None or hole.body is None:
            self.problems.extend([problem] if problem else [])
            return problem
        tree = _tree(hole.body)
        variable = None if isinstance(tree, Problem) else _environment_name(tree, self.env)
        if variable is not None:
            found: Any = self.environ.get(variable)
            found = Absent(f"the environment has no {variable}") if found is None else Secret(found)
        else:
            found = self.evaluate(hole.body)
        if hole.default is not None and (isinstance(found, Absent) or found is None or found == ""):
            found = hole.default if written else _scalar(hole.default)
        if isinstance(found, Absent):
            self.problems.append(self.missing(found, hole, location))
            return self.problems[-1]
        self.used[hole.body] = found
        return found

    def wrong(self, hole: _Hole, location: str) -> Problem | None:
        """What can be said without the values: syntax, and names of the environment."""
        if hole.body is None:
            return _unclosed(hole, location)
        tree = _tree(hole.body)
        if isinstance(tree, Problem):
            return Problem(
                tree.message, tree.rule, column=hole.start + 2 + tree.column, path=location, found=tree.found
            )
        variable = _environment_name(tree, self.env)
        if variable is not None and variable not in self.allowed_env:
            return _not_allowed(variable, hole, location, self.allowed_env)
        return None

    def evaluate(self, body: str) -> Any:
        try:
            return _reader(body)(self.env)
        except Exception as error:  # a Mapping of the caller's own may raise anything; say so instead of dying
            return Absent(f"{body} could not be read: {type(error).__name__}", "internal")

    def missing(self, found: Absent, hole: _Hole, location: str) -> Problem:
        root = (found.name or hole.body or "").partition(".")[0].partition("[")[0]
        return Problem(
            found.reason,
            "template-unknown" if root not in self.env else "template-absent",
            column=hole.start + 3,
            path=location,
            found=found.name or hole.body,
            nearest=nearest(root, self.env) if root not in self.env else None,
        )


def _scalar(text: str) -> Any:
    """A default that stands alone, typed as YAML would: 3 is a number, '3' a text."""
    if text in _SCALARS:
        return _SCALARS[text]
    if number := _NUMBER.match(text):
        return float(text) if number[1] else int(text)
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"" else text


def _holds_secret(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_secret(inner) for inner in value.values())
    return any(map(_holds_secret, value)) if isinstance(value, list | tuple) else isinstance(value, Secret)


def _written(value: Any) -> str:
    """A value inside a text: numbers without noise, true and false, lists and records as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, float):
        return plain_number(value)
    return json.dumps(_jsonable(value), ensure_ascii=False, default=str)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Flag):
        return value.held
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return None if isinstance(value, Absent) else value
