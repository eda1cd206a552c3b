"""How often a target was repaired: by visits, however they ended, since it was reset."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from quell.engine import breaker, ledger
from quell.engine.ledger import DONE, FAILED, UNKNOWN, Ask
from quell.engine.tables import intents, metadata, permits, resets

TARGET = "service/shop"
ALL = ("done", "failed", "undone")


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine, [intents, permits, resets])
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def did(connection: sa.Connection, key: str, at: int, state: str | None = DONE, risk: str = "medium") -> None:
    """One execution; ``key`` without its target is the batch."""
    batch = f"{key.rsplit('/', 1)[0]}/"
    ask = Ask(key=key, tenant="t", action="restart", targets=(key[-2:],), shared=(TARGET,), batch=batch,
              idempotent=False, request={"risk": risk}, executor="e")  # fmt: skip
    assert ledger.intend(connection, ask, at) is None
    if state:
        ledger.settle(connection, key, state, {}, at + 1)


def count(connection: sa.Connection, since: int = 0, counts: tuple[str, ...] = ALL, but: str = "") -> int:
    return breaker.remedied(connection, "t", TARGET, since, counts, but=but)


def test_a_run_counts_once_however_many_steps_it_took(connection: sa.Connection) -> None:
    for number in (1, 2, 3):
        did(connection, f"run:a.1/fix/1/r{number}", number)
    did(connection, "run:a.1/again/2/r1", 4)
    assert count(connection) == 1
    did(connection, "run:a.2/fix/1/r1", 9)
    assert count(connection) == 2
    assert count(connection, but="run:a.2") == 1
    assert count(connection, since=5) == 1
    assert breaker.remedied(connection, "other", TARGET, 0, ALL) == 0
    assert breaker.remedied(connection, "t", "service/mail", 0, ALL) == 0


def test_a_name_that_another_begins_with_is_another(connection: sa.Connection) -> None:
    did(connection, "run:a.1/fi_/1/r1", 1)
    did(connection, "run:a.11/fix/1/r1", 2, FAILED)
    did(connection, "run:b.1/fi_/1/r1", 3)
    did(connection, "run:b.1/fix/1/r1", 4, FAILED)
    assert (count(connection), count(connection, counts=("failed",))) == (3, 2)
    assert count(connection, but="run:a.1") == 2


@pytest.mark.parametrize(
    ("state", "counts"), [(DONE, "done"), (FAILED, "failed"), (UNKNOWN, "failed"), (None, "failed")]
)
def test_it_counts_as_it_ended(connection: sa.Connection, state: str | None, counts: str) -> None:
    did(connection, "run:a.1/fix/1/r1", 1, state)
    assert [word for word in ALL if count(connection, counts=(word,))] == [counts]


def test_what_was_taken_back_counts_as_that_and_once(connection: sa.Connection) -> None:
    did(connection, "run:a.1/fix/1/r1", 1)
    did(connection, "run:a.1/fix.undo/1/r1", 2)
    did(connection, "run:b.1/grow/1/r1", 3)
    did(connection, "run:b.1/grow.revert/1/r1", 4)
    assert [count(connection, counts=(word,)) for word in ALL] == [0, 0, 2]
    assert count(connection) == 2


def test_what_does_no_harm_is_no_remediation(connection: sa.Connection) -> None:
    did(connection, "run:a.1/tell/1/r1", 1, risk="none")
    assert count(connection) == 0


def test_reset_it_is_counted_anew(connection: sa.Connection) -> None:
    for number in (1, 2, 3):
        did(connection, f"run:a.{number}/fix/1/r1", number * 10)
    breaker.reset(connection, "t", TARGET, 20, "ann", "it was the cable")
    assert count(connection) == 1
    breaker.reset(connection, "t", TARGET, 40, "bob", "")
    assert count(connection) == 0
    did(connection, "run:a.9/fix/1/r1", 50)
    assert count(connection) == 1
    assert (breaker.tenants(connection, TARGET), breaker.tenants(connection, "service/mail")) == (["t"], [])
