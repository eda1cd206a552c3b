"""The engine's own tables, beside those of DBOS, in the same
database: hence the ``quell_`` before every name. Times are microseconds since 1970, UTC."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "uq": "uq_%(table_name)s_%(column_0_N_name)s"}
)

BIG = sa.BigInteger().with_variant(sa.Integer, "sqlite")

executors = sa.Table(
    "quell_executors",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("machine", sa.Text, nullable=False, server_default=""),
    sa.Column("born", sa.Text, nullable=False, server_default=""),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("started_at", BIG, nullable=False),
    sa.Column("lease_until", BIG, nullable=False),
    sa.Column("ended_at", BIG),
    sa.Column("kind", sa.Text, nullable=False, server_default="server"),
    sa.Column("configuration", sa.Text, nullable=False, server_default=""),
)

intents = sa.Table(
    "quell_intents",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False, server_default=""),
    sa.Column("region", sa.Text, nullable=False, server_default=""),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("idempotent", sa.Boolean, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("executor", sa.Text, nullable=False),
    sa.Column("intended_at", BIG, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text),
    sa.Column("ended_at", BIG),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("batch", sa.Text, nullable=False, server_default=""),
    sa.Index("ix_quell_intents_batch", "batch"),
)

permits = sa.Table(
    "quell_permits",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("at", BIG, nullable=False),
    sa.Column("magnitude", sa.Float),
    sa.Index("ix_quell_permits_tenant_action_target_at", "tenant", "action", "target", "at"),
    sa.Index("ix_quell_permits_target_at", "target", "at"),
)

leases = sa.Table(
    "quell_leases",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("taken_at", BIG, nullable=False),
    sa.Column("until", BIG, nullable=False),
)

resets = sa.Table(
    "quell_resets",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("at", BIG, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
)
