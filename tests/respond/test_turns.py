"""How many incidents are worked on at once: those that wait, for whom there is no place, and those that take too long."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa

from quell.incident.event import EventKind, Stream
from quell.incident.incident import Status
from quell.store import events
from quell.store import turns as store
from quell.store.schema import turns
from quell.telling.explained import incident_blocks
from tests.app import House, do, doomed, eventually, house, runbook

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
SERVICES = "{shop: {}, cart: {}, till: {}, desk: {}, bank: {}}"
ASKS = f"- {{id: fix, type: automated, requires_approval: true, approval: {{from: 'log:ops', expires: 1h}}, action: {do('fix', 0)}}}"
HELD = "- {id: fix, type: automated, action: {type: run_script, config: {command: ['@/hold-${incident.service}']}}}"
"""A remedy that goes on until the test lets it: it waits for a file of the service's name."""


def limited(decisions: str, remediations: str, *, more: str = "", **limits: object) -> str:
    said = ", ".join(f"{name}: {value}" for name, value in limits.items())
    text = runbook(decisions, remediations, more=f"rate_limit: {{{said}}}\n{more}")
    return text.replace("service: shop\n", "")  # for whichever service the alert names


ANY = runbook(FIX, HELD).replace("service: shop\n", "")


def hold(home: House) -> None:
    for service in ("shop", "cart", "till", "desk", "bank"):
        script = home.folder / f"hold-{service}"
        script.write_text(
            f"#!/bin/sh\necho begin-{service} >> {home.folder}/effects\n"
            f"for n in $(seq 3000); do [ -e {home.folder}/go-{service} ] && exit; sleep 0.02; done\n"
        )
        script.chmod(0o755)


def let_go(home: House, *services: str) -> None:
    for service in services:
        (home.folder / f"go-{service}").touch()


async def begun(home: House, *services: str) -> None:
    async def are() -> bool:
        return set(home.effects) >= {f"begin-{service}" for service in services}

    await eventually(are, f"actions for {services}")


async def rows(home: House) -> list[tuple[str, str]]:
    found = await home.app.database.read(lambda c: c.execute(sa.select(turns.c.incident, turns.c.state)).all())
    return [(row[0], row[1]) for row in found]


async def queued(home: House, incident: str) -> str:
    """Why it waits."""
    await home.until(incident, lambda now: now.run, "a run")
    (told,) = await home.told_of(incident, EventKind.RUN_QUEUED)
    return str(told["reason"])


async def test_so_many_are_worked_on_and_the_next_waits_for_its_turn(tmp_path: Path, database: str) -> None:
    book = limited(FIX, HELD, max_concurrent=2, queue_size=5)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        first, second = await home.fire(service="shop"), await home.fire(service="cart")
        third, fourth = await home.fire(service="till"), await home.fire(service="desk", severity="critical")
        assert await queued(home, third) == "2 incidents of runbook down are worked on, which is the most"
        assert (await queued(home, fourth)).startswith("2 incidents of runbook down")
        waits = await home.app.incident(third)
        assert (waits.status, waits.queued) == (
            Status.OPEN,
            "2 incidents of runbook down are worked on, which is the most",
        )
        why = (await home.app.alerting.why_incident(third)).as_json
        (what, *_) = incident_blocks(why)
        assert [row.label for row in what.rows][-1] == "turn"
        await begun(home, "shop", "cart")
        let_go(home, "shop")
        await home.over(first)
        await begun(home, "desk")  # the more severe one, though it came later
        assert await home.events(third, EventKind.RUN_STARTED) == []
        (started,) = await home.told_of(fourth, EventKind.RUN_STARTED)
        assert started["reason"].startswith("its turn has come, after ")
        assert (await home.app.incident(fourth)).queued == ""
        let_go(home, "cart", "desk", "till")
        for one in (second, third, fourth):
            await home.over(one)
        assert sorted(home.effects) == ["begin-cart", "begin-desk", "begin-shop", "begin-till"]
        assert await rows(home) == []


