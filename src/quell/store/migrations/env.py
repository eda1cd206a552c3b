"""Alembic's entry: it is given a live connection by ``quell.store.migrate`` and never opens one."""

from __future__ import annotations

from alembic import context

from quell.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table="quell_version",
    render_as_batch=True,
    include_name=lambda name, kind, parents: kind != "table" or name in metadata.tables,
)
with context.begin_transaction():
    context.run_migrations()
