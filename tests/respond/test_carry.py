"""Carrying out one decision: what comes after what, who is told, what a dry run leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from quell.incident.event import Event, EventKind
from quell.incident.incident import Status
from tests.app import do, house, runbook

pytestmark = pytest.mark.anyio


def step(name: str, value: object, *more: object, rest: str = "") -> str:
    return f"- {{id: {name}, type: automated, action: {do(name, value, *more)}{rest}}}\n"


PAGE = "- {id: page, type: escalate, description: come and look}\n"
SAY = "- {id: say, type: automated, action: {type: notify, config: {to: 'log:ops', message: 'did ${fix.summary}'}}}\n"


async def test_what_needs_a_step_that_failed_never_runs_even_behind_a_page(tmp_path: Path) -> None:
    """Fencing failed, so nothing is promoted: the page between the two is told and opens no way around."""
    book = runbook(
        "- {condition: state.critical, then: [fence, page, promote]}",
        step("fence", 50, 0, 3) + PAGE + step("promote", 0, rest=", needs: [fence]"),
    )
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert home.effects == ["fence"]
        assert now.outcome == "escalated"


async def test_without_needs_nothing_follows_a_failure_either(tmp_path: Path) -> None:
    book = runbook(
        "- {condition: state.critical, then: [first, page, second]}", step("first", 50, 0, 3) + PAGE + step("second", 0)
    )
    async with house(tmp_path, book) as home:
        await home.escalated(await home.fire())
        assert home.effects == ["first"]


async def test_a_page_first_does_not_keep_the_rest_from_running(tmp_path: Path) -> None:
    book = runbook("- {condition: state.critical, then: [page, fix]}", PAGE + step("fix", 0))
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        assert (await home.over(incident)).outcome == "resolved"
        assert home.effects == ["fix"]


async def test_somebody_is_told_on_the_way(tmp_path: Path) -> None:
    book = runbook("- {condition: state.critical, then: [fix, say]}", step("fix", 0) + SAY)
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        assert (await home.over(incident)).outcome == "resolved"
        [told] = await home.told_of(incident, EventKind.NOTIFIED)
        assert (told["to"], told["kind"], told["delivered"]) == ("log:ops", "update", True)
        [noted] = await home.told_of(incident, EventKind.NOTED)
        assert noted["text"].startswith("did ran ")


async def test_a_dry_run_tells_nobody_and_asks_nobody(tmp_path: Path) -> None:
    manual = "- {id: by_hand, type: manual, instructions: turn it off and on}\n"
    book = runbook(
        "- {condition: state.critical, then: [by_hand, fix, say]}", manual + step("fix", 0) + SAY, more="mode: dry_run"
    )
    async with house(tmp_path, book) as home:
        incident = (await home.app.trigger("down")).incident
        assert (await home.over(incident)).outcome == "dry_run"
        assert home.effects == []
        kinds = {event.kind for event in await home.events(incident)}
        assert not kinds & {EventKind.NOTIFIED, EventKind.APPROVAL_REQUESTED, EventKind.ACTION_INTENDED}


async def test_an_answer_in_the_very_moment_of_asking_is_heard(tmp_path: Path) -> None:
    """Who listens is called from within the run; what they start is no step of it."""
    book = runbook("- {condition: state.critical, then: [fix]}", step("fix", 0, rest=", requires_approval: true"))
    async with house(tmp_path, book) as home:
        said: list[asyncio.Task[object]] = []

        def agree(told: Sequence[Event]) -> None:
            for event in told:
                if event.kind is EventKind.APPROVAL_REQUESTED:
                    answer = home.app.answer(event.payload["approval"], "approved", "anna")
                    said.append(asyncio.ensure_future(answer))

        home.app.listeners.append(agree)
        incident = await home.fire()
        assert (await home.over(incident)).outcome == "resolved"
        [intended] = await home.events(incident, EventKind.ACTION_INTENDED)
        [answered] = await home.events(incident, EventKind.APPROVAL_ANSWERED)
        assert answered.actor == "anna"
        assert intended.seq > answered.seq
        notified = await home.told_of(incident, EventKind.NOTIFIED)
        assert [one["kind"] for one in notified] == ["approval"]
        assert len(said) == 1


HAND = "- {id: hand, type: manual, instructions: do it, approval: {expires: %s%s}}\n"
HAND_FIRST = "- {condition: state.critical, then: [hand]}\n- {condition: state.value > 20, then: [fix]}"


async def test_a_step_that_a_person_refuses_is_not_followed_by_the_machine(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(HAND_FIRST, HAND % ("1h", "") + step("fix", 0))) as home:
        incident = await home.fire()
        await home.app.answer((await home.asked(incident)).approval, "denied", "anna", "do not touch it")
        now = await home.escalated(incident)
        assert home.effects == []
        assert "do not touch it" in now.reason


async def test_a_step_that_a_person_tried_in_vain_is_followed_by_the_next_decision(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(HAND_FIRST, HAND % ("1h", "") + step("fix", 0))) as home:
        incident = await home.fire()
        await home.app.answer((await home.asked(incident)).approval, "failed", "anna")
        assert ((await home.over(incident)).outcome, home.effects) == ("resolved", ["fix"])


@pytest.mark.parametrize(("silence", "effects", "outcome"), [("page", [], "escalated"), ("deny", ["fix"], "resolved")])
async def test_silence_on_a_step_pages_or_counts_as_a_no(
    tmp_path: Path, silence: str, effects: list[str], outcome: str
) -> None:
    book = runbook(HAND_FIRST, HAND % ("0.3s", f", on_no_answer: {silence}") + step("fix", 0))
    async with house(tmp_path, book) as home:
        now = await home.over(await home.fire())
        assert (now.outcome, home.effects) == (outcome, effects)


# Waiting.


def outside() -> str:
    """A window that opens in hours."""
    now = datetime.now(UTC) + timedelta(hours=6)
    return f"{now:%H:%M}-{now + timedelta(hours=1):%H:%M}"


async def test_what_waits_says_for_what_and_is_looked_at_anew(tmp_path: Path) -> None:
    """The evidence of before is not acted on: by then somebody else has mended it."""
    wait = "- {id: tonight, type: wait, duration: 0.4s}\n"
    book = runbook("- {condition: state.critical, then: [tonight, fix]}", wait + step("fix", 0))
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.until(incident, lambda now: now.status is Status.MITIGATED, "it waits")
        assert "tonight: waits" in now.reason
        home.state(0)
        await home.calm()
        assert ((await home.over(incident)).outcome, home.effects) == ("resolved", [])


async def test_after_the_wait_the_rest_is_done_and_what_was_done_is_not_repeated(tmp_path: Path) -> None:
    wait = "- {id: tonight, type: wait, duration: 0.2s}\n"
    book = runbook(
        "- {condition: state.critical, then: [cap, tonight, fix]}",
        step("cap", 50) + wait + step("fix", 0, rest=", requires_approval: true"),
    )
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        await home.asked(incident)
        assert home.effects == ["cap"]
        await home.app.answer(incident, "approved", "anna")
        assert ((await home.over(incident)).outcome, home.effects) == ("resolved", ["cap", "fix"])


async def test_a_closed_window_lets_nothing_through(tmp_path: Path) -> None:
    wait = f"- {{id: tonight, type: wait, window: '{outside()}'}}\n"
    book = runbook("- {condition: state.critical, then: [tonight, fix]}", wait + step("fix", 0))
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.until(incident, lambda now: now.status is Status.MITIGATED, "it waits")
        assert "tonight: waits" in now.reason
        assert home.effects == []
