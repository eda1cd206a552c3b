"""``quell prune``: erases what ended long ago, after it has said what that is. Opens the database itself.

Never does: erase anything that nobody agreed to.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from quell.app import App
from quell.cli.answer import user_name
from quell.cli.client import AsJson, By
from quell.cli.config import configure_logs, find_settings, overridden
from quell.cli.output import paint, print_json
from quell.retention import Pruning
from quell.runbook.quantities import seconds
from quell.telling.pruned import kept, listed, sentence

SILENT_S = 1.0
"""So long nothing is said of how far it is, and so often it is then."""


def prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="TIME", help="What ended before: 90d, 52w.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased, and erase nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    tenant: Annotated[str | None, typer.Option("--tenant", help="This tenant alone. Default: all.")] = None,
    by: By = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Default: ./quell.yaml if it is there.")] = None,
    database: Annotated[
        str | None, typer.Option("--db", metavar="URL", help="A file (SQLite) or postgresql://…")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Erase what incidents told that ended longer ago, and what hangs on them; at least 1d.

    The rows and hashes of the log stay, so that quell audit verify holds; a checkpoint attests before what is erased.
    What is open, waits for somebody, is kept for now or has an unknown outcome is never touched. A server may run.

    \b
    quell prune --older-than 90d --dry-run
    quell prune --older-than 90d
    quell prune --older-than 52w --tenant acme --yes --json
    """
    try:
        older_s = seconds(older_than)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from None
    if not (dry_run or yes or sys.stdin.isatty()):
        raise typer.BadParameter("nobody is there to be asked: say --yes or --dry-run", param_hint="--yes")
    settings = overridden(find_settings(config), host=None, port=None, database=database, runbooks=())
    configure_logs(logging.CRITICAL)
    app, name = App(settings), user_name(by)
    asyncio.run(app.reload())  # a runbook has limits of its own, whose counts must stay
    if dry_run or not yes:
        told = asyncio.run(app.prune(older_s, name, tenant=tenant, dry_run=True))
        if dry_run or not told.erased:
            _print(told, as_json)
            return
        print(_said(told), file=sys.stderr)
        if not typer.confirm("Erase it? This cannot be undone.", err=True):
            raise typer.Exit(1)
    _print(asyncio.run(app.prune(older_s, name, tenant=tenant, told=_Progress())), as_json)


class _Progress:
    """A line a second, once it has taken one."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, erased: Mapping[str, int]) -> None:
        if (now := time.monotonic()) - self._said >= SILENT_S:
            self._said = now
            print(f"so far: {listed(erased)}", file=sys.stderr, flush=True)


def _print(told: Pruning, as_json: bool) -> None:
    if as_json:
        print_json(told.told)
        return
    print(paint(_said(told), "bold", stream=sys.stdout))
    if told.oldest and told.newest:
        print(f"The oldest incident ended {told.oldest:%Y-%m-%d %H:%M}, the newest {told.newest:%Y-%m-%d %H:%M} UTC.")
    for stays in kept(told.kept):
        print(f"Kept: {stays}.")
    if told.checkpoint:
        print(f"What was erased is attested by {told.checkpoint}")


def _said(told: Pruning) -> str:
    return sentence(told.erased, told.before, dry_run=told.dry_run)
