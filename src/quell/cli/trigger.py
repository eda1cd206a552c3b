"""``quell trigger``: start a runbook on a running server. Never does: carry it out here."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, By, Client, Server
from quell.cli.follower import Follower
from quell.cli.output import print_json
from quell.cli.report import exit_code, report
from quell.errors import InvalidInput, Problem
from quell.incident.event import Event, EventKind
from quell.runbook.source import load

ANSWER_WITHIN_S = 120.0
"""The server answers when its diagnostics are done, or at a limit of its own."""


def trigger(
    runbook: Annotated[str, typer.Argument(metavar="RUNBOOK", help="The runbook's id.")],
    context: Annotated[
        list[str] | None, typer.Option("--context", metavar="K=V", help="Set a variable of the runbook; repeatable.")
    ] = None,
    service: Annotated[str | None, typer.Option("--service", help="The service it is about.")] = None,
    alert: Annotated[str | None, typer.Option("--alert", help="The alert it is for.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show what happens until it has ended.")] = False,
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Start a runbook on the server.

    \b
    quell trigger checkout-errors
    quell trigger checkout-errors --context region=eu-west-1 --wait

    Exits 0 when it has started. With --wait: 0 when healthy or resolved, 2 when a person is needed, 1 on an error.
    """
    body = {"runbookId": runbook, "alertName": alert, "service": service, "context": pairs(context or [])}
    with Client(server, by=by, timeout_s=ANSWER_WITHIN_S) as client:
        answer = client.post("/incidents/trigger", {name: value for name, value in body.items() if value})
        incident = str(answer.get("incidentId") or answer["execution"]["incidentId"])
        events = _followed(client, incident, as_json) if wait else []
    if as_json:
        print_json(report(events) if wait else answer)
    elif not wait:
        print(f"Incident {incident}: {answer['message']}")
        print(f"quell incidents show {incident}")
    if wait:
        raise typer.Exit(exit_code(report(events)["outcome"]))


def _followed(client: Client, incident: str, as_json: bool) -> list[Event]:
    follower = Follower(sys.stderr if as_json else sys.stdout)
    events: list[Event] = []
    for event in client.events(incident):
        events.append(event)
        follower.feed([event])
        if event.kind is EventKind.RUN_ENDED:
            break
    return events


def pairs(given: list[str]) -> dict[str, Any]:
    """``k=v`` with the value read as YAML. Raises ``InvalidInput`` with every pair that is wrong."""
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for pair in given:
        name, equals, text = pair.partition("=")
        place = f"--context {name}"
        if not equals or not name:
            problems.append(Problem("not a pair", "wrong-value", place, found=repr(pair), expected="NAME=VALUE"))
            continue
        try:
            documents = load(text, place)
            found[name] = documents[0].data if documents else None
        except InvalidInput as error:
            problems += error.problems
    if problems:
        raise InvalidInput(problems)
    return found
