"""``quell worker``: shares the work of servers over one PostgreSQL, until somebody ends it.

Never does: listen, or take alerts.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer

from quell import __version__
from quell.app import App, Kind
from quell.cli.config import configure_logs, find_settings, overridden, shown_database
from quell.cli.ending import leave
from quell.cli.output import paint
from quell.errors import InvalidInput, Problem
from quell.web.run import loop_factory


def worker(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Default: ./quell.yaml if it is there.")] = None,
    database: Annotated[
        str | None, typer.Option("--db", metavar="URL", help="postgresql://…, as the server's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print how it started as one line of JSON.")] = False,
) -> None:
    """Handle incidents that a server has taken in, until SIGTERM or Ctrl-C. Needs a database on PostgreSQL.

    It acts by its own configuration, so give it the server's. When asked to end it begins nothing more, waits for the
    actions that run, and leaves the rest to the others.

    \b
    quell worker --db postgresql://quell@db/quell
    quell worker --config /etc/quell/quell.yaml

    Exits 0 when it was asked to end, 1 when it could not start.
    """
    settings = overridden(find_settings(config), host=None, port=None, database=database, runbooks=())
    if not settings.database.startswith("postgres"):
        flaw = "a worker shares the work of others, and a SQLite file is for one process"
        raise InvalidInput([Problem(flaw, "database", found=shown_database(settings), expected="postgresql://…")])
    configure_logs()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_work(App(settings, kind=Kind.WORKER), as_json=as_json))
    leave()


async def _work(app: App, *, as_json: bool) -> None:
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    await app.start()
    try:
        _started(app, as_json=as_json)
        await asked.wait()
        for number in (signal.SIGTERM, signal.SIGINT):  # a second time means at once
            loop.remove_signal_handler(number)
    finally:
        await app.stop()


def _started(app: App, *, as_json: bool) -> None:
    told = {
        "worker": app.executor_id, "version": __version__, "database": shown_database(app.settings),
        "places": app.settings.engine.places,
    }  # fmt: skip
    if as_json:
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
    else:
        sys.stdout.write(f"{paint(f'Quell {__version__}', 'bold', stream=sys.stdout)} worker {told['worker']}\n")
        sys.stdout.write(f"  database   {told['database']}\n  places     {told['places']}\n")
    sys.stdout.flush()
