"""``quell lint``: every problem of every runbook, at once, each with its place. Never does: change a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from quell.cli.output import as_data, counted, paint, print_json, print_problems
from quell.cli.reading import Config, Sheet, sheets, vocabulary
from quell.errors import Problem
from quell.runbook.compile import same_ids, same_triggers


def lint(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, directories, or - for stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the problems and their counts as JSON.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings too.")] = False,
    config: Config = None,
) -> None:
    """Find every problem in runbooks, with its place.

    Directories are searched for *.yaml, *.yml and *.json; files in them that are no runbooks are left out.

    \b
    quell lint runbooks/
    quell lint --strict --json checkout-errors.yaml

    Exits 1 when there are errors (with --strict: or warnings), else 0.
    """
    found = list(sheets(paths, vocabulary(config)))
    problems = _problems(found)
    errors = sum(problem.severity == "error" for problem in problems)
    warnings = len(problems) - errors
    runbooks = sum(document.plan is not None for sheet in found for document in sheet.documents)
    failed = bool(errors or (strict and warnings))
    if as_json:
        counts = {"files": len(found), "runbooks": runbooks, "errors": errors, "warnings": warnings}
        print_json({"ok": not failed, "counts": counts, "problems": [as_data(problem) for problem in problems]})
    else:
        print_problems(problems, {sheet.shown: sheet.text for sheet in found})
        print(_summary(len(found), errors, warnings))
    if failed:
        raise typer.Exit(1)


def _problems(found: Sequence[Sheet]) -> list[Problem]:
    """In the order of the files, and of the lines in each."""
    order = {sheet.shown: index for index, sheet in enumerate(found)}
    documents = [document for sheet in found for document in sheet.documents]
    problems = [problem for document in documents for problem in document.problems] + same_ids(documents)
    problems += same_triggers(document.plan for document in documents if document.plan)
    return sorted(problems, key=lambda problem: (order.get(problem.file, -1), problem.line, problem.column))


def _summary(files: int, errors: int, warnings: int) -> str:
    where = counted(files, "file")
    if not errors and not warnings:
        return paint(f"{where}, no problems", "green", stream=sys.stdout)
    said = [counted(errors, "error")] if errors else []
    said += [counted(warnings, "warning")] if warnings else []
    return paint(f"{' and '.join(said)} in {where}", "red" if errors else "yellow", stream=sys.stdout)
