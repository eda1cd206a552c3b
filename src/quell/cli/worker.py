"""``quell worker``: shares the work of servers over one PostgreSQL; ``quell workers``: who is there.

Never does: listen, or take alerts.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from quell import __version__
from quell.app import App, Kind
from quell.cli.client import AsJson, Client, Server
from quell.cli.config import configure_logs, find_settings, overridden, shown_database
from quell.cli.ending import leave
from quell.cli.lines import clean
from quell.cli.output import counted, paint, print_json, print_table
from quell.cli.page import ago
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


def workers(
    everyone: Annotated[bool, typer.Option("--all", help="Also those that ended in the last 24 hours.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """The processes that share the work: who is alive, by which version and configuration, with which incidents.

    \b
    quell workers
    quell workers --all --json
    """
    with Client(server) as client:
        told = client.get("/api/v1/workers")
    found = [one for one in told["workers"] if everyone or one["state"] != "ended"]
    if as_json:
        print_json({**told, "workers": found})
        return
    now = datetime.now(UTC)
    columns = ("worker", "kind", "state", "lease", "version", "configuration", "started", "incidents")
    print_table(columns, [_row(one, now) for one in found])
    if told["differ"]:
        said = "They do not all act by the same configuration: guards, services and connections may differ."
        print(paint(said, "yellow", stream=sys.stdout))


def _row(one: dict[str, Any], now: datetime) -> tuple[object, ...]:
    incidents = one["incidents"]
    shown = f"{counted(len(incidents), 'incident')}: " if len(incidents) > 3 else ""
    shown += ", ".join(incidents[:3]) + ("…" if len(incidents) > 3 else "")
    return (
        clean(one["id"]), one["kind"], one["state"], f"{one['lease_s']:.0f} s" if one["state"] != "ended" else "",
        one["version"], one["configuration"], ago(datetime.fromisoformat(one["started_at"]), now), shown,
    )  # fmt: skip
