"""What kind of process has a lease, and by which configuration it acts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("quell_executors", sa.Column("kind", sa.Text(), server_default="server", nullable=False))
    op.add_column("quell_executors", sa.Column("configuration", sa.Text(), server_default="", nullable=False))
