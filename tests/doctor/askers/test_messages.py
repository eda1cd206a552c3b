"""Notifiers: reached without a word, and with ``notify`` exactly one marked message each."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.doctor.askers.messages import TEST
from tests.doctor.house import book, of, report, said, shelve
from tests.fakes.pagerduty import FakePagerDuty
from tests.fakes.sink import FakeSink
from tests.fakes.slack import FakeSlack


def test_nothing_is_sent_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeSlack() as slack, FakePagerDuty() as pager, FakeSink() as sink:
        monkeypatch.setenv("ROUTING_KEY", pager.routing_key)
        monkeypatch.setenv("HOOK", f"{sink.url}/hook")
        written = {
            "connections": {"sre": {"type": "slack", "url": slack.webhook_url}},
            "notifiers": {
                "oncall": {"type": "pagerduty", "routing_key": "env:ROUTING_KEY", "url": f"{pager.url}/v2/enqueue"},
                "hook": {"type": "webhook", "url": "env:HOOK"},
            },
            "escalation": "oncall",
            "runbooks": shelve(tmp_path, book("one", escalation={"primary": "#sre", "secondary": "hook"})),
        }
        told = report(tmp_path, **written)  # type: ignore[arg-type]
        assert (slack.requests, pager.requests, sink.requests) == ([], [], [])
        assert {str(one.level) for one in (*of(told, "notifier"), *of(told, "address"))} == {"ok"}
        assert not of(told, "notify")

        told = report(tmp_path, notify=True, **written)  # type: ignore[arg-type]
        assert [one.looked_at for one in of(told, "notify")] == ["oncall", "hook", "#sre"]
        assert {str(one.level) for one in of(told, "notify")} == {"ok"}
        (message,) = slack.messages
        (event,) = pager.events
        (posted,) = sink.received
    assert "TEST: quell doctor" in message.text
    assert event["dedup_key"] == f"quell/{TEST}"
    assert event["payload"]["severity"] == "info"
    assert posted.json()["title"] == "TEST: quell doctor"


def test_a_message_that_is_not_taken_is_an_error(tmp_path: Path) -> None:
    with FakeSlack() as slack:
        url = slack.webhook_url[:-1] + "x"
        told = report(tmp_path, notify=True, escalation="slack:sre", connections={"sre": {"type": "slack", "url": url}})
    (one,) = of(told, "notify")
    assert one.level == "error"
    assert "invalid_token" in one.found
    assert url not in str(told)


def test_notifiers_that_cannot_send(tmp_path: Path) -> None:
    told = report(
        tmp_path,
        notifiers={
            "typo": {"type": "slak"},
            "alone": {"type": "slack", "channel": "#sre"},
            "odd": {"type": "slack", "chanel": "#sre"},
            "unset": {"type": "slack", "url": "env:NOT_SET_AT_ALL"},
            "log": {"type": "log"},
        },
    )
    levels = {one.looked_at: str(one.level) for one in of(told, "notifier")}
    assert levels == {
        "slak notifier typo": "error", "slack notifier alone": "error", "slack notifier odd": "error",
        "slack notifier unset": "error", "log notifier log": "ok",
    }  # fmt: skip
    assert said(told, "secret") == [("error", "secret env:NOT_SET_AT_ALL: the environment has no NOT_SET_AT_ALL")]
