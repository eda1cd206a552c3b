"""``quell incidents``: the list, one incident as a page, its timeline. Never does: change anything."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from quell.cli.client import AsJson, Client, Server
from quell.cli.follower import Follower, terminal_width, written
from quell.cli.group import new_app
from quell.cli.output import paint, print_json, print_table
from quell.cli.page import ago, page
from quell.incident.event import Event, EventKind
from quell.incident.incident import ENDED, Incident, Status, fold
from quell.telling.lines import clean

incidents = new_app(no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, or a unique beginning of it.")]


@incidents.callback()
def _group() -> None:
    """Incidents of a running server: list them, show one, follow it.

    \b
    quell incidents list --status waiting_approval
    quell incidents show 01jd3x8m
    quell incidents timeline 01jd3x8m --follow
    """


@incidents.command("list")
def list_(
    status: Annotated[Status | None, typer.Option("--status", help="Only those in this status.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most so many, newest first.")] = 20,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """The newest incidents.

    \b
    quell incidents list
    quell incidents list --open --limit 500
    quell incidents list --status waiting_approval --json
    """
    with Client(server) as client:
        named = status.value if status else None
        answer = client.get("/api/v1/incidents", limit=limit, status=named, open=True if open_ else None)
    if as_json:
        print_json(answer)
        return
    found = [Incident.model_validate(one) for one in answer["incidents"]]
    if not found:
        which = status.value.replace("_", " ") if status else "open" if open_ else ""
        print(f"No incidents are {which}." if which else "No incidents.")
        return
    now = datetime.now(UTC)
    print_table(
        ("incident", "opened", "status", "sev", "service", "runbook", "title"),
        [_cells(one, now) for one in found],
    )


def _cells(one: Incident, now: datetime) -> tuple[str, ...]:
    status = one.status.value.replace("_", " ") + (f" ({one.assignee})" if one.assignee else "")
    named = (one.service or "-", one.runbook or "-", one.title)
    return (one.id, ago(one.opened_at, now), clean(status), one.severity, *map(clean, named))


@incidents.command()
def show(incident: Id, server: Server = None, as_json: AsJson = False) -> None:
    """Where an incident stands, what waits for you, what was seen, decided and done.

    \b
    quell incidents show 01jd3x8m
    """
    with Client(server) as client:
        events = client.timeline(incident)
        if as_json:
            print_json(client.get(f"/api/v1/incidents/{events[0].stream_id}"))
            return
    _print_page(events)


def _print_page(events: Sequence[Event]) -> None:
    out, width = sys.stdout, terminal_width(sys.stdout)
    sentence, facts, sections = page(events, datetime.now(UTC))
    # What an alert says is among them, and must not steer the terminal.
    out.write(paint(clean(sentence), "bold", stream=out) + "\n" + paint(clean(facts), "dim", stream=out) + "\n")
    for section in sections:
        out.write("\n" + paint(section.title, "cyan", stream=out) + "\n")
        for row in section.rows:
            out.write(written(row, out, width=width, time=False))


@incidents.command()
def timeline(
    incident: Id,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as things happen, until it has ended.")] = False,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Everything that happened, in order. With --json and --follow one event a line.

    \b
    quell incidents timeline 01jd3x8m
    quell incidents timeline 01jd3x8m --follow
    """
    follower = Follower(sys.stdout, by_the_clock=True)
    with Client(server) as client:
        if not follow:
            events = client.timeline(incident)
            if as_json:
                print_json({"events": events})
            else:
                follower.feed(events)
            return
        told: list[Event] = []
        for event in client.events(incident):
            if as_json:
                print(event.model_dump_json(), flush=True)
            else:
                follower.feed([event])
            told.append(event)
            if is_over(told):
                return


_BEGUN = (EventKind.RUN_QUEUED, EventKind.RUN_STARTED)


def is_over(events: Sequence[Event]) -> bool:
    """Nothing more will happen by itself: it has ended, and so has the run that was under way."""
    begun = {event.payload["number"] for event in events if event.kind in _BEGUN}
    ended = {event.payload["number"] for event in events if event.kind is EventKind.RUN_ENDED}
    return begun <= ended and fold(events).status in ENDED
