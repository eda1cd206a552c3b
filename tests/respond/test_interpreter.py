"""The whole loop through a real App: what each verdict leads to, and that nothing is done without a reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from quell.incident.event import Event, EventKind
from quell.incident.incident import Status
from tests.app import STATE, do, house, runbook

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
ONE = f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
SLOW = f"- {STATE}\n- {{id: slow, type: shell_command, config: {{command: [sh, @/wait]}}, interpret: {{healthy: exit_code == 0}}}}"
WAIT = "touch @/looking\nn=0\nwhile [ ! -e @/go ] && [ $n -lt 400 ]; do sleep 0.02; n=$((n+1)); done\n"
"""A check that tells when it looks, and answers once the test lets it."""


def step(name: str, value: object, *more: object, rest: str = "") -> str:
    return f"- {{id: {name}, type: automated, action: {do(name, value, *more)}{rest}}}\n"


def gate(folder: Path) -> None:
    (folder / "wait").write_text(WAIT.replace("@/", f"{folder}/"))


# The five verdicts.


async def test_an_alert_is_diagnosed_fixed_verified_and_resolved(tmp_path: Path, database: str) -> None:
    async with house(tmp_path, runbook(FIX, ONE), database=database) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.status, now.outcome, now.verdict) == (Status.RESOLVED, "resolved", "recovered")
        assert home.effects == ["fix"]
        kinds = [event.kind for event in await home.events(incident)]
        assert kinds == [
            EventKind.OPENED, EventKind.RUN_STARTED, EventKind.CHECK_FINISHED, EventKind.DECIDED,
            EventKind.ACTION_INTENDED, EventKind.ACTION_FINISHED, EventKind.VERIFICATION_STARTED,
            EventKind.VERIFICATION_FINISHED, EventKind.RESOLVED, EventKind.RUN_ENDED,
        ]  # fmt: skip
        assert [event.seq for event in home.told] == list(range(1, len(kinds) + 1))


async def test_what_changes_nothing_is_followed_by_the_next_decision(tmp_path: Path, database: str) -> None:
    book = runbook(
        "- {condition: state.critical, then: [wrong]}\n- {condition: state.value > 20, then: [right]}",
        step("wrong", 50) + step("right", 0),
    )
    async with house(tmp_path, book, database=database) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("resolved", ["wrong", "right"])
        verdicts = [told["verdict"] for told in await home.told_of(incident, EventKind.VERIFICATION_FINISHED)]
        assert verdicts == ["unchanged", "recovered"]
        first = (await home.told_of(incident, EventKind.DECIDED))[0]
        assert (first["recommended"], first["chosen"]) == (["d1", "d2"], ["d1"])


async def test_what_improves_is_kept_and_diagnosed_again(tmp_path: Path) -> None:
    """30 % to 8 %: the second decision needs findings that only the second look can have."""
    book = runbook(
        "- {condition: state.warning, then: [rest]}\n- {condition: state.critical, then: [most]}",
        step("most", 8) + step("rest", 0),
    )
    async with house(tmp_path, book, state=30) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("resolved", ["most", "rest"])
        kinds = (EventKind.CHECK_FINISHED, EventKind.DECIDED, EventKind.VERIFICATION_FINISHED)
        story = [
            event.payload.get("verdict") or event.payload.get("chosen") or event.payload["finding"]["status"]
            for event in await home.events(incident, *kinds)
        ]
        assert story == ["critical", ["d2"], "improved", "warning", ["d1"], "recovered"]


async def test_what_makes_it_worse_is_undone_newest_first_and_escalated(tmp_path: Path) -> None:
    flags = tmp_path / "flags.json"
    flags.write_text('{"a": 0, "b": 0, "kept": 0}')
    flag = "- {{id: {0}, type: automated, action: {{type: set_flag, config: {{flag: {0}, value: 1, file: @/flags.json}}}}{1}}}\n"
    book = runbook(
        "- {condition: state.critical, then: [a, kept, b, bad]}",
        flag.format("a", "") + flag.format("kept", ", undo: none") + flag.format("b", "") + step("bad", 500),
    )
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (now.status, now.verdict) == (Status.ESCALATED, "worse")
        assert json.loads(flags.read_text()) == {"a": 0, "b": 0, "kept": 1}
        changes = [json.loads(line) for line in (tmp_path / "flags.json.history").read_text().splitlines()]
        assert [(one["flag"], one["after"]) for one in changes] == [
            ("a", "1"), ("kept", "1"), ("b", "1"), ("b", "0"), ("a", "0"),
        ]  # fmt: skip
        assert "worse" in now.reason
        assert "undone b: done; undone a: done" in now.reason


async def test_an_undo_that_something_rules_out_is_left_alone(tmp_path: Path) -> None:
    """Fencing must not be taken back once the promotion has started."""
    flags = tmp_path / "flags.json"
    flags.write_text('{"fence": 0}')
    fence = (
        "- {id: fence, type: automated, action: {type: set_flag, config: {flag: fence, value: 1, file: @/flags.json}},"
        " undo: {on: worse, unless: promote.started}}\n"
    )
    book = runbook("- {condition: state.critical, then: [fence, promote]}", fence + step("promote", 500))
    async with house(tmp_path, book) as home:
        now = await home.escalated(await home.fire())
        assert now.verdict == "worse"
        assert json.loads(flags.read_text()) == {"fence": 1}


async def test_what_cannot_be_told_stays_open_and_pages(tmp_path: Path) -> None:
    book = runbook(FIX, step("fix", "who knows"))
    async with house(tmp_path, book) as home:
        now = await home.escalated(await home.fire())
        assert (now.status, now.verdict, now.ended_at) == (Status.ESCALATED, "cannot_tell", None)


@pytest.mark.parametrize(
    ("require", "said"),
    [
        ("load.value > 5", "load.value > 5"),
        ("{type: shell_command, config: {command: [cat, @/load]}, interpret: {healthy: value > 5}}", "shell_command"),
    ],
)
async def test_without_traffic_nothing_is_called_recovered(tmp_path: Path, require: str, said: str) -> None:
    """Drained: the error rate is zero because nobody asks."""
    load = "{id: load, type: shell_command, config: {command: [cat, @/load]}, interpret: {healthy: value >= 0}}"
    verify = f"verify: {{signals: [state], require: {require}, stable_for: 0.1s, within: 0.6s, every: 0.05s}}"
    book = runbook(FIX, ONE, verify=verify, diagnostics=f"- {STATE}\n- {load}")
    (tmp_path / "load").write_text("0")
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (now.verdict, now.ended_at) == ("cannot_tell", None)
        told = (await home.told_of(incident, EventKind.VERIFICATION_FINISHED))[0]
        assert told["signals"]["state"]["now"] == "healthy"
        assert f"require does not hold: {said}" in told["reason"]


async def test_a_required_check_that_is_healthy_lets_the_verdict_be(tmp_path: Path) -> None:
    require = "{type: shell_command, command: [echo, '9'], interpret: {healthy: value > 5}}"
    verify = f"verify: {{signals: [state], require: {require}, stable_for: 0.1s, within: 1.5s, every: 0.05s}}"
    async with house(tmp_path, runbook(FIX, ONE, verify=verify)) as home:
        now = await home.over(await home.fire())
        assert (now.outcome, now.verdict) == ("resolved", "recovered")


# Decisions.


async def test_when_no_decision_holds_a_person_gets_all_the_evidence(tmp_path: Path) -> None:
    async with house(tmp_path, runbook("- {condition: state.value > 900, then: [fix]}", ONE)) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert (now.outcome, now.status, home.effects) == ("escalated", Status.ESCALATED, [])
        assert now.reason == "no decision holds"
        decided = (await home.told_of(incident, EventKind.DECIDED))[0]
        assert decided["explanations"][0]["holds"] is False
        assert "50" in decided["explanations"][0]["clause"]


async def test_what_is_unknown_never_lets_a_decision_hold(tmp_path: Path) -> None:
    book = runbook("- {condition: '!(state.value < 10)', then: [fix]}", ONE)
    async with house(tmp_path, book, state="gibberish") as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert home.effects == []
        assert now.findings["state"]["status"] == "no_data"
        assert (await home.told_of(incident, EventKind.DECIDED))[0]["explanations"][0]["holds"] is None


async def test_otherwise_is_taken_when_nothing_else_holds(tmp_path: Path) -> None:
    book = runbook("- {condition: state.healthy, then: [page]}\n- {otherwise: true, then: [fix]}",
                   ONE + "\n- {id: page, type: escalate}")  # fmt: skip
    async with house(tmp_path, book) as home:
        now = await home.over(await home.fire())
        assert (now.outcome, home.effects) == ("resolved", ["fix"])


async def test_a_step_that_nobody_wrote_is_a_page(tmp_path: Path) -> None:
    book = runbook("- {condition: state.critical, then: [forgotten]}", ONE.replace("id: fix", "id: spare"))
    async with house(tmp_path, book) as home:
        now = await home.escalated(await home.fire())
        assert home.effects == []
        assert "'forgotten'" in now.reason


async def test_all_decisions_that_hold_are_carried_out_before_verifying(tmp_path: Path) -> None:
    book = runbook(
        "- {condition: state.critical, then: [one]}\n- {condition: state.healthy, then: [no]}\n"
        "- {condition: state.value > 20, then: [two]}",
        step("one", 50) + step("no", 50) + step("two", 0), more="decision_mode: all\n",
    )  # fmt: skip
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("resolved", ["one", "two"])
        assert len(await home.told_of(incident, EventKind.VERIFICATION_FINISHED)) == 1


async def test_an_action_that_fails_is_followed_by_another_look_and_the_next_decision(tmp_path: Path) -> None:
    book = runbook(
        "- {condition: state.critical, then: [breaks, never]}\n- {condition: state.value > 20, then: [fix]}",
        step("breaks", 50, 0, 3) + step("never", 0) + ONE,
    )
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        now = await home.over(incident)
        assert (now.outcome, home.effects) == ("resolved", ["breaks", "fix"])
        kinds = [event.kind for event in await home.events(incident)]
        assert kinds.count(EventKind.CHECK_FINISHED) == 2
        assert [deed.result for deed in now.deeds.values()] == ["failed", "done"]


async def test_a_failure_is_undone_where_the_runbook_says_so(tmp_path: Path) -> None:
    flags = tmp_path / "flags.json"
    flags.write_text('{"a": 0}')
    book = runbook(
        "- {condition: state.critical, then: [a, breaks]}",
        "- {id: a, type: automated, action: {type: set_flag, config: {flag: a, value: 1, file: @/flags.json}}, undo: {on: failed}}\n"
        + step("breaks", 50, 0, 3),
    )
    async with house(tmp_path, book) as home:
        await home.escalated(await home.fire())
        assert json.loads(flags.read_text()) == {"a": 0}


async def test_rounds_are_bounded(tmp_path: Path) -> None:
    book = runbook(
        "- {condition: state.critical, then: [one]}\n- {condition: state.critical, then: [two]}",
        step("one", 50) + step("two", 50), more="max_rounds: 1\n",
        verify="verify: {signals: [state], stable_for: 0.1s, within: 0.2s, every: 0.05s}",
    )  # fmt: skip
    async with house(tmp_path, book) as home:
        now = await home.escalated(await home.fire())
        assert (home.effects, now.reason) == (["one"], "not over after 1 rounds")


# Alerts that come and go.


async def test_an_alert_that_resolves_before_anything_is_done_cancels_the_action(tmp_path: Path, database: str) -> None:
    gate(tmp_path)
    async with house(tmp_path, runbook(FIX, ONE, diagnostics=SLOW), database=database) as home:
        incident = await home.fire()
        await home.until(incident, lambda now: (tmp_path / "looking").exists() and "state" in now.findings)
        home.state(0)
        await home.calm()
        (tmp_path / "go").touch()
        now = await home.over(incident)
        assert (now.status, home.effects) == (Status.RESOLVED, [])
        assert "resolved by itself" in now.reason
        assert now.refusals[0]["rule"] == "trigger_gone"


async def test_an_alert_that_resolves_while_an_approval_waits_withdraws_it(tmp_path: Path) -> None:
    book = runbook(FIX, ONE.replace("type: automated", "type: automated, requires_approval: true", 1))
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        await home.asked(incident)
        home.state(0)
        await home.calm()
        now = await home.over(incident)
        assert (now.status, home.effects) == (Status.RESOLVED, [])
        assert "resolved by itself" in now.reason
        assert [one.answer for one in now.approvals.values()] == ["withdrawn"]


async def test_an_alert_that_resolves_after_the_escalation_ends_the_incident(tmp_path: Path) -> None:
    async with house(tmp_path, runbook("- {condition: state.healthy, then: [fix]}", ONE)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert (await home.calm()).incidents == (incident,)
        assert (await home.app.incident(incident)).status is Status.RESOLVED


async def test_the_same_alert_again_is_nothing_new_and_another_of_the_service_joins(tmp_path: Path) -> None:
    async with house(tmp_path, runbook("- {condition: state.healthy, then: [fix]}", ONE)) as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert (await home.post()).accepted == 0
        assert (await home.fire(replica="2")) == incident
        assert len((await home.app.incident(incident)).firing) == 2
        await home.until(incident, lambda now: now.run == 2 and now.outcome and len(now.escalated_to) == 2, "its run")
        assert (await home.calm()).incidents == (incident,)
        assert (await home.app.incident(incident)).status is Status.ESCALATED
        await home.calm(replica="2")
        assert (await home.app.incident(incident)).status is Status.RESOLVED
        # A moment later it is the same incident still.
        assert await home.fire() == incident
        assert (await home.app.incident(incident)).reopened == 1


async def test_healthy_checks_under_a_firing_alert_are_for_a_person(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, ONE), state=0) as home:
        now = await home.escalated(await home.fire())
        assert now.reason == "every check is healthy, and the alert still fires"


async def test_a_run_by_hand_that_finds_nothing_wrong_ends_healthy(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, ONE), state=0) as home:
        started = await home.app.trigger("down", actor="anna")
        now = await home.over(started.incident)
        assert (now.status, now.outcome, home.effects) == (Status.RESOLVED, "healthy", [])


async def test_an_incident_resolved_by_hand_lets_its_run_end_quietly(tmp_path: Path) -> None:
    gate(tmp_path)
    async with house(tmp_path, runbook(FIX, ONE, diagnostics=SLOW)) as home:
        incident = await home.fire()
        await home.until(incident, lambda now: (tmp_path / "looking").exists() and "state" in now.findings)
        await home.app.resolve(incident, "anna", "false alarm")
        (tmp_path / "go").touch()
        now = await home.over(incident)
        assert (now.status, now.outcome, home.effects) == (Status.RESOLVED, "stopped", [])
        assert now.reason.startswith("false alarm") or "ended" in now.reason


# Modes.


async def test_a_dry_run_shows_and_does_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, ONE, more="mode: dry_run\n")) as home:
        incident = (await home.app.trigger("down")).incident
        now = await home.over(incident)
        assert (now.outcome, home.effects, now.deeds) == ("dry_run", [], {})
        assert f"would do: {tmp_path}/do fix 0" in now.reason


async def test_observe_only_recommends_and_pages(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, ONE), observe=True, sound=False) as home:
        incident = await home.fire()
        now = await home.escalated(incident)
        assert home.effects == []
        assert now.deeds == {}


async def test_in_approve_mode_everything_is_asked(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, ONE, more="mode: approve\n")) as home:
        incident = await home.fire()
        asked = await home.asked(incident)
        assert home.effects == []
        await home.app.answer(asked.approval, "approved", "anna")
        assert (await home.over(incident)).outcome == "resolved"


# Where little is known.


async def test_what_did_not_stay_healthy_is_decided_on(tmp_path: Path) -> None:
    """Every check is healthy and the alert fires on: it is watched once, then ``otherwise`` has its turn."""
    book = runbook(
        "- {condition: state.healthy, then: [one]}\n- {otherwise: true, then: [two]}", step("one", 0) + step("two", 0),
        verify="verify: {signals: [trigger, state], stable_for: 0.15s, within: 0.4s, every: 0.05s}",
    )  # fmt: skip
    async with house(tmp_path, book, state=0) as home:
        incident = await home.fire()
        await home.escalated(incident)
        assert home.effects == ["one", "two"]
        assert len(await home.events(incident, EventKind.VERIFICATION_FINISHED)) == 3


async def test_where_nothing_is_asked_nothing_is_healthy(tmp_path: Path) -> None:
    book = runbook("- {otherwise: true, then: [one]}", step("one", 0), diagnostics="  []", verify="")
    async with house(tmp_path, book) as home:
        started = await home.app.trigger("down")
        await home.over(started.incident)
        assert home.effects == ["one"]


async def test_an_alert_that_fires_while_the_end_is_written_is_not_swallowed(tmp_path: Path) -> None:
    verify = "verify: {signals: [trigger, state], stable_for: 0.1s, within: 5s, every: 0.05s}"
    fired: list[asyncio.Task[str]] = []
    async with house(tmp_path, runbook(FIX, ONE, verify=verify)) as home:

        def hear(told: Sequence[Event]) -> None:
            if any(event.kind is EventKind.VERIFICATION_FINISHED for event in told) and not fired:
                fired.append(asyncio.ensure_future(home.fire(instance="b")))

        home.app.listeners.append(hear)
        incident = await home.fire(instance="a")
        await home.until(incident, lambda now: [deed for deed in now.deeds.values() if deed.result])
        await home.calm(instance="a")
        now = await home.over(incident)
        # Either it came first, and a person hears of it, or the end did, and it opens an incident of its own.
        if await fired[0] == incident:
            now = await home.escalated(incident)
            assert now.firing
            assert now.status is Status.ESCALATED
        else:
            assert now.status is Status.RESOLVED


# What stands in the way, and what is taken back.

LIMITED = "guardrails: {actions: {set_flag: {allow: false}}}\n"
FLAG = "- {id: flag, type: automated, action: {type: set_flag, config: {flag: a, value: 1, file: @/flags.json}}}\n"


async def test_a_second_step_that_may_not_run_pages_at_once_with_what_is_in_place(tmp_path: Path) -> None:
    book = runbook(
        "- {condition: state.critical, then: [one, flag]}", step("one", 5) + FLAG,
        verify="verify: {signals: [state], stable_for: 10s, within: 60s}",
    )  # fmt: skip
    (tmp_path / "flags.json").write_text('{"a": 0}')
    async with house(tmp_path, book, more=LIMITED) as home:
        now = await home.escalated(await home.fire())
        assert home.effects == ["one"]
        assert "set_flag was not done: guardrails do not allow set_flag" in now.reason
        assert "before it: run_script" in now.reason


async def test_the_page_says_what_stood_in_the_way(tmp_path: Path) -> None:
    book = runbook(
        "- {condition: state.critical, then: [flag]}\n- {condition: state.value > 20, then: [bad]}",
        FLAG + step("bad", 50, 0, 3),
    )
    (tmp_path / "flags.json").write_text('{"a": 0}')
    async with house(tmp_path, book, more=LIMITED) as home:
        now = await home.escalated(await home.fire())
        assert now.reason.startswith("every decision that holds has been tried; set_flag was not done: guardrails")
        assert "run_script failed" in now.reason


@pytest.mark.parametrize(("policy", "verdict"), [("on_unchanged: page", "unchanged"), ("on_worse: page", "worse")])
async def test_undo_follows_the_verdict_whatever_the_policy(tmp_path: Path, policy: str, verdict: str) -> None:
    (tmp_path / "flags.json").write_text('{"a": 0}')
    value = 50 if verdict == "unchanged" else 500
    flag = FLAG.replace("}}}\n", f"}}}}, undo: {{on: {verdict}}}}}\n")
    book = runbook(
        "- {condition: state.critical, then: [flag, one]}", flag + step("one", value),
        verify=f"verify: {{signals: [state], stable_for: 0.1s, within: 0.4s, every: 0.05s, {policy}}}",
    )  # fmt: skip
    async with house(tmp_path, book) as home:
        now = await home.escalated(await home.fire())
        assert now.verdict == verdict
        assert json.loads((tmp_path / "flags.json").read_text()) == {"a": 0}


async def test_what_nothing_can_tell_is_told_at_once(tmp_path: Path) -> None:
    book = runbook("- {otherwise: true, then: [one]}", step("one", 0), diagnostics="  []", verify="")
    async with house(tmp_path, book) as home:
        started = await home.app.trigger("down")
        now = await home.escalated(started.incident)
        assert (now.verdict, home.effects) == ("cannot_tell", ["one"])


async def test_an_incident_without_alert_that_is_given_back_is_looked_at_again(tmp_path: Path) -> None:
    book = runbook(FIX, ONE.replace("type: automated", "type: automated, requires_approval: true"))
    async with house(tmp_path, book) as home:
        incident = (await home.app.trigger("down")).incident
        await home.asked(incident)
        await home.app.take(incident, "anna")
        await home.over(incident)
        await home.app.give_back(incident, "anna")
        now = await home.until(incident, lambda now: now.run == 2 and now.waiting, "asked again")
        assert home.effects == []
        await home.app.answer(now.waiting[0].approval, "approved", "anna")
        assert (await home.over(incident)).outcome == "resolved"


@pytest.mark.parametrize(("stop", "done"), [("unchanged", ["eu"]), ("worse", ["eu", "us"])])
async def test_what_the_signals_say_between_targets_may_stop_the_rest(
    tmp_path: Path, stop: str, done: list[str]
) -> None:
    one = f"- {{id: fix, type: automated, for_each: {{region: [eu, us], stop_on: {stop}}}, action: {{type: run_script, config: {{command: [@/do, '${{region}}', '50']}}}}}}\n"
    async with house(tmp_path, runbook(FIX, one)) as home:
        now = await home.escalated(await home.fire())
        assert home.effects == done
        assert ("fix stopped after 1 of 2: the signals are unchanged" in now.reason) is (stop == "unchanged")


async def test_a_target_that_failed_stops_the_rest_unless_it_never_should(tmp_path: Path) -> None:
    one = "- {id: fix, type: automated, for_each: {region: [eu, us], stop_on: worse}, action: {type: run_script, config: {command: [@/do, '${region}', '50', '0', '3']}}}\n"
    async with house(tmp_path, runbook(FIX, one)) as home:
        await home.escalated(await home.fire())
        assert home.effects == ["eu"]
