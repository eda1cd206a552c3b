"""``quell runbook``: starts a runbook from a template. Never does: overwrite a file."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from quell.cli.group import new_app
from quell.cli.loaded import list_loaded
from quell.cli.output import print_json
from quell.errors import Conflict, InvalidInput, Problem

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_EXPECTED = "at most 64 letters, digits, _ and -, the first a letter or _"

runbook = new_app(no_args_is_help=True)


class Template(StrEnum):
    """A file of ``quell.cli.templates``."""

    ALERT = "alert"
    DEPLOY = "deploy"
    DATABASE = "database"
    BLANK = "blank"


@runbook.callback()
def _group() -> None:
    """Start a runbook from a template; list those of a server.

    \b
    quell runbook new checkout-errors
    quell runbook list
    """


@runbook.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The runbook's id: letters, digits, _ and -.")],
    template: Annotated[Template, typer.Option("--template", "-t", help="What to start from.")] = Template.ALERT,
    service: Annotated[str | None, typer.Option("--service", help="The service it is about.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file, - for stdout. Without it: NAME.yaml.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a commented runbook that passes `quell lint`.

    \b
    quell runbook new checkout-errors
    quell runbook new checkout-deploy --template deploy --service checkout
    quell runbook new ledger-connections -t database -o runbooks/ledger.yaml
    """
    for what, given in (("name", name), ("service", service or name)):
        if not NAME.fullmatch(given):
            raise InvalidInput([Problem(f"not a {what}", "wrong-value", found=repr(given), expected=_EXPECTED)])
    text = started(template, name, service or "my-service")
    if output is not None and str(output) == "-":
        sys.stdout.write(text)
        return
    path = output or Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(f"{path} is there already; choose another name or --output") from None
    if as_json:
        print_json({"file": str(path), "id": name, "template": template.value})
    else:
        print(f"{path} written; now: quell lint {path}")


def started(template: Template, name: str, service: str) -> str:
    """The template with its name and service."""
    text = files("quell.cli.templates").joinpath(f"{template.value}.yaml").read_text(encoding="utf-8")
    return text.replace("__ID__", name).replace("__SERVICE__", service)


runbook.command("list")(list_loaded)
