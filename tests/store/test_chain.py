"""The walk over rows: pure, bounded, and not to be stopped by what a database or a file may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.store.canonical import digest, envelope_of, link
from quell.store.chain import MOST, Fault, Report, Row, What, gone, walk

NAME = ("t", "system", "s")


def stream(length: int, name: tuple[str, str, str] = NAME, version: int = 2) -> list[Row]:
    rows, previous = list[Row](), ""
    for seq in range(1, length + 1):
        row = Row(
            *name, seq, seq, "note.added", "ann", "", digest({"n": seq}), version, "", "", None, "", f'{{"n":{seq}}}'
        )
        previous = link(previous, envelope_of(row._asdict()))
        rows.append(row._replace(hash=previous))
    return [row._replace(head_seq=length, head_hash=previous) for row in rows]


def told(report: Report) -> list[tuple[What, int]]:
    return [(fault.what, fault.seq) for fault in report.faults]


@pytest.mark.parametrize("version", [1, 2])
def test_streams_of_every_version_hold(version: int) -> None:
    rows = stream(4, version=version) + stream(3, ("t", "system", "z"), version)
    assert walk(rows) == Report(streams=2, events=7)
    assert walk([]) == Report()


def test_older_events_do_not_cover_where_they_are_from() -> None:
    for version, holds in ((1, True), (2, False)):
        first, *rest = stream(3, version=version)
        assert walk([first._replace(region="eu"), *rest]).holds is holds


def test_an_event_is_not_passed_off_as_an_older_one() -> None:
    first, *rest = stream(3)
    assert told(walk([first._replace(schema_version=1), *rest])) == [(What.EDITED, 1)]


STRANGE: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "x", "\ud800", b"", b"\xff", 1.5, float("nan"), 2**70, -1, True, "9" * 400]
)


@given(st.integers(0, 4), st.sampled_from(Row._fields), STRANGE)
def test_nothing_strange_gets_past_or_stops_it(at: int, column: str, value: Any) -> None:
    rows = stream(5)
    if getattr(rows[at], column) == value or (column == "payload" and value is None):
        return
    of_head = column.startswith("head")
    if of_head and at != 4:
        return  # of a stream's rows the last is asked
    rows[at] = rows[at]._replace(**{column: value})
    assert not walk(rows).holds


def test_two_events_with_one_number() -> None:
    rows = stream(3)
    assert (What.INSERTED, 2) in told(walk([*rows[:2], rows[1], rows[2]]))


def test_a_gap_is_told_once_and_what_is_behind_it_is_still_read() -> None:
    rows = stream(9)
    rows[7] = rows[7]._replace(actor="mallory")
    assert told(walk([*rows[:2], *rows[5:]])) == [(What.DELETED, 3), (What.EDITED, 8)]


def test_faults_of_a_stream_are_bounded() -> None:
    rows = [row._replace(payload="{}") for row in stream(MOST * 3)]
    assert len(walk(rows).faults) == MOST


def test_marks() -> None:
    rows = stream(4)
    assert walk(rows, {NAME: {2: rows[1].hash, 4: rows[3].hash}}).holds
    assert told(walk(rows, {NAME: {2: "other"}})) == [(What.REWRITTEN, 2)]
    assert told(walk(rows, {NAME: {9: "more"}})) == [(What.CUT, 5)]
    assert walk(rows, {("t", "system", "elsewhere"): {1: "x"}}).holds


def test_a_stream_of_which_nothing_is_left() -> None:
    (fault,) = gone([NAME], {NAME: {1: "x"}, ("t", "alert", "a"): {3: "y"}})
    assert (fault.what, fault.stream_id, fault.seq) == (What.CUT, "a", 1)


def test_a_fault_in_words() -> None:
    assert str(Fault(What.CUT, "the end", *NAME, 3)) == "system s event 3: cut: the end"
    assert str(Fault(What.FORGED, "a checkpoint")) == "forged: a checkpoint"
