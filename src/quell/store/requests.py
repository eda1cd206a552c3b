"""Requests that may be sent twice, by their key: what each came to, and its answer. A row is good for a day.

A row is made together with an effect, in its transaction, or together with the answer of a request that had none.
Never does: judge whether two requests are the same one; replace an answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson
import sqlalchemy as sa

from quell.store.schema import requests

KEPT_US = 86_400 * 1_000_000
AT_ONCE = 500
"""How many old rows one transaction takes away."""

_MINE = requests.c.tenant == sa.bindparam("of"), requests.c.key == sa.bindparam("named")
_FIND = sa.select(requests).where(*_MINE, requests.c.at > sa.bindparam("since"))
_EXPIRE = sa.delete(requests).where(*_MINE, requests.c.at <= sa.bindparam("since"))
# Both databases know these words; SQLAlchemy has them once for each.
_CLAIM = sa.text(
    "insert into quell_requests (tenant, key, fingerprint, at) values (:of, :named, :fingerprint, :at)"
    " on conflict (tenant, key) do nothing"
)
_LED_TO = sa.update(requests).where(*_MINE)
_ANSWERED = sa.update(requests).where(*_MINE, requests.c.status.is_(None))
_OLDEST = (
    sa.select(requests.c.tenant, requests.c.key)
    .where(requests.c.at <= sa.bindparam("since"))
    .order_by(requests.c.at)
    .limit(AT_ONCE)
)
_FORGET = sa.delete(requests).where(sa.tuple_(requests.c.tenant, requests.c.key).in_(_OLDEST))


@dataclass(frozen=True, slots=True)
class Answer:
    """As it was given. ``headers`` are those that belong to it, whenever it is given."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Kept:
    """``effect``: JSON, None when it had none. ``answer``: None when whoever was to give it never came to that."""

    fingerprint: str
    effect: str | None
    answer: Answer | None


def find(connection: sa.Connection, tenant: str, key: str, now_us: int) -> Kept | None:
    row = connection.execute(_FIND, {**_asked(tenant, key), "since": now_us - KEPT_US}).first()
    if row is None:
        return None
    answer = None if row.status is None else Answer(row.status, orjson.loads(row.headers), bytes(row.body))
    return Kept(row.fingerprint, row.effect, answer)


def claim(connection: sa.Connection, tenant: str, key: str, fingerprint: str, now_us: int) -> bool:
    """False when it is somebody's already; whoever claims it in this moment is waited for."""
    mine = _asked(tenant, key)
    connection.execute(_EXPIRE, {**mine, "since": now_us - KEPT_US})
    return connection.execute(_CLAIM, {**mine, "fingerprint": fingerprint, "at": now_us}).rowcount == 1


def led_to(connection: sa.Connection, tenant: str, key: str, effect: str) -> None:
    """What the transaction that claimed it has done."""
    connection.execute(_LED_TO.values(effect=effect), _asked(tenant, key))


def answered(connection: sa.Connection, tenant: str, key: str, answer: Answer) -> bool:
    """Keep its answer; False when it has one, or is not there."""
    given = _ANSWERED.values(
        status=answer.status, headers=orjson.dumps(answer.headers).decode(), body=answer.body
    )  # fmt: skip
    return connection.execute(given, _asked(tenant, key)).rowcount == 1


def forget(connection: sa.Connection, now_us: int) -> int:
    """Take away some of those that are too old; how many that were."""
    return connection.execute(_FORGET, {"since": now_us - KEPT_US}).rowcount


def _asked(tenant: str, key: str) -> dict[str, str]:
    return {"of": tenant, "named": key}
