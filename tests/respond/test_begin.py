"""Where incidents begin: a Plan is stored once, however many begin with it at the same moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from quell.registry import Registry
from quell.respond.begin import store_plan
from quell.runbook.compile import compile_text
from quell.runbook.plan import Plan
from quell.store.database import Database
from quell.store.migrate import migrate
from quell.store.schema import plans
from quell.vocabulary_of import vocabulary_of
from tests.app import do, runbook

WITHIN_S = 8.0
BOOK = runbook("- {condition: state.critical, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}")


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    database.prepare(migrate)
    yield database
    database.close()


def compiled() -> Plan:
    (one,) = compile_text(BOOK.replace("@/", "/"), "down.yaml", vocabulary_of(Registry()))
    assert one.plan is not None
    return one.plan


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_a_plan_that_somebody_else_stores_in_the_same_moment(database: Database, ends: str) -> None:
    """It waits for the other, and is there afterwards, whatever became of that one. SQLite has one writer at a time."""
    plan = compiled()
    waits = sa.text(
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    )
    with ThreadPoolExecutor(1) as pool, database.engine.connect() as connection:
        with connection.begin() as first:
            store_plan(connection, plan)
            second = pool.submit(database.write_now, lambda c: store_plan(c, plan))
            deadline = time.monotonic() + WITHIN_S
            while not database.read_now(lambda c: c.execute(waits).scalar_one()):
                assert time.monotonic() < deadline, "the second waits for the first"
                time.sleep(0.02)
            getattr(first, ends)()
        second.result(WITHIN_S)
    assert database.read_now(lambda c: c.execute(sa.select(plans.c.hash)).scalars().all()) == [plan.hash]


def test_what_was_stored_stays_as_it_was(database: Database) -> None:
    plan = compiled()
    for _ in range(2):
        database.write_now(lambda c: store_plan(c, plan))
    assert database.read_now(lambda c: c.execute(sa.select(sa.func.count()).select_from(plans)).scalar_one()) == 1
