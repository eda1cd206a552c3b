"""``quell route test``: what would follow from an alert, before there is one. Never does: send it anywhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from quell.cli.client import AsJson, Client
from quell.cli.config import find_settings, overridden
from quell.cli.group import new_app
from quell.cli.output import counted, paint, print_json
from quell.cli.reading import STDIN, read, shown, vocabulary
from quell.errors import InvalidInput, Problem
from quell.incident.imagined import Imagined
from quell.library import Library, load_library
from quell.rehearsal import rehearse
from quell.runbook.invalid import problems_of
from quell.runbook.source import Document, load
from quell.telling.foreseen import Foreseen, Looked, foreseen
from quell.telling.lines import clean

NOBODY = 2
"""As ``quell run`` ends where a person is needed."""
route = new_app(no_args_is_help=True)


@route.callback()
def _group() -> None:
    """Which runbook an alert is for, and why.

    \b
    quell route test --label alertname=HighLatency --label service=payment
    """


@route.command("test")
def ask(
    labels: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="NAME=VALUE", help="A label; repeatable.")
    ] = None,
    severity: Annotated[str | None, typer.Option("--severity", help="P1 to P4, or a word such as critical.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="The source, as the configuration calls it. Default: alertmanager.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="The alert as JSON or YAML, or - for stdin.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Default: ./quell.yaml if it is there.")] = None,
    runbooks: Annotated[
        list[Path] | None, typer.Option("--runbooks", "-r", metavar="PATH", help="Instead of the configuration's.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="Ask this server, with all that it knows.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What would follow from an alert, without a real one: the runbook and why, every other one and why not, and
    whether it would open an incident, join one, or be held.

    Without --server it is held against the configuration and the runbooks alone, as if nothing had ever happened: no
    incident is open, nothing else fires, nobody has made a silence. A file holds one alert: labels, and what else is
    known of it (name, severity, source, service, environment, region, status).

    \b
    quell route test --label alertname=HighLatency --label service=payment --severity P1
    quell route test --file alert.json --source prod
    quell route test --label alertname=HighLatency --server http://127.0.0.1:8470 --json

    Exits 0 when a runbook is meant, 2 when none is and a person would be needed, 1 on an error.
    """
    imagined = _imagined(file, labels or [], severity, source)
    if server is not None:
        with Client(server) as client:
            answer = client.post("/api/v1/route/test", imagined.model_dump(mode="json"))
        found, by = Foreseen.model_validate(answer), f"{client.address}, with all that it knows at this moment"
    else:
        found, by = _offline(imagined, config, runbooks or [])
    if as_json:
        print_json(found)
    else:
        _print(found, by)
    if found.runbook is None:
        raise typer.Exit(NOBODY)


def _offline(imagined: Imagined, config: Path | None, runbooks: Sequence[Path]) -> tuple[Foreseen, str]:
    settings = overridden(find_settings(config), host=None, port=None, database=None, runbooks=runbooks)
    library = load_library(settings.runbook_paths, vocabulary(config))
    _tell_broken(library)
    why = rehearse(settings, library.plans.values(), imagined)
    by = f"the configuration and {counted(len(library.plans), 'runbook')} alone, as if nothing had happened: no "
    return foreseen(why, "configuration"), by + "incident is open, nothing else fires, nobody has made a silence"


def _tell_broken(library: Library) -> None:
    for entry in library.broken:
        named = f"{entry.runbook} ({entry.file})" if entry.runbook else entry.file
        sys.stderr.write(f"quell: left out, it is broken: {named}; quell lint says why\n")


def _imagined(file: str | None, labels: Sequence[str], severity: str | None, source: str | None) -> Imagined:
    """The alert of the file, with what the options say over it. Raises ``InvalidInput`` with every fault."""
    document = _document(file) if file is not None else Document({}, file="command line")
    problems: list[Problem] = []
    over: dict[str, str] = {}
    for pair in labels:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            wrong = Problem("not a pair", "wrong-value", "--label", found=repr(pair), expected="NAME=VALUE")
            problems.append(wrong)
        over[name] = value
    data: dict[str, Any] = dict(document.data)
    own = data.get("labels")
    if over:
        data["labels"] = {**own, **over} if isinstance(own, dict) else over
    data |= {key: value for key, value in (("severity", severity), ("source", source)) if value is not None}
    try:
        imagined = Imagined.model_validate(data)
    except ValidationError as error:
        problems += problems_of(error, Document(data, document.places, document.file, document.insets), Imagined)
        raise InvalidInput(problems) from None
    if problems:
        raise InvalidInput(problems)
    return imagined


def _document(file: str) -> Document:
    text = read(file)
    if isinstance(text, Problem):
        raise InvalidInput([text])
    documents = load(text, shown(file) if file == STDIN else file)
    if len(documents) != 1 or not isinstance(documents[0].data, dict):
        expected = "an object with labels, and what else is known of it"
        raise InvalidInput([Problem("it does not hold one alert", "wrong-value", shown(file), expected=expected)])
    return documents[0]


def _print(found: Foreseen, by: str) -> None:
    alert = found.alert
    about = f", about {alert['service']}" if alert.get("service") else ""
    print(paint(clean(f"{alert['name']} from {alert['source']}{about}"), "bold", stream=sys.stdout))
    for name, text in [*found.rows, ("by", by)]:
        print(f"  {name:<9} {clean(text)}")
    _looked("Runbooks", found.candidates)
    _looked("Rules", found.rules)


def _looked(title: str, rows: Sequence[Looked]) -> None:
    if not rows:
        return
    print(f"\n{paint(title, 'bold', stream=sys.stdout)}")
    width = min(max(len(one.name) for one in rows), 40)
    for one in rows:
        mark = paint("✓", "green", stream=sys.stdout) if one.matches else "✗"
        print(f"  {mark} {clean(one.name):<{width}}  {clean(one.why)}")
