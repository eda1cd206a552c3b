"""What an approval request says of the users and of the times before, from the log and the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.incident.event import EventKind
from quell.respond.stakes import history
from quell.store.queries import MOST_PAST, Past
from tests.app import House, do, house, runbook

pytestmark = pytest.mark.anyio

APART = "correlation: {reopen: 0, flapping: {changes: 0}}\n"
"""What fires again is another incident, however often."""
FIX = "- {condition: state.critical, then: [fix]}"
NEXT = FIX + "\n- {condition: state.value > 0, then: [other]}"
SIGNALS = "verify: {signals: [state, trigger], stable_for: 0.15s, within: 1s, every: 0.05s}"


def asking(name: str = "fix", value: object = 0) -> str:
    return f"- {{id: {name}, type: automated, approval: {{expires: 30s}}, action: {do(name, value)}}}"


async def said(home: House, incident: str) -> dict[str, str]:
    asked = await home.asked(incident)
    told = await home.told_of(incident, EventKind.APPROVAL_REQUESTED)
    return next(one for one in told if one["approval"] == asked.approval)


async def round_of(home: House, name: str = "Down") -> tuple[str, str]:
    """Fire, say yes, let it end; the history that was told and how it ended."""
    home.state(50)
    incident = await home.fire(name)
    request = await said(home, incident)
    await home.app.answer(incident, "approved", "anna")
    ended = await home.over(incident)
    await home.calm(name)
    return request["history"], str(ended.outcome)


async def test_it_says_what_users_feel_and_that_it_was_never_done(tmp_path: Path) -> None:
    async with house(tmp_path, runbook(FIX, asking(), verify=SIGNALS)) as home:
        request = await said(home, await home.fire())
        assert request["impact"] == "state: critical, exit 0: 50; 1 alert still firing"
        assert request["history"] == "never done before"


async def test_signals_that_are_all_healthy_say_so(tmp_path: Path) -> None:
    deep = "- {id: deep, type: shell_command, config: {command: [echo, '1']}, interpret: {healthy: value < 9}}"
    book = runbook(
        "- {condition: state.critical, then: [fix]}", asking(), verify=SIGNALS.replace("[state, trigger]", "[deep]"),
        diagnostics=f"{deep}\n- {{id: state, type: shell_command, config: {{command: [cat, @/state]}}, "
        "interpret: {critical: value >= 10}}",
    )  # fmt: skip
    async with house(tmp_path, book) as home:
        request = await said(home, await home.fire())
        assert request["impact"] == "no signal shows any: all that verification watches are healthy"


async def test_it_counts_how_it_ended_before_with_this_runbook_and_node(tmp_path: Path, database: str) -> None:
    """Another node of the same runbook, and another runbook with a node of that name, do not count."""
    other = runbook(FIX, asking("fix")).replace("id: down", "id: off").replace("alert_name: Down", "alert_name: Off")
    books = [runbook(FIX, asking("fix", 0)), other]
    async with house(tmp_path, books, database=database, more=APART) as home:
        assert [await round_of(home) for _ in range(3)] == [
            ("never done before", "resolved"),
            ("done once before with this runbook: 1 resolved", "resolved"),
            ("done 2 times before with this runbook: 2 resolved", "resolved"),
        ]
        assert await round_of(home, "Off") == ("never done before", "resolved")
    no_help = runbook(FIX, asking("fix", 60))
    async with house(tmp_path, [no_help, other], database=database, more=APART) as home:
        told, ended = await round_of(home)
        assert (told, ended) == ("done 3 times before with this runbook: 3 resolved", "escalated")
        home.state(50)
        incident = await home.fire()
        assert (await said(home, incident))["history"] == (
            "done 4 times before with this runbook: 3 resolved, 1 escalated"
        )


async def test_the_newest_word_on_a_signal_counts(tmp_path: Path) -> None:
    """After a first action that helped a little, the second request tells what verification saw, not the diagnosis."""
    verify = SIGNALS.replace("[state, trigger]", "[state]").replace("}", ", on_unchanged: next, on_improved: next}")
    book = runbook(NEXT, f"{asking('fix', 40)}\n{asking('other', 0)}", verify=verify)
    async with house(tmp_path, book) as home:
        incident = await home.fire()
        await home.asked(incident)
        await home.app.answer(incident, "approved", "anna")
        await home.asked(incident, 2)
        assert (await said(home, incident))["impact"] == "state: critical, exit 0: 40"


async def test_what_failed_is_no_success(tmp_path: Path) -> None:
    failing = f"- {{id: fix, type: automated, approval: {{expires: 30s}}, action: {do('fix', 50, 0, 3)}}}"
    async with house(tmp_path, runbook(FIX, failing)) as home:
        await round_of(home)
        home.state(50)
        request = await said(home, await home.fire())
        assert request["history"] == "tried before with this runbook and never done; once it failed or nobody knows"


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (Past({"": 1, "escalated": 1, "resolved": 2}),
         "done 4 times before with this runbook: 2 resolved, 1 escalated, 1 not over yet"),
        (Past({"resolved": 2}, 1),
         "done 2 times before with this runbook: 2 resolved; once it failed or nobody knows"),
        (Past({"resolved": MOST_PAST}), "done at least 500 times before with this runbook: 500 resolved"),
    ],
)  # fmt: skip
def test_the_words_of_the_past(past: Past, words: str) -> None:
    assert history(past) == words
