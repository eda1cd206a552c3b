"""A letter becomes rows of the inbox, or is set aside with the reason: in one transaction, and once."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from quell.delivery import Letter
from quell.errors import NotFound
from quell.opening import Opened, aside, open_next, rows_of
from quell.reception import Reception
from quell.registry import Registry
from quell.settings import Settings
from quell.store import inbox, letters
from quell.store.database import Database
from quell.store.schema import inbox as inbox_table
from quell.store.schema import quarantine


def entry(name: str, **labels: str) -> dict[str, Any]:
    return {"status": "firing", "labels": {"alertname": name, **labels}}


def body(*entries: Any) -> bytes:
    return json.dumps({"version": "4", "alerts": list(entries)}).encode()


def reception(**sources: Any) -> Reception:
    return Reception(Settings.model_validate({"sources": sources}), Registry())


def written(connection: sa.Connection, at: Reception, *bodies: bytes, source: str = "alertmanager") -> None:
    for one in bodies:
        letter = at.letter(source, {}, one)
        assert letter is not None
        letters.put(connection, [letter.row])


def waiting(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(inbox_table.c.name).order_by(inbox_table.c.id)).scalars())


def set_aside(connection: sa.Connection) -> list[tuple[str, str]]:
    found = connection.execute(sa.select(quarantine.c.reason, quarantine.c.fragment).order_by(quarantine.c.id))
    return [(row[0], row[1]) for row in found]


def test_each_alert_waits_in_the_inbox_and_the_letter_is_no_more(store: Database) -> None:
    at = reception()
    with store.engine.begin() as connection:
        written(connection, at, body(entry("A", severity="critical"), entry("B")), body(entry("C")))
        opened = open_next(connection, at, 100)
        key = ("default", "alertmanager")
        assert opened == [Opened(key, 2, [key, key]), Opened(key, 1, [key])]
        assert waiting(connection) == ["A", "B", "C"]
        assert letters.is_empty(connection)
        assert open_next(connection, at, 100) == []
        assert inbox.next_of(connection, 10)[0]["priority"] == 1


def test_what_is_wrong_is_set_aside_and_its_siblings_go_on(store: Database) -> None:
    at = reception()
    with store.engine.begin() as connection:
        written(connection, at, body(entry("A"), {"status": "odd", "labels": {"alertname": "B"}}))
        (opened,) = open_next(connection, at, 100)
        assert (opened.size, len(opened.rows)) == (2, 1)
        assert waiting(connection) == ["A"]
        ((reason, fragment),) = set_aside(connection)
        assert "alerts[1].status" in reason
        assert '"B"' in fragment


def test_a_letter_of_a_source_that_is_gone_is_set_aside_alert_by_alert(store: Database) -> None:
    with store.engine.begin() as connection:
        written(connection, reception(ours={"type": "alertmanager"}), body(entry("A"), entry("B")), source="ours")
        (opened,) = open_next(connection, reception(), 100)
        assert (opened.size, opened.rows) == (2, [])
        assert [json.loads(fragment)["labels"]["alertname"] for _, fragment in set_aside(connection)] == ["A", "B"]
        assert all("ours" in reason for reason, _ in set_aside(connection))
        assert letters.is_empty(connection)


def test_one_alone_is_opened_where_it_is_named(store: Database) -> None:
    at = reception()
    with store.engine.begin() as connection:
        written(connection, at, body(entry("A")), body(entry("B")))
        second = letters.next_of(connection, 10)[1]
        open_next(connection, at, 100, only=second["id"])
        assert waiting(connection) == ["B"]
        first = letters.next_of(connection, 10)[0]
        aside(connection, at, first, "a fault of ours")
        aside(connection, at, first, "and of the other process")
        assert [reason for reason, _ in set_aside(connection)] == ["a fault of ours"]
        assert letters.is_empty(connection)


def test_a_letter_says_what_its_body_would_have_said_at_once() -> None:
    at = reception(alertmanager={"labels": {"team": "core"}, "severities": {"loud": "P1"}})
    given = body(entry("A", severity="loud", service="shop"), entry("B"), {"status": "odd"})
    letter = at.letter("alertmanager", {}, given)
    assert letter is not None
    assert letter.size == 3
    opened = at.opened(Letter.of({"id": 1, **letter.row}))
    assert [alert.name for alert in opened.alerts] == ["A", "B"]
    assert opened.alerts[0].labels["team"] == "core"
    assert [row["priority"] for row in rows_of(opened)] == [1, 3]
    assert len(opened.bad) == 1


def test_what_must_be_read_now_becomes_no_letter() -> None:
    at = reception()
    for refused in (b"{", b"[]", body(), b'{"version": "9", "alerts": [{}]}'):
        assert at.letter("alertmanager", {}, refused) is None
    assert at.letter("opsgenie", {}, b"{}") is None
    assert at.letter("alertmanager", {}, body(entry("A", note="x" * 20_000))) is None, "one alert, and so much"
    with pytest.raises(NotFound):
        at.letter("alertmanger", {}, body(entry("A")))


def test_a_sign_of_life_in_a_letter_opens_nothing_and_is_told() -> None:
    expect = {"every": "5m", "alerts": ["alertname=Watchdog"]}
    at = reception(alertmanager={"expect": expect})
    letter = at.letter("alertmanager", {}, body(entry("Watchdog"), entry("Down")))
    assert letter is not None
    at.accept(letter)
    assert not at.heard.lives("alertmanager"), "it has not been read"
    opened = at.opened(letter)
    assert ([alert.name for alert in opened.alerts], opened.beats) == (["Down"], True)
    other = at.letter("alertmanager", {}, body(entry("Down")))
    assert other is not None
    assert not at.opened(other).beats


def test_where_anything_is_a_sign_of_life_a_letter_is_one_unread() -> None:
    at = reception(alertmanager={"expect": "every 5m"})
    letter = at.letter("alertmanager", {}, body(entry("Down")))
    assert letter is not None
    at.accept(letter)
    assert at.heard.lives("alertmanager")


def test_letters_that_say_the_same_one_after_the_other_are_read_once(store: Database) -> None:
    """With what was wrong in each; but none is put before or behind another one that came in between."""
    at, key = reception(), ("default", "alertmanager")
    again, other = body(entry("A"), entry("B"), {"status": "firing"}), body(entry("A", severity="critical"))
    with store.engine.begin() as connection:
        written(connection, at, again, again, again, other, again)
        opened = open_next(connection, at, 100)
        rows = [Opened(key, 3, ()), Opened(key, 3, ()), Opened(key, 3, [key, key]), Opened(key, 1, [key])]
        assert opened == [*rows, Opened(key, 3, [key, key])]
        found = connection.execute(sa.select(inbox_table.c.name, inbox_table.c.times).order_by(inbox_table.c.id))
        assert [tuple(row) for row in found] == [("A", 3), ("B", 3), ("A", 1), ("A", 1), ("B", 1)]
        assert len(set_aside(connection)) == 4


def test_the_same_from_somebody_else_is_read_for_itself(store: Database) -> None:
    at = reception(other={"type": "alertmanager"})
    with store.engine.begin() as connection:
        written(connection, at, body(entry("A")))
        written(connection, at, body(entry("A")), source="other")
        open_next(connection, at, 100)
        found = connection.execute(sa.select(inbox_table.c.source, inbox_table.c.times).order_by(inbox_table.c.id))
        assert [tuple(row) for row in found] == [("alertmanager", 1), ("other", 1)]
