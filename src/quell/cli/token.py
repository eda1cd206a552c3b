"""``quell token``: make tokens, list and revoke them in the database; get a link to sign in from a running server.

The first three need no server, as the audit needs none: whoever may open the database needs no token. Never does: show
the text of a token a second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from quell.access import DEFAULT_S, Access, opened
from quell.cli.answer import user_name
from quell.cli.client import AsJson, By, Client, Server
from quell.cli.config import find_settings, overridden, shown_database
from quell.cli.group import new_app
from quell.cli.output import counted, print_json, print_table
from quell.incident.access import Role, Token
from quell.runbook.quantities import seconds, spoken

token = new_app(no_args_is_help=True)
COLUMNS = ("token", "name", "role", "tenant", "state", "expires", "last used", "by")

Config = Annotated[Path | None, typer.Option("--config", "-c", help="Default: ./quell.yaml if it is there.")]
Database = Annotated[str | None, typer.Option("--db", metavar="URL", help="A file (SQLite) or postgresql://…")]


@token.callback()
def _group() -> None:
    """Who may do what: viewer, responder, approver, admin, each with everything before it.

    \b
    quell token create ann --role approver
    quell token list
    quell token revoke ann
    quell token link
    """


@contextlib.contextmanager
def _access(config: Path | None, database: str | None, *, begins: bool = False) -> Iterator[tuple[Access, str]]:
    """With the place of the database, as a person reads it."""
    settings = overridden(find_settings(config), host=None, port=None, database=database, runbooks=())
    with opened(settings, begins=begins) as access:
        yield access, shown_database(settings)


@token.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who it is: what they do stands under this name.")],
    role: Annotated[Role, typer.Option("--role", help="What they may.")],
    tenant: Annotated[str | None, typer.Option("--tenant", metavar="NAME", help="They see this tenant alone.")] = None,
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 12h, 90d; at most 366d.")] = spoken(
        DEFAULT_S
    ),
    proxy: Annotated[
        bool, typer.Option("--proxy", help="It speaks for others, whom X-Quell-User names; only for an admin.")
    ] = False,
    by: By = None,
    config: Config = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once.

    \b
    quell token create ann --role approver
    quell token create wallboard --role viewer --tenant acme --for 366d
    quell token create gateway --role admin --proxy

    A running server knows it at once.
    """
    with _access(config, database, begins=True) as (access, place):
        wanted = access.create(name, role, user_name(by), tenant=tenant, lasts_s=seconds(lasts), proxy=proxy)
        made, text = asyncio.run(wanted)
    if as_json:
        print_json(made.told("valid") | {"text": text})
        return
    print(text)
    ends = f"{made.expires_at:%Y-%m-%d %H:%M} UTC"
    sys.stderr.write(f"Token {made.id} of {made.name} ({made.role}) until {ends}, in {place}. It is shown this once.\n")


@token.command(name="list")
def list_(config: Config = None, database: Database = None, as_json: AsJson = False) -> None:
    """Every token and its state.

    \b
    quell token list
    """
    with _access(config, database) as (access, place):
        found = asyncio.run(access.every())
    if as_json:
        print_json({"tokens": [one.told(state) for one, state in found]})
        return
    if found:
        print_table(COLUMNS, [_row(one, state) for one, state in found])
    valid = sum(state == "valid" for _, state in found)
    print(f"{counted(len(found), 'token')}, {valid} valid, in {place}" if found else f"No tokens in {place}.")


def _row(one: Token, state: str) -> list[str]:
    used = f"{one.last_used:%Y-%m-%d %H:%M}" if one.last_used else "-"
    role = f"{one.role} (proxy)" if one.proxy else one.role.value
    return [one.id, one.name, role, one.tenant or "-", state, f"{one.expires_at:%Y-%m-%d}", used, one.created_by]


@token.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="NAME|ID", help="Or local: the sessions that links began.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it stays in the log.")] = "",
    by: By = None,
    config: Config = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Take a token back, and end every session that it began: within seconds, on every server.

    \b
    quell token revoke ann --reason "has left"
    quell token revoke local
    """
    with _access(config, database) as (access, _):
        gone = asyncio.run(access.revoke(which, user_name(by), reason))
    if as_json:
        print_json(gone.told("revoked") if gone else {"name": which, "state": "revoked"})
    else:
        print(f"Token {gone.id} of {gone.name} is revoked." if gone else "Sessions that links began are over.")


@token.command()
def link(server: Server = None, as_json: AsJson = False) -> None:
    """A link by which a browser signs in as you, once, within 15 minutes.

    \b
    quell token link
    """
    with Client(server) as client:
        address = client.address + client.post("/api/v1/sign-in-links")["path"]
    if as_json:
        print_json({"link": address})
    else:
        print(address)
