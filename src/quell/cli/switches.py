"""``quell pause``, ``resume``, ``pauses``, ``breakers`` and ``reset``: what stops actions on a running server.

Never does: decide what a pause covers, or how often is too often.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from quell.cli.client import AsJson, By, Client, Server, name_of
from quell.cli.output import counted, print_json, print_table
from quell.errors import InvalidInput, Problem

SCOPES = ("tenant", "service", "runbook", "action")
COLUMNS = ("pause", "what", "until", "by", "reason")

All = Annotated[bool, typer.Option("--all", help="Everything, of every tenant.")]
Tenant = Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="What is this tenant's.")]
Service = Annotated[str | None, typer.Option("--service", metavar="NAME", help="What acts on this service.")]
Runbook = Annotated[str | None, typer.Option("--runbook", metavar="ID", help="What this runbook does.")]
Action = Annotated[str | None, typer.Option("--action", metavar="TYPE", help="Actions of this type.")]


def pause(
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; whoever is paged is told.")],
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 30m, 2h, 1d; at most 30d.")],
    everything: All = False,
    tenant: Tenant = None,
    service: Service = None,
    runbook: Runbook = None,
    action: Action = None,
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Stop what acts: from now on no such action runs, until the time is over or somebody resumes.

    Alerts are still taken in, looked at and paged. What is being done right now is finished.

    \b
    quell pause --all --for 2h --reason "the network is being moved"
    quell pause --service payment --for 30m --reason "we are in there by hand"
    quell pause --action rollback --for 1d --reason "v12 must not come back"
    """
    scope, name = _scope(everything, tenant, service, runbook, action)
    if scope is None:
        raise typer.BadParameter(f"say what: --all or one of {_options()}", param_hint="--all")
    with Client(server, by=by) as client:
        told = client.post(
            "/api/v1/pauses", {"scope": scope, "name": name, "for": lasts, "reason": reason, "by": client.by}
        )  # fmt: skip
    _told(told, as_json, f"{told.get('says')}\nEnd it sooner with: quell resume {told.get('id')}")


def resume(
    pause: Annotated[str | None, typer.Argument(metavar="[ID]", help="Which; may be left out when one is on.")] = None,
    everything: All = False,
    tenant: Tenant = None,
    service: Service = None,
    runbook: Runbook = None,
    action: Action = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it is kept.")] = "",
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Let what was paused act again.

    \b
    quell resume
    quell resume 3f2a9c01
    quell resume --service payment
    """
    scope, name = _scope(everything, tenant, service, runbook, action)
    if pause and scope:
        raise typer.BadParameter("name the pause or what is paused, not both", param_hint="ID")
    with Client(server, by=by) as client:
        asked = {"pause": pause, "scope": scope, "name": name, "reason": reason, "by": client.by}
        told = client.post("/api/v1/pauses/resume", {key: value for key, value in asked.items() if value})
    ended = told["resumed"]
    _told(told, as_json, "\n".join(f"Resumed: {one['what']}." for one in ended))


def pauses(server: Server = None, as_json: AsJson = False) -> None:
    """What is paused now.

    \b
    quell pauses
    """
    with Client(server) as client:
        told = client.get("/api/v1/pauses")
    found = told["pauses"]
    rows = [[one["id"], one["what"], one["until"], one["by"], one["reason"]] for one in found]
    if rows and not as_json:
        print_table(COLUMNS, rows)
    _told(told, as_json, f"{counted(len(rows), 'pause')} on" if rows else "Nothing is paused.")


def breakers(server: Server = None, as_json: AsJson = False) -> None:
    """Which services were repaired lately; from so many times on a person is asked before the next.

    \b
    quell breakers
    """
    with Client(server) as client:
        told = client.get("/api/v1/breakers")
    rows = [
        [one["service"], str(one["count"]), str(one["after"]), "asks a person" if one["tripped"] else "acts"]
        for one in told["breakers"]
    ]
    if rows and not as_json:
        print_table(("service", "repaired", "asks from", "now"), rows)
    _told(told, as_json, "" if rows else "No service was repaired lately.")


def reset(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The service.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="What was found; it stays in the log.")],
    by: By = None,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Let a service be repaired by itself again, that was repaired too often.

    \b
    quell reset payment --reason "the leak is fixed in v13"
    """
    with Client(server, by=by) as client:
        told = client.say(f"/api/v1/breakers/{name_of(service)}/reset", reason)
    _told(told, as_json, f"{service} is repaired by itself again; it is counted anew.")


def _scope(
    everything: bool, tenant: str | None, service: str | None, runbook: str | None, action: str | None
) -> tuple[str | None, str]:
    given = {name: value for name, value in zip(SCOPES, (tenant, service, runbook, action), strict=True) if value}
    if len(given) + everything > 1:
        said = ", ".join((["--all"] if everything else []) + [f"--{name}" for name in given])
        raise InvalidInput([Problem(f"{said}: one pause is for one of them", "pause-scope", expected=_options())])
    if everything:
        return "all", ""
    return next(iter(given.items()), (None, ""))


def _options() -> str:
    return ", ".join(f"--{name}" for name in SCOPES)


def _told(told: Any, as_json: bool, text: str) -> None:
    if as_json:
        print_json(told)
    elif text:
        print(text)
