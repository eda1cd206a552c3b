"""What is remembered of incidents never says more than the database: after a rollback, beside other processes."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from quell.incident.event import EventKind, NewEvent, Stream
from quell.store import events, folds, queries
from quell.store.database import Database
from tests.store.test_events import broken_at, new, stored

I = Stream.INCIDENT  # noqa: E741


def append(database: Database, *wanted: NewEvent, fails: bool = False) -> list[Any]:
    def work(connection: sa.Connection) -> list[Any]:
        told = events.append(connection, "t", I, "i", wanted)
        if fails:
            raise ValueError("no")
        return told

    return database.write_now(work)


def texts(database: Database) -> list[Any]:
    assert broken_at(database, "i", I) is None
    log = stored(database, I, "i")
    row = database.read_now(lambda c: queries.incident(c, "i"))
    assert row.seq == len(log)
    return [event.payload.get("text") for event in log[1:]]


@pytest.fixture(autouse=True)
def opened(database: Database) -> None:
    append(database, new(EventKind.OPENED, key="opened"))


def statements(database: Database, *wanted: NewEvent) -> list[str]:
    """The first word of each statement of an append."""
    said: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        said.append(" ".join(statement.split()[:3]))

    for engine in {database.engine, database._writing}:
        sa.event.listen(engine, "before_cursor_execute", note)
    append(database, *wanted)
    for engine in {database.engine, database._writing}:
        sa.event.remove(engine, "before_cursor_execute", note)
    return [words for words in said if words.split()[0] in ("SELECT", "INSERT", "UPDATE")]


def test_whoever_wrote_last_asks_nothing(database: Database) -> None:
    assert statements(database, new(key="a", text="one")) == [
        "UPDATE quell_streams SET", "INSERT INTO quell_events", "UPDATE quell_incidents SET",
    ]  # fmt: skip
    assert texts(database) == ["one"]


def test_a_key_that_is_remembered_is_asked_for(database: Database) -> None:
    append(database, new(key="a", text="one"))
    assert append(database, new(key="a", text="two")) == []
    assert len(append(database, new(key="a", text="two"), new(key="b", text="three"))) == 1
    assert texts(database) == ["one", "three"]


def test_what_was_rolled_back_was_not_written(database: Database) -> None:
    with pytest.raises(ValueError, match="no"):
        append(database, new(key="a", text="lost"), fails=True)
    assert len(append(database, new(key="a", text="one"))) == 1, "the key was not used up"
    with pytest.raises(ValueError, match="no"):
        append(database, new(text="lost"), fails=True)
    append(database, new(text="two"))
    assert texts(database) == ["one", "two"]


def test_another_process_wrote_meanwhile(database: Database) -> None:
    ours = folds.of("i")
    assert ours is not None
    append(database, new(key="theirs", text="theirs"))
    folds.keep(ours)
    assert append(database, new(key="theirs", text="again"), new(text="ours"))[0].seq == 3
    assert texts(database) == ["theirs", "ours"]


def test_another_process_wrote_where_ours_was_rolled_back(database: Database) -> None:
    """As many events as we remember, and another history."""
    with pytest.raises(ValueError, match="no"):
        append(database, new(text="lost"), fails=True)
    ours = folds.of("i")
    assert ours is not None
    append(database, new(text="theirs"))
    folds.keep(ours)
    append(database, new(text="ours"))
    assert texts(database) == ["theirs", "ours"]


def test_of_what_another_process_began_the_keys_are_not_known(database: Database) -> None:
    append(database, new(key="a", text="one"))
    folds._folds.clear()
    append(database, new(text="two"))
    fold = folds.of("i")
    assert fold is not None
    assert (fold.seq, fold.keys, fold.lacks(frozenset({"a"}))) == (3, None, False)
    assert append(database, new(key="a", text="again")) == []
    assert texts(database) == ["one", "two"]


def test_so_many_are_remembered_and_no_more(database: Database) -> None:
    fold = folds.of("i")
    assert fold is not None
    for number in range(2 * folds.KEPT):
        folds.keep(folds.Fold(1, "", fold.incident.model_copy(update={"id": f"{number}"})))
        assert len(folds._folds) <= folds.KEPT
    append(database, new(text="one"))
    assert texts(database) == ["one"]
