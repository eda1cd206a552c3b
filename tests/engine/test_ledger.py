"""The ledger: intents are recorded once, permits are never overspent, the first outcome stays.

Whatever else may happen to it is in ``test_ledger_model``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from quell.engine import leases, ledger
from quell.engine.ledger import DONE, FAILED, INTENDED, UNKNOWN, Ask, Rate
from quell.errors import Refused
from quell.store.database import Database
from quell.store.migrate import migrate

S = 1_000_000


def ask(key: str, *targets: str, rates: tuple[Rate, ...] = (), **more: Any) -> Ask:
    given = {"tenant": "t", "action": "restart", "idempotent": False, "request": {"call": "x"}, "executor": "e", **more}
    return Ask(key=key, targets=targets or ("shop",), rates=rates, **given)


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    """Of both databases: what their drivers say of a statement is not alike."""
    with database.engine.connect() as connection:
        yield connection


def test_an_intent_is_recorded_once_and_spends_its_permits_once(connection: sa.Connection) -> None:
    assert ledger.intend(connection, ask("k", "a", "b", "a"), 10) is None
    known = ledger.intend(connection, ask("k", "a", "b"), 20)
    assert known is not None
    assert (known.state, known.outcome, known.intended_at, known.request) == (INTENDED, None, 10, {"call": "x"})
    assert ledger.used(connection, "t", "restart", ["a", "b", "c"], 0) == {"a": 1, "b": 1, "c": 0}
    assert ledger.find(connection, "other") is None


def test_a_node_that_goes_from_target_to_target_spends_one_permit_of_the_service(connection: sa.Connection) -> None:
    """A rolling restart of three replicas is one restart of the service, and one of each replica."""
    two = (Rate(2, 600),)
    for number in (1, 2, 3):
        given = ask(f"run/fix/1/r{number}", f"r{number}", rates=two, shared=("service/shop",), batch="run/fix/1/")
        assert ledger.intend(connection, given, number) is None
    assert ledger.used(connection, "t", "restart", ["service/shop", "r1", "r3"], 0) == {
        "service/shop": 1, "r1": 1, "r3": 1
    }  # fmt: skip
    again = ask("run/fix/2/r1", "r1", rates=two, shared=("service/shop",), batch="run/fix/2/")
    assert ledger.intend(connection, again, 4) is None
    with pytest.raises(Refused, match="service/shop: 2 in the last"):
        ledger.intend(connection, ask("k", "r9", rates=two, shared=("service/shop",), batch="k/"), 5)


def test_a_used_up_rate_says_the_rule_the_value_and_the_limit(connection: sa.Connection) -> None:
    two = (Rate(2, 600),)
    for number in (1, 2):
        ledger.intend(connection, ask(f"k{number}", rates=two), number)
    with pytest.raises(Refused, match="restart on shop: 2 in the last 600 s, at most 2") as refused:
        ledger.intend(connection, ask("k3", rates=two), 3)
    assert (refused.value.rule, refused.value.value, refused.value.limit) == ("rate", 2, 2)
    assert ledger.find(connection, "k3") is None
    assert ledger.intend(connection, ask("k4", "elsewhere", rates=two), 3) is None
    assert ledger.intend(connection, ask("k5", rates=two, action="scale"), 3) is None
    assert ledger.intend(connection, ask("k6", rates=two, tenant="other"), 3) is None
    assert ledger.intend(connection, ask("k7", rates=two), 1 + 600 * S) is None


def test_one_busy_target_refuses_all_of_them(connection: sa.Connection) -> None:
    once = (Rate(1, 60, "runbook_rate"),)
    ledger.intend(connection, ask("k1", "b", rates=once), 1)
    with pytest.raises(Refused) as refused:
        ledger.intend(connection, ask("k2", "a", "b", rates=once), 2)
    assert refused.value.rule == "runbook_rate"
    assert ledger.used(connection, "t", "restart", ["a"], 0) == {"a": 0}


def test_a_repeated_key_is_known_even_when_the_rate_is_used_up(connection: sa.Connection) -> None:
    """A replay after a crash asks again and must find itself, not its own permit."""
    once = (Rate(1, 60),)
    ledger.intend(connection, ask("k", rates=once), 1)
    assert ledger.intend(connection, ask("k", rates=once), 2) is not None


def test_the_first_outcome_stays(connection: sa.Connection) -> None:
    ledger.intend(connection, ask("k"), 1)
    assert ledger.settle(connection, "k", DONE, {"summary": "restarted"}, 2)
    assert not ledger.settle(connection, "k", FAILED, {"summary": "no"}, 3)
    assert not ledger.settle(connection, "k", UNKNOWN, {}, 3)
    found = ledger.find(connection, "k")
    assert found is not None
    assert (found.state, found.outcome) == (DONE, {"summary": "restarted"})
    assert not ledger.settle(connection, "nothing", DONE, {}, 3)


def test_what_is_unknown_may_be_settled_later(connection: sa.Connection) -> None:
    ledger.intend(connection, ask("k"), 1)
    assert ledger.settle(connection, "k", UNKNOWN, {}, 2)
    assert ledger.settle(connection, "k", FAILED, {"by": "anna"}, 3)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_workers_cannot_all_take_the_last_permit(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = str(tmp_path / "q.db") if kind == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database(url)
    migrate(database.engine)
    two = (Rate(2, 600),)

    def intend(number: int) -> bool:
        try:
            database.write_now(lambda c: ledger.intend(c, ask(f"k{number}", rates=two), database.now_us(c)))
        except Refused:
            return False
        return True

    try:
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(intend, range(16)))
        assert sum(taken) == 2
        counted = asyncio.run(database.read(lambda c: ledger.used(c, "t", "restart", ["shop"], 0)))
        assert counted == {"shop": 2}
    finally:
        database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    url = str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    database = Database(url)
    migrate(database.engine)
    yield database
    database.close()


def begin(database: Database, key: str, *, clock: int | None = None, **more: Any) -> None:
    """Lease and intent in one transaction, as before an action."""

    def work(connection: sa.Connection) -> None:
        now = database.now_us(connection) if clock is None else clock
        leases.take(connection, more.get("tenant", "t"), [key], key, key, now, 60 * S)
        assert ledger.intend(connection, ask(key, key, **more), now) is None

    database.write_now(work)


def test_no_more_regions_at_once_than_allowed(database: Database) -> None:
    begin(database, "a", region="eu", most_regions=1)
    begin(database, "b", region="eu", most_regions=1)
    with pytest.raises(Refused, match="eu is being acted on, and at most 1 of the regions") as refused:
        begin(database, "c", region="us", most_regions=1)
    assert (refused.value.rule, refused.value.value, refused.value.limit) == ("blast_regions", 2, 1)
    begin(database, "d", region="us", most_regions=2)
    begin(database, "e", region="ap")  # nobody limits it
    for key in ("a", "b", "d", "e"):
        database.write_now(lambda c, key=key: ledger.settle(c, key, DONE, {}, 1))
    begin(database, "c", region="us", most_regions=1)


def test_no_more_tenants_at_once_than_allowed(database: Database) -> None:
    begin(database, "a", tenant="acme", most_tenants=1)
    with pytest.raises(Refused, match="acme is being acted on") as refused:
        begin(database, "b", tenant="other", most_tenants=1)
    assert refused.value.rule == "blast_tenants"


def test_what_lost_its_lease_is_under_way_no_more(database: Database) -> None:
    begin(database, "a", clock=S, region="eu", most_regions=1)
    begin(database, "b", region="us", most_regions=1)


def test_many_workers_cannot_all_act_in_another_region(database: Database) -> None:
    def work(number: int) -> bool:
        try:
            begin(database, f"k{number}", region=f"r{number}", action=f"act{number}", most_regions=2)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(12))) == 2
