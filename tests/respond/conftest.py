"""The databases that the loop is tried on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.app import make_tables
from tests.servers.postgres import Postgres


@pytest.fixture(scope="session")
def tables(postgres_server: Postgres) -> Iterator[str]:
    """A PostgreSQL database to copy, with every table and no row of ours: making them took most of a start."""
    with postgres_server.fresh_database() as name:
        asyncio.run(make_tables(postgres_server.url(name)))
        yield name


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without incidents: SQLite in the test's folder (empty text), or a fresh one of a real PostgreSQL."""
    if request.param == "sqlite":
        yield ""
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    with server.fresh_database(request.getfixturevalue("tables")) as name:
        yield server.url(name)
