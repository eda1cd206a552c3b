"""``quell run``: one runbook now, in this process, without a server.

Never does: leave a database, a process or an unanswered question behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from quell.app import App, Context
from quell.cli.answer import Agreed, Answerer, Nobody, Terminal, user_name
from quell.cli.attend import Attendant
from quell.cli.config import configure_logs, find_settings
from quell.cli.follower import Follower
from quell.cli.output import print_json, print_problems
from quell.cli.reading import read, shown
from quell.cli.report import exit_code, report
from quell.errors import InvalidInput, NotFound, Problem, QuellError
from quell.incident.event import Event, EventKind
from quell.runbook.compile import Compiled, compile_text
from quell.runbook.plan import Plan
from quell.runbook.source import load
from quell.runbook.vocabulary import Vocabulary, nearest
from quell.settings import Settings
from quell.telling.lines import Row
from quell.telling.rows import OUTCOME

POLL_S = 0.2
"""Nobody else works on this database, so looking often costs nobody anything."""
LAST_LOOK_S = 5.0
"""How long a run that is cut off may take to say what it had begun."""


def run(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A runbook, or - for stdin.")],
    runbook: Annotated[str | None, typer.Option("--id", help="Which one, when the file holds several.")] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Set a variable of the runbook; repeatable.")
    ] = None,
    service: Annotated[str | None, typer.Option("--service", help="The service it is about.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look and decide; show what would be done.")] = False,
    approve: Annotated[bool, typer.Option("--approve", help="Say yes to every action that asks.")] = False,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Default: ./quell.yaml if it is there.")] = None,
    database: Annotated[str | None, typer.Option("--db", help="Keep the incident in this database.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Your name. Default: $QUELL_USER or the login name.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document; the timeline goes to stderr.")
    ] = False,
) -> None:
    """Run one runbook now: diagnose, decide, act, verify. No server is needed.

    Approvals are asked for at the terminal. Without a terminal the answer is no, unless --approve is given.
    What escalates goes to the notifiers of the configuration, or to the log.

    \b
    quell run checkout-errors.yaml
    quell run checkout-errors.yaml --dry-run
    quell run runbooks.yaml --id checkout-errors --set region=eu-west-1 --approve --json

    Exits 0 when healthy, resolved or at the end of a dry run, 2 when a person is needed, 1 on an error.
    """
    settings = find_settings(config)
    out = sys.stderr if as_json else sys.stdout
    # At a terminal the timeline tells all of it; the same as log lines would only interrupt it.
    configure_logs(logging.CRITICAL if out.isatty() else logging.WARNING)
    name = user_name(by)
    with _database(database) as url:
        app = App(settings.model_copy(update={"database": url, "runbooks": (), "engine": _engine(settings)}))
        plan = _chosen(file, runbook, app.vocabulary)
        variables = variables_of(plan, sets or [])
        answerer = _answerer(approve, out)
        follower = Follower(out)
        work = _carry_out(app, plan, follower, answerer,
                          service=service, variables=variables, by=name, dry_run=dry_run)  # fmt: skip
        events = _finished(work)
    told = report(events)
    outcome = told["outcome"] or ("dry_run" if dry_run else "stopped")
    if as_json:
        print_json({**told, "outcome": outcome})
    else:
        follower.say(last_sentence(outcome, told))
    raise typer.Exit(exit_code(outcome))


async def _carry_out(
    app: App, plan: Plan, follower: Follower, answerer: Answerer, *, service: str | None,
    variables: Mapping[str, Any], by: str, dry_run: bool,
) -> list[Event]:  # fmt: skip
    stop = asyncio.current_task()
    assert stop is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.cancel)
    attendant = Attendant(app, follower, answerer, by=by, dry_run=dry_run)
    await app.start()
    context = None
    try:
        mode = "dry_run" if dry_run else None
        context = await app.trigger(plan, service=service, variables=dict(variables), actor=by, mode=mode)
        return await attendant.attend(context)
    finally:
        _warn_of_intents(await _log(app, context, attendant.events))
        await app.stop()


async def _log(app: App, context: Context | None, read: list[Event]) -> list[Event]:
    """Once more from the log: when a run is cut off, what was heard of last may not have been read yet."""
    if context is not None:
        with contextlib.suppress(QuellError, TimeoutError):
            async with asyncio.timeout(LAST_LOOK_S):
                return list(await app.timeline(context.incident))
    return read


def _finished(work: Any) -> list[Event]:
    try:
        result: list[Event] = asyncio.run(work)
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None
    return result


def _warn_of_intents(events: Sequence[Event]) -> None:
    """Told when the run is cut off: an action that has begun may or may not come to its end."""
    if any(event.kind is EventKind.RUN_ENDED for event in events):
        return
    ended = {event.node for event in events if event.kind is EventKind.ACTION_FINISHED}
    for event in events:
        if event.kind is EventKind.ACTION_INTENDED and event.node not in ended:
            sys.stderr.write(f"quell: cut off while this was being done: {event.payload['call']}\n")


@contextlib.contextmanager
def _database(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="quell-run-", ignore_cleanup_errors=True) as folder:
        yield str(Path(folder) / "quell.db")


def _engine(settings: Settings) -> Any:
    return settings.engine.model_copy(update={"poll": min(settings.engine.poll, POLL_S)})


def _answerer(approve: bool, out: Any) -> Answerer:
    if approve:
        return Agreed()
    return Terminal(out) if sys.stdin.isatty() and out.isatty() else Nobody()


def _chosen(file: str, wanted: str | None, vocabulary: Vocabulary) -> Plan:
    """The runbook to run. What is wrong with it is raised, or told on stderr when it can run all the same."""
    text = read(file)
    if isinstance(text, Problem):
        raise InvalidInput([text])
    documents = compile_text(text, shown(file), vocabulary)
    found = [one for one in documents if wanted is None or (one.plan and one.plan.id == wanted)]
    if wanted is not None and not found:
        raise _unknown(wanted, documents)
    if len(found) > 1:
        names = ", ".join(one.plan.id for one in found if one.plan)
        several = "several runbooks, and a run carries out one"
        raise InvalidInput([Problem(several, "several", shown(file), expected=f"--id with one of {names}")])
    [chosen] = found
    if chosen.plan is None or not chosen.runnable:
        raise InvalidInput(chosen.problems)
    print_problems(chosen.problems, {shown(file): text}, stream=sys.stderr)
    return chosen.plan


def _unknown(wanted: str, documents: Sequence[Compiled]) -> Exception:
    known = [one.plan.id for one in documents if one.plan]
    if not known:
        return InvalidInput([problem for one in documents for problem in one.problems])
    return NotFound("runbook", wanted, nearest(wanted, known))


def variables_of(plan: Plan, sets: Sequence[str]) -> dict[str, Any]:
    """``k=v`` pairs as variables of the Plan; a value is read as YAML, as text where the Plan has text.

    Raises ``InvalidInput`` with every pair that is wrong.
    """
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for pair in sets:
        name, equals, text = pair.partition("=")
        place = f"--set {name}"
        if not equals or not name:
            problems.append(Problem("not a pair", "wrong-value", place, found=repr(pair), expected="NAME=VALUE"))
        elif name not in plan.variables:
            problems.append(_no_variable(plan, name, place))
        else:
            found[name] = _value(text, plan.variables[name], place, problems)
    if problems:
        raise InvalidInput(problems)
    return found


def _no_variable(plan: Plan, name: str, place: str) -> Problem:
    known = f"one of {', '.join(sorted(plan.variables))}" if plan.variables else None
    said = f"runbook {plan.id!r} has no variable {name!r}"
    return Problem(said, "unknown-variable", place, expected=known, nearest=nearest(name, plan.variables))


def _value(text: str, default: Any, place: str, problems: list[Problem]) -> Any:
    """The text as a value of the kind that the default is."""
    if isinstance(default, str):
        return text
    try:
        documents = load(text, place)
        value = documents[0].data if documents else None
    except InvalidInput as error:
        problems += error.problems
        return None
    if default is not None and _kind(value) != _kind(default):
        problems.append(Problem("of another type", "wrong-value", place, found=repr(text), expected=_kind(default)))
    return value


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    names = {int: "a number", float: "a number", list: "a list", dict: "a mapping", str: "a text"}
    return names.get(type(value), "nothing")


def last_sentence(outcome: str, told: Mapping[str, Any]) -> Row:
    """How it ended, for the last line."""
    mark, style = OUTCOME.get(outcome, ("!", "yellow"))
    said = {
        "healthy": "Healthy, nothing had to be done.", "resolved": "Resolved.", "mitigated": "Mitigated, not over.",
        "escalated": "A person is needed.", "stopped": "Stopped.", "dry_run": "Dry run: nothing was changed.",
    }.get(outcome, outcome)  # fmt: skip
    return Row(said, outcome.replace("_", " "), mark, style)
