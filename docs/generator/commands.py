"""``cli.md``: every command with its arguments and options, read from the command line itself. Never does: run one."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from docs.generator.prose import markdown, page, table
from quell.cli.commands import COMMANDS
from quell.cli.group import _Lazy


def cli() -> str:
    """The page."""
    commands = _Lazy(COMMANDS)
    parts = []
    for heading, group in groupby(COMMANDS, key=lambda row: row.group):
        rows = list(group)
        parts += [
            f"## {heading}",
            table(("command", "what it does"), ((f"`quell {row.name}`", row.help) for row in rows)),
        ]
        for row in rows:
            parts += list(_command(f"quell {row.name}", commands[row.name], "###"))
    return page(
        "# Command line",
        "`quell --help` lists the commands, `quell COMMAND --help` explains one. `quell --version` prints the version; "
        "`--debug` shows tracebacks.",
        *parts,
    )


def _command(name: str, command: Any, level: str) -> Iterable[str]:
    yield f"{level} {name}"
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    inner = dict(getattr(command, "commands", {}) or {})
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *(_argument(one) for one in arguments)])
    yield f"```text\n{usage}{' COMMAND' if inner else ''}\n```"
    yield _help(command.help or "")
    yield table(("argument", "meaning"), ((f"`{_argument(one)}`", getattr(one, "help", "") or "") for one in arguments))
    yield table(("option", "default", "meaning"), (_option(one) for one in options))
    for child, one in inner.items():
        yield from _command(f"{name} {child}", one, level + "#")


def _argument(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _option(parameter: Any) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    default = parameter.default
    shown = "—" if default in (None, False, "", (), []) or callable(default) else f"`{default}`"
    metavar = "" if parameter.is_flag else f" `{parameter.metavar or parameter.name.upper()}`"
    return names + metavar, shown, parameter.help or ""


def _help(text: str) -> str:
    """A paragraph behind ``\\b`` keeps its lines: they are commands."""
    parts = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.lstrip().startswith("\b"):
            parts.append("```sh\n" + inspect.cleandoc(paragraph.replace("\b", "", 1).strip("\n")) + "\n```")
        else:
            parts.append(markdown(paragraph))
    return "\n\n".join(parts)
