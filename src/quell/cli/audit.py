"""``quell audit``: verify the log or a bundle, export, checkpoint, the key, an incident's execution report.

Reads the database itself, so it needs no server. Never does: change the log.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from quell.audit import Audit, Fault, Report, verify_bundle
from quell.cli.config import find_settings, overridden
from quell.cli.group import new_app
from quell.cli.output import counted, paint, print_error, print_json, print_table
from quell.errors import QuellError
from quell.runbook.quantities import seconds, spoken
from quell.telling.execution import execution
from quell.telling.lines import clean

audit = new_app(no_args_is_help=True)

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Default: ./quell.yaml if it is there.")]
Database = Annotated[str | None, typer.Option("--db", metavar="URL", help="A file (SQLite) or postgresql://…")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="This tenant alone. Default: all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


@audit.callback()
def _group() -> None:
    """Show that nobody changed the log of events, here or where it was exported to.

    \b
    quell audit verify
    quell audit checkpoint
    quell audit export --since 7d -o week.jsonl
    quell audit report 01jd3x8m
    """


def _audit(config: Path | None, database: str | None, tenant: str | None = None) -> Audit:
    settings = overridden(find_settings(config), host=None, port=None, database=database, runbooks=())
    return Audit(settings, tenant)


@audit.command()
def verify(
    config: Config = None,
    database: Database = None,
    tenant: Tenant = None,
    bundle: Annotated[Path | None, typer.Option("--bundle", help="An exported bundle instead of the database.")] = None,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="A PEM file. Default: that of the configured key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find every event that was changed, deleted, inserted, moved or cut off, with its stream and number.

    The log is held against its own hashes and against every checkpoint in the configured folder.

    \b
    quell audit verify
    quell audit verify --db postgresql://quell@db/quell --json
    quell audit verify --bundle week.jsonl --public-key audit.pub

    Exits 0 when everything holds, 1 when something was tampered with, 2 when it cannot be told.
    """
    if bundle is not None and public_key is None:
        raise typer.BadParameter("a bundle is verified with --public-key FILE", param_hint="--bundle")
    try:
        if bundle is not None and public_key is not None:
            with bundle.open("rb") as lines:
                report = verify_bundle(lines, public_key)
        else:
            report = _audit(config, database, tenant).verify(public_key)
    except (QuellError, OSError) as error:
        print_error(error, as_json=as_json)
        raise typer.Exit(2) from None  # 1 says that the log was tampered with
    if as_json:
        print_json(_data(report))
    else:
        _tell(report)
    if not report.holds:
        raise typer.Exit(1)


def _data(report: Report) -> dict[str, Any]:
    counts = {name: getattr(report, name) for name in ("streams", "events", "erased", "checkpoints")}
    return {"ok": report.holds, "counts": counts, "faults": [_spelled(fault) for fault in report.faults]}


def _spelled(fault: Fault) -> dict[str, Any]:
    """A name that somebody made of bytes that are no text is still told."""
    told = asdict(fault)
    return {key: clean(value) if isinstance(value, str) else value for key, value in told.items()}


def _tell(report: Report) -> None:
    for fault in report.faults:
        print(f"{paint(fault.what.value, 'red', stream=sys.stdout)} {clean(str(fault))}")
    erased = f", {report.erased} with an erased payload" if report.erased else ""
    seen = f", against {counted(report.checkpoints, 'checkpoint')}"
    said = f"{counted(report.events, 'event')} in {counted(report.streams, 'stream')}{erased}{seen}: "
    verdict = "everything holds" if report.holds else counted(len(report.faults), "fault")
    print(said + paint(verdict, "green" if report.holds else "red", stream=sys.stdout))


@audit.command()
def export(
    incident: Annotated[
        str | None, typer.Argument(metavar="[INCIDENT]", help="Its id, or a unique beginning of it. Default: all.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DURATION", help="Only streams that went on since: 24h, 7d.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new file. Default: stdout.")] = None,
    config: Config = None,
    database: Database = None,
    tenant: Tenant = None,
) -> None:
    """Write a bundle of JSON Lines that can be verified anywhere with the public key alone.

    \b
    quell audit export -o all.jsonl
    quell audit export 01jd3x8m -o incident.jsonl
    quell audit export --since 7d > week.jsonl
    """
    try:
        since_s = None if since is None else seconds(since)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    lines = _audit(config, database, tenant).export(incident, since_s)
    first = next(lines)  # what is not there is said before a file is made
    with _opened(output) as file:
        file.write(first)
        file.writelines(lines)


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with path.open("xb") as file:
        yield file


@audit.command()
def checkpoint(config: Config = None, database: Database = None, as_json: AsJson = False) -> None:
    """Sign where every stream stands, in a new file of the configured folder.

    A log that is cut or written anew afterwards no longer fits it. Run it now and then, and copy the folder away.

    \b
    quell audit checkpoint
    """
    path = _audit(config, database).checkpoint()
    if as_json:
        print_json({"checkpoint": None if path is None else str(path)})
    else:
        print(path or "Nothing has happened since the last checkpoint.")


@audit.command()
def key(config: Config = None, as_json: AsJson = False) -> None:
    """Show the public key, and make the pair when there is none yet.

    \b
    quell audit key > audit.pub
    """
    public = _audit(config, None).seal().public
    if as_json:
        print_json({"key": public.id, "public_key": public.pem})
    else:
        print(public.pem, end="")


@audit.command()
def report(
    incident: Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, or a unique beginning of it.")],
    config: Config = None,
    database: Database = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """What was done in an incident, step by step, with how long each took, and the outcome.

    \b
    quell audit report 01jd3x8m
    quell audit report 01jd3x8m --json > execution.json
    """
    told = execution(_audit(config, database, tenant).events(incident))
    if as_json:
        print_json(told)
        return
    rows = [
        (one["step"], f"{one['at']:%H:%M:%S.%f}", _ms(one["duration_ms"]), one["action"], one["detail"])
        for one in told["steps"]
    ]
    print_table(("step", "at", "took", "action", "detail"), rows, title=f"{told['execution']} on {told['at']:%F}, UTC")
    summary = told["summary"]
    people = "with people" if summary["human_intervention"] else "without people"
    print(
        f"\n{clean(summary['status'] or 'erased')} after {spoken(round(summary['total_ms'] / 1000, 1))}, {people}: "
        f"{counted(summary['checks'], 'check')}, {counted(summary['actions'], 'action')}, {summary['refused']} refused"
    )


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} ms"
