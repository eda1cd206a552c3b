"""What people do: in somebody's name, by hand, from shift to shift, and until it is closed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from quell.errors import Conflict, InvalidInput, NotFound
from quell.incident.event import EventKind
from quell.incident.incident import Status
from quell.incident.pause import Scope
from quell.respond import permit
from quell.respond.interpreter import Interpreter
from tests.app import do, eventually, house, runbook
from tests.respond.test_approve import FIX, asking
from tests.respond.test_oblige import BOTH, FLAG, flags
from tests.respond.test_oblige import FIX as THEN

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["", "  \t"])
async def test_without_a_name_nothing_happens(tmp_path: Path, name: str) -> None:
    async with house(tmp_path, runbook(FIX, asking())) as home:
        incident = await home.fire()
        await home.asked(incident)
        seq = (await home.app.incident(incident)).seq
        for said in ("approved", "denied"):
            with pytest.raises(InvalidInput, match="say who you are"):
                await home.app.answer(incident, said, name)
        for deed in (home.app.take, home.app.give_back, home.app.acknowledge, home.app.resolve):
            with pytest.raises(InvalidInput, match="say who you are"):
                await deed(incident, name)
        now = await home.app.incident(incident)
        assert (now.status, now.assignee, now.acknowledged_by) == (Status.WAITING, None, None)
        told = await home.app.timeline(incident, seq)
        assert {event.kind.value for event in told} <= {"notified"}
        assert home.effects == []


async def test_given_back_before_its_run_has_stopped_somebody_is_paged(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run ends since somebody had it, and by then nobody has: it must not be lost between the two."""
    intend, refused = permit.intend, Interpreter._refused
    one = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
    async with house(tmp_path, runbook(FIX, one), database=database) as home:

        async def taken_first(means: Any, request: Any, *more: Any, **named: Any) -> Any:
            await home.app.take(request.context.incident, "anna")
            return await intend(means, request, *more, **named)

        async def given_back(self: Interpreter, run: Any, said: Any) -> Any:
            await home.app.give_back(run.context.incident, "anna")
            return await refused(self, run, said)

        monkeypatch.setattr(permit, "intend", taken_first)
        monkeypatch.setattr(Interpreter, "_refused", given_back)
        now = await home.escalated(await home.fire())
        assert (now.assignee, now.outcome, home.effects) == (None, "escalated", [])
        assert "then it was given back" in now.reason


# By hand.

NONE = "- {condition: state.value > 900, then: [fix]}"
DO = f"- {{id: fix, name: Fix it, type: automated, action: {do('fix', 0)}}}"


async def test_what_was_done_by_hand_is_kept_with_its_name(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(NONE, DO)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.take(incident, "ann")
        await home.app.step(incident, "ann", "fix", "failed", "no rights")
        now = await home.app.step(incident, "ann", "called the vendor", "done")
        assert [(one.step, one.name, one.result, one.by, one.note) for one in now.steps] == [
            ("fix", "Fix it", "failed", "ann", "no rights"), ("called the vendor", "", "done", "ann", ""),
        ]  # fmt: skip


async def test_every_fault_of_a_step_is_told_at_once(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(NONE, DO)) as home:
        incident = await home.fire()
        with pytest.raises(InvalidInput) as said:
            await home.app.step(incident, "ann", " ", "half")
        assert [problem.path for problem in said.value.problems] == ["result", "step"]


# Handing over.


async def test_a_shift_ends_and_the_next_accepts(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking())) as home:
        incident = await home.fire()
        await home.asked(incident)
        await home.app.take(incident, "ann")
        await home.app.step(incident, "ann", "restarted it", "failed")
        with pytest.raises(Conflict, match="already taken by ann"):
            await home.app.take(incident, "ben")
        now = await home.app.hand_over(incident, "ann", "ben", "the vendor calls at 9")
        assert (now.assignee, now.handed_to) == ("ann", "ben")
        (told,) = await home.told_of(incident, EventKind.HANDED_OVER)
        assert told["note"] == "the vendor calls at 9"
        assert any("restarted it, by ann: failed" in line for line in told["tried"])
        with pytest.raises(Conflict, match="already taken by ann"):
            await home.app.take(incident, "carla")
        now = await home.app.take(incident, "ben")
        assert (now.assignee, now.acknowledged_by, now.handed_to) == ("ben", "ben", None)
        assert (await home.told_of(incident, EventKind.TAKEN))[-1]["reason"] == "handed over by ann"


