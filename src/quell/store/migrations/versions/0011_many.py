"""What finds few among a hundred thousand incidents and a million alerts without looking at the others."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_quell_incidents_tenant_status", "quell_incidents")
    op.create_index("ix_quell_incidents_tenant_status", "quell_incidents", ["tenant", "status", "opened_at"])
    op.drop_index("ix_quell_incidents_tenant_ended_at", "quell_incidents")
    ended = ["tenant", "ended_at", "opened_at", "service"]
    op.create_index("ix_quell_incidents_tenant_ended_at", "quell_incidents", ended)
    op.drop_index("ix_quell_incidents_tenant_group_key", "quell_incidents")
    group = ["tenant", "group_key", "ended_at", "opened_at"]
    op.create_index("ix_quell_incidents_tenant_group_key", "quell_incidents", group)
    op.drop_index("ix_quell_alerts_fingerprint", "quell_alerts")
    op.create_index("ix_quell_alerts_fingerprint", "quell_alerts", ["tenant", "fingerprint"])
    op.create_index("ix_quell_alerts_name_status", "quell_alerts", ["tenant", "name", "status", "last_at"])
    _some("ix_quell_alerts_held", "quell_alerts", ["tenant", "held"], "held != ''")
    _some("ix_quell_events_pruned", "quell_events", ["stream_id"], "kind = 'incident.pruned'")
    op.create_index("ix_quell_approvals_hash", "quell_approvals", ["hash"])


def _some(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
