"""Brings a database to this version's schema, once, whoever comes first. Never does: go back."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from quell.store.schema import metadata

HEAD = "0011"
VERSION_TABLE = "quell_version"


def version_of(connection: sa.Connection) -> str | None:
    """The revision a database is at, None when it is empty."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(sa.text(f"select version_num from {VERSION_TABLE}")).scalar()


def migrate(engine: sa.Engine) -> None:
    """Alembic is loaded only when there is something to do: it costs a third of a start."""
    with engine.connect() as connection:
        if version_of(connection) == HEAD:
            return
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.text("select pg_advisory_xact_lock(hashtextextended('quell/migrate', 0))"))
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        current = version_of(connection)
        if current is None:
            create(connection)
        elif current != HEAD:
            upgrade(connection)


def create(connection: sa.Connection) -> None:
    """An empty database needs no history: the tables as they are now. A test holds this equal to the migrations."""
    metadata.create_all(connection)
    connection.execute(sa.text(f"create table {VERSION_TABLE} (version_num varchar(32) not null primary key)"))
    connection.execute(sa.text(f"insert into {VERSION_TABLE} values ('{HEAD}')"))


def upgrade(connection: sa.Connection) -> None:
    """Run the migrations that are missing. Imports Alembic only here, since most starts need none of it."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
