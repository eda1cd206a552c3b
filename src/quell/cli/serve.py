"""``quell serve``: the server, until somebody ends it. Never does: go into the background."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import orjson
import structlog
import typer

from quell import __version__
from quell.app import App, Kind
from quell.cli.config import configure_logs, find_settings, overridden, shown_database
from quell.cli.ending import leave
from quell.cli.output import counted, paint, print_problems
from quell.library import State
from quell.registry import Registry
from quell.web.run import serve as listen

_log = structlog.get_logger("quell")


def serve(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Default: ./quell.yaml if it is there.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Where to listen.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", min=0, max=65535, help="0 picks a free one.")] = None,
    database: Annotated[
        str | None, typer.Option("--db", metavar="URL", help="A file (SQLite) or postgresql://…")
    ] = None,
    runbooks: Annotated[
        list[Path] | None, typer.Option("--runbooks", "-r", metavar="PATH", help="A file or folder; repeatable.")
    ] = None,
    observe: Annotated[bool, typer.Option("--observe", help="Load no action at all: look, decide, tell.")] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Ask nobody who they are. Only on loopback, for a try.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print how it started as one line of JSON.")] = False,
) -> None:
    """Serve the API and the pages, and handle incidents, until SIGTERM or Ctrl-C.

    What waits or runs then is found again at the next start. Logs go to stderr: words at a terminal, JSON otherwise.
    Without server.token it prints, at a terminal, a link by which a browser signs in once; your own commands on this
    machine need none.

    \b
    quell serve
    quell serve --runbooks runbooks/ --port 8470
    quell serve --config /etc/quell/quell.yaml --observe

    Exits 0 when it was asked to end, 1 when it could not start.
    """
    settings = overridden(
        find_settings(config), host=host, port=port, database=database, runbooks=runbooks or (), insecure=insecure
    )
    configure_logs()
    app = App(settings, registry=Registry(observe_only=observe), kind=Kind.SERVER)
    listen(
        app, settings.server.host, settings.server.port,
        on_address=lambda address: _started(app, address, observe=observe, as_json=as_json), on_link=_tell_link,
    )  # fmt: skip
    leave()


def _tell_link(link: str) -> None:
    """To the person at the terminal. Elsewhere stderr is a log, which others read: there it says how to get one."""
    if sys.stderr.isatty():
        sys.stderr.write(f"Sign in, once, within 15 minutes: {link}\nAnother one: quell token link\n")
        sys.stderr.flush()
    else:
        _log.info("sign_in", link="quell token link")


def _started(app: App, address: str, *, observe: bool, as_json: bool) -> None:
    """How it started, once alerts are accepted."""
    library, settings = app.library, app.settings
    if as_json:
        told = {
            "address": address, "version": __version__, "mode": "observe" if observe else "act",
            "database": shown_database(settings), "runbooks": sorted(library.plans),
            "broken": [{"id": one.runbook, "file": one.file} for one in library.broken],
        }  # fmt: skip
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        sys.stdout.flush()
        return
    out = sys.stdout
    mode = "observe: no action is loaded" if observe else "act"
    count = sum(one.state is State.PROBLEMS for one in library.entries)
    unsound = paint(f", {count} with problems (quell runbook list)", "yellow", stream=out) if count else ""
    broken = paint(f", {len(library.broken)} broken", "red", stream=out) if library.broken else ""
    rows = [
        ("mode", mode), ("database", shown_database(settings)),
        ("runbooks", counted(len(library.plans), "runbook") + unsound + broken),
        ("alerts", f"POST {address}/webhooks/alertmanager"),
    ]  # fmt: skip
    out.write(f"{paint(f'Quell {__version__}', 'bold', stream=out)} on {paint(address, 'cyan', stream=out)}\n")
    for label, text in rows:
        out.write(f"  {label:<10} {text}\n")
    for one in library.broken:
        print_problems(one.problems, stream=out)
    out.flush()
