"""What is known of each source: when it was heard, how much came, what is expected of it, whether it is late."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "quell_sources",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False, server_default=""),
        sa.Column("region", sa.Text(), nullable=False, server_default=""),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("expectation", sa.Text(), nullable=False, server_default=""),
        sa.Column("since", BIG, nullable=True),
        sa.Column("came_at", BIG, nullable=True),
        sa.Column("heard_at", BIG, nullable=True),
        sa.Column("deliveries", BIG, nullable=False, server_default="0"),
        sa.Column("alerts", BIG, nullable=False, server_default="0"),
        sa.Column("refused", BIG, nullable=False, server_default="0"),
        sa.Column("missing", sa.Text(), nullable=True),
        sa.Column("said_at", BIG, nullable=True),
        sa.PrimaryKeyConstraint("tenant", "environment", "region", "name"),
    )
