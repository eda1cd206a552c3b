"""``quell plan``: what a runbook compiles to, before anything runs. Never does: run anything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quell.cli.output import print_json, print_problems
from quell.cli.reading import Config, Sheet, sheets, vocabulary
from quell.errors import InvalidInput, NotFound, Problem
from quell.runbook.compile import Compiled
from quell.runbook.draw import draw
from quell.runbook.outline import outline
from quell.runbook.plan import Plan
from quell.runbook.vocabulary import nearest


def plan(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A runbook, or - for stdin.")],
    runbook: Annotated[str | None, typer.Option("--id", help="Which one, when the file holds several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the Plan as JSON.")] = False,
    as_svg: Annotated[bool, typer.Option("--svg", help="Draw the Plan as SVG.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    config: Config = None,
) -> None:
    """Show what a runbook compiles to: text, JSON or a drawing.

    \b
    quell plan checkout-errors.yaml
    quell plan checkout-errors.yaml --json
    quell plan checkout-errors.yaml --svg --output plan.svg

    What is wrong with the runbook goes to stderr. Exits 1 when it could not run, else 0.
    """
    if as_json and as_svg:
        raise typer.BadParameter("give either --json or --svg")
    sheet = next(iter(sheets([file], vocabulary(config))), None)
    if sheet is None:
        raise NotFound("runbook", file)
    chosen = _chosen(sheet, runbook)
    plans = [document.plan for document in chosen if document.plan]
    if as_svg and len(plans) > 1:
        raise InvalidInput([_several(sheet, plans)])
    problems = [problem for document in chosen for problem in document.problems]
    print_problems(problems, {sheet.shown: sheet.text}, stream=sys.stderr)
    if plans:
        _give(plans, as_json=as_json, as_svg=as_svg, output=output)
    if not all(document.runnable for document in chosen):
        raise typer.Exit(1)


def _chosen(sheet: Sheet, wanted: str | None) -> list[Compiled]:
    if wanted is None:
        return list(sheet.documents)
    found = [document for document in sheet.documents if document.plan and document.plan.id == wanted]
    if not found:
        known = [document.plan.id for document in sheet.documents if document.plan]
        raise NotFound("runbook", wanted, nearest(wanted, known))
    return found


def _several(sheet: Sheet, plans: list[Plan]) -> Problem:
    expected = "--id with one of " + ", ".join(plan.id for plan in plans)
    return Problem("the file holds several runbooks, a drawing shows one", "several", sheet.shown, expected=expected)


def _give(plans: list[Plan], *, as_json: bool, as_svg: bool, output: Path | None) -> None:
    if as_json:
        shown = [{"hash": plan.hash, **plan.model_dump(mode="json")} for plan in plans]
        print_json(shown[0] if len(shown) == 1 else shown, to=output)
        return
    text = draw(plans[0], standalone=True) if as_svg else "\n\n".join(outline(plan) for plan in plans)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")
