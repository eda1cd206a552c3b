"""Whom a request names hears of it as well as whoever is on call, where the name leads anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quell.incident.event import EventKind
from tests.app import PAGES, House, do, eventually, house, runbook
from tests.fakes.sink import FakeSink

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
OPS = "escalation: {primary: 'webhook:ops'}\n"


def book(act: str) -> str:
    return runbook(FIX, f"- {{id: fix, type: automated, {act}, action: {do('fix', 0)}}}").replace(PAGES, OPS)


def more(sink: FakeSink) -> str:
    hooks = ", ".join(f"{name}: {{type: webhook, url: '{sink.url}/{name}'}}" for name in ("ops", "payments"))
    return f"connections: {{{hooks}}}\nnotifiers: {{dba: {{type: webhook, connection: payments}}}}\n"


async def told(home: House, incident: str, count: int) -> list[tuple[str, bool]]:
    """To whom something was sent, once so many were."""

    async def enough() -> bool:
        return len(await home.told_of(incident, EventKind.NOTIFIED)) >= count

    await eventually(enough, f"{count} messages")
    return sorted((one["to"], one["delivered"]) for one in await home.told_of(incident, EventKind.NOTIFIED))


@pytest.mark.parametrize(
    ("whom", "also"),
    [("dba", ["dba"]), ("'webhook:payments'", ["webhook:payments"]), ("'log:dba'", ["log:dba"]),
     ("'webhook:ops'", []), ("the database team", [])],
)  # fmt: skip
async def test_an_approval_goes_to_whom_it_names_as_well(tmp_path: Path, whom: str, also: list[str]) -> None:
    with FakeSink() as sink:
        text = book(f"approval: {{from: {whom}, expires: 30s}}")
        async with house(tmp_path, text, more=more(sink)) as home:
            incident = await home.fire()
            asked = await home.asked(incident)
            assert await told(home, incident, 1 + len(also)) == sorted((to, True) for to in ["webhook:ops", *also])
            for sent in sink.received:
                assert (sent.json()["asked"]["approval"], sent.json()["asked"]["whom"]) == (
                    asked.approval, whom.strip("'")
                )  # fmt: skip
            await home.app.answer(incident, "approved", "anna")
            await home.over(incident)


async def test_who_cannot_be_reached_keeps_nobody_else_from_hearing(tmp_path: Path) -> None:
    with FakeSink() as sink:
        text = book("approval: {from: 'pagerduty:dba', expires: 30s}")
        async with house(tmp_path, text, more=more(sink)) as home:
            incident = await home.fire()
            assert await told(home, incident, 2) == [("pagerduty:dba", False), ("webhook:ops", True)]
            await home.app.answer(incident, "approved", "anna")
            await home.over(incident)


async def test_what_is_kept_for_now_is_told_and_told_again_when_it_is_due(tmp_path: Path) -> None:
    with FakeSink() as sink:
        async with house(tmp_path, book("revert: {after: 1s, ask: dba}"), more=more(sink)) as home:
            incident = await home.fire()
            await home.over(incident)
            assert await told(home, incident, 4) == [("dba", True)] * 2 + [("webhook:ops", True)] * 2
            texts: list[Any] = [one.json()["text"] for one in sink.received]
            (obligation,) = await home.told_of(incident, EventKind.OBLIGATION_MADE)
            first = f"{obligation['what']}; kept for now, dba is to take it back by "
            assert sum(text.startswith(first) for text in texts) == 2
            assert sum(text.startswith(f"Due now: {first}") for text in texts) == 2


async def test_whom_nobody_knows_how_to_reach_is_named_to_the_primary(tmp_path: Path) -> None:
    with FakeSink() as sink:
        async with house(tmp_path, book("revert: {after: 24h, ask: owner}"), more=more(sink)) as home:
            incident = await home.fire()
            await home.over(incident)
            assert await told(home, incident, 1) == [("webhook:ops", True)]
            assert "kept for now, owner is to take it back by" in sink.received[0].json()["text"]


HOOKS = "incidents-payment: {type: webhook, url: '@1'}, sre: {type: webhook, url: '@2'}"


@pytest.mark.parametrize(
    ("to", "notifiers", "reached"),
    [
        ("webhook:incidents-payment", "", "1"),
        ("webhook:sre", "{pay: {type: webhook, connection: incidents-payment}}", "2"),
        ("webhook:pay", "{pay: {type: webhook, connection: incidents-payment}}", "1"),
        ("webhook:pay", "{pay: {type: webhook, connection: incidents-payment}, x: {type: webhook, connection: sre}}", "1"),
        ("webhook:any", "{pay: {type: webhook, connection: incidents-payment}}", "1"),
        ("webhook:any", "{pay: {type: webhook, connection: incidents-payment}, x: {type: webhook, connection: sre}}",
         "2 notifiers of type webhook; name one of pay, x"),
        ("webhook:any", "", "no connection 'any' of type webhook or http: 2 connections"),
    ],
)  # fmt: skip
async def test_an_address_leads_to_what_is_called_like_it(
    tmp_path: Path, to: str, notifiers: str, reached: str
) -> None:
    with FakeSink() as sink:
        settings = f"connections: {{{HOOKS}}}\n".replace("@", f"{sink.url}/") + (
            f"notifiers: {notifiers}\n" if notifiers else ""
        )
        none = runbook(
            "- {condition: state.value > 900, then: [fix]}", f"- {{id: fix, action: {do('fix', 0)}, type: automated}}"
        )
        async with house(tmp_path, none.replace("log:primary", to), more=settings) as home:
            incident = await home.fire()
            ((_, delivered),) = await told(home, incident, 1)
            (record,) = await home.told_of(incident, EventKind.NOTIFIED)
            went = sink.received[0].path.strip("/") if delivered else record["detail"]
            assert went.startswith(reached)
