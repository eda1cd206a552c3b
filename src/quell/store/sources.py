"""What is known of each source: when it was heard, how much came, whether it is late. Time is the database's.

Never does: judge whether it is late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from quell.incident.alert import Alert
from quell.store.events import to_us, when
from quell.store.schema import sources


@dataclass(frozen=True, slots=True)
class At:
    """Where a source stands: the same name may be another one elsewhere."""

    tenant: str
    environment: str
    region: str
    name: str

    @property
    def key(self) -> dict[str, str]:
        return {"of": self.tenant, "env": self.environment, "reg": self.region, "named": self.name}


@dataclass(frozen=True, slots=True)
class Known:
    """``expectation``, ``since``: what is expected of it, and since when; empty: nothing. ``came_at``: its last
    delivery; ``heard_at``: its last sign of life. ``missing``: the alert that fires because it is late; ``said_at``:
    when that was said last."""

    at: At
    expectation: str
    since: datetime | None
    came_at: datetime | None
    heard_at: datetime | None
    deliveries: int
    alerts: int
    refused: int
    missing: Alert | None
    said_at: datetime | None


_MINE = (
    sources.c.tenant == sa.bindparam("of"), sources.c.environment == sa.bindparam("env"),
    sources.c.region == sa.bindparam("reg"), sources.c.name == sa.bindparam("named"),
)  # fmt: skip
_HERE = sa.select(sources).where(
    sources.c.environment == sa.bindparam("env"), sources.c.region == sa.bindparam("reg")
)  # fmt: skip
# Both databases know these words; SQLAlchemy has them once for each.
_INSERT = sa.text(
    "insert into quell_sources (tenant, environment, region, name) values (:of, :env, :reg, :named)"
    " on conflict (tenant, environment, region, name) do nothing"
)
_UPDATE = sa.update(sources).where(*_MINE)


def _later(column: sa.Column[Any], name: str) -> sa.ColumnElement[Any]:
    """Two processes may have heard it: what was later counts, whoever writes last."""
    new: sa.ColumnElement[Any] = sa.bindparam(name, type_=column.type)
    return sa.case((new.is_(None), column), (column.is_(None), new), (column > new, column), else_=new)


_NOTE = _UPDATE.values(
    deliveries=sources.c.deliveries + sa.bindparam("more_deliveries"),
    alerts=sources.c.alerts + sa.bindparam("more_alerts"),
    refused=sources.c.refused + sa.bindparam("more_refused"),
    came_at=_later(sources.c.came_at, "new_came_at"), heard_at=_later(sources.c.heard_at, "new_heard_at"),
)  # fmt: skip


def here(connection: sa.Connection, environment: str, region: str) -> dict[At, Known]:
    """Whatever is known of the sources of a place, of all tenants."""
    rows = connection.execute(_HERE, {"env": environment, "reg": region}).mappings()
    return {found.at: found for found in (_known(dict(row)) for row in rows)}


def note(
    connection: sa.Connection, at: At, *, deliveries: int, alerts: int, refused: int,
    came_at: int | None, heard_at: int | None,
) -> None:  # fmt: skip
    """What came since the last time."""
    asked = {
        **at.key, "more_deliveries": deliveries, "more_alerts": alerts, "more_refused": refused,
        "new_came_at": came_at, "new_heard_at": heard_at,
    }  # fmt: skip
    if connection.execute(_NOTE, asked).rowcount == 0:
        connection.execute(_INSERT, at.key)
        connection.execute(_NOTE, asked)


def expect(connection: sa.Connection, at: At, expectation: str, since: datetime | None) -> None:
    """What is expected of it from now on; empty: nothing. Whether it is late begins anew."""
    connection.execute(_INSERT, at.key)
    values = {"expectation": expectation, "since": to_us(since) if since else None, "missing": None, "said_at": None}
    connection.execute(_UPDATE, {**at.key, **values})


def late(connection: sa.Connection, at: At, missing: Alert, said_at: datetime) -> None:
    """It is, and was said to be."""
    connection.execute(_UPDATE, {**at.key, "missing": missing.model_dump_json(), "said_at": to_us(said_at)})


def back(connection: sa.Connection, at: At) -> None:
    """It is late no more."""
    connection.execute(_UPDATE, {**at.key, "missing": None, "said_at": None})


def _known(row: Mapping[str, Any]) -> Known:
    times = {name: when(row[name]) if row[name] is not None else None
             for name in ("since", "came_at", "heard_at", "said_at")}  # fmt: skip
    return Known(
        at=At(row["tenant"], row["environment"], row["region"], row["name"]), expectation=row["expectation"],
        deliveries=row["deliveries"], alerts=row["alerts"], refused=row["refused"],
        missing=Alert.model_validate_json(row["missing"]) if row["missing"] is not None else None, **times,
    )  # fmt: skip