async def test_who_waits_for_a_person_takes_nobodys_place(tmp_path: Path, database: str) -> None:
    book = limited(FIX, ASKS, max_concurrent=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        first = await home.fire(service="shop")
        approval = await home.asked(first)
        second = await home.fire(service="cart")
        await home.asked(second)
        await home.app.answer(approval.approval, "approved", "ann")
        await home.over(first)
        assert dict(await rows(home)) == {second: "away"}


async def test_for_one_more_than_may_wait_a_person_is_paged_at_once(tmp_path: Path, database: str) -> None:
    """And it can be given back later, when there is a place."""
    book = limited(FIX, HELD, max_concurrent=1, queue_size=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        first, second, third = [await home.fire(service=name) for name in ("shop", "cart", "till")]
        now = await home.escalated(third)
        full = "the queue of runbook down is full: 1 of its incidents is worked on, and 1 waits"
        assert (now.outcome, now.reason, now.status) == ("escalated", full, Status.ESCALATED)
        let_go(home, "shop", "cart", "till")
        await home.over(first)
        await home.over(second)
        await home.app.give_back(third, "ann")
        again = await home.until(third, lambda now: now.run == 2 and now.outcome, "the second run")
        assert again.outcome == "escalated"  # the state is bad still, and nothing is left to try
        assert "begin-till" in home.effects


async def test_a_more_severe_one_takes_the_place_of_the_last_in_the_queue(tmp_path: Path, database: str) -> None:
    book = limited(FIX, HELD, max_concurrent=1, queue_size=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        await home.fire(service="shop")
        slight = await home.fire(service="cart", severity="info")
        grave = await home.fire(service="till", severity="critical")
        assert "is full" in (await home.escalated(slight)).reason
        let_go(home, "shop", "till")
        await home.over(grave)
        assert home.effects == ["begin-shop", "begin-till"]


async def test_one_that_grows_more_severe_while_it_waits_goes_first(tmp_path: Path, database: str) -> None:
    book = limited(FIX, HELD, max_concurrent=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        first = await home.fire(service="shop")
        await begun(home, "shop")
        before, later = [await home.fire(service=name, severity="warning") for name in ("cart", "till")]
        assert await home.fire(service="till", severity="critical", pod="b") == later
        let_go(home, "shop")
        await home.over(first)
        await begun(home, "till")
        assert await home.events(before, EventKind.RUN_STARTED) == []
        let_go(home, "cart", "till")
        await home.over(before)


async def test_whoever_waits_for_too_long_is_not_forgotten(tmp_path: Path, database: str) -> None:
    book = limited(FIX, HELD, max_concurrent=1, timeout_seconds=3)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        first, second = await home.fire(service="shop"), await home.fire(service="cart")
        now = await home.escalated(second)
        assert now.reason == "it has waited 3s for its turn, and it did not come"
        worked = await home.until(first, lambda now: now.escalated_to, "a page")
        assert "worked on for longer than" in worked.reason
        let_go(home, "shop")
        await home.over(first)
        assert home.effects == ["begin-shop"]


@pytest.mark.parametrize("steps", [("[hold]", "[fix]"), ("[hold, fix]",)], ids=["decision", "step"])
async def test_nothing_more_is_begun_for_what_takes_too_long(
    tmp_path: Path, database: str, steps: tuple[str, ...]
) -> None:  # fmt: skip
    """What runs is not cut off; no other decision is made, and the next action gets no permit."""
    decisions = "\n".join(f"- {{condition: state.critical, then: {then}}}" for then in steps)
    remedies = HELD.replace("id: fix", "id: hold") + f"\n- {{id: fix, type: automated, action: {do('fix', 0)}}}"
    book = limited(decisions, remedies, timeout_seconds=3)
    async with house(tmp_path, book, database=database) as home:
        hold(home)
        incident = await home.fire()
        await begun(home, "shop")
        await home.until(incident, lambda now: now.escalated_to, "a page")
        let_go(home, "shop")
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("escalated", ["begin-shop"])
        refused = await home.told_of(incident, EventKind.ACTION_REFUSED)
        assert [one["rule"] for one in refused] == ["timeout"] * (len(steps) == 1)


async def test_a_run_that_is_paged_immediately_is_not_kept_waiting_for_its_page(tmp_path: Path, database: str) -> None:
    more = "escalation: {primary: 'log:primary', escalate_after_minutes: 5, page: immediately}\n"
    book = limited(FIX, HELD, max_concurrent=1, more=more)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        await home.fire(service="shop")
        waits = await home.fire(service="cart")
        await home.until(waits, lambda now: now.escalated_to, "a page")
        assert await home.events(waits, EventKind.RUN_STARTED) == []


async def test_an_incident_that_a_person_has_or_has_ended_needs_no_turn(tmp_path: Path, database: str) -> None:
    book = limited(FIX, HELD, max_concurrent=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        first = await home.fire(service="shop")
        taken, resolved = await home.fire(service="cart"), await home.fire(service="till")
        await home.app.take(taken, "ann")
        await home.app.resolve(resolved, "bob")
        assert (await home.over(resolved)).outcome == "stopped"
        let_go(home, "shop", "cart")
        await home.over(first)
        assert (await home.over(taken)).outcome == "stopped"
        await home.app.give_back(taken, "ann")
        await begun(home, "cart")


async def test_one_tenant_keeps_no_place_of_anothers(tmp_path: Path, database: str) -> None:
    """Limits of a runbook are for each tenant, and a tenant has its own share."""
    more = "rate_limit: {tenants: {acme: {max_concurrent: 1}}}\n"
    services = "{shop: {tenant: acme}, cart: {tenant: acme}, till: {}, desk: {}, bank: {}}"
    async with house(tmp_path, ANY, services=services, database=database, more=more) as home:
        hold(home)
        mine = [(await home.app.trigger("down", tenant="acme", service=name)).incident for name in ("shop", "cart")]
        other = [await home.fire(service=name) for name in ("till", "desk", "bank")]
        await begun(home, "till", "desk", "bank", "shop")
        assert await queued(home, mine[1]) == "1 incident of tenant acme is worked on, which is the most"
        let_go(home, "shop", "cart", "till", "desk", "bank")
        for one in (*mine, *other):
            await home.over(one)


async def test_a_dry_run_that_somebody_asks_for_needs_no_turn(tmp_path: Path) -> None:
    async with house(tmp_path, limited(FIX, HELD, max_concurrent=1, queue_size=0), services=SERVICES) as home:
        hold(home)
        await home.fire(service="shop")
        tried = await home.app.trigger("down", mode="dry_run", actor="ann")
        assert (await home.over(tried.incident)).outcome == "dry_run"
        let_go(home, "shop")


async def test_a_process_that_dies_takes_no_turn_with_it(tmp_path: Path, database: str) -> None:
    """Who worked goes on, who waits begins when that has ended."""
    book = limited(FIX, HELD.replace("automated,", "automated, on_unknown: stop,"), max_concurrent=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
    async with doomed(tmp_path, database) as seen:
        first = await seen("action.intended")
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        assert dict(await rows(home)) == {first: "working"}
        second = await home.fire(service="cart")
        assert "1 incident of runbook down" in await queued(home, second)
        let_go(home, "shop", "cart")
        assert (await home.over(first)).outcome == "escalated"
        await begun(home, "cart")
        await home.over(second)
        assert await rows(home) == []


async def test_many_at_the_same_moment_are_counted_one_after_the_other(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, limited(FIX, HELD, max_concurrent=3), services=SERVICES, database=database) as home:
        hold(home)
        started = await asyncio.gather(*(home.app.trigger("down", actor="ann") for _ in range(10)))
        states = [state for _, state in await rows(home)]
        assert (states.count("working"), states.count("queued")) == (3, 7)
        let_go(home, "shop")
        for one in started:
            await home.over(one.incident)


async def test_what_is_over_before_its_turn_and_fires_again_has_one_turn(tmp_path: Path, database: str) -> None:
    book = limited(FIX, HELD, max_concurrent=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        first, second = await home.fire(service="shop"), await home.fire(service="cart")
        await queued(home, second)
        await home.app.resolve(second, "ann")
        await home.calm(service="cart")
        assert await home.fire(service="cart") == second
        let_go(home, "shop", "cart")
        await home.over(first)
        await home.until(second, lambda now: now.run == 2 and now.outcome, "the end of the second run")
        assert [one["number"] for one in await home.told_of(second, EventKind.RUN_STARTED)] == [2]
        assert sorted(home.effects) == ["begin-cart", "begin-shop"]
        assert await rows(home) == []


async def test_a_run_that_another_one_goes_on_for_keeps_no_place(tmp_path: Path, database: str) -> None:
    """It fires again while its run works: the run ends without a word, and its place is free."""
    book = limited(FIX, HELD, max_concurrent=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        first = await home.fire(service="shop")
        await begun(home, "shop")
        await home.app.resolve(first, "ann")
        await home.calm(service="shop")
        assert await home.fire(service="shop") == first
        let_go(home, "shop", "cart")
        await home.until(first, lambda now: now.run == 2 and now.outcome, "the end of the second run")
        await home.fire(service="cart")
        await begun(home, "cart")

        async def nobody() -> bool:
            return await rows(home) == []

        await eventually(nobody, "a free place")


async def test_who_was_paged_as_it_came_hears_that_its_turn_did_not_come(tmp_path: Path, database: str) -> None:
    more = "escalation: {primary: 'log:primary', escalate_after_minutes: 5, page: immediately}\n"
    book = limited(FIX, HELD, max_concurrent=1, timeout_seconds=2, more=more)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        await home.fire(service="shop")
        waits = await home.fire(service="cart")
        await home.over(waits)
        await home.until(waits, lambda now: len(now.escalated_to) > 1, "a second page")
        told = [one["reason"] for one in await home.told_of(waits, EventKind.ESCALATED)]
        assert told == ["P2: paged immediately", "it has waited 2s for its turn, and it did not come"]
        let_go(home, "shop")


async def test_one_that_cannot_be_begun_is_a_persons_and_holds_up_nobody(tmp_path: Path, database: str) -> None:
    book = limited(FIX, HELD, max_concurrent=1)
    async with house(tmp_path, book, services=SERVICES, database=database) as home:
        hold(home)
        first, broken = await home.fire(service="shop"), await home.fire(service="cart", severity="critical")
        third = await home.fire(service="till")
        mine = sa.update(turns).where(turns.c.incident == broken).values(request="{}")
        await home.app.database.write(lambda c: c.execute(mine))
        let_go(home, "shop", "till")
        await home.over(first)
        assert "it could not be begun: " in (await home.escalated(broken)).reason
        await home.over(third)
        assert home.effects == ["begin-shop", "begin-till"]


async def test_whoever_gives_turns_waits_for_no_incident(tmp_path: Path, database: str) -> None:
    """What comes in has the lock of the turns, and holds one incident after the other."""
    async with house(tmp_path, limited(FIX, HELD, max_concurrent=1), services=SERVICES, database=database) as home:
        if home.app.database.is_sqlite:
            return
        hold(home)
        first, second = await home.fire(service="shop"), await home.fire(service="cart")
        await queued(home, second)
        waits = sa.text("select count(*) from pg_locks where not granted")

        async def waiting() -> bool:
            return bool(await home.app.database.read(lambda c: c.execute(waits).scalar()))

        with home.app.database.engine.begin() as connection:
            store.in_turn(connection, "default")
            let_go(home, "shop", "cart")
            await home.over(first)
            await eventually(waiting, "somebody who waits for the turns")
            connection.execute(sa.text("set local deadlock_timeout = '10ms'"))
            await asyncio.to_thread(events.hold, connection, "default", Stream.INCIDENT, second)
        await home.over(second)
