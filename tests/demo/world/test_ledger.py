"""The ledger: bounded connections, one booking per payment, and honest failures."""

from pathlib import Path

import pytest

from quell.demo.world.programs.ledger import Ledger, LedgerLocked, NoSuchAccount, Pool, PoolExhausted, connect, create


@pytest.fixture
def path(tmp_path: Path) -> str:
    where = str(tmp_path / "ledger.sqlite3")
    create(where)
    return where


def test_a_payment_moves_money_once(path: str) -> None:
    pool = Pool(path, 2, 0.1, 0.1)
    ledger = Ledger(pool, "payment-1")
    for _ in range(2):
        ledger.book("p1", 3, 100, "EUR", 2, "settled")
    connection = connect(path, 0.1)
    assert connection.execute("SELECT balance_cents FROM accounts WHERE id = 3").fetchone() == (1_000_000_000 - 102,)
    assert connection.execute("SELECT COUNT(*) FROM payments").fetchone() == (1,)
    assert pool.in_use == 0


def test_the_pool_is_bounded_and_a_returned_connection_is_used_again(path: str) -> None:
    pool = Pool(path, 2, 0.01, 0.1)
    first, _second = pool.take(), pool.take()
    with pytest.raises(PoolExhausted, match="2 of 2"):
        pool.take()
    pool.give_back(first)
    assert pool.take() is first


def test_a_held_lock_is_told_apart_and_costs_no_connection(path: str) -> None:
    holder = connect(path, 0.1)
    holder.execute("BEGIN IMMEDIATE")
    pool = Pool(path, 2, 0.1, 0.01)
    ledger = Ledger(pool, "payment-1")
    with pytest.raises(LedgerLocked):
        ledger.book("p1", 1, 100, "EUR", 1, "settled")
    assert pool.in_use == 0
    assert connect(path, 0.1).execute("SELECT COUNT(*) FROM payments").fetchone() == (0,), "readers are not held up"
    holder.execute("COMMIT")
    ledger.book("p1", 1, 100, "EUR", 1, "settled")


def test_a_failed_booking_leaves_no_trace(path: str) -> None:
    pool = Pool(path, 1, 0.1, 0.1)
    ledger = Ledger(pool, "payment-1")
    with pytest.raises(NoSuchAccount, match="account 999"):
        ledger.book("p1", 999, 100, "EUR", 1, "settled")
    ledger.book("p1", 1, 100, "EUR", 1, "settled")
    assert pool.in_use == 0


def test_queued_payments_are_claimed_by_one(path: str) -> None:
    pool = Pool(path, 2, 0.1, 0.1)
    ledger = Ledger(pool, "payment-1")
    for number in range(5):
        ledger.book(f"p{number}", 1, 100, "EUR", 1, "queued")
    first, second = ledger.claim_queued(3), ledger.claim_queued(3)
    assert len(first) == 3
    assert len(second) == 2
    assert not set(first) & set(second)
    ledger.mark([payment for payment, _ in first], "queued")
    assert sorted(ledger.claim_queued(10)) == sorted(first)
