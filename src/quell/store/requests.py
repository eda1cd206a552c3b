"""Requests that may be sent twice, by their key: what each came to, and its answer. A row is good for a day; that of a
delivery, whose sender keeps trying for longer, for two.

A row is made together with an effect, in its transaction, or together with the answer of a request that had none.
Never does: judge whether two requests are the same one; replace an answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import orjson
import sqlalchemy as sa

from quell.store.schema import requests

KEPT_US = 86_400 * 1_000_000
DELIVERY_KEPT_US = 2 * KEPT_US
_DELIVERY = "\tdelivery/"
"""What the keys of deliveries begin with: no ``Idempotency-Key`` can hold a tab."""
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
    .where(
        requests.c.at <= sa.bindparam("since"),
        requests.c.key.not_like(f"{_DELIVERY}%") | (requests.c.at <= sa.bindparam("delivered_since")),
    )
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


def delivery(source: str, name: str) -> str:
    """The key of what a source was sent under a name of the sender's."""
    return f"{_DELIVERY}{source}/{hashlib.sha256(name.encode()).hexdigest()}"


def find(connection: sa.Connection, tenant: str, key: str, now_us: int) -> Kept | None:
    row = connection.execute(_FIND, {**_asked(tenant, key), "since": _since(key, now_us)}).first()
    if row is None:
        return None
    answer = None if row.status is None else Answer(row.status, orjson.loads(row.headers), bytes(row.body))
    return Kept(row.fingerprint, row.effect, answer)


def claim(connection: sa.Connection, tenant: str, key: str, fingerprint: str, now_us: int) -> bool:
    """False when it is somebody's already; whoever claims it in this moment is waited for."""
    mine = _asked(tenant, key)
    connection.execute(_EXPIRE, {**mine, "since": _since(key, now_us)})
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
    old = {"since": now_us - KEPT_US, "delivered_since": now_us - DELIVERY_KEPT_US}
    return connection.execute(_FORGET, old).rowcount


def _since(key: str, now_us: int) -> int:
    return now_us - (DELIVERY_KEPT_US if key.startswith(_DELIVERY) else KEPT_US)


def _asked(tenant: str, key: str) -> dict[str, str]:
    return {"of": tenant, "named": key}
