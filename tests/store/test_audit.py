"""The audit of the log: whatever a hand in the database or in a bundle changed is found, and named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from quell.incident.event import EventKind, NewEvent, Stream
from quell.store import audit, bundle, canonical, checkpoint, events, offline
from quell.store.chain import Report, What
from quell.store.database import Database, now_us
from quell.store.schema import events as table
from quell.store.schema import streams
from quell.store.seal import Seal

NAMES = ("a", "b", "c")
EACH = 6
Hand = Callable[[sa.Connection], Any]


def fill(connection: sa.Connection) -> None:
    for name in NAMES:
        for n in range(EACH):
            note = NewEvent(kind=EventKind.NOTED, payload={"text": f"{n} é", "by": "ann"}, key=f"k{n}", node="n")
            events.append(connection, "t", Stream.SYSTEM, name, [note], place=("prod", "eu"))


@pytest.fixture
def log(database: Database) -> Database:
    database.write_now(fill)
    return database


@pytest.fixture
def seal(tmp_path: Path) -> Seal:
    return Seal.at(tmp_path / "keys" / "audit.key")


def verified(database: Database, marks: Any = None) -> Report:
    with database.engine.connect() as connection:
        return audit.verify(connection, marks=marks)


def exported(database: Database, seal: Seal, scope: bundle.Scope | None = None, *seen: Any) -> list[bytes]:
    with database.engine.connect() as connection:
        return list(bundle.export(connection, seal, now_us(), scope, seen))


def at(name: str, seq: int) -> tuple[Any, ...]:
    return (table.c.stream_id == name, table.c.seq == seq)


def renumber(connection: sa.Connection, name: str, moves: list[tuple[int, int]]) -> None:
    for old, new in moves:
        connection.execute(sa.update(table).where(*at(name, old)).values(seq=new))


def edit(connection: sa.Connection) -> None:
    connection.execute(sa.update(table).where(*at("b", 3)).values(actor="mallory"))


def edit_payload(connection: sa.Connection) -> None:
    connection.execute(sa.update(table).where(*at("b", 3)).values(payload='{"text":"all is well"}'))


def delete(connection: sa.Connection) -> None:
    connection.execute(sa.delete(table).where(*at("b", 3)))


def delete_and_close_up(connection: sa.Connection) -> None:
    delete(connection)
    renumber(connection, "b", [(4, 3), (5, 4), (6, 5)])


def copied(connection: sa.Connection, seq: int, new: int) -> None:
    row = dict(connection.execute(sa.select(table).where(*at("b", seq))).mappings().one())
    del row["id"]
    connection.execute(sa.insert(table).values({**row, "seq": new, "key": None}))


def insert(connection: sa.Connection) -> None:
    renumber(connection, "b", [(6, 7), (5, 6), (4, 5), (3, 4)])
    copied(connection, 2, 3)


def insert_at_the_end(connection: sa.Connection) -> None:
    copied(connection, 6, 7)


def swap(connection: sa.Connection) -> None:
    renumber(connection, "b", [(3, 99), (5, 3), (99, 5)])


def cut(connection: sa.Connection) -> None:
    connection.execute(sa.delete(table).where(table.c.stream_id == "b", table.c.seq > 4))


def empty(connection: sa.Connection) -> None:
    connection.execute(sa.delete(table).where(table.c.stream_id == "b"))


def behead(connection: sa.Connection) -> None:
    connection.execute(sa.delete(streams).where(streams.c.stream_id == "b"))


HANDS: list[tuple[Hand, What, int]] = [
    (edit, What.EDITED, 3), (edit_payload, What.EDITED, 3), (delete, What.DELETED, 3),
    (delete_and_close_up, What.DELETED, 3), (insert, What.INSERTED, 3), (insert_at_the_end, What.INSERTED, 7),
    (swap, What.REORDERED, 3), (cut, What.CUT, 5), (empty, What.CUT, 1), (behead, What.HEADLESS, 6),
]  # fmt: skip


def test_a_good_log_holds(log: Database, seal: Seal) -> None:
    report = verified(log)
    assert (report.streams, report.events, report.faults) == (3, 18, [])
    told = offline.verify(exported(log, seal), seal.public)
    assert (told.streams, told.events, told.faults) == (3, 18, [])


@pytest.mark.parametrize(("hand", "what", "seq"), HANDS, ids=lambda value: getattr(value, "__name__", None))
def test_a_hand_is_found_and_named(log: Database, seal: Seal, hand: Hand, what: What, seq: int) -> None:
    log.write_now(hand)
    for report in (verified(log), offline.verify(exported(log, seal), seal.public)):
        assert {fault.stream_id for fault in report.faults} == {"b"}
        assert (report.faults[0].what, report.faults[0].seq) == (what, seq), report.faults


def test_an_erased_payload_is_no_fault(log: Database, seal: Seal) -> None:
    log.write_now(lambda c: c.execute(sa.update(table).where(table.c.seq > 2).values(payload=None)))
    for report in (verified(log), offline.verify(exported(log, seal), seal.public)):
        assert (report.holds, report.erased) == (True, 12)


def test_a_tenant_alone(log: Database) -> None:
    log.write_now(edit)
    with log.engine.connect() as connection:
        assert audit.verify(connection, "other") == Report()
        assert not audit.verify(connection, "t").holds


# Any single change.

COLUMNS = sorted({column.name for column in table.columns} - {"id"})
INTEGERS = st.integers(-(2**31), 2**31 - 1)


@pytest.fixture(scope="module")
def memory() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://")
    for one in (table, streams):
        one.create(engine)
    with engine.begin() as connection:
        fill(connection)
    yield engine
    engine.dispose()


def found_after(engine: sa.Engine, hand: Hand) -> Report | None:
    """None when the hand changed nothing, or the database did not let it."""
    with engine.connect() as connection:
        before = [tuple(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]
        try:
            hand(connection)
            after = [tuple(row) for row in connection.execute(sa.select(table).order_by(table.c.id))]
            return audit.verify(connection) if before != after else None
        except sa.exc.IntegrityError:
            return None
        finally:
            connection.rollback()


@given(data=st.data())
def test_any_changed_column_is_found(memory: sa.Engine, data: st.DataObject) -> None:
    name, seq = data.draw(st.sampled_from(NAMES)), data.draw(st.integers(1, EACH))
    column = data.draw(st.sampled_from(COLUMNS))
    value: Any = data.draw(
        INTEGERS if isinstance(table.c[column].type, sa.Integer) else st.text(st.characters(codec="utf-8"), max_size=8)
    )
    report = found_after(memory, lambda c: c.execute(sa.update(table).where(*at(name, seq)).values({column: value})))
    assert report is None or not report.holds


@given(name=st.sampled_from(NAMES), gone=st.sets(st.integers(1, EACH), min_size=1))
def test_any_deletion_is_found(memory: sa.Engine, name: str, gone: set[int]) -> None:
    where = (table.c.stream_id == name, table.c.seq.in_(gone))
    report = found_after(memory, lambda c: c.execute(sa.delete(table).where(*where)))
    assert report is not None
    assert report.faults[0].stream_id == name
    assert report.faults[0].seq == min(gone)


@given(name=st.sampled_from(NAMES), pair=st.sets(st.integers(1, EACH), min_size=2, max_size=2))
def test_any_swap_is_found(memory: sa.Engine, name: str, pair: set[int]) -> None:
    one, other = sorted(pair)
    report = found_after(memory, lambda c: renumber(c, name, [(one, 99), (other, one), (99, other)]))
    assert report is not None
    assert (report.faults[0].what, report.faults[0].stream_id, report.faults[0].seq) == (What.REORDERED, name, one)


# What only a checkpoint shows.


def checkpointed(database: Database, seal: Seal, folder: Path) -> dict[str, Any]:
    with database.engine.connect() as connection:
        document = checkpoint.take(connection, seal, now_us(), checkpoint.seen(folder, seal.public))
    assert document is not None, "something has happened since the last one"
    checkpoint.write(folder, document)
    return document


def go_on(database: Database, *names: str) -> None:
    for name in names:
        note = NewEvent(kind=EventKind.NOTED, payload={"text": "more"})
        database.write_now(lambda c, name=name, note=note: events.append(c, "t", Stream.SYSTEM, name, [note]))


def rewrite(connection: sa.Connection) -> None:
    """Stream ``b`` as if it had always been otherwise: every hash is right."""
    previous = ""
    for row in connection.execute(sa.select(table).where(table.c.stream_id == "b").order_by(table.c.seq)).mappings():
        new = {**row, "payload": '{"text":"nothing happened"}'}
        new["payload_hash"] = canonical.digest(json.loads(new["payload"]))
        new["hash"] = previous = canonical.link(previous, canonical.envelope_of(new))
        connection.execute(sa.update(table).where(table.c.id == row["id"]).values(new))
    connection.execute(sa.update(streams).where(streams.c.stream_id == "b").values(hash=previous))


def cut_with_its_head(connection: sa.Connection) -> None:
    cut(connection)
    last = connection.execute(sa.select(table.c.hash).where(*at("b", 4))).scalar_one()
    connection.execute(sa.update(streams).where(streams.c.stream_id == "b").values(seq=4, hash=last))


def remove(connection: sa.Connection) -> None:
    empty(connection)
    behead(connection)


@pytest.mark.parametrize(
    ("hand", "what", "seq"), [(rewrite, What.REWRITTEN, 6), (cut_with_its_head, What.CUT, 5), (remove, What.CUT, 1)],
)  # fmt: skip
def test_what_a_chain_cannot_show(log: Database, seal: Seal, tmp_path: Path, hand: Hand, what: What, seq: int) -> None:
    document = checkpointed(log, seal, tmp_path)
    seen = checkpoint.seen(tmp_path, seal.public)
    assert (verified(log, seen.marks).faults, seen.faults) == ([], [])
    assert offline.verify(exported(log, seal, None, document), seal.public).holds
    log.write_now(hand)
    assert verified(log).holds
    for report in (verified(log, seen.marks), offline.verify(exported(log, seal, None, document), seal.public)):
        assert [(fault.what, fault.stream_id, fault.seq) for fault in report.faults] == [(what, "b", seq)]


def test_a_log_that_went_on_still_fits_its_checkpoints(log: Database, seal: Seal, tmp_path: Path) -> None:
    first = checkpointed(log, seal, tmp_path)
    go_on(log, "b")
    second = checkpointed(log, seal, tmp_path)
    assert (first["number"], second["number"]) == (1, 2)
    seen = checkpoint.seen(tmp_path, seal.public)
    assert seen.marks["t", "system", "b"].keys() == {6, 7}
    assert verified(log, seen.marks).holds


def test_a_checkpoint_tells_what_went_on_and_all_of_them_tell_everything(
    log: Database, seal: Seal, tmp_path: Path
) -> None:
    assert [row[2] for row in checkpointed(log, seal, tmp_path)["streams"]] == ["a", "b", "c"]
    go_on(log, "b")
    second = checkpointed(log, seal, tmp_path)
    assert [row[2:4] for row in second["streams"]] == [["b", 7]]
    with log.engine.connect() as connection:
        assert checkpoint.take(connection, seal, now_us(), checkpoint.seen(tmp_path, seal.public)) is None
    # What went on last is not in the first, and what stood still is not in the second: both are missed.
    for name in ("a", "b"):
        go_on(log, name)
    log.write_now(lambda c: c.execute(sa.delete(table).where(table.c.stream_id.in_(["a", "b"]))))
    log.write_now(lambda c: c.execute(sa.delete(streams).where(streams.c.stream_id.in_(["a", "b"]))))
    found = verified(log, checkpoint.seen(tmp_path, seal.public).marks).faults
    assert [(fault.what, fault.stream_id, fault.seq) for fault in found] == [(What.CUT, "a", 1), (What.CUT, "b", 1)]


def test_a_stream_that_was_written_anew_is_not_believed_the_second_time(
    log: Database, seal: Seal, tmp_path: Path
) -> None:
    checkpointed(log, seal, tmp_path)
    log.write_now(rewrite)
    assert [row[2] for row in checkpointed(log, seal, tmp_path)["streams"]] == ["b"]
    found = verified(log, checkpoint.seen(tmp_path, seal.public).marks).faults
    assert [(fault.what, fault.stream_id) for fault in found] == [(What.REWRITTEN, "b")]


def test_checkpoints_are_never_written_over(log: Database, seal: Seal, tmp_path: Path) -> None:
    document = checkpointed(log, seal, tmp_path)
    with pytest.raises(FileExistsError):
        checkpoint.write(tmp_path, {**document, "at": "later"})
    (path,) = checkpoint.paths(tmp_path)
    assert json.loads(path.read_bytes()) == document
    assert path.stat().st_mode & 0o027 == 0
    assert [one.name for one in tmp_path.iterdir() if one.is_file() and "q.db" not in one.name] == [path.name]


def change(**values: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda document: {**document, **values}


@pytest.mark.parametrize(
    "hand",
    [change(at="2020-01-01T00:00:00+00:00"), change(streams=[]), change(root="0" * 64), change(signature="00"),
     change(signature=None), change(key="0" * 16), change(schema="other"), change(streams=None), change(number=7), change(root=7),
     change(size=2), change(proofs=[]), change(streams=[["t"]])],
)  # fmt: skip
def test_a_changed_checkpoint_is_none(log: Database, seal: Seal, tmp_path: Path, hand: Callable[..., Any]) -> None:
    document = checkpointed(log, seal, tmp_path)
    (path,) = checkpoint.paths(tmp_path)
    path.write_text(json.dumps(hand(document)))
    seen = checkpoint.seen(tmp_path, seal.public)
    assert ([fault.what for fault in seen.faults], seen.marks, seen.count) == ([What.FORGED], {}, 0)


def test_a_checkpoint_that_was_taken_away_is_missed(log: Database, seal: Seal, tmp_path: Path) -> None:
    for _ in range(3):
        checkpointed(log, seal, tmp_path)
        go_on(log, "a")
    checkpoint.paths(tmp_path)[1].unlink()
    assert [fault.what for fault in checkpoint.seen(tmp_path, seal.public).faults] == [What.DELETED]


def test_the_wrong_key(log: Database, seal: Seal, tmp_path: Path) -> None:
    other = Seal.at(tmp_path / "other.key")
    checkpointed(log, seal, tmp_path)
    assert [fault.what for fault in checkpoint.seen(tmp_path, other.public).faults] == [What.FORGED]
    report = offline.verify(exported(log, seal), other.public)
    assert {fault.what for fault in report.faults} == {What.FORGED}


# Bundles.


def test_a_bundle_says_what_was_stored(log: Database, seal: Seal) -> None:
    lines = [json.loads(line) for line in exported(log, seal)]
    assert [line["type"] for line in lines[:2]] == ["header", "event"]
    assert lines[1]["payload"] == {"text": "0 é", "by": "ann"}
    assert [line["type"] for line in lines].count("head") == 3
    assert lines[-1]["type"] == "seal"


def test_a_part_holds_by_itself(log: Database, seal: Seal, tmp_path: Path) -> None:
    opened = NewEvent(kind=EventKind.OPENED, payload={"title": "down", "severity": "P1"})
    since = now_us() + 3_600_000_000
    with log.engine.connect() as c:
        row = {"seq": 1, "tenant": "t", "stream": "incident", "stream_id": "i"}
        envelope = {**row, "at": since, "kind": opened.kind.value, "actor": "quell", "node": "", "key": None,
            "environment": "", "region": "", "schema_version": 2, "payload": json.dumps(opened.payload),
            "payload_hash": canonical.digest(opened.payload)}  # fmt: skip
        envelope["hash"] = canonical.link("", canonical.envelope_of(envelope))
        c.execute(sa.insert(table).values(envelope))
        c.execute(sa.insert(streams).values({**row, "hash": envelope["hash"]}))
        c.commit()
    document = checkpointed(log, seal, tmp_path)
    for scope in (bundle.Scope(incident="i"), bundle.Scope(since_us=since)):
        lines = exported(log, seal, scope, document)
        report = offline.verify(lines, seal.public)
        assert (report.streams, report.events, report.checkpoints, report.faults) == (1, 1, 1, [])
        assert [row[2] for row in json.loads(lines[1])["checkpoint"]["streams"]] == ["i"], "others are not named"


def test_an_excerpt_proves_what_it_tells_and_takes_no_checkpoints_place(
    log: Database, seal: Seal, tmp_path: Path
) -> None:
    document = checkpointed(log, seal, tmp_path)
    told = checkpoint.excerpt(document, lambda name: name[2] in ("a", "c"))
    assert told is not None
    assert checkpoint.flaw_of(told, seal.public, excerpt=True) is None
    assert checkpoint.flaw_of(told, seal.public) is not None, "in the folder it would hide what it does not tell"
    assert checkpoint.excerpt(document, lambda name: False) is None
    assert checkpoint.excerpt(document, lambda name: True) == document
    row = told["streams"][0]
    for hand in (
        change(streams=[[*row[:3], 5, row[4]], told["streams"][1]]), change(streams=told["streams"][:1]),
        change(proofs=told["proofs"][::-1]), change(proofs=[[0, []], [2, []]]), change(proofs=[["0", []], [2, []]]),
        change(size=4),
    ):  # fmt: skip
        assert checkpoint.flaw_of(hand(told), seal.public, excerpt=True) is not None


def test_a_bundle_of_a_part_tells_what_is_gone(log: Database, seal: Seal, tmp_path: Path) -> None:
    log.write_now(
        lambda c: events.append(c, "u", Stream.SYSTEM, "z", [NewEvent(kind=EventKind.NOTED, payload={"text": "x"})])
    )
    document = checkpointed(log, seal, tmp_path)
    log.write_now(remove)
    lines = exported(log, seal, bundle.Scope(tenant="t"), document)
    assert [row[2] for row in json.loads(lines[1])["checkpoint"]["streams"]] == ["a", "b", "c"]
    found = offline.verify(lines, seal.public).faults
    assert [(fault.what, fault.stream_id) for fault in found] == [(What.CUT, "b")]


@given(data=st.data())
def test_any_change_of_a_bundle_is_found(memory: sa.Engine, tmp_path_factory: Any, data: st.DataObject) -> None:
    seal = Seal.at(tmp_path_factory.getbasetemp() / "bundle.key")
    with memory.connect() as connection:
        lines = list(bundle.export(connection, seal, 1))
    n = data.draw(st.integers(1, len(lines) - 1))
    hand = data.draw(st.sampled_from(["drop", "swap", "cut", "byte", "double"]))
    changed = {
        "drop": lines[:n] + lines[n + 1 :],
        "swap": [*lines[: n - 1], lines[n], lines[n - 1], *lines[n + 1 :]] if n > 1 else lines[:n],
        "cut": lines[:n],
        "byte": [*lines[:n], lines[n].replace(b"e", b"E", 1), *lines[n + 1 :]],
        "double": [*lines[: n + 1], lines[n], *lines[n + 1 :]],
    }[hand]
    assert not offline.verify(changed, seal.public).holds
