"""The live timeline as text: what a row says, and that nobody's words can steer the terminal."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quell.cli.follower import Follower
from quell.incident.event import Event, EventKind, Stream
from quell.telling.card import card
from quell.telling.lines import NARROWEST, Row, clean, layout, write
from quell.telling.rows import Known, rows_of

BEGAN = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
RUN = "run:01abc.1"


def event(seq: int, about: EventKind, node: str = "", /, **payload: Any) -> Event:
    return Event(tenant="default", stream=Stream.INCIDENT, stream_id="01abc", seq=seq, at=BEGAN + timedelta(seconds=seq - 1),
                 kind=about, actor="quell", node=node, payload=payload)  # fmt: skip


def finding(status: str = "critical", **more: Any) -> dict[str, Any]:
    return {"check": "errors", "status": status, "clause": "value 30 >= 5 → true", "message": "30 %; value 30 >= 5 → true",
            "duration_ms": 12.4, "looked_at": BEGAN.isoformat(), **more}  # fmt: skip


OPENED = event(1, EventKind.OPENED, title="Errors", severity="P1", service="pay")
CHECKED = event(2, EventKind.CHECK_FINISHED, f"{RUN}/errors/1/", finding=finding())


def text_of(*events: Event) -> str:
    out = io.StringIO()
    Follower(out).feed(events)
    return out.getvalue()


def test_a_check_tells_its_status_and_the_clause_that_decided() -> None:
    line = text_of(OPENED, CHECKED).splitlines()[-1]
    assert line == "  1.00 s ✗ errors       critical  value 30 >= 5 → true, 30 %, 12 ms"


def test_an_event_is_told_once() -> None:
    out = io.StringIO()
    follower = Follower(out)
    follower.feed([OPENED, CHECKED])
    before = out.getvalue()
    follower.feed([OPENED, CHECKED])
    assert out.getvalue() == before


def test_an_action_names_its_target_and_the_change() -> None:
    key = f"{RUN}/roll_back/1/eu-west-1"
    told = event(2, EventKind.ACTION_INTENDED, key, action="rollback", call="roll back payment", key=key,
                 targets=["payment/eu-west-1"], before="v3", after="v2")  # fmt: skip
    shown = text_of(OPENED, told)
    assert "▶ roll_back eu-west-1" in shown
    assert "on payment/eu-west-1" in shown
    assert "v3 → v2" in shown


def test_every_kind_of_event_of_an_incident_has_words() -> None:
    """A new kind without words would be shown by its bare name."""
    elsewhere = {EventKind.ALERT_RECEIVED, EventKind.ALERT_QUARANTINED, EventKind.ALERT_ROUTED,
                 EventKind.SILENCE_MADE, EventKind.SILENCE_ENDED, EventKind.RUNBOOKS_LOADED, EventKind.SERVER_STARTED, EventKind.PAUSED, EventKind.RESUMED,
                 EventKind.BREAKER_RESET, EventKind.PAST_PRUNED,
                 EventKind.TOKEN_CREATED, EventKind.TOKEN_REVOKED}  # fmt: skip
    payload = {
        "title": "t", "severity": "P1", "number": 1, "plan": "ab", "finding": finding(), "recommended": [], "chosen": [],
        "call": "c", "approval": "a1", "answer": "denied", "action": "x", "rule": "r", "reason": "why", "key": "k",
        "result": "done", "summary": "s", "signals": [], "verdict": "worse", "to": "log:", "kind": "page", "outcome": "o",
        "before": "b", "into": "i",
    }  # fmt: skip
    for kind in set(EventKind) - elsewhere:
        told = event(1, kind, **{**payload, **({"to": ["a"]} if kind is EventKind.ESCALATED else {})})
        assert rows_of(told, Known())[0].text != str(kind), kind


def test_the_request_stands_in_the_order_that_wins_trust() -> None:
    request = {
        "approval": "a1b2", "hash": "f" * 64, "call": "restart", "targets": ["pay-1", "pay-2"], "before": "v3",
        "after": "v2", "why": "the runbook asks for approval; errors.critical → true", "impact": "30 % of payments fail",
        "history": "worked 4 of 5 times", "undo": None, "risk": "medium", "people": 2, "from": "dba",
        "expires_at": (BEGAN + timedelta(minutes=5)).isoformat(), "on_no_answer": "page", "action": "rollback",
    }  # fmt: skip
    rows = card(request, {"errors": finding()}, BEGAN + timedelta(seconds=90))
    assert [row.label for row in rows] == [
        "targets", "changes", "because", "and", "users", "before this", "risk", "undo", "asks", "time", "id",
    ]  # fmt: skip
    said = {row.label: row.text for row in rows}
    assert said["and"] == "errors.critical → true, seen 1m30s ago"
    assert said["undo"] == "cannot be undone by itself"
    assert said["time"] == "3m30s left, then a person is paged"
    assert said["asks"] == "2 people of dba"


def test_words_of_others_cannot_steer_the_terminal() -> None:
    shown = text_of(OPENED, event(2, EventKind.NOTED, text="\x1b[2J\x1b]0;gone\x07\u202eevil\r\nnext", by="eve"))
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(shown)
    assert shown.splitlines()[-1].endswith("evil next · eve")


@given(st.text(), st.text(max_size=40), st.one_of(st.none(), st.integers(20, 200)))
def test_no_line_is_wider_than_the_terminal(text: str, label: str, width: int | None) -> None:
    lines = write(layout(Row(text, label, "✓", "green", "1.00 s"), width=width), lambda said, style: said)
    shown = lines.removesuffix("\n").split("\n")
    assert clean(text).replace(" ", "") in "".join(shown).replace(" ", "")
    if width is None:
        assert len(shown) == 1
    elif len(clean(label)) <= NARROWEST // 2:
        assert all(len(line) <= max(width, NARROWEST + 24) for line in shown)


def test_plain_letters_where_the_terminal_has_no_others() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    Follower(out).feed([OPENED, CHECKED])
    assert b"x errors" in raw.getvalue()
    assert b"-> true" in raw.getvalue()


def test_an_alert_is_named_and_not_numbered() -> None:
    numbered = "default.alertmanager...9c1f"
    joined = event(2, EventKind.ALERT_JOINED, alert=numbered, name="PoolFull", labels={"pod": "b"}, why="same service")
    nameless = event(3, EventKind.ALERT_RESOLVED, alert=numbered, why="it says so")
    shown = text_of(OPENED, joined, nameless)
    assert "PoolFull pod=b · same service" in shown
    assert "an alert · it says so" in shown
    assert numbered not in shown
