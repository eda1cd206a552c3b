"""The command ``quell`` itself: loads the module of the command that was asked, and tells its errors to a person.

Never does: show a traceback, unless ``--debug`` asks for it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from quell import __version__
from quell.cli.commands import COMMANDS, Command
from quell.cli.output import print_error

DEBUG = "--debug"


@contextlib.contextmanager
def _without_rich() -> Iterator[None]:
    """Without it structlog writes plain tracebacks; with it they show every local value, secrets among them, and every
    server holds it in memory. Tables load it when they are drawn."""
    absent = sys.modules.setdefault("rich", None) is None  # type: ignore[arg-type]
    try:
        yield
    finally:
        if absent:
            del sys.modules["rich"]


class _Lazy(MutableMapping[str, Any]):
    """Commands by name, each loaded when it is looked up; the names are known without loading any."""

    def __init__(self, table: tuple[Command, ...]) -> None:
        self._table = {command.name: command for command in table}

    def __getitem__(self, name: str) -> Any:
        module, _, attribute = self._table[name].target.partition(":")
        with _without_rich():
            found = getattr(importlib.import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            app = new_app()
            app.command(name)(found)
            found = app
        command = get_command(found)
        command.name = name
        return command

    def __setitem__(self, name: str, value: object) -> None:
        raise TypeError("a command is added to quell.cli.commands")

    def __delitem__(self, name: str) -> None:
        del self._table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def new_app(**options: Any) -> typer.Typer:
    """A Typer as all our commands are: plain help, errors left to ``run``."""
    settings: dict[str, Any] = {
        "add_completion": False, "rich_markup_mode": None, "pretty_exceptions_enable": False,
        "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 110}, **options,
    }  # fmt: skip
    return typer.Typer(**settings)


class QuellGroup(TyperGroup):
    """Lists commands from the table."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Lazy(COMMANDS)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for group in dict.fromkeys(command.group for command in COMMANDS):
            with formatter.section(group):
                formatter.write_dl([(command.name, command.help) for command in COMMANDS if command.group == group])


app = new_app(cls=QuellGroup, add_completion=True, no_args_is_help=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"quell {__version__}")
        raise typer.Exit


@app.callback(epilog="Exit codes: 0 done, 1 an error or problems found, 2 wrong usage.")
def quell(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show where an unexpected error came from.")] = False,
) -> None:
    """Turns a page into a handled incident: diagnose, decide, remediate, verify; resolve or escalate.

    \b
    quell runbook new checkout-errors --template deploy
    quell lint runbooks/
    quell plan runbooks/checkout-errors.yaml
    """


def run(given: list[str]) -> int:
    """Runs one command line. Every error becomes words for a person on stderr and an exit code."""
    plain = given[: given.index("--")] if "--" in given else given
    debug = DEBUG in plain
    if debug:
        # It may stand anywhere, not only before the command.
        given = [word for index, word in enumerate(given) if word != DEBUG or index >= len(plain)]
    try:
        app(args=given, prog_name="quell")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away; what is still buffered has nobody to go to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        print_error(error, as_json="--json" in plain, hint="" if debug else f"run it again with {DEBUG} to see where")
        return 1
    return 0
