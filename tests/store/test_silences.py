"""Where silences are kept: what is found, by whom, until when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from quell.errors import NotFound
from quell.store import silences
from quell.store.database import Database
from quell.store.events import to_us
from tests.incident.test_silence import AT, HOUR, silence


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    with database.engine.begin() as connection:
        yield connection


def active(connection: sa.Connection, after: timedelta, tenant: str = "default") -> list[str]:
    return [one.id for one in silences.active(connection, tenant, to_us(AT + after))]


def test_it_is_read_as_it_was_put(connection: sa.Connection) -> None:
    one = silence('env=~"a|b", alertname!=Up', name="abcdef")
    silences.put(connection, one)
    assert silences.find(connection, "default", "abcdef") == one
    assert silences.find(connection, "default", "abc") == one
    changed = one.model_copy(update={"comment": "longer", "ends_at": AT + 2 * HOUR})
    silences.put(connection, changed)
    assert silences.listed(connection, "default", 0) == [changed]


def test_those_that_are_on(connection: sa.Connection) -> None:
    silences.put(connection, silence(name="now"))
    silences.put(connection, silence(name="later", starts=AT + HOUR, ends=AT + 2 * HOUR))
    assert active(connection, timedelta()) == ["now"]
    assert active(connection, HOUR) == ["later"]
    assert active(connection, 2 * HOUR) == []
    assert active(connection, timedelta(), "another") == []


def test_one_that_was_ended_holds_nothing_from_then_on(connection: sa.Connection) -> None:
    silences.put(connection, one := silence(name="now"))
    silences.put(connection, later := silence(name="later", starts=AT + HOUR, ends=AT + 2 * HOUR))
    for each in (one, later):
        silences.end(connection, each, AT + timedelta(minutes=1))
    assert active(connection, timedelta(minutes=1)) == []
    assert active(connection, HOUR) == []
    assert [each.id for each in silences.listed(connection, "default", 0)] == ["later", "now"]
    assert silences.listed(connection, "default", to_us(AT + HOUR)) == []


def test_what_is_not_there_or_might_be_two(connection: sa.Connection) -> None:
    for name in ("aa1", "aa2"):
        silences.put(connection, silence(name=name))
    for name in ("b", "aa", "", "%"):
        with pytest.raises(NotFound):
            silences.find(connection, "default", name)
    with pytest.raises(NotFound):
        silences.find(connection, "another", "aa1")
