"""What is known of each source: counted whoever writes, the later time counts, and a name means one place."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from quell.incident.alert import Alert, AlertStatus
from quell.store import sources
from quell.store.database import Database
from quell.store.events import to_us, when
from quell.store.sources import At, Known

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
HERE = At("default", "production", "eu", "prometheus")
ALERT = Alert(source="prometheus", name="HeartbeatMissing", status=AlertStatus.FIRING, fingerprint="f", received_at=AT)


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    with database.engine.begin() as connection:
        yield connection


def noted(connection: sa.Connection, at: At = HERE, *, came: int | None = None, heard: int | None = None) -> None:
    sources.note(connection, at, deliveries=2, alerts=3, refused=1, came_at=came, heard_at=heard)


def known(connection: sa.Connection, at: At = HERE) -> Known:
    return sources.here(connection, at.environment, at.region)[at]


def test_it_is_counted_and_the_later_time_counts(connection: sa.Connection) -> None:
    noted(connection)
    assert (known(connection).came_at, known(connection).heard_at) == (None, None)
    noted(connection, came=200, heard=100)
    noted(connection, came=150, heard=None)
    noted(connection, came=None, heard=300)
    found = known(connection)
    assert (found.deliveries, found.alerts, found.refused) == (8, 12, 4)
    assert (found.came_at, found.heard_at) == (when(200), when(300))
    assert (found.expectation, found.since, found.missing) == ("", None, None)


def test_what_is_expected_and_whether_it_is_late(connection: sa.Connection) -> None:
    noted(connection, heard=to_us(AT))
    sources.expect(connection, HERE, "every 5m", AT)
    sources.late(connection, HERE, ALERT, AT)
    found = known(connection)
    assert (found.expectation, found.since, found.missing, found.said_at) == ("every 5m", AT, ALERT, AT)
    sources.back(connection, HERE)
    assert (known(connection).missing, known(connection).said_at, known(connection).since) == (None, None, AT)
    sources.late(connection, HERE, ALERT, AT)
    sources.expect(connection, HERE, "", None)
    assert (known(connection).missing, known(connection).since, known(connection).heard_at) == (None, None, AT)


def test_the_same_name_elsewhere_is_another_source(connection: sa.Connection) -> None:
    others = [
        At("acme", "production", "eu", "prometheus"), At("default", "stage", "eu", "prometheus"),
        At("default", "production", "us", "prometheus"), At("default", "production", "eu", "grafana"),
    ]  # fmt: skip
    for number, at in enumerate([HERE, *others], 1):
        noted(connection, at, heard=number)
        sources.expect(connection, at, f"{number}", when(number))
    for number, at in enumerate([HERE, *others], 1):
        assert (known(connection, at).heard_at, known(connection, at).expectation) == (when(number), str(number))
    assert set(sources.here(connection, "production", "eu")) == {HERE, others[0], others[3]}


def test_many_who_write_at_once_lose_nothing(database: Database) -> None:
    def write(number: int) -> None:
        database.write_now(lambda c: noted(c, came=number, heard=number))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(1, 31)))
    found = database.read_now(known)
    assert (found.deliveries, found.alerts, found.refused, found.heard_at) == (60, 90, 30, when(30))
