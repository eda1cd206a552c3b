"""What people say to a running server: yes, no, mine, yours, seen, over. Never does: decide what follows from it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, By, Client, Server, name_of
from quell.cli.output import print_json

Approval = Annotated[
    str, typer.Argument(metavar="ID", help="The approval, its hash, or the incident when only one waits.")
]
Incident = Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, or a unique beginning of it.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in the timeline.")]


def approve(
    approval: Approval, reason: Reason = "", by: By = None, server: Server = None, as_json: AsJson = False
) -> None:
    """Say yes to an action that waits.

    \b
    quell approve 3f2a9c01d4e5
    quell approve 01jd3x8m --reason "agreed with the database team"

    When somebody was faster, exits 1 and says who.
    """
    _answered("approve", approval, reason, by, server, as_json)


def deny(
    approval: Approval, reason: Reason = "", by: By = None, server: Server = None, as_json: AsJson = False
) -> None:
    """Say no to an action that waits; a person is paged.

    \b
    quell deny 3f2a9c01d4e5 --reason "a migration is running"

    When somebody was faster, exits 1 and says who.
    """
    _answered("deny", approval, reason, by, server, as_json)


def take(
    incident: Incident, reason: Reason = "", by: By = None, server: Server = None, as_json: AsJson = False
) -> None:
    """Take an incident over: nothing new is done by itself, approvals that wait are withdrawn.

    \b
    quell take 01jd3x8m
    """
    told = _incident(incident, "take", reason, by, server, as_json)
    _say(as_json, f"{told.get('assignee')} has incident {told.get('id')}: nothing new is done by itself.")


def give_back(
    incident: Incident, reason: Reason = "", by: By = None, server: Server = None, as_json: AsJson = False
) -> None:
    """Give an incident back that you took over.

    \b
    quell give-back 01jd3x8m
    """
    told = _incident(incident, "return", reason, by, server, as_json)
    _say(as_json, f"Incident {told.get('id')} is given back.")


def ack(incident: Incident, by: By = None, server: Server = None, as_json: AsJson = False) -> None:
    """Say that you have seen it: nobody else is paged.

    \b
    quell ack 01jd3x8m
    """
    told = _incident(incident, "ack", "", by, server, as_json)
    _say(as_json, f"Acknowledged by {told.get('acknowledged_by')}: nobody else is paged for {told.get('id')}.")


def resolve(
    incident: Incident, reason: Reason = "", by: By = None, server: Server = None, as_json: AsJson = False
) -> None:
    """Say that an incident is over.

    \b
    quell resolve 01jd3x8m --reason "the provider fixed it"
    """
    told = _incident(incident, "resolve", reason, by, server, as_json)
    _say(as_json, f"Incident {told.get('id')} is resolved: {told.get('reason')}.")


def _answered(word: str, approval: str, reason: str, by: str | None, server: str | None, as_json: bool) -> None:
    with Client(server, by=by) as client:
        told = client.say(f"/api/v1/approvals/{name_of(approval)}/{word}", reason)
    if as_json:
        print_json(told)
    elif told.get("answer") == "waiting":
        print(f"Noted for {told['approval']}; another person is needed.")
    else:
        follow = f"quell incidents timeline {told['incident']} --follow"
        print(f"{str(told['answer']).capitalize()} by {told['by']}; now: {follow}")


def _incident(
    incident: str, word: str, reason: str, by: str | None, server: str | None, as_json: bool
) -> dict[str, Any]:
    path = f"/api/v1/incidents/{name_of(incident)}/{word}"
    with Client(server, by=by) as client:
        told: dict[str, Any] = client.say(path, reason)
    if as_json:
        print_json(told)
    return told


def _say(as_json: bool, text: str) -> None:
    if not as_json:
        print(text)
