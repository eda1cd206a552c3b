"""What whoever has an incident in hand says to a running server: done by hand, yours now, break the glass, closed.

Never does: decide what follows from it.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, By, Client, Server, name_of
from quell.cli.group import new_app
from quell.cli.output import counted, print_json, print_table
from quell.cli.people import Incident, Reason
from quell.runbook.quantities import spoken

Note = Annotated[str, typer.Option("--note", "-n", help="What whoever reads it must know.")]
obligations = new_app(invoke_without_command=True)


def step(
    incident: Incident,
    what: Annotated[str, typer.Argument(metavar="STEP", help="A step of the runbook by its id, or your own words.")],
    failed: Annotated[bool, typer.Option("--failed", help="It did not work.")] = False,
    note: Note = "",
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Record what you did by hand, so that the log and the next shift know.

    \b
    quell step 01jd3x8m roll_back
    quell step 01jd3x8m "restarted the pooler" --failed --note "it ran out of memory again"
    """
    result = "failed" if failed else "done"
    told = _post(incident, "steps", {"step": what, "result": result, "note": note}, by, server, as_json)
    if not as_json:
        print(f"Noted for {told['id']}: {what} {result}.")


def hand_over(
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="Who has it from now on, once they take it.")],
    incident: Annotated[
        str | None, typer.Argument(metavar="[INCIDENT]", help="Left out: every one that you have.")
    ] = None,
    note: Note = "",
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Hand over at a shift's end, with what was tried, what is pending and what is left in place.

    It stays with you until they take it (`quell take`, or `quell ack` where it was only acknowledged).

    \b
    quell hand-over 01jd3x8m --to bob --note "the vendor calls back at 9"
    quell hand-over --to bob
    """
    with Client(server, by=by) as client:
        names = [incident] if incident else _mine(client)
        body = {"to": to, "note": note, "by": client.by}
        told = [client.post(f"/api/v1/incidents/{name_of(one)}/hand-over", body) for one in names]
        logs = [client.timeline(one["id"]) for one in told] if not as_json else []
    if as_json:
        print_json({"handed_over": told})
        return
    for one, log in zip(told, logs, strict=True):
        last = next(event.payload for event in reversed(log) if event.kind.value == "incident.handed_over")
        print(f"{one['id']} {one['title']}: handed over to {to}, who accepts with: quell take {one['id']}")
        for title, name in (("tried", "tried"), ("pending", "pending"), ("left in place", "left")):
            for line in last.get(name, ()):
                print(f"  {title:<14} {line}")
    if not told:
        print("You have no incident to hand over.")


def _mine(client: Client) -> list[str]:
    found = client.get("/api/v1/incidents", limit=500, open="true")["incidents"]
    me = client.by.casefold()
    return [one["id"] for one in found if (one["assignee"] or one["acknowledged_by"] or "").casefold() == me]


def break_glass(
    incident: Incident,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; whoever is paged is told.")],
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 15m, 1h; at most 4h.")] = "15m",
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """For one incident let no pause, freeze or window of hours count, for a while.

    What may be done and how much of it stays limited, and what needs a yes still asks. It is recorded, and whoever is
    paged is told. A run that had given up is started again.

    \b
    quell break-glass 01jd3x8m --reason "customers cannot pay; the freeze is for deploys" --for 30m
    """
    told = _post(incident, "break-glass", {"reason": reason, "for": lasts}, by, server, as_json)
    if not as_json:
        print(
            f"Until {told['override']['until'][:16].replace('T', ' ')} UTC nothing holds {told['id']} up by the clock."
        )


def close(
    incident: Incident, reason: Reason = "", by: By = None, server: Server = None, as_json: AsJson = False
) -> None:
    """Close a resolved incident for good. What is still kept for now stops it.

    \b
    quell close 01jd3x8m --reason "postmortem is written"
    """
    told = _post(incident, "close", {"reason": reason}, by, server, as_json)
    if not as_json:
        print(f"Incident {told['id']} is closed.")


def _post(
    incident: str, word: str, body: dict[str, Any], by: str | None, server: str | None, as_json: bool
) -> dict[str, Any]:
    with Client(server, by=by) as client:
        told: dict[str, Any] = client.post(f"/api/v1/incidents/{name_of(incident)}/{word}", {**body, "by": client.by})
    if as_json:
        print_json(told)
    return told


@obligations.callback()
def listed(context: typer.Context, server: Server = None, as_json: AsJson = False) -> None:
    """What is kept for now, and when its owner is asked whether to take it back.

    \b
    quell obligations
    quell obligations end "run:01jd3x8m.1/scale/1/" --reverted
    """
    if context.invoked_subcommand is not None:
        return
    with Client(server) as client:
        told = client.get("/api/v1/obligations")
    found = told["obligations"]
    if as_json:
        print_json(told)
        return
    if found:
        print_table(
            ("obligation", "incident", "what", "owner", "asked at"),
            [[one["id"], one["incident"], one["what"], one["owner"], one["revert_at"]] for one in found],
        )
    print(counted(len(found), "change") + " kept for now" if found else "Nothing is kept for now.")


@obligations.command("end")
def end(
    obligation: Annotated[str, typer.Argument(metavar="OBLIGATION", help="Its id, as the list has it.")],
    kept: Annotated[bool, typer.Option("--kept", help="It stays for good.")] = False,
    reverted: Annotated[bool, typer.Option("--reverted", help="It was taken back by hand.")] = False,
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Say what became of a change that was kept for now.

    \b
    quell obligations end "run:01jd3x8m.1/scale/1/" --kept
    """
    if kept == reverted:
        raise typer.BadParameter("say either --kept or --reverted", param_hint="--kept")
    how = "kept" if kept else "reverted"
    with Client(server, by=by) as client:
        told = client.post("/api/v1/obligations/end", {"obligation": obligation, "how": how, "by": client.by})
    if as_json:
        print_json(told)
    else:
        print(f"{obligation}: {how}.")


def shadow(server: Server = None, as_json: AsJson = False) -> None:
    """How the runbooks that run in shadow mode compare with what people did.

    \b
    quell shadow
    """
    with Client(server) as client:
        told = client.get("/api/v1/shadow")
    if as_json:
        print_json(told)
        return
    rows = [
        [one["runbook"], str(one["runs"]), str(one["same"]), str(one["other"]), str(one["cannot_tell"]),
         str(one["pending"]), spoken(round(one["median_s"])) if one["median_s"] is not None else "-"]
        for one in told["runbooks"]
    ]  # fmt: skip
    if rows:
        print_table(("runbook", "runs", "same", "other", "cannot tell", "not over", "people took"), rows)
    print(counted(len(rows), "runbook") + " in shadow mode" if rows else "No runbook has run in shadow mode.")
