"""What is said again and again waits in the inbox once, with how often it was said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("quell_inbox", sa.Column("times", sa.Integer(), nullable=False, server_default="1"))
