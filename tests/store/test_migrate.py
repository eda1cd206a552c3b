"""The migrations and the tables as the code knows them are the same, on both databases, whoever comes first."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from quell.store.database import Database
from quell.store.migrate import HEAD, VERSION_TABLE, migrate, upgrade, version_of
from quell.store.schema import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    database = Database(
        str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    )
    yield database
    database.close()


def differences(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        options = {
            "compare_type": True, "compare_server_default": False, "version_table": VERSION_TABLE,
            "include_name": lambda name, kind, parents: kind != "table" or (name.startswith("quell_") and name != VERSION_TABLE),
        }  # fmt: skip
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def shape(database: Database) -> dict[str, object]:
    """What an inspector sees: columns, keys, indexes."""
    inspector = sa.inspect(database.engine)
    return {
        table: {
            "columns": {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in inspector.get_columns(table)},
            "key": sorted(inspector.get_pk_constraint(table)["constrained_columns"]),
            "unique": sorted(sorted(u["column_names"]) for u in inspector.get_unique_constraints(table)),
            "indexes": sorted(str(i["name"]) for i in inspector.get_indexes(table)),
        }
        for table in sorted(metadata.tables)
    }


def test_a_new_database_has_the_tables_of_the_code(empty: Database) -> None:
    migrate(empty.engine)
    assert differences(empty) == []


def test_the_migrations_lead_to_the_same(empty: Database, tmp_path: Path) -> None:
    migrate(empty.engine)
    made = shape(empty)
    with empty.engine.begin() as connection:
        for table in (*reversed(metadata.sorted_tables),):
            table.drop(connection)
        connection.execute(sa.text(f"drop table {VERSION_TABLE}"))
    with empty.engine.begin() as connection:
        upgrade(connection)
    assert shape(empty) == made
    assert differences(empty) == []
    with empty.engine.connect() as connection:
        assert version_of(connection) == HEAD


def test_migrating_again_changes_nothing_and_keeps_what_is_there(empty: Database) -> None:
    migrate(empty.engine)
    empty.write_now(lambda c: c.execute(sa.text("insert into quell_streams values ('t', 's', 'i', 1, 'h')")))
    migrate(empty.engine)
    assert empty.read_now(lambda c: c.execute(sa.text("select count(*) from quell_streams")).scalar()) == 1


def test_many_processes_may_start_at_once(empty: Database) -> None:
    urls = [empty.url] * 6

    def start(url: str) -> None:
        database = Database(url)
        try:
            migrate(database.engine)
        finally:
            database.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(start, urls))
    assert differences(empty) == []
