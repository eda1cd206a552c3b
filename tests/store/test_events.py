"""The log: appended once per key, never out of order, and a change by anybody's hand is found."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import Conflict
from quell.incident.event import EventKind, NewEvent, Stream
from quell.incident.incident import Incident, UndeclaredTransition, fold
from quell.redact import KNOWN
from quell.store import audit, canonical, events, queries
from quell.store.database import Database
from quell.store.schema import events as table
from quell.store.schema import incidents, streams
from tests.audited import faults
from tests.incident.test_incident import OF_INCIDENTS, PAYLOADS

K = EventKind


def new(kind: EventKind = K.NOTED, key: str = "", **payload: Any) -> NewEvent:
    return NewEvent(kind=kind, payload={**PAYLOADS[kind], **payload}, key=key)


def append(
    database: Database, *wanted: NewEvent, stream: Stream = Stream.SYSTEM, name: str = "s", **more: Any
) -> list[Any]:
    return database.write_now(lambda c: events.append(c, "t", stream, name, wanted, **more))


def stored(database: Database, stream: Stream = Stream.SYSTEM, name: str = "s") -> list[Any]:
    return database.read_now(lambda c: events.read(c, "t", stream, name))


def broken_at(database: Database, name: str = "s", stream: Stream = Stream.SYSTEM) -> int | None:
    """The number of the first event that the audit finds fault with."""
    return next(
        (one.seq for one in faults(database) if (one.tenant, one.stream, one.stream_id) == ("t", stream.value, name)),
        None,
    )


def test_events_are_numbered_and_read_back_as_they_were(database: Database) -> None:
    told = append(database, new(text="one"), new(text="two", by="anna"))
    told += append(database, new(text="drei ∀ \u0000"))
    assert [event.seq for event in told] == [1, 2, 3]
    assert [event.model_dump(exclude={"id"}) for event in stored(database)] == [
        event.model_dump(exclude={"id"}) for event in told
    ]
    assert [event.seq for event in database.read_now(lambda c: events.read(c, "t", Stream.SYSTEM, "s", after=1))] == [
        2,
        3,
    ]
    assert broken_at(database) is None


def test_a_key_appends_once_in_its_stream(database: Database) -> None:
    append(database, new(key="k", text="first"))
    assert append(database, new(key="k", text="second")) == []
    assert append(database, new(key="a"), new(key="a"), new(key="k")) != []
    assert len(append(database, new(key="k"), name="other")) == 1
    assert len(append(database, new(), new())) == 2
    assert stored(database)[0].payload["text"] == "first"
    assert len(stored(database)) == 4


def test_who_has_seen_less_than_there_is_learns_it(database: Database) -> None:
    append(database, new(), expect=0)
    append(database, new(), expect=1)
    with pytest.raises(Conflict, match="from event 1 to 2"):
        append(database, new(), expect=1)
    assert len(stored(database)) == 2


def test_writers_side_by_side_lose_nothing(database: Database) -> None:
    append(database, new(K.OPENED), stream=Stream.INCIDENT, name="i")

    async def all_at_once() -> None:
        await asyncio.gather(
            *(
                database.write(lambda c, n=n: events.append(c, "t", Stream.INCIDENT, "i", [new(text=f"{n}")]))
                for n in range(40)
            )
        )

    asyncio.run(all_at_once())
    told = stored(database, Stream.INCIDENT, "i")
    assert [event.seq for event in told] == list(range(1, 42))
    assert {event.payload["text"] for event in told[1:]} == {str(n) for n in range(40)}
    assert broken_at(database, "i", Stream.INCIDENT) is None


@pytest.mark.parametrize(
    "number",
    [2**53, 2**63 - 1, -(2**63), 2**64 - 1, 10**30, float("nan"), float("inf"), 1e308, 0.1 + 0.2, True],
)  # fmt: skip
def test_any_number_can_be_told(database: Database, number: float) -> None:
    """Byte counters pass 2⁵³; a log that cannot take one would end the run."""
    append(database, new(text=str(number), by=number), new(text="after"))
    assert broken_at(database) is None
    assert len(stored(database)) == 2


# What a hand in the database leaves behind.


def change(database: Database, statement: Any) -> None:
    database.write_now(lambda c: c.execute(statement))


def row(database: Database, seq: int) -> dict[str, Any]:
    return database.read_now(lambda c: dict(c.execute(sa.select(table).where(table.c.seq == seq)).mappings().one()))


MINE = table.c.stream_id == "s"


def five(database: Database) -> None:
    append(database, *(new(text=f"{n}") for n in range(5)))


@pytest.mark.parametrize(
    ("column", "value"),
    [("payload", '{"text": "other"}'), ("actor", "somebody"), ("kind", "incident.closed"), ("at", 1), ("node", "x"),
     ("payload_hash", "0" * 64), ("hash", "0" * 64), ("tenant", "other")],
)  # fmt: skip
def test_an_edited_event_is_found(database: Database, column: str, value: Any) -> None:
    five(database)
    change(database, sa.update(table).where(MINE, table.c.seq == 3).values({column: value}))
    assert broken_at(database) == 3


def test_an_edit_that_fixes_its_own_hashes_is_found_behind_it(database: Database) -> None:
    five(database)
    third = row(database, 3)
    third["payload"] = '{"text": "other"}'
    third["payload_hash"] = canonical.digest(json.loads(third["payload"]))
    third["hash"] = canonical.link(row(database, 2)["hash"], canonical.envelope_of(third))
    change(
        database,
        sa.update(table)
        .where(MINE, table.c.seq == 3)
        .values({name: third[name] for name in ("payload", "payload_hash", "hash")}),
    )
    assert broken_at(database) == 4


def test_deleted_inserted_reordered_and_cut_events_are_found(database: Database) -> None:
    for name in "abcd":
        append(database, *(new(text=f"{n}") for n in range(5)), name=name)
    change(database, sa.delete(table).where(table.c.stream_id == "a", table.c.seq == 2))
    assert broken_at(database, "a") == 2
    extra = {**_row(database, "b", 5), "seq": 6}
    change(database, sa.insert(table).values({name: value for name, value in extra.items() if name != "id"}))
    assert broken_at(database, "b") == 6
    for old, moved in ((2, 99), (3, 2), (99, 3)):
        change(database, sa.update(table).where(table.c.stream_id == "c", table.c.seq == old).values(seq=moved))
    assert broken_at(database, "c") == 2
    change(database, sa.delete(table).where(table.c.stream_id == "d", table.c.seq == 5))
    assert broken_at(database, "d") == 5


def _row(database: Database, name: str, seq: int) -> dict[str, Any]:
    where = (table.c.stream_id == name, table.c.seq == seq)
    return database.read_now(lambda c: dict(c.execute(sa.select(table).where(*where)).mappings().one()))


def test_a_whole_stream_that_is_gone_is_found(database: Database) -> None:
    five(database)
    change(database, sa.delete(table).where(MINE))
    assert broken_at(database) == 1
    assert broken_at(database, "never-was") is None


def test_a_payload_may_be_erased_without_breaking_the_chain(database: Database) -> None:
    five(database)
    change(database, sa.update(table).where(MINE, table.c.seq == 3).values(payload=None))
    assert broken_at(database) is None
    assert stored(database)[2].payload == {}


# The row of an incident is a fold of its events.


@given(st.lists(st.lists(st.sampled_from(OF_INCIDENTS), min_size=1, max_size=3), max_size=8))
def test_the_row_is_always_the_fold(appends: list[list[EventKind]]) -> None:
    engine = sa.create_engine("sqlite://")
    for one in (table, streams, incidents):
        one.create(engine)
    with engine.connect() as connection:
        events.append(connection, "t", Stream.INCIDENT, "i", [new(K.OPENED)])
        for kinds in appends:
            point = connection.begin_nested()
            try:
                events.append(connection, "t", Stream.INCIDENT, "i", [new(kind) for kind in kinds])
            except UndeclaredTransition:
                point.rollback()
                continue
            point.commit()
        told = events.read(connection, "t", Stream.INCIDENT, "i")
        state = connection.execute(sa.select(incidents)).mappings().one()
        folded = fold(told)
        assert Incident.model_validate_json(state["state"]) == folded == queries.incident(connection, "i")
        assert (state["status"], state["seq"]) == (folded.status.value, folded.seq)
        assert (state["ended_at"] is None) == (folded.ended_at is None)
        assert audit.verify(connection, "t").holds
    engine.dispose()


def test_an_event_that_may_not_come_is_not_stored(database: Database) -> None:
    append(database, new(K.OPENED), new(K.RESOLVED), new(K.CLOSED), stream=Stream.INCIDENT, name="i")
    with pytest.raises(UndeclaredTransition):
        append(database, new(K.NOTED), new(K.ACTION_INTENDED), stream=Stream.INCIDENT, name="i")
    assert len(stored(database, Stream.INCIDENT, "i")) == 3


@given(st.integers(0, 4_000_000_000_000_000))
def test_times_keep_their_microseconds(us: int) -> None:
    assert events.to_us(events.when(us)) == us
    assert events.when(us) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",)), max_size=4), inner, max_size=3), max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_what_is_stored_hashes_as_what_was_told(value: Any) -> None:
    again = orjson.loads(events.dumps(value))
    assert canonical.digest(again) == canonical.digest(orjson.loads(events.dumps(again)))


def test_no_secret_gets_into_the_log(database: Database) -> None:
    KNOWN.learn("tk-77Qx91")
    (told,) = append(database, new(text='it said "tk-77Qx91"'))
    assert told.payload["text"] == 'it said "•••"'
    assert [one.payload for one in stored(database)] == [told.payload]
    assert faults(database) == []
