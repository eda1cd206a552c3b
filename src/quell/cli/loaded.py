"""``quell runbook list`` and ``quell reload``: the runbooks of a running server, the broken ones with their problems.

Never does: read a runbook here; what counts is what the server has.
"""

from __future__ import annotations

from typing import Any

from quell.cli.client import AsJson, Client, Server
from quell.cli.output import counted, print_json, print_problems, print_table
from quell.errors import Problem

COLUMNS = ("id", "severity", "service", "checks", "decisions", "mode", "file")


def list_loaded(server: Server = None, as_json: AsJson = False) -> None:
    """The runbooks that a running server has, broken ones too.

    \b
    quell runbook list
    quell runbook list --json
    """
    with Client(server) as client:
        _print(client.get("/api/v1/runbooks"), as_json)


def reload(server: Server = None, as_json: AsJson = False) -> None:
    """Make a running server read its runbooks again; incidents in flight keep the one they started with.

    \b
    quell reload
    """
    with Client(server) as client:
        _print(client.post("/api/v1/reload"), as_json)


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    plans, broken = answer["runbooks"], answer["broken"]
    if plans:
        print_table(
            ("runbook", *COLUMNS[1:]),
            [[one[name] or "-" for name in COLUMNS] for one in plans],
        )
    for one in broken:
        print_problems(Problem(**problem) for problem in one["problems"])
    print(f"{counted(len(plans), 'runbook')}, {len(broken)} broken" if plans or broken else "No runbooks are loaded.")
