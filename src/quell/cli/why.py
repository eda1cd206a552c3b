"""``quell why``: why something happened with an alert or an incident, or did not. Never does: judge anew, change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, Client, Missing, Server, name_of
from quell.cli.follower import terminal_width, written
from quell.cli.output import paint, print_json
from quell.telling.explained import Block, alert_blocks, headline, incident_blocks, incident_headline
from quell.telling.lines import LABEL, clean

LONGEST_INCIDENT = 100

Named = Annotated[
    str,
    typer.Argument(
        metavar="ALERT|INCIDENT",
        help="An incident's id or its beginning; else an alert's id, fingerprint or the beginning of one, or name.",
    ),
]


def why(name: Named, server: Server = None, as_json: AsJson = False) -> None:
    """Why something happened with an alert or an incident, or did not: what came and who sent it, each rule that was
    tried with what decided, what followed, what the guards said, who was told.

    \b
    quell why HighErrorRate
    quell why 9f2c41d0
    quell why 01jd3x8m --json
    """
    with Client(server) as client:
        answer = _asked(client, name)
    if as_json:
        print_json(answer)
    elif "tried" in answer:
        print_blocks(headline(answer), alert_blocks(answer, datetime.now(UTC)))
    else:
        print_blocks(incident_headline(answer), incident_blocks(answer))
        print(f"\nquell why ALERT says more of one of them; quell incidents show {answer['incident']['id']}")


def _asked(client: Client, name: str) -> Any:
    """Raises ``Missing`` that says what neither was."""
    no_incident = "an incident's id is not that long"
    if len(name) <= LONGEST_INCIDENT:
        try:
            return client.get(f"/api/v1/incidents/{name_of(name)}/why")
        except Missing as error:
            no_incident = str(error)
    try:
        return client.get(f"/api/v1/alerts/{name_of(name)}/why")
    except Missing as error:
        raise Missing(f"neither an incident ({no_incident}) nor an alert ({error})") from None


def print_blocks(says: str, blocks: Sequence[Block]) -> None:
    out, width = sys.stdout, terminal_width(sys.stdout)
    out.write(paint(clean(says), "bold", stream=out) + "\n")
    for block in blocks:
        out.write("\n" + paint(block.title, "cyan", stream=out) + "\n")
        for row in block.rows:
            # A label that is longer than its column would run into the text.
            label = f"{row.label}:" if len(row.label) > LABEL else row.label
            out.write(written(replace(row, label=label), out, width=width, time=False))
