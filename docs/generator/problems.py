"""``errors.md``: the error tree, the error classes, the rules of lint and of the guard, read from the source.

A rule's name is whatever the code passes where a parameter ``rule`` is asked; what it says is the message beside it.
Never does: keep a list of rules.
"""

from __future__ import annotations

import ast
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import quell
from docs.generator.prose import code, one_line, page, quoted, table
from quell import errors as tree

SOURCE = Path(quell.__file__).parent
_WRITTEN = ("runbook", "settings.py", "library.py", "cli/reading.py")
_ACTED = ("respond",)
_MOST_MESSAGES = 3


@dataclass(frozen=True)
class Said:
    """One place in the code that names a rule."""

    rule: str
    message: str
    severity: str


def errors() -> str:
    """The page."""
    return page(
        "# Errors",
        "What goes wrong is told with all there is to know: what, where, what was found, what is expected, the nearest "
        "valid name.",
        "## Kinds of errors",
        table(("error", "meaning"), _kinds()),
        "## Error classes",
        "Why a check or an action failed, in one word. Conditions read it as `CHECK.error_class`:",
        quoted(sorted(tree.ERROR_CLASSES)) + ".",
        "## Rules of lint",
        "`quell lint` names the rule behind each problem. With `--strict` warnings fail too.",
        table(("rule", "severity", "says"), _rules(_said(_WRITTEN, {"Problem", "Remark", "_complain", "problem"}))),
        "## Rules of the guard",
        "Why an action was refused, as the incident and its events name it (`action.refused`):",
        table(("rule", "says"), ((name, text) for name, _, text in _rules(_said(_ACTED, {"Ruling", "Refused"})))),
    )


def _kinds() -> Iterator[tuple[str, str]]:
    for name, kind in vars(tree).items():
        if inspect.isclass(kind) and issubclass(kind, tree.QuellError):
            yield f"`{name}`", one_line(kind.__doc__)


def _rules(found: Iterable[Said]) -> Iterator[tuple[str, str, str]]:
    by_rule: dict[str, list[Said]] = defaultdict(list)
    for said in found:
        by_rule[said.rule].append(said)
    for rule, places in sorted(by_rule.items()):
        severities = sorted({said.severity for said in places})
        messages = list(dict.fromkeys(said.message for said in places if said.message))
        text = "; ".join(messages[:_MOST_MESSAGES] or ["the reason itself"]) + (
            " …" if len(messages) > _MOST_MESSAGES else ""
        )
        yield f"`{rule}`", " or ".join(severities), text


def _said(where: Iterable[str], callables: set[str]) -> Iterator[Said]:
    files = [file for part in where for file in (sorted((SOURCE / part).rglob("*.py")) or [SOURCE / part])]
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files if file.exists()]
    common = _positions([*trees, ast.parse(inspect.getsource(tree))], callables)
    for parsed in trees:
        # A helper of the same name may take its parameters in another order elsewhere.
        places = common | _positions([parsed], callables)
        for function in _functions(parsed):
            doc = one_line(ast.get_docstring(function)) if isinstance(function, ast.FunctionDef) else ""
            for call in _calls(function):
                name = _name(call.func)
                if name in places and (said := _one(call, places[name], doc)) is not None:
                    yield said


def _functions(parsed: ast.Module) -> Iterator[ast.AST]:
    return (node for node in ast.walk(parsed) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _calls(function: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(function) if isinstance(node, ast.Call))


def _name(func: ast.expr) -> str:
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""


def _positions(trees: Iterable[ast.Module], callables: set[str]) -> dict[str, list[str]]:
    """For each function or dataclass that takes a ``rule``: its parameters in order."""
    found: dict[str, list[str]] = {}
    for parsed in trees:
        for node in ast.walk(parsed):
            if isinstance(node, ast.ClassDef) and node.name in callables:
                fields = [
                    one.target.id
                    for one in node.body
                    if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
                ]
                made = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
                found[node.name] = [one.arg for one in made[0].args.args[1:]] if made else fields
            elif isinstance(node, ast.FunctionDef) and node.name in callables:
                found[node.name] = [one.arg for one in node.args.args if one.arg != "self"]
    return found


def _one(call: ast.Call, parameters: list[str], doc: str) -> Said | None:
    given = dict(zip(parameters, call.args, strict=False)) | {one.arg: one.value for one in call.keywords if one.arg}
    rule = _text(given.get("rule"))
    if not rule:
        return None
    message = _text(given.get("message")) or _text(given.get("reason")) or (doc if _name(call.func) == "Remark" else "")
    return Said(rule, message, _text(given.get("severity")) or "error")


def _text(node: ast.expr | None) -> str:
    """A constant text; the holes of an f-string become an ellipsis."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return code(node.value)
    if isinstance(node, ast.JoinedStr):
        return code("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values))
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return ""
