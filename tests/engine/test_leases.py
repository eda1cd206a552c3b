"""Leases on targets: all or none, one holder at a time, free again when they run out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from quell.engine import leases
from quell.engine.tables import leases as table
from quell.engine.tables import metadata
from quell.store.database import Database
from quell.store.migrate import migrate

FOR = 100


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, [table])
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def take(connection: sa.Connection, holder: str, at: int, *targets: str, tenant: str = "t") -> dict[str, str]:
    """Who has them, when somebody else does."""
    try:
        with connection.begin_nested():
            leases.take(connection, tenant, targets, holder, f"incident of {holder}", at, FOR)
    except leases.Busy as busy:
        return busy.by
    return {}


def test_the_second_learns_who_has_it(connection: sa.Connection) -> None:
    assert take(connection, "one", 0, "a", "b") == {}
    assert take(connection, "two", 50, "b", "c") == {"b": "incident of one"}
    assert take(connection, "two", 50, "c") == {}
    assert take(connection, "two", 50, "a", tenant="other") == {}


def test_none_is_taken_when_one_is_busy(connection: sa.Connection) -> None:
    take(connection, "one", 0, "b")
    take(connection, "two", 0, "a", "b")
    assert take(connection, "three", 0, "a") == {}


def test_the_holder_takes_it_again_and_keeps_it_longer(connection: sa.Connection) -> None:
    take(connection, "one", 0, "a")
    assert take(connection, "one", 90, "a") == {}
    assert take(connection, "two", 150, "a") != {}


def test_a_lease_runs_out_and_is_given_back(connection: sa.Connection) -> None:
    take(connection, "one", 0, "a", "b")
    assert take(connection, "two", FOR, "a") == {}
    assert leases.release(connection, "t", "one") == 1
    assert leases.release(connection, "t", "one") == 0
    assert take(connection, "three", 1, "b") == {}


STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "release"]), st.sampled_from("xyz"), st.lists(st.sampled_from("abcd"), min_size=1, max_size=3), st.integers(0, 60)),
    max_size=25,
)  # fmt: skip


@given(STEPS)
def test_a_target_never_has_two_holders(steps: list[tuple[str, str, list[str], int]]) -> None:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, [table])
    now, held = 0, {}
    with engine.connect() as connection:
        for what, holder, targets, later in steps:
            now += later
            if what == "release":
                leases.release(connection, "t", holder)
                held = {target: has for target, has in held.items() if has[0] != holder}
                continue
            busy = {t for t in targets if t in held and held[t][0] != holder and held[t][1] > now}
            assert set(take(connection, holder, now, *targets)) == busy
            if not busy:
                held |= dict.fromkeys(targets, (holder, now + FOR))
    engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_many_workers_one_gets_it(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    database = Database(str(tmp_path / "q.db") if kind == "sqlite" else request.getfixturevalue("postgres_url"))
    migrate(database.engine)

    def get(number: int) -> dict[str, str]:
        targets = ["a", "b"] if number % 2 else ["b", "a"]
        try:
            database.write_now(lambda c: leases.take(c, "t", targets, f"w{number}", "i", database.now_us(c), 10**9))
        except leases.Busy as busy:
            return busy.by
        return {}

    try:
        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(get, range(12)))
        assert got.count({}) == 1
        assert {*map(frozenset, got)} == {frozenset(), frozenset("ab")}
    finally:
        database.close()
