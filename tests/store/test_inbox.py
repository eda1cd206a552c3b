"""What waits in the inbox: whose turn it is, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from quell.store import inbox
from quell.store.database import Database


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    with database.engine.begin() as connection:
        yield connection


def word(name: str, *, source: str = "am", priority: int = 3, status: str = "firing") -> dict[str, Any]:
    return {"tenant": "default", "environment": "", "region": "", "source": source, "priority": priority,
            "alert_id": f"{source}.{name}", "name": name, "status": status, "received_at": 1, "signature": "",
            "alert": "{}", "times": 1}  # fmt: skip


def names(rows: list[Any]) -> list[str]:
    return [f"{row['alert_id']} {row['status']}" for row in rows]


def test_the_most_severe_is_next_with_every_word_of_it_in_order(connection: sa.Connection) -> None:
    inbox.put(connection, [word(f"low{n}") for n in range(8)])
    inbox.put(connection, [word("late"), word("late", status="resolved"), word("late", priority=1)])
    assert names(inbox.next_of(connection, 5))[:3] == ["am.late firing", "am.late resolved", "am.late firing"]


def test_a_flood_of_one_source_leaves_the_others_their_share(connection: sa.Connection) -> None:
    inbox.put(connection, [word(f"n{n}", source="noisy", priority=1) for n in range(50)])
    inbox.put(connection, [word("one", source="quiet", priority=4)])
    found = names(inbox.next_of(connection, 20))
    assert "quiet.one firing" in found
    assert len(found) == 11


def test_what_was_looked_at_is_gone(connection: sa.Connection) -> None:
    assert inbox.is_empty(connection)
    inbox.put(connection, [word("a"), word("b"), word("c", source="other")])
    assert inbox.waiting(connection) == {("default", "am"): 2, ("default", "other"): 1}
    inbox.drop(connection, [row["id"] for row in inbox.next_of(connection, 10) if row["name"] != "b"])
    assert names(inbox.next_of(connection, 10)) == ["am.b firing"]
    assert not inbox.is_empty(connection)
    assert inbox.next_of(connection, 10)[0]["alert"] == "{}"


LANE = st.lists(st.integers(1, 4), max_size=12)
TENANTS = st.lists(st.lists(LANE, max_size=4), max_size=4)


@given(TENANTS)
def test_whatever_waits_nobody_is_behind_by_more_than_their_share(tenants: list[list[list[int]]]) -> None:
    """At any moment each tenant that still waits has had a fifth of what any other had, and one alert more or less;
    and each source of a tenant too."""
    lanes = [
        [[(priority, n, f"{t}.{s}.{n}") for n, priority in enumerate(sorted(lane))] for s, lane in enumerate(sources)]
        for t, sources in enumerate(tenants)
    ]
    order = inbox.in_turn(lanes)
    assert sorted(order) == sorted(name for sources in lanes for lane in sources for _, _, name in lane)
    for depth in (1, 2):
        waiting = Counter(_who(name, depth) for name in order)
        had = Counter[str]()
        for name in order:
            had[_who(name, depth)] += 1
            for one in waiting:
                for other in (who for who in waiting if who.split(".")[: depth - 1] == one.split(".")[: depth - 1]):
                    if had[one] < waiting[one]:
                        assert had[other] <= 4 * (had[one] + 1), (one, other, order)


def _who(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def test_of_one_source_the_most_severe_first_and_of_several_four_for_one() -> None:
    noisy = [(1, n, f"p1-{n}") for n in range(9)]
    quiet = [(4, n, f"p4-{n}") for n in range(2)]
    order = inbox.in_turn([[noisy], [quiet]])
    assert order[:5] == ["p1-0", "p1-1", "p1-2", "p1-3", "p4-0"]
    assert order.index("p4-1") == 9
    assert inbox.in_turn([[[(1, 1, "a"), (2, 0, "b"), (3, 2, "c")]]]) == ["a", "b", "c"]
