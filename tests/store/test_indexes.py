"""What is asked all the time is found by an index, in its order, however much else is stored; on both databases.

Asked of the database itself: each statement that a question sends is explained, with what it was sent with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from quell.incident.alert import AlertStatus
from quell.incident.event import EventKind, Stream
from quell.incident.incident import Status
from quell.intake import accept, placing
from quell.store import prune, queries, reported, silences
from quell.store.bulk import Bulk
from quell.store.database import Database
from quell.store.schema import alerts, approvals, events, incidents, streams

MANY = 6_000
OF = "default"
PLACE = {"tenant": OF, "environment": "", "region": ""}
STEP_US = 60_000_000


def filled(connection: sa.Connection) -> None:
    """A few are open, a few are held, and a tenth of all alerts have one name."""
    Bulk(incidents).put(connection, [incident(n) for n in range(MANY)])
    Bulk(alerts).put(connection, [alert(n) for n in range(MANY)])
    Bulk(streams).put(connection, [head(n) for n in range(MANY)])
    Bulk(events, "id").put(connection, [event(n, kind) for n in range(MANY) for kind in ("incident.opened", "noted")])
    Bulk(approvals).put(connection, [approval(n) for n in range(MANY)])


def incident(n: int) -> dict[str, Any]:
    over = n % 40 != 0
    return PLACE | {
        "id": name(n), "status": Status.RESOLVED if over else Status.ESCALATED, "severity": "P2",
        "service": f"service-{n % 10}", "runbook": None, "title": "", "group_key": f"group-{n % 10}",
        "opened_at": n * STEP_US, "updated_at": n * STEP_US, "ended_at": n * STEP_US if over else None, "seq": 1,
        "state": f'{{"id":"{name(n)}","tenant":"{OF}"}}' + " " * 500, "schema_version": 1,
    }  # fmt: skip


def alert(n: int) -> dict[str, Any]:
    called = "Often" if n % 10 == 0 else f"Alert{n % 100}"
    said = (f'{{"source":"am","name":"{called}","status":"firing","fingerprint":"{n:08x}",'
            '"received_at":"2026-01-01T00:00:00Z"}')  # fmt: skip
    return PLACE | {
        "id": f"id.{n:08x}", "source": "am", "fingerprint": f"{n:08x}", "name": called, "service": None,
        "status": AlertStatus.FIRING if n % 30 == 0 else AlertStatus.RESOLVED, "severity": "P2",
        "first_at": n * STEP_US, "last_at": n * STEP_US, "changed_at": n * STEP_US, "count": 1, "incident": name(n // 10),
        "reason": "", "alert": said + " " * 500, "schema_version": 1, "held": "silence 1" if n % 300 == 0 else "",
        "look_at": n if n % 300 == 0 else None, "changes": "[]",
    }  # fmt: skip


def head(n: int) -> dict[str, Any]:
    return {"tenant": OF, "stream": Stream.INCIDENT.value, "stream_id": name(n), "seq": 1, "hash": ""}


def event(n: int, kind: str) -> dict[str, Any]:
    last = EventKind.PRUNED.value if n % 1000 == 0 else "note.added"
    return PLACE | {
        "stream": Stream.INCIDENT.value, "stream_id": name(n), "seq": 1 if kind == "noted" else 2, "at": n * STEP_US,
        "kind": last if kind == "noted" else kind, "actor": "", "node": "", "key": kind, "payload": "{}",
        "payload_hash": "", "hash": "", "schema_version": 2,
    }  # fmt: skip


def approval(n: int) -> dict[str, Any]:
    return PLACE | {
        "id": f"{n:032x}", "incident": name(n), "workflow": "", "hash": f"{n + MANY:032x}", "request": "{}", "people": 1,
        "state": "approved", "answers": "[]", "requested_at": n, "expires_at": n, "answered_at": n, "told_at": n,
    }  # fmt: skip


def name(n: int) -> str:
    return f"1ng{n:05}abcdefg"


@pytest.fixture
def connection(database: Database) -> Iterator[sa.Connection]:
    with database.engine.begin() as connection:
        filled(connection)
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("ANALYZE"))
        yield connection


def explained(connection: sa.Connection, ask: Callable[[sa.Connection], object]) -> list[str]:
    """How the database goes about each statement of a question."""
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        sent.append((statement, values))

    sa.event.listen(connection, "before_cursor_execute", note)
    try:
        ask(connection)
    except queries.NotFound:
        pass  # what was asked for it is asked all the same
    finally:
        sa.event.remove(connection, "before_cursor_execute", note)
    how = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    return ["\n".join(str(row[-1]) for row in connection.exec_driver_sql(how + one, of)) for one, of in sent]


AT = MANY * STEP_US // 2
CUT = prune.Cut(OF, AT, AT, "ann")
INDEXED: dict[str, tuple[Callable[[sa.Connection], object], str]] = {
    "the newest incidents": (lambda c: queries.recent_incidents(c, OF), "tenant_opened_at"),
    "those after them": (
        lambda c: queries.recent_incidents(c, OF, before_us=AT, before_id=name(9)), "tenant_opened_at"
    ),
    "open incidents": (lambda c: queries.recent_incidents(c, OF, ended=False), "tenant_ended_at"),
    "open incidents after them": (
        lambda c: queries.recent_incidents(c, OF, ended=False, before_us=AT, before_id=name(9)), "tenant_ended_at"
    ),
    "ended incidents": (lambda c: queries.recent_incidents(c, OF, ended=True), "tenant_opened_at"),
    "incidents of a status": (lambda c: queries.recent_incidents(c, OF, status="escalated"), "tenant_status"),
    "how many are open": (lambda c: queries.how_many(c, OF, 500, ended=False), "tenant_ended_at"),
    "ids of those that are open": (lambda c: queries.open_ids(c, OF, 1000), "tenant_ended_at"),
    "open incidents of services": (
        lambda c: queries.open_incidents_of(c, (OF, "", ""), ["service-1", "service-2"], AT), "tenant_ended_at"
    ),
    "the open incident of a group": (
        lambda c: c.execute(queries._OPEN, {"of": OF, "group": "group-3"}), "tenant_group_key"
    ),
    "the last incident of a group": (
        lambda c: c.execute(queries._LAST_ENDED, {"of": OF, "group": "group-3"}), "tenant_group_key"
    ),
    "an incident by a beginning": (lambda c: queries.incident(c, name(77)[:9]), "incidents"),
    "an incident that nobody knows": (lambda c: queries.incident(c, "HighErrorRate"), "events_pruned"),
    "an approval by a beginning": (lambda c: queries.approval(c, f"{MANY + 7:032x}"[:31]), "approvals_hash"),
    "what may be pruned": (lambda c: prune.due(c, CUT, None, 10), "tenant_ended_at"),
    "the newest alerts": (lambda c: reported.recent(c, OF), "tenant_last_at"),
    "alerts after them": (lambda c: reported.recent(c, OF, before_us=AT, before_id="id.1"), "tenant_last_at"),
    "alerts that fire": (lambda c: reported.recent(c, OF, status="firing"), "alerts_status"),
    "alerts of a name": (lambda c: reported.recent(c, OF, name="Often"), "alerts_name_status"),
    "alerts of a name that fire": (lambda c: reported.recent(c, OF, name="Often", status="firing"), "name_status"),
    "alerts of a name after them": (
        lambda c: reported.recent(c, OF, name="Often", before_us=AT, before_id="id.1"), "name_status"
    ),
    "an alert by a beginning": (lambda c: reported.find(c, OF, "0000001"), "alerts_fingerprint"),
    "how many are held": (lambda c: silences.held(c, OF), "alerts_held"),
    "what a silence held": (lambda c: accept.look_now(c, OF, ["silence 1"]), "alerts_held"),
    "what is to be looked at again": (lambda c: accept.due(c, 900, 10), "look_at"),
    "what resolved a moment ago": (
        lambda c: c.execute(placing._JUST_GONE, {"of": OF, "called": "Often", "begin": AT, "me": "x"}), "alerts_name"
    ),
}  # fmt: skip


@pytest.mark.parametrize("asked", INDEXED)
def test_what_is_asked_is_found_by_an_index(connection: sa.Connection, asked: str) -> None:
    ask, index = INDEXED[asked]
    plans = [one for one in explained(connection, ask) if "inbox" not in one]
    assert any(index in one for one in plans), plans
    for one in plans:
        assert "TEMP B-TREE FOR ORDER" not in one, one
        assert "SCAN quell_" not in one, one
        assert "Seq Scan" not in one, one
