"""Where silences are kept. Time is the database's. Never does: judge what a silence matches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
import sqlalchemy as sa

from quell.errors import NotFound
from quell.incident.matcher import Matcher
from quell.incident.silence import Silence
from quell.store.events import to_us, when
from quell.store.schema import alerts, silences

# Asked for every batch of alerts, hence made once.
_ACTIVE = (
    sa.select(silences)
    .where(silences.c.tenant == sa.bindparam("of"), silences.c.ends_at > sa.bindparam("now"))
    .where(silences.c.starts_at <= sa.bindparam("now"))
    .order_by(silences.c.starts_at, silences.c.id)
)

IS_HELD = alerts.c.held != sa.literal("", literal_execute=True)
"""Said so, the few that are held are found by their own index."""


def active(connection: sa.Connection, tenant: str, now_us: int) -> tuple[Silence, ...]:
    return tuple(_silence(dict(row)) for row in connection.execute(_ACTIVE, {"of": tenant, "now": now_us}).mappings())


def listed(connection: sa.Connection, tenant: str, since_us: int, limit: int = 1000) -> list[Silence]:
    """Those that have not ended, or not before then; the last to end first."""
    query = sa.select(silences).where(silences.c.tenant == tenant, silences.c.ends_at > since_us)
    rows = connection.execute(query.order_by(silences.c.ends_at.desc(), silences.c.id).limit(limit)).mappings()
    return [_silence(dict(row)) for row in rows]


def held(connection: sa.Connection, tenant: str) -> dict[str, int]:
    """How many alerts are held now, by what holds them."""
    mine = (alerts.c.tenant == tenant, IS_HELD)
    query = sa.select(alerts.c.held, sa.func.count()).where(*mine).group_by(alerts.c.held)
    return {row[0]: row[1] for row in connection.execute(query)}


def find(connection: sa.Connection, tenant: str, silence: str) -> Silence:
    """Raises ``NotFound``. A unique beginning of the id is enough."""
    query = sa.select(silences).where(silences.c.tenant == tenant)
    row = connection.execute(query.where(silences.c.id == silence)).mappings().first()
    if row is None:
        query = query.where(silences.c.id.startswith(silence, autoescape=True)).limit(2)
        found = connection.execute(query).mappings().all() if silence else []
        if len(found) != 1:
            raise NotFound("silence", silence)
        row = found[0]
    return _silence(dict(row))


def put(connection: sa.Connection, silence: Silence) -> None:
    """A new one, or one that is there in its new form."""
    row = silence.model_dump(exclude={"matchers", "starts_at", "ends_at", "updated_at"}) | {
        "matchers": orjson.dumps([one.model_dump() for one in silence.matchers]).decode(),
        "starts_at": to_us(silence.starts_at), "ends_at": to_us(silence.ends_at),
        "updated_at": to_us(silence.updated_at),
    }  # fmt: skip
    mine = silences.c.id == silence.id
    if connection.execute(sa.update(silences).where(mine).values(row)).rowcount == 0:
        connection.execute(sa.insert(silences).values(row))


def end(connection: sa.Connection, silence: Silence, at: datetime) -> None:
    values = {"ends_at": to_us(at), "starts_at": min(to_us(silence.starts_at), to_us(at)), "updated_at": to_us(at)}
    connection.execute(sa.update(silences).where(silences.c.id == silence.id).values(values))


def _silence(row: Mapping[str, Any]) -> Silence:
    return Silence(
        id=row["id"], tenant=row["tenant"], by=row["by"], comment=row["comment"],
        matchers=tuple(Matcher(**one) for one in orjson.loads(row["matchers"])),
        starts_at=when(row["starts_at"]), ends_at=when(row["ends_at"]), updated_at=when(row["updated_at"]),
    )  # fmt: skip