async def test_what_was_only_acknowledged_is_accepted_by_acknowledging(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking())) as home:
        incident = await home.fire()
        one = await home.asked(incident)
        with pytest.raises(Conflict, match="nobody has it"):
            await home.app.hand_over(incident, "ann", "ben")
        await home.app.acknowledge(incident, "ann")
        with pytest.raises(Conflict, match="ann has it"):
            await home.app.hand_over(incident, "carla", "ben")
        with pytest.raises(Conflict, match="Ann has it already"):
            await home.app.hand_over(incident, "Ann", "ann")
        with pytest.raises(InvalidInput, match="to whom"):
            await home.app.hand_over(incident, "ann", " ")
        await home.app.hand_over(incident, "ann", "ben")
        (told,) = await home.told_of(incident, EventKind.HANDED_OVER)
        assert told["pending"] == [f"{one.call} (approve {one.approval})"]
        now = await home.app.acknowledge(incident, "ben")
        assert (now.acknowledged_by, now.handed_to) == ("ben", None)


# Closing.


async def test_what_is_kept_for_now_keeps_it_from_being_closed(tmp_path: Path, database: str) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    book = runbook(BOTH, FLAG.replace("0.3s", "1h") % "" + THEN)
    async with house(tmp_path, book, database=database) as home:
        incident = await home.fire()
        with pytest.raises(Conflict, match="resolve it first"):
            await home.app.close(incident, "ann")
        await home.over(incident)
        with pytest.raises(Conflict, match=r"still kept for now: .*owner is asked at"):
            await home.app.close(incident, "ann")
        (owed,) = await home.app.obligations()
        assert (owed.incident, owed.owner) == (incident, "owner")
        with pytest.raises(NotFound):
            await home.app.settle_obligation(owed.id, "kept", "ann", tenant="other")
        with pytest.raises(InvalidInput, match="ends nothing"):
            await home.app.settle_obligation(owed.id, "forgotten", "ann")
        await home.app.settle_obligation(owed.id, "kept", "ann")
        with pytest.raises(NotFound):
            await home.app.settle_obligation(owed.id, "kept", "ann")
        now = await home.app.close(incident, "ann", "written up")
        assert (now.status, flags(tmp_path)) == (Status.CLOSED, {"a": 1})
        with pytest.raises(Conflict, match="already closed"):
            await home.app.close(incident, "ann")


async def test_what_was_taken_back_by_hand_is_not_asked_about_any_more(tmp_path: Path) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    async with house(tmp_path, runbook(BOTH, FLAG % "" + THEN)) as home:
        incident = await home.fire()
        await home.over(incident)
        await home.until(incident, lambda now: now.waiting, "it is due")
        (owed,) = await home.app.obligations()
        now = await home.app.settle_obligation(owed.id, "reverted", "ann")
        assert (now.waiting, now.obligations) == ((), ())
        await home.app.close(incident, "ann")


# Breaking the glass.


async def test_the_glass_is_broken_for_one_incident_and_everybody_hears_of_it(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, runbook(FIX, DO), database=database) as home:
        await home.app.pause(Scope.ALL, "", for_s=60, by="ann", reason="we move")
        incident = await home.fire()
        await home.escalated(incident)
        assert home.effects == []
        now = await home.app.break_glass(incident, "ben", "customers cannot pay", 60.0)
        assert now.override is not None
        await home.until(incident, lambda now: now.outcome == "resolved", "the repair")
        assert home.effects == ["fix"]

        async def heard() -> bool:
            return any(
                one["kind"] == "page" and one["level"] == 0 for one in await home.told_of(incident, EventKind.NOTIFIED)
            )

        await eventually(heard, "the page that says so")
        home.state(50)
        # It is over: opened again, it may do no more than any other.
        assert await home.fire(n="2") == incident
        again = await home.until(incident, lambda now: now.run > 1 and now.outcome == "escalated", "another page")
        assert (again.override, home.effects) == (None, ["fix"])


async def test_a_freeze_does_not_count_and_a_limit_does(tmp_path: Path) -> None:
    more = """
guardrails:
  freezes: [{name: sale, from: 2020-01-01, until: 2099-01-01}]
  actions: {run_script: {allow: false}}
"""
    async with house(tmp_path, runbook(FIX, DO), more=more) as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert (await home.told_of(incident, EventKind.ACTION_REFUSED))[0]["rule"] == "freeze"
        await home.app.break_glass(incident, "ben", "customers cannot pay", 60.0)
        now = await home.until(incident, lambda now: len(now.refusals) > 1, "the second try")
        assert (now.refusals[-1]["rule"], home.effects) == ("not_allowed", [])


