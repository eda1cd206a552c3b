"""Whom a request names hears of it as well as whoever is on call, where the name leads anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.incident.event import EventKind
from quell.runbook.lint.addresses import fault_of
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


@pytest.mark.parametrize(("whom", "also"), [("dba", ["dba"]), ("owner", [])])
async def test_what_is_kept_for_now_is_told_and_asked_of_whom_it_names_as_well(
    tmp_path: Path, whom: str, also: list[str]
) -> None:
    with FakeSink() as sink:
        async with house(tmp_path, book(f"revert: {{after: 0.3s, ask: {whom}}}"), more=more(sink)) as home:
            incident = await home.fire()
            await home.over(incident)
            reached = sorted((to, True) for to in ["webhook:ops", *also] * 2)
            assert await told(home, incident, len(reached)) == reached
            sent = [one.json() for one in sink.received]
            kept, due = ([one for one in sent if one["kind"] == kind] for kind in ("update", "approval"))
            assert len(kept) == len(due) == 1 + len(also)
            assert all(f"kept for now, {whom} is asked in" in one["text"] for one in kept)
            for asked in (one["asked"] for one in due):
                assert (asked["asks"], asked["whom"]) == ("revert", whom)
                assert asked["answer"][0] == f"take it back: quell approve {asked['approval']}"
            await home.app.answer(incident, "denied", "anna")
            await home.until(incident, lambda now: not now.obligations, "it is kept")


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
        ("webhook", "", "2 connections of type webhook or http"),
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
            # What lint says at noon is what happens at night.
            assert (fault_of(to, home.app.vocabulary) is None) == delivered
            went = sink.received[0].path.strip("/") if delivered else record["detail"]
            assert went.startswith(reached)


async def test_who_cannot_be_reached_is_in_the_log_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = runbook(
        "- {condition: state.value > 900, then: [fix]}", f"- {{id: fix, action: {do('fix', 0)}, type: automated}}"
    )
    settings = "connections: {sre: {type: slack, url: 'http://127.0.0.1:9/'}, web: {type: slack}}\nescalation: '#srf'\n"
    async with house(tmp_path, none.replace("log:primary", "slack:srf"), more=settings) as home:
        assert home.app.library.plans
    said = capsys.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "none is called 'srf'" in line]
    assert any("runbook_problems" in line for line in lines)
    assert any("escalation_unreachable" in line for line in lines)
