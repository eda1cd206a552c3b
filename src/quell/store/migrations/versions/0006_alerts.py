"""Silences; alerts that are held, and when they changed; what finds alerts by name and by status."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "quell_silences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False, server_default=""),
        sa.Column("region", sa.Text(), nullable=False, server_default=""),
        sa.Column("matchers", sa.Text(), nullable=False),
        sa.Column("starts_at", BIG, nullable=False),
        sa.Column("ends_at", BIG, nullable=False),
        sa.Column("updated_at", BIG, nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_quell_silences_tenant_ends_at", "quell_silences", ["tenant", "ends_at"], unique=False)
    op.create_table(
        "quell_inbox",
        sa.Column("id", BIG, nullable=False, autoincrement=True),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False, server_default=""),
        sa.Column("region", sa.Text(), nullable=False, server_default=""),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("received_at", BIG, nullable=False),
        sa.Column("signature", sa.Text(), nullable=False, server_default=""),
        sa.Column("alert", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quell_inbox_next", "quell_inbox", ["tenant", "source", "priority", "id"], unique=False)
    op.create_index("ix_quell_inbox_alert", "quell_inbox", ["alert_id", "id"], unique=False)
    op.drop_index("ix_quell_incidents_tenant_group_key", "quell_incidents")
    op.create_index(
        "ix_quell_incidents_tenant_group_key", "quell_incidents", ["tenant", "group_key", "ended_at"], unique=False
    )
    op.create_index("ix_quell_incidents_tenant_ended_at", "quell_incidents", ["tenant", "ended_at"], unique=False)
    op.add_column("quell_alerts", sa.Column("held", sa.Text(), nullable=False, server_default=""))
    op.add_column("quell_alerts", sa.Column("look_at", BIG, nullable=True))
    op.add_column("quell_alerts", sa.Column("changes", sa.Text(), nullable=False, server_default="[]"))
    op.create_index("ix_quell_alerts_look_at", "quell_alerts", ["look_at"], unique=False)
    op.create_index("ix_quell_alerts_name", "quell_alerts", ["tenant", "name", "changed_at"], unique=False)
    op.create_index("ix_quell_alerts_status", "quell_alerts", ["tenant", "status", "last_at"], unique=False)
    op.create_index("ix_quell_alerts_fingerprint", "quell_alerts", ["fingerprint"], unique=False)
