"""Shadow mode: nothing is changed, people are paged, and what they did is compared with what would have been done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quell.incident.event import EventKind
from quell.incident.incident import Incident, Status
from quell.respond import shadow
from tests.app import House, do, house, runbook

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
SHADOW = "mode: shadow\n"
DO = f"- {{id: fix, name: Fix it, type: automated, action: {do('fix', 0)}}}"
FLAG = "- {id: fix, type: automated, action: {type: set_flag, config: {flag: a, value: 1, file: @/flags.json}}}"


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "FIRST_S", 0.05)
    monkeypatch.setattr(shadow, "GROWTH", 1.0)


async def compared(home: House, incident: str) -> dict[str, Any]:
    def told(now: Incident) -> object:
        return any(event.kind is EventKind.SHADOW_COMPARED for event in home.told if event.stream_id == incident)

    await home.until(incident, told, "the comparison")
    return (await home.told_of(incident, EventKind.SHADOW_COMPARED))[0]


async def test_nothing_is_done_and_somebody_is_paged_with_what_would_have_been(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, runbook(FIX, DO, more=SHADOW), database=database) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (home.effects, now.status) == ([], Status.ESCALATED)
        (would,) = await home.told_of(incident, EventKind.ACTION_SHADOWED)
        assert (would["action"], would["call"], would["rule"]) == ("run_script", f"{tmp_path}/do fix 0", None)
        assert f"in mode shadow: would do: {tmp_path}/do fix 0" in now.reason
        assert await home.told_of(incident, EventKind.ACTION_INTENDED) == []


async def test_people_who_say_that_they_did_it_did_the_same(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, runbook(FIX, DO, more=SHADOW), database=database) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.take(incident, "ann")
        await home.app.step(incident, "ann", "fix", "done", "by hand")
        await home.app.resolve(incident, "ann")
        told = await compared(home, incident)
        assert (told["verdict"], told["did"]) == ("same", ["Fix it (ann: done)"])
        assert told["after_s"] >= 0
        (record,) = await home.app.shadows()
        assert (record.runbook, record.runs, record.same, record.other, record.pending) == ("down", 1, 1, 0, 0)
        assert record.median_s == told["after_s"]


async def test_what_nobody_can_see_is_not_guessed(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, DO, more=SHADOW)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.resolve(incident, "ann")
        assert (await compared(home, incident))["verdict"] == "cannot_tell"


@pytest.mark.parametrize(("value", "verdict"), [(1, "same"), (7, "other")])
async def test_the_world_shows_whether_they_did_it(tmp_path: Path, value: int, verdict: str) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    async with house(tmp_path, runbook(FIX, FLAG, more=SHADOW)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert json.loads((tmp_path / "flags.json").read_text()) == {"a": 0}
        (tmp_path / "flags.json").write_text(json.dumps({"a": value}))
        await home.app.resolve(incident, "ann")
        assert (await compared(home, incident))["verdict"] == verdict


async def test_what_the_guardrails_would_have_refused_is_said(tmp_path: Path) -> None:
    more = "guardrails: {actions: {run_script: {allow: false}}}\n"
    async with house(tmp_path, runbook(FIX, DO, more=SHADOW), more=more) as home:
        incident = await home.fire()
        await home.escalated(incident)
        (would,) = await home.told_of(incident, EventKind.ACTION_SHADOWED)
        assert would["rule"] == "not_allowed"
        await home.app.resolve(incident, "ann")
        told = await compared(home, incident)
        assert (told["verdict"], told["would"][0]["found"]) == ("cannot_tell", "refused")


async def test_it_is_compared_after_a_restart(tmp_path: Path) -> None:
    book = runbook(FIX, DO, more=SHADOW)
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert (await home.app.shadows())[0].pending == 1
    async with house(tmp_path, book) as home:
        await home.app.step(incident, "ann", "Fix it", "done")
        await home.app.resolve(incident, "ann")
        assert (await compared(home, incident))["verdict"] == "same"


@pytest.mark.parametrize("rails", ["{mode: shadow}", "{overrides: [{tenants: [default], mode: shadow}]}"])
async def test_the_guardrails_set_the_most_that_a_tenants_runs_may_do(tmp_path: Path, rails: str) -> None:
    async with house(tmp_path, runbook(FIX, DO), more=f"guardrails: {rails}\n") as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert home.effects == []
        assert len((await home.app.incident(incident)).shadowed) == 1


async def test_another_tenant_is_not_held_back(tmp_path: Path) -> None:
    more = "guardrails: {overrides: [{tenants: [new], mode: shadow}]}\n"
    async with house(tmp_path, runbook(FIX, DO), more=more) as home:
        incident = await home.fire()
        await home.over(incident)
        assert home.effects == ["fix"]


async def test_a_dry_run_of_an_alert_pages_all_the_same(tmp_path: Path) -> None:
    """A page must not get lost because its runbook only says what it would do."""
    async with house(tmp_path, runbook(FIX, DO, more="mode: dry_run\n")) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (home.effects, now.status) == ([], Status.ESCALATED)
        assert "in mode dry_run" in now.reason


async def test_manual_steps_and_waits_hold_nothing_up(tmp_path: Path) -> None:
    steps = "- {id: hand, type: manual, instructions: look}\n- {id: later, type: wait, duration: 1h}\n" + DO
    book = runbook("- {condition: state.critical, then: [hand, later, fix]}", steps, more=SHADOW)
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (home.effects, now.approvals) == ([], {})


async def test_one_step_by_hand_is_one_action(tmp_path: Path) -> None:
    two = DO + "\n" + DO.replace("id: fix", "id: more")
    book = runbook("- {condition: state.critical, then: [fix, more]}", two, more=SHADOW)
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        await home.escalated(incident)
        await home.app.step(incident, "ann", "run_script", "done")
        await home.app.step(incident, "ann", "Fix it", "done")
        await home.app.resolve(incident, "ann")
        told = await compared(home, incident)
        assert [row["found"] for row in told["would"]] == ["done", "cannot_tell"]


async def test_a_run_that_would_have_done_nothing_is_no_run_of_shadow_mode(tmp_path: Path) -> None:
    async with house(tmp_path, runbook("- {condition: state.value > 900, then: [fix]}", DO, more=SHADOW)) as home:
        await home.escalated(await home.fire())
        assert await home.app.shadows() == []
