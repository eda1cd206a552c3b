"""``quell doctor``: what is wrong with a configuration and what it leads to, before an incident tells.

Never does: change anything; only with ``--notify`` a test message is sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from quell.cli.config import configure_logs, find_settings, overridden
from quell.cli.ending import leave
from quell.cli.output import counted, paint, print_json
from quell.doctor.examine import examine
from quell.doctor.judgement import Judgement, Level, Report
from quell.doctor.site import site_of
from quell.runbook.quantities import seconds
from quell.settings import Settings
from quell.telling.lines import Row, layout, write

_MARKS = {Level.OK: ("✓", "green"), Level.WARNING: ("!", "yellow"), Level.ERROR: ("✗", "red")}
LONGEST_S = 300.0


def doctor(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Default: ./quell.yaml if it is there.")] = None,
    database: Annotated[
        str | None, typer.Option("--db", metavar="URL", help="A file (SQLite) or postgresql://…")
    ] = None,
    runbooks: Annotated[
        list[Path] | None, typer.Option("--runbooks", "-r", metavar="PATH", help="A file or folder; repeatable.")
    ] = None,
    timeout: Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long each is waited for.")] = "5s",
    notify: Annotated[bool, typer.Option("--notify", help="Send one test message through each notifier.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for warnings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the checks and their counts as JSON.")] = False,
) -> None:
    """Prove a configuration before the first incident: connections, rights, clocks, disks, drivers, people, runbooks.

    Everything is asked side by side and nothing is changed. With --notify a message that says that it is a test goes
    through each notifier and to each escalation address; without it they are only reached.

    \b
    quell doctor
    quell doctor --config /etc/quell/quell.yaml --strict --json
    quell doctor --notify

    Exits 1 when there are errors (with --strict: or warnings), else 0.
    """
    limit = _limit(timeout)
    settings = overridden(find_settings(config), host=None, port=None, database=database, runbooks=runbooks or ())
    configure_logs(logging.ERROR)
    report = _examined(settings, limit, notify=notify)
    sound = report.is_sound(strict=strict)
    if as_json:
        counts = {level.value: report.count(level) for level in Level}
        checks = [asdict(one) for one in report.judgements]
        print_json({"ok": sound, "counts": counts, "seconds": round(report.seconds, 3), "checks": checks})
    else:
        _print(report)
    leave(0 if sound else 1, within_s=0.0)


def _limit(text: str) -> float:
    try:
        limit = seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from None
    if not isinstance(limit, int | float) or not 0 < limit <= LONGEST_S:
        raise typer.BadParameter(f"more than 0 s and at most {LONGEST_S:g} s", param_hint="--timeout")
    return float(limit)


def _examined(settings: Settings, timeout_s: float, *, notify: bool) -> Report:
    async def run() -> Report:
        site = site_of(settings, timeout_s=timeout_s)
        try:
            return await examine(site, notify=notify)
        finally:
            await site.world.close()

    # Not asyncio.run: at its end it waits for every thread, also for one that hangs in somebody's name server.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(run())
    finally:
        loop.close()


def _print(report: Report) -> None:
    out = sys.stdout
    width = os.get_terminal_size(out.fileno()).columns if out.isatty() else None

    def painted(text: str, style: str) -> str:
        return paint(text, style, stream=out)

    for one in report.judgements:
        out.write(write(layout(_row(one), width=width, time=False), painted, unicode=_shows_unicode()))
    out.write(_summary(report) + "\n")


def _shows_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


def _row(one: Judgement) -> Row:
    mark, style = _MARKS[one.level]
    below = (("expected", one.expected), ("do", one.advice))
    more = tuple(Row(text, label, style="dim") for label, text in below if text)
    return Row(f"{one.looked_at}: {one.found}", one.check, mark, style, more=more)


def _summary(report: Report) -> str:
    errors, warnings = report.count(Level.ERROR), report.count(Level.WARNING)
    said = [counted(errors, "error")] if errors else []
    said += [counted(warnings, "warning")] if warnings else []
    text = f"{counted(len(report.judgements), 'check')}: {' and '.join(said) or 'all is well'}"
    colour = "red" if errors else "yellow" if warnings else "green"
    return paint(f"{text}, in {report.seconds:.1f} s", colour, stream=sys.stdout)
