"""The message that asks for an answer carries all that the answer needs, in its order, and nothing that is hidden."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quell.incident.event import EventKind
from quell.respond.asked import CALL_CHARS, MOST_LINES, asked_of
from tests.app import PAGES, House, do, house, runbook
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.sink import FakeSink
from tests.fakes.slack import FakeSlack

pytestmark = pytest.mark.anyio

FIX = "- {condition: state.critical, then: [fix]}"
ORDER = ["Call", "Targets", "Changes", "Why", "Users", "Before this", "Undo", "Silence", "For", "Answer"]
AT = datetime(2026, 5, 1, 3, 0, tzinfo=UTC)
REQUEST: dict[str, Any] = {
    "approval": "a1b2c3d4e5f6", "call": "scale payment 3 → 5", "targets": ["payment"], "before": "3", "after": "5",
    "why": "the runbook asks for approval; load 0.93 > 0.9 → true", "impact": "Errors: critical", "history": "never",
    "undo": "scale back to 3", "expires_at": (AT + timedelta(minutes=10)).isoformat(), "on_no_answer": "page",
    "people": 1, "from": "dba", "risk": "medium", "asks": "approval", "hash": "f" * 64, "instructions": "find out",
}  # fmt: skip


def book(to: str, act: str = "") -> str:
    fix = act or f"- {{id: fix, type: automated, approval: {{from: dba, expires: 30s}}, action: {do('fix', 0)}}}"
    return runbook(FIX, fix).replace(PAGES, f"escalation: {{primary: '{to}'}}\n")


async def asked(home: House, sink: FakeSink) -> tuple[str, dict[str, Any]]:
    incident = await home.fire()
    await home.until(incident, lambda now: sink.received)
    return incident, sink.received[0].json()


def test_the_rows_stand_in_the_order_in_which_a_person_weighs_them() -> None:
    rows = dict(asked_of(REQUEST, AT, "https://quell.example/incidents/i1").rows)
    assert list(rows) == ORDER
    assert rows["Changes"] == ("3 → 5",)
    assert rows["Why"] == ("the runbook asks for approval", "load 0.93 > 0.9 → true")
    assert rows["Undo"] == ("scale back to 3 (risk medium)",)
    assert rows["Silence"] == (
        "expires 2026-05-01 03:10:00 UTC, 10m after it was asked; then nothing runs and a person is paged",
    )
    assert rows["Answer"] == (
        "quell approve a1b2c3d4e5f6", "quell deny a1b2c3d4e5f6 --reason '…'", "https://quell.example/incidents/i1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "title", "line"),
    [
        ({"undo": None, "risk": ""}, "Undo", "cannot be undone"),
        ({"on_no_answer": "deny"}, "Silence", "; then nothing runs"),
        ({"asks": "happened", "on_no_answer": "deny"}, "Silence", "; then it stays unknown and a person is paged"),
        ({"asks": "happened"}, "Answer", "it happened: quell approve a1b2c3d4e5f6"),
        ({"asks": "step"}, "Answer", "it is done: quell approve a1b2c3d4e5f6"),
        ({"asks": "step"}, "Do", "find out"),
        ({"people": 2}, "Answer", "2 people must agree"),
    ],
)
def test_what_is_asked_decides_the_words(change: dict[str, Any], title: str, line: str) -> None:
    (told, *_) = dict(asked_of({**REQUEST, **change}, AT, "").rows)[title]
    assert told.endswith(line)


def test_it_stays_bounded_and_says_what_is_left_out() -> None:
    big = {**REQUEST, "call": "x" * 90_000, "targets": [f"pod-{n}" for n in range(900)], "why": "; ".join(["y" * 999] * 99),
           "impact": "z" * 90_000, "history": "h" * 90_000, "undo": "u" * 90_000, "instructions": "i" * 90_000}  # fmt: skip
    told = asked_of(big, AT, "")
    assert (len(told.call), told.call[-1]) == (CALL_CHARS, "…")
    assert told.targets[-1] == f"… and {900 - MOST_LINES} more"
    assert sum(len(line) for _, lines in told.rows for line in lines) < 16_000


async def test_a_webhook_gets_every_part_as_a_field(tmp_path: Path, database: str) -> None:
    with FakeSink() as sink:
        more = f"connections: {{ops: {{type: webhook, url: '{sink.url}/hook'}}}}\nserver: {{base_url: 'https://q.example'}}\n"
        async with house(tmp_path, book("webhook:ops"), more=more, database=database) as home:
            incident, sent = await asked(home, sink)
            (request,) = await home.told_of(incident, EventKind.APPROVAL_REQUESTED)
            told = sent["asked"]
            assert (sent["kind"], told["asks"], told["approval"]) == ("approval", "approval", request["approval"])
            assert told["call"] == f"{tmp_path}/do fix 0"
            assert told["targets"] == [f"{tmp_path}/do"]
            assert told["clauses"] == request["why"].split("; ")
            assert any(clause.startswith("state.critical → true") for clause in told["clauses"])
            assert (told["impact"], told["history"]) == ("state: critical, exit 0: 50", "never done before")
            assert (told["undo"], told["whom"], told["expires_at"]) == (
                "cannot be undone",
                "dba",
                request["expires_at"],
            )
            assert told["answer"] == [
                f"quell approve {request['approval']}", f"quell deny {request['approval']} --reason '…'",
                f"https://q.example/incidents/{incident}",
            ]  # fmt: skip
            assert "Waiting for approval" not in dict(sent["sections"])
            await home.app.answer(told["approval"], "approved", "anna")
            await home.over(incident)


async def test_the_question_whether_it_happened_is_told_as_fully(tmp_path: Path) -> None:
    slow = f"- {{id: fix, type: automated, timeout: 0.3s, action: {do('fix', 50, 30)}}}"
    with FakeSink() as sink:
        more = f"connections: {{ops: {{type: webhook, url: '{sink.url}/hook'}}}}\n"
        async with house(tmp_path, book("webhook:ops", slow), more=more) as home:
            incident, sent = await asked(home, sink)
            told = sent["asked"]
            assert (told["asks"], told["call"]) == ("happened", f"{tmp_path}/do fix 50 30")
            assert "no answer within 0.3 s" in told["clauses"][0]
            assert told["silence"].endswith("then it stays unknown and a person is paged")
            assert (told["impact"], told["history"]) == ("state: critical, exit 0: 50", "never done before")
            await home.app.answer(told["approval"], "denied", "anna")
            await home.over(incident)


async def test_a_manual_step_is_told_too(tmp_path: Path) -> None:
    by_hand = "- {id: fix, name: Reseat the card, type: manual, instructions: press the red button}"
    with FakeSink() as sink:
        more = f"connections: {{ops: {{type: webhook, url: '{sink.url}/hook'}}}}\n"
        async with house(tmp_path, book("webhook:ops", by_hand), more=more) as home:
            incident, sent = await asked(home, sink)
            assert (sent["kind"], sent["text"]) == ("approval", "To do by hand: Reseat the card")
            assert (sent["asked"]["asks"], sent["asked"]["instructions"]) == ("step", "press the red button")
            home.state(0)
            await home.app.answer(sent["asked"]["approval"], "done", "anna")
            await home.over(incident)


async def test_slack_shows_the_call_first_and_the_evidence_after_what_is_asked(tmp_path: Path) -> None:
    with FakeSlack() as slack:
        more = f"connections: {{ops: {{type: slack, url: '{slack.webhook_url}'}}}}\n"
        async with house(tmp_path, book("#ops"), more=more) as home:
            incident = await home.fire()
            await home.until(incident, lambda now: slack.messages)
            (message,) = slack.messages
            texts = [
                block["text"]["text"] for block in message.blocks if block["type"] == "section" and "text" in block
            ]
            assert texts[0] == "*Approve this?*"
            assert texts[1] == f"*Call:*\n```{tmp_path}/do fix 0```"
            found = [re.match(r"\*(.+?):\*", text) for text in texts[1:]]
            assert [one[1] for one in found if one] == [*ORDER, "Diagnostics"]
            await home.app.answer(incident, "approved", "anna")
            await home.over(incident)


async def test_pagerduty_gets_it_as_details(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakePagerDuty() as pager:
        monkeypatch.setenv("PD_KEY", pager.routing_key)
        more = f"connections: {{ops: {{type: pagerduty, url: '{pager.url}/v2/enqueue', password: 'env:PD_KEY'}}}}\n"
        async with house(tmp_path, book("pagerduty:ops"), more=more) as home:
            incident = await home.fire()
            await home.until(incident, lambda now: pager.events)
            details = pager.events[0]["payload"]["custom_details"]
            assert [name for name in details if name in ORDER] == ORDER
            assert details["Call"] == f"{tmp_path}/do fix 0"
            await home.app.answer(incident, "approved", "anna")
            await home.over(incident)
