"""The table of commands: name, where its function is, one line of help. To add one, add a row.

The target is ``module:attribute``; the attribute is a function with Typer's annotations, or a ``typer.Typer`` with
commands of its own. Never does: import a command's module.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """``help`` is shown by ``quell --help`` without loading ``target``; ``group`` is the heading it stands under."""

    name: str
    target: str
    help: str
    group: str = "Runbooks"


COMMANDS: tuple[Command, ...] = (
    Command("demo", "quell.cli.demo:demo", "Watch six real faults being repaired, on this machine.", "Start here"),
    Command("lint", "quell.cli.lint:lint", "Find every problem in runbooks, with its place."),
    Command("plan", "quell.cli.plan:plan", "Show what a runbook compiles to: text, JSON or a drawing."),
    Command("runbook", "quell.cli.runbook:runbook", "Start a runbook from a template."),
)
