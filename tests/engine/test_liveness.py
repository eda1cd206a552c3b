"""Who is alive: a lease that runs out is claimed by exactly one other."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from quell.engine import liveness
from quell.engine.tables import executors, metadata
from quell.store.database import Database
from quell.store.migrate import migrate


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, [executors])
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_beat_keeps_the_work_and_silence_loses_it(connection: sa.Connection) -> None:
    liveness.enter(connection, "one", "1", 0, 100)
    assert liveness.beat(connection, "one", 90, 100)
    assert liveness.claim_dead(connection, 190) == []
    assert liveness.claim_dead(connection, 191) == ["one"]
    assert liveness.claim_dead(connection, 192) == []
    assert not liveness.beat(connection, "one", 193, 100)


def test_who_leaves_need_not_be_waited_for(connection: sa.Connection) -> None:
    liveness.enter(connection, "one", "1", 0, 10**9)
    liveness.leave(connection, "one", 50)
    assert liveness.claim_dead(connection, 51) == ["one"]


def test_ids_differ_and_name_the_process() -> None:
    one, other = liveness.new_executor_id(), liveness.new_executor_id()
    assert one != other
    assert one.rsplit("-", 1)[0] == other.rsplit("-", 1)[0]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_dead_one_is_claimed_by_one_of_many(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    database = Database(str(tmp_path / "q.db") if kind == "sqlite" else request.getfixturevalue("postgres_url"))
    migrate(database.engine)
    names = [f"e{number}" for number in range(5)]
    try:
        for name in names:
            database.write_now(lambda c, name=name: liveness.enter(c, name, "1", 0, 10))
        with ThreadPoolExecutor(6) as pool:
            claimed = list(pool.map(lambda _: database.write_now(lambda c: liveness.claim_dead(c, 100)), range(6)))
        assert sorted(name for part in claimed for name in part) == names
    finally:
        database.close()
