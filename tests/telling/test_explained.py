"""The blocks of an answer to "why?", of alerts and incidents of every kind."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.alert import Alert, AlertStatus
from quell.incident.incident import Incident
from quell.incident.tried import Tried
from quell.telling.explained import RULES, Block, alert_blocks, headline, incident_blocks, incident_headline
from quell.telling.why import Why, brief, why_incident

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
AT = (NOW - timedelta(minutes=3)).isoformat()
LATER = (NOW + timedelta(hours=2)).isoformat()
INCIDENT = brief(Incident(id="i1", tenant="default", title="Slow shop", service="shop", firing=("x",)))


def told(outcome: str = "opened", reason: str = "a new one", **more: Any) -> dict[str, Any]:
    alert = {
        "id": "x", "name": "Slow", "source": "am", "status": "firing", "service": "shop", "severity": "P2",
        "first_at": AT, "last_at": AT, "count": 1, "held": "", "look_at": None, "labels": {"env": "prod"},
        "annotations": {"summary": "Shop is slow"}, "starts_at": None,
        **more.pop("alert", {}),
    }  # fmt: skip
    history = more.pop("history", ({"at": AT, "outcome": outcome, "reason": reason, "incident": None},))
    tried = more.pop("tried", (Tried("service", True, "the alert names 'shop'"), Tried("runbook pool", False, "no")))
    values: dict[str, Any] = {
        "alert": alert, "outcome": outcome, "reason": reason, "signature": "", "runbook": None, "dedup_key": "x",
        "group_key": "//shop/", "tried": tried, "history": history, **more,
    }  # fmt: skip
    return Why(**values).as_json


def texts(blocks: list[Block], title: str) -> dict[str, str]:
    return {row.label: row.text for block in blocks if block.title == title for row in block.rows}


def test_one_block_for_each_stage_in_its_order() -> None:
    guard = ({"at": AT, "verdict": "refused", "action": "restart", "call": "", "rule": "rate", "reason": "too often",
              "value": 3, "limit": 2},)  # fmt: skip
    sent = ({"at": AT, "to": "slack:#ops", "kind": "page", "delivered": False, "detail": "503"},)
    told_ = told(signature="bearer token", runbook="pool", incident=INCIDENT, guard=guard, told=sent)
    blocks = alert_blocks(told_, NOW)
    assert [one.title for one in blocks] == [
        "Received", "What it is", RULES, "What followed", "Incident", "Guards", "Told",
    ]  # fmt: skip
    assert texts(blocks, "Received") == {
        "when": "2026-11-29 02:57:00 UTC, 3m ago", "from": "am", "sender": "bearer token",
    }  # fmt: skip
    assert texts(blocks, "What it is") == {
        "name": "Slow: Shop is slow", "service": "shop: the alert names 'shop'", "severity": "P2",
        "labels": "env=prod", "dedup key": "x", "group key": "//shop/",
    }  # fmt: skip
    assert [(row.mark, row.label) for row in blocks[2].rows] == [("✗", "runbook pool")]
    assert texts(blocks, "What followed")["runbook"] == "pool"
    assert blocks[4].incident == "i1"
    assert texts(blocks, "Guards") == {"refused": "restart: too often: rate, value 3, limit 2"}
    assert texts(blocks, "Told")["page"].startswith("slack:#ops: not delivered: 503")


@pytest.mark.parametrize(
    ("given", "says", "followed"),
    [
        (told("nothing", "it resolved without ever having fired here"),
         "Nothing followed from it: it resolved without ever having fired here", {"incident": "it is in no incident"}),
        (told("held", "silenced until 05:00", alert={"held": "silence 3f2a", "look_at": LATER}),
         "It is held, nothing follows yet: silenced until 05:00",
         {"held by": "silence 3f2a, looked at again at 2026-11-29 05:00:00 UTC, in 2h"}),
        (told("opened", "no runbook has a trigger for 'Slow'", incident=INCIDENT),
         "It opened an incident: no runbook has a trigger for 'Slow'", {"runbook": "none"}),
        (told("", "accepted, and waits to be looked at", history=(), tried=()),
         "It waits to be looked at: accepted, and waits to be looked at", {"waits": "It waits to be looked at"}),
        (told("opened", "it is told again", alert={"look_at": LATER}, incident=INCIDENT,
              history=({"at": AT, "outcome": "opened", "reason": "a new one", "incident": "i1"},)),
         "It opened an incident: it is told again",
         {"opened": "It opened an incident: a new one", "since then": "it is told again",
          "ends": "it resolves at 2026-11-29 05:00:00 UTC, in 2h unless it is said again"}),
    ],
    ids=["never fired", "silenced", "no runbook", "in the inbox", "told again, and ends by itself"],
)  # fmt: skip
def test_there_is_an_answer_whatever_became_of_it(given: dict[str, Any], says: str, followed: dict[str, str]) -> None:
    assert headline(given) == says
    found = texts(alert_blocks(given, NOW), "What followed")
    assert followed.items() <= found.items()


def test_what_followed_each_time_is_told_when_it_came_more_than_once() -> None:
    history = tuple({"at": AT, "outcome": one, "reason": one, "incident": "i1"} for one in ("opened", "resolved"))
    rows = texts(alert_blocks(told("resolved", history=history), NOW), "Each time that it came")
    assert rows == {one: f"2026-11-29 02:57:00 UTC: {one} (incident i1)" for one in ("opened", "resolved")}


def test_an_incident_says_why_each_alert_is_in_it() -> None:
    known = Incident(id="i1", tenant="default", title="Slow shop", firing=("x",), resolved_alerts=("y",))
    rows = {"x": {"name": "Slow", "source": "am", "fingerprint": "ff", "service": "shop", "severity": "P2"}}
    given = why_incident(known, [], rows).as_json
    assert incident_headline(given) == "Open: Slow shop"
    blocks = incident_blocks(given)
    assert texts(blocks, "Its alerts") == dict.fromkeys(("Slow", "y"), "why is not recorded any more")
    assert texts(blocks, "What it is")["runbook"] == "none"
    assert texts(blocks, "Told") == {"none": "nobody was told"}


@given(st.sampled_from(["opened", "held", "new word", ""]), st.text(), st.text(), st.booleans())
def test_nothing_that_an_alert_says_is_left_without_an_answer(
    outcome: str, reason: str, label: str, held: bool
) -> None:
    alert = {"labels": {label: reason}, "held": reason if held else "", "look_at": LATER if held else None}
    given = told(outcome, reason, alert=alert)
    assert headline(given)
    assert {"Received", "What it is", "What followed"} <= {one.title for one in alert_blocks(given, NOW)}


def test_an_alert_that_never_came_is_explained_too() -> None:
    """What would follow has no times, since nothing has been received."""
    alert = Alert(source="am", name="Slow", status=AlertStatus.FIRING, fingerprint="f", received_at=NOW)
    would = {"name": alert.name, "source": "am", "service": None, "severity": "P3", "labels": {}, "status": "firing"}
    given = Why(would, "opened", "a new one", "", None, "x", "g", ()).as_json
    assert "when" not in texts(alert_blocks(given, NOW), "Received")


def test_the_documentation_prints_an_answer_as_it_is_printed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "why.md").read_text(encoding="utf-8")
    printed = page.split("```")[1]
    given = told("held", "'ShopErrors' fires", alert={"held": "inhibit rule shop is down", "look_at": LATER})
    titles = [block.title for block in alert_blocks(given, NOW)]
    assert re.findall(r"^([A-Z][a-z ]+)$", printed, re.MULTILINE) == titles
    for label in (*texts(alert_blocks(given, NOW), "Received"), *texts(alert_blocks(given, NOW), "What followed")):
        assert re.search(rf"^ . {label}\b", printed, re.MULTILINE), label
    assert headline(given) in printed
