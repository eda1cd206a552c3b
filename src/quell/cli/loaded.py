"""``quell runbook list`` and ``quell reload``: the runbooks of a running server, each with its state and its problems.

Never does: read a runbook here; what counts is what the server has.
"""

from __future__ import annotations

from typing import Any

from quell.cli.client import AsJson, Client, Server
from quell.cli.output import counted, print_json, print_problems, print_table
from quell.errors import Problem

COLUMNS = ("id", "state", "severity", "service", "checks", "decisions", "mode", "file")


def list_loaded(server: Server = None, as_json: AsJson = False) -> None:
    """The runbooks that a running server has, each with its state.

    ok; warnings; problems: errors that a run survives, such as a step that is defined nowhere and pages a person;
    broken: it cannot run.

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
    rows = [[one.get(name) or "-" for name in COLUMNS] for one in [*plans, *broken]]
    if rows:
        print_table(("runbook", *COLUMNS[1:]), rows)
    for one in [*plans, *broken]:
        print_problems(Problem(**problem) for problem in one["problems"])
    print(_summary(len(plans), [one["state"] for one in plans], len(broken)) if rows else "No runbooks are loaded.")


def _summary(runs: int, states: list[str], broken: int) -> str:
    unsound = states.count("problems")
    said = [counted(runs, "runbook"), f"{unsound} with problems" if unsound else "", f"{broken} broken"]
    return ", ".join(part for part in said if part)
