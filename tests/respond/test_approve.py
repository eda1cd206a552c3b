"""Approvals: asked with everything a person needs, answered once, waited for through restarts, never by silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.errors import Conflict, InvalidInput, NotFound
from quell.incident.event import EventKind
from quell.incident.incident import Status
from tests.app import do, house, runbook

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"


def asking(approval: str = "{expires: 30s}", value: object = 0, more: str = "") -> str:
    return f"- {{id: fix, type: automated, approval: {approval}, action: {do('fix', value)}}}\n{more}"


async def test_an_approval_says_what_would_be_done_and_a_yes_does_it(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, runbook(FIX, asking("{from: dba, expires: 30s}")), database=database) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        now = await home.app.incident(incident)
        assert (now.status, home.effects) == (Status.WAITING, [])
        assert asked.call == f"{tmp_path}/do fix 0"
        assert asked.targets == (f"{tmp_path}/do",)
        assert "the runbook asks for approval" in asked.why
        assert "state.critical" in asked.why
        assert asked.expires_at is not None
        assert await home.app.answer(asked.hash[:8], "approved", "anna", "looks right") == {
            "approval": asked.approval, "incident": incident, "answer": "approved", "by": "anna",
        }  # fmt: skip
        done = await home.over(incident)
        assert (done.outcome, home.effects) == ("resolved", ["fix"])
        assert (done.approvals[asked.approval].answer, done.approvals[asked.approval].by) == ("approved", "anna")


async def test_a_no_is_final_and_pages(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking())) as home:
        incident = await home.fire()
        await home.asked(incident)
        await home.app.answer(incident, "denied", "anna", "not during the sale")
        now = await home.escalated(incident)
        assert (home.effects, now.refusals[0]["rule"]) == ([], "denied")
        assert "not during the sale" in now.reason


async def test_silence_is_never_a_yes(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking("{expires: 300ms}"))) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (home.effects, now.refusals[0]["rule"]) == ([], "expired")
        name = next(iter(now.approvals))
        with pytest.raises(Conflict, match="already expired"):
            await home.app.answer(name, "approved", "anna")
        assert home.effects == []


async def test_two_people_must_agree(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking("{people: 2, expires: 30s}"))) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        assert (await home.app.answer(asked.approval, "approved", "anna"))["answer"] == "waiting"
        with pytest.raises(Conflict, match="another person") as twice:
            await home.app.answer(asked.approval, "approved", "anna")
        assert twice.value.winner == "anna"
        assert home.effects == []
        waits = (await home.app.incident(incident)).approvals[asked.approval]
        assert (waits.people, waits.agreed, waits.answer) == (2, ("anna",), None)
        await home.app.answer(asked.approval, "approved", "ben")
        done = await home.over(incident)
        assert (done.outcome, done.approvals[asked.approval].agreed) == ("resolved", ("anna", "ben"))


async def test_one_no_of_two_is_a_no(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking("{people: 2, expires: 30s}"))) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        await home.app.answer(asked.approval, "approved", "anna")
        await home.app.answer(asked.approval, "denied", "ben")
        assert (await home.escalated(incident)).refusals[0]["rule"] == "denied"
        assert home.effects == []


async def test_the_second_answer_learns_who_won(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking())) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        await home.app.answer(asked.approval, "approved", "anna")
        with pytest.raises(Conflict, match="already approved by anna") as late:
            await home.app.answer(asked.approval, "denied", "ben")
        assert late.value.winner == "anna"
        assert (await home.over(incident)).outcome == "resolved"
        assert home.effects == ["fix"]


async def test_only_known_answers_count(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking())) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        with pytest.raises(InvalidInput, match="perhaps"):
            await home.app.answer(asked.approval, "perhaps", "anna")
        with pytest.raises(NotFound):
            await home.app.answer("no-such", "approved", "anna")
        await home.app.answer(asked.approval, "approved", "anna")
        await home.over(incident)


async def test_taking_the_incident_withdraws_it_and_nothing_more_is_done(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX + "\n- {condition: state.value > 20, then: [other]}",
                     asking(more=f"- {{id: other, type: automated, action: {do('other', 0)}}}"))) as home:  # fmt: skip
        incident = await home.fire()
        asked = await home.asked(incident)
        taken = await home.app.take(incident, "anna")
        assert (taken.assignee, taken.waiting) == ("anna", ())
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("stopped", [])
        assert now.status not in (Status.RESOLVED, Status.CLOSED)
        with pytest.raises(Conflict, match="already withdrawn"):
            await home.app.answer(asked.approval, "approved", "ben")
        with pytest.raises(Conflict, match="already taken by anna") as late:
            await home.app.take(incident, "ben")
        assert late.value.winner == "anna"
        await home.calm()
        assert (await home.app.incident(incident)).status is Status.RESOLVED


async def test_an_action_that_changed_after_the_yes_is_not_done(tmp_path: Path) -> None:
    """The yes is for this exact call: the file that names the target changed while people thought."""
    script = tmp_path / "flags.json"
    script.write_text('{"a": 0}')
    book = runbook(
        FIX, "- {id: fix, type: automated, approval: {expires: 30s}, precondition: 'value == 0', action: "
        "{type: set_flag, config: {flag: a, value: 1, file: @/flags.json}}}",
    )  # fmt: skip
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        script.write_text('{"a": 7}')
        await home.app.answer(asked.approval, "approved", "anna")
        now = await home.escalated(incident)
        assert now.refusals[0]["rule"] == "precondition"
        assert script.read_text() == '{"a": 7}'


async def test_a_manual_step_is_done_by_a_person_and_then_verified(tmp_path: Path) -> None:
    book = runbook(FIX, "- {id: fix, type: manual, instructions: press the red button}")
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        assert asked.instructions == "press the red button"
        home.state(0)
        await home.app.answer(asked.approval, "done", "anna")
        assert (await home.over(incident)).outcome == "resolved"


async def test_an_approval_survives_a_restart_and_is_acted_on_once(tmp_path: Path, database: str) -> None:
    book = runbook(FIX, asking())
    async with house(tmp_path, book, database=database) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
    async with house(tmp_path, book, database=database) as home:
        assert (await home.app.incident(incident)).status is Status.WAITING
        await home.app.answer(asked.approval, "approved", "anna")
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("resolved", ["fix"])
        kinds = [event.kind for event in await home.events(incident)]
        assert kinds.count(EventKind.APPROVAL_REQUESTED) == kinds.count(EventKind.ACTION_INTENDED) == 1


async def test_an_approval_that_ran_out_while_nobody_was_there_is_not_a_yes(tmp_path: Path) -> None:
    book = runbook(FIX, asking("{expires: 600ms}"))
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        await home.asked(incident)
    async with house(tmp_path, book) as home:
        now = await home.escalated(incident)
        assert (now.refusals[0]["rule"], home.effects) == ("expired", [])


async def test_editing_the_runbook_does_not_change_what_is_approved(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking())) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
    async with house(tmp_path, runbook(FIX, asking(value=33).replace('"fix"', '"edited"'))) as home:
        await home.app.answer(asked.approval, "approved", "anna")
        assert (await home.over(incident)).outcome == "resolved"
        assert home.effects == ["fix"]
