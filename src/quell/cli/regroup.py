"""``quell merge`` and ``quell split``: which alerts are one incident, put right by hand.

Never does: decide what becomes of a run.
"""

from __future__ import annotations

from typing import Annotated

import typer

from quell.cli.client import AsJson, By, Client, Server, name_of
from quell.cli.output import counted, print_json
from quell.telling.lines import clean

Incident = Annotated[str, typer.Argument(metavar="INCIDENT", help="Its id, or a unique beginning of it.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it stands in both timelines.")]


def merge(
    incident: Incident,
    into: Annotated[str, typer.Option("--into", metavar="OTHER", help="The incident that it goes on in.")],
    reason: Reason = "",
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Let one incident go on in another: its alerts are the other's, its run ends.

    \b
    quell merge 01jd3x8m --into 01jd3w2k --reason "the same switch"

    When one of them is over, or something was begun for the one that would end, exits 1 and says so.
    """
    with Client(server, by=by) as client:
        told = client.post(
            f"/api/v1/incidents/{name_of(incident)}/merge", {"into": into, "reason": reason, "by": client.by}
        )
    if as_json:
        print_json(told)
    else:
        firing = counted(len(told["firing"]), "alert")
        print(f"It goes on in incident {told['id']}, where {firing} fire{'s' if len(told['firing']) == 1 else ''} now.")


def split(
    incident: Incident,
    alerts: Annotated[
        list[str],
        typer.Argument(metavar="ALERT [ALERT…]", help="By name, fingerprint (or its beginning) or id."),
    ],
    reason: Reason = "",
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Make alerts of an incident an incident of their own.

    \b
    quell split 01jd3x8m DiskFull --reason "another fault"
    quell split 01jd3x8m 5f0c6a1e 77aa01bc
    """
    with Client(server, by=by) as client:
        told = client.post(
            f"/api/v1/incidents/{name_of(incident)}/split", {"alerts": alerts, "reason": reason, "by": client.by}
        )
    if as_json:
        print_json(told)
    else:
        print(f"{counted(len(alerts), 'alert')} now in incident {told['id']}: {clean(told['title'])}")