async def test_the_glass_mends_itself(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking("{expires: 30s}"))) as home:
        await home.app.pause(Scope.ALL, "", for_s=60, by="ann", reason="we move")
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.break_glass(incident, "ben", "now", 0.5)
        one = await home.asked(incident)
        now = await home.app.incident(incident)
        assert now.override is not None
        deadline = now.override.until
        await home.until(incident, lambda now: home.app.world.clock() > deadline, "the end of its time")
        await home.app.answer(one.approval, "approved", "ann")
        now = await home.until(incident, lambda now: len(now.refusals) > 1, "the refusal")
        assert (now.refusals[-1]["rule"], home.effects) == ("paused", [])


@pytest.mark.parametrize(
    ("reason", "for_s", "paths"), [(" ", 60, ["reason"]), ("", 99999, ["reason", "for"]), ("x", 0, ["for"])]
)
async def test_it_is_broken_for_a_reason_and_a_while(
    tmp_path: Path, reason: str, for_s: float, paths: list[str]
) -> None:
    async with house(tmp_path, runbook(NONE, DO)) as home:
        incident = await home.fire()
        with pytest.raises(InvalidInput) as said:
            await home.app.break_glass(incident, "ben", reason, for_s)
        assert [problem.path for problem in said.value.problems] == paths


# What a reviewer tried.


async def test_what_is_being_done_keeps_it_from_being_closed(tmp_path: Path) -> None:
    book = runbook(FIX, f"- {{id: fix, type: automated, action: {do('fix', 0, 1)}}}")
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        await home.until(incident, lambda now: now.deeds and home.effects, "it acts")
        await home.app.resolve(incident, "ann")
        with pytest.raises(Conflict, match="has not ended yet"):
            await home.app.close(incident, "ann")
        await home.over(incident)
        now = await home.until(incident, lambda now: all(one.result for one in now.deeds.values()), "its outcome")
        assert (now.outcome is not None, [one.result for one in now.deeds.values()]) == (True, ["done"])
        await home.app.close(incident, "ann")


async def test_what_is_given_back_is_nobodys_and_pages_everybody(tmp_path: Path) -> None:
    pages = "escalation: {primary: 'log:first', secondary: 'log:second', escalate_after_minutes: 0.01}"
    async with house(tmp_path, runbook(NONE, DO, more=pages)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.take(incident, "ann")
        await home.app.give_back(incident, "ann")
        now = await home.until(incident, lambda now: now.escalated_to[-1:] == ("log:second",), "the secondary")
        assert now.acknowledged_by is None


async def test_what_no_runbook_is_for_cannot_be_given_back(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(NONE, DO)) as home:
        incident = await home.fire("Unknown")
        await home.until(incident, lambda now: now.escalated_to, "the page")
        await home.app.take(incident, "ann")
        with pytest.raises(Conflict, match="no runbook is for it"):
            await home.app.give_back(incident, "ann")


async def test_a_hand_over_is_accepted_however_the_name_is_written(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(NONE, DO)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.take(incident, "ann")
        await home.app.hand_over(incident, "ann", "bob")
        assert (await home.app.take(incident, "Bob")).assignee == "Bob"


async def test_what_is_run_again_has_what_it_was_started_with_and_todays_mode(tmp_path: Path) -> None:
    book = runbook(FIX, asking(), more="variables: {how: gently}\n")
    async with house(tmp_path, book) as home:
        incident = (await home.app.trigger("down", variables={"how": "hard"}, actor="dora")).incident
        await home.asked(incident)
        await home.app.take(incident, "ann")
        await home.over(incident)
    async with house(tmp_path, book, more="guardrails: {mode: shadow}\n") as home:
        await home.app.give_back(incident, "ann")
        await home.until(incident, lambda now: now.run == 2 and now.outcome, "the second run")
        started = (await home.told_of(incident, EventKind.RUN_STARTED))[-1]
        assert (started["mode"], home.effects) == ("shadow", [])
        opened = (await home.told_of(incident, EventKind.OPENED))[0]
        assert opened["context"] == {"how": "hard"}


async def test_runs_that_are_the_first_of_their_runbook_at_the_same_moment(tmp_path: Path, database: str) -> None:
    """Each stores the Plan, which is there once."""
    async with house(tmp_path, runbook(FIX, asking()), database=database) as home:
        begun = await asyncio.gather(*(home.app.trigger("down", actor="ann") for _ in range(12)))
        assert len({one.incident for one in begun}) == 12
