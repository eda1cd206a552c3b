"""Our tables. ``tenant``, ``environment`` and ``region`` are in every key that a person or a system can choose.

Times are microseconds since 1970, UTC; JSON is text, so that both databases keep the same bytes.
"""

from __future__ import annotations

import sqlalchemy as sa

from quell.engine.tables import BIG, metadata

__all__ = [
    "alerts",
    "approvals",
    "events",
    "inbox",
    "incidents",
    "metadata",
    "obligations",
    "pauses",
    "plans",
    "quarantine",
    "requests",
    "runs",
    "sessions",
    "silences",
    "sources",
    "streams",
    "tokens",
    "turns",
]


def _place() -> list[sa.Column[str]]:
    return [
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False, server_default=""),
        sa.Column("region", sa.Text, nullable=False, server_default=""),
    ]


def _some(name: str, *columns: str, where: str) -> sa.Index:
    """An index of those rows alone for which this holds. A query must say the same, in the same words."""
    return sa.Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


streams = sa.Table(
    "quell_streams",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("stream_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

events = sa.Table(
    "quell_events",
    metadata,
    sa.Column("id", BIG, primary_key=True, autoincrement=True),
    *_place(),
    sa.Column("stream", sa.Text, nullable=False),
    sa.Column("stream_id", sa.Text, nullable=False),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("at", BIG, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("node", sa.Text, nullable=False, server_default=""),
    sa.Column("key", sa.Text),
    sa.Column("payload", sa.Text),
    sa.Column("payload_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.UniqueConstraint("tenant", "stream", "stream_id", "seq"),
    sa.UniqueConstraint("tenant", "stream", "stream_id", "key"),
    _some("ix_quell_events_pruned", "stream_id", where="kind = 'incident.pruned'"),
    sqlite_autoincrement=True,
)

incidents = sa.Table(
    "quell_incidents",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_place(),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("severity", sa.Text, nullable=False),
    sa.Column("service", sa.Text),
    sa.Column("runbook", sa.Text),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("group_key", sa.Text, nullable=False),
    sa.Column("opened_at", BIG, nullable=False),
    sa.Column("updated_at", BIG, nullable=False),
    sa.Column("ended_at", BIG),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Index("ix_quell_incidents_tenant_opened_at", "tenant", "opened_at"),
    sa.Index("ix_quell_incidents_tenant_status", "tenant", "status", "opened_at"),
    sa.Index("ix_quell_incidents_tenant_group_key", "tenant", "group_key", "ended_at", "opened_at"),
    sa.Index("ix_quell_incidents_tenant_ended_at", "tenant", "ended_at", "opened_at", "service"),
)

alerts = sa.Table(
    "quell_alerts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_place(),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("service", sa.Text),
    sa.Column("severity", sa.Text),
    sa.Column("first_at", BIG, nullable=False),
    sa.Column("last_at", BIG, nullable=False),
    sa.Column("changed_at", BIG, nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("incident", sa.Text),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("alert", sa.Text, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("held", sa.Text, nullable=False, server_default=""),
    sa.Column("look_at", BIG),
    sa.Column("changes", sa.Text, nullable=False, server_default="[]"),
    sa.UniqueConstraint("tenant", "environment", "region", "source", "fingerprint"),
    sa.Index("ix_quell_alerts_tenant_last_at", "tenant", "last_at"),
    sa.Index("ix_quell_alerts_incident", "incident"),
    sa.Index("ix_quell_alerts_look_at", "look_at"),
    sa.Index("ix_quell_alerts_name", "tenant", "name", "changed_at"),
    sa.Index("ix_quell_alerts_status", "tenant", "status", "last_at"),
    sa.Index("ix_quell_alerts_name_status", "tenant", "name", "status", "last_at"),
    _some("ix_quell_alerts_held", "tenant", "held", where="held != ''"),
    sa.Index("ix_quell_alerts_fingerprint", "tenant", "fingerprint"),
)
"""``held``: what keeps an alert's last word from counting; ``look_at``: when to look at it again; ``changes``: when it
changed between firing and resolved, the last few."""

inbox = sa.Table(
    "quell_inbox",
    metadata,
    sa.Column("id", BIG, primary_key=True, autoincrement=True),
    *_place(),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("alert_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("received_at", BIG, nullable=False),
    sa.Column("signature", sa.Text, nullable=False, server_default=""),
    sa.Column("alert", sa.Text, nullable=False),
    sa.Column("times", sa.Integer, nullable=False, server_default="1"),
    sa.Index("ix_quell_inbox_next", "tenant", "source", "priority", "id"),
    sa.Index("ix_quell_inbox_alert", "alert_id", "id"),
    sqlite_autoincrement=True,
)
"""What is accepted and not looked at yet. ``priority``: 1 is the most severe; ``times``: how often it was said so."""

letters = sa.Table(
    "quell_letters",
    metadata,
    sa.Column("id", BIG, primary_key=True, autoincrement=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("received_at", BIG, nullable=False),
    sa.Column("signature", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""Webhooks' bodies that are accepted and not read yet. ``size``: how many alerts are in it."""

silences = sa.Table(
    "quell_silences",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_place(),
    sa.Column("matchers", sa.Text, nullable=False),
    sa.Column("starts_at", BIG, nullable=False),
    sa.Column("ends_at", BIG, nullable=False),
    sa.Column("updated_at", BIG, nullable=False),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Index("ix_quell_silences_tenant_ends_at", "tenant", "ends_at"),
)

sources = sa.Table(
    "quell_sources",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True, server_default=""),
    sa.Column("region", sa.Text, primary_key=True, server_default=""),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("expectation", sa.Text, nullable=False, server_default=""),
    sa.Column("since", BIG),
    sa.Column("came_at", BIG),
    sa.Column("heard_at", BIG),
    sa.Column("deliveries", BIG, nullable=False, server_default="0"),
    sa.Column("alerts", BIG, nullable=False, server_default="0"),
    sa.Column("refused", BIG, nullable=False, server_default="0"),
    sa.Column("missing", sa.Text),
    sa.Column("said_at", BIG),
)

quarantine = sa.Table(
    "quell_quarantine",
    metadata,
    sa.Column("id", BIG, primary_key=True, autoincrement=True),
    *_place(),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("fragment", sa.Text, nullable=False),
    sa.Column("received_at", BIG, nullable=False),
    sqlite_autoincrement=True,
)

plans = sa.Table(
    "quell_plans",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    sa.Column("runbook", sa.Text, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("stored_at", BIG, nullable=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
)

runs = sa.Table(
    "quell_runs",
    metadata,
    sa.Column("incident", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    *_place(),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("predecessor", sa.Integer),
    sa.Column("mode", sa.Text, nullable=False, server_default="auto"),
    sa.Column("started_at", BIG, nullable=False),
    sa.Column("ended_at", BIG),
    sa.Column("outcome", sa.Text),
)

turns = sa.Table(
    "quell_turns",
    metadata,
    sa.Column("incident", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    *_place(),
    sa.Column("runbook", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("since", BIG, nullable=False),
    sa.Column("worked", BIG, nullable=False, server_default="0"),
    sa.Column("timeout", BIG, nullable=False),
    sa.Column("most", sa.Integer, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
)
"""Runs that a limit counts, until they end. ``request``: what the run is to be started with."""

approvals = sa.Table(
    "quell_approvals",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_place(),
    sa.Column("incident", sa.Text, nullable=False),
    sa.Column("workflow", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("people", sa.Integer, nullable=False, server_default="1"),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("answers", sa.Text, nullable=False, server_default="[]"),
    sa.Column("requested_at", BIG, nullable=False),
    sa.Column("expires_at", BIG, nullable=False),
    sa.Column("answered_at", BIG),
    sa.Column("told_at", BIG),
    sa.Index("ix_quell_approvals_incident_state", "incident", "state"),
    sa.Index("ix_quell_approvals_hash", "hash"),
    sa.Index("ix_quell_approvals_told_at_answered_at", "told_at", "answered_at"),
)

obligations = sa.Table(
    "quell_obligations",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *_place(),
    sa.Column("incident", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("revert_at", BIG, nullable=False),
    sa.Column("ended_at", BIG),
    sa.Column("how", sa.Text),
)

pauses = sa.Table(
    "quell_pauses",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("at", BIG, nullable=False),
    sa.Column("until", BIG, nullable=False),
    sa.Column("ended_at", BIG),
    sa.Column("ended_by", sa.Text),
    sa.Index("ix_quell_pauses_until", "until"),
)

tokens = sa.Table(
    "quell_tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text),
    sa.Column("proxy", sa.Integer, nullable=False, server_default="0"),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("created_at", BIG, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("expires_at", BIG, nullable=False),
    sa.Column("last_used", BIG),
    sa.Column("revoked_at", BIG),
    sa.Column("revoked_by", sa.Text),
)

sessions = sa.Table(
    "quell_sessions",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("begun_at", BIG, nullable=False),
    sa.Column("expires_at", BIG, nullable=False),
    sa.Index("ix_quell_sessions_token", "token"),
)

requests = sa.Table(
    "quell_requests",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("at", BIG, nullable=False),
    sa.Column("effect", sa.Text),
    sa.Column("status", sa.Integer),
    sa.Column("headers", sa.Text),
    sa.Column("body", sa.LargeBinary),
    sa.Index("ix_quell_requests_at", "at"),
)
