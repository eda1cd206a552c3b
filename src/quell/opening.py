"""Letters are opened: each alert of them goes to the inbox, and what cannot be read is set aside, in one transaction.

Letters that say the same, one after the other, are read once: of a storm most is repetition. Never does: look at what
an alert means, lose a letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson
import sqlalchemy as sa

from quell.delivery import Delivery, Letter
from quell.errors import InvalidInput, NotFound
from quell.incident.alert import Alert
from quell.intake import accept
from quell.intake.correlate import alert_id, in_order
from quell.posting import Key
from quell.reception import Reception
from quell.store import inbox, letters
from quell.store.events import to_us

_PRIORITY = {"P1": 1, "P2": 2, "P3": 3, "P4": 4}
_UNSAID = 3
"""Of an alert that does not say how severe it is."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A letter that is no more. ``rows``: whose alerts of it wait in the inbox now, one by one (of letters that say the
    same, those of the last); ``lives``: it was a sign of life of its source."""

    key: Key
    size: int
    rows: Sequence[Key]
    lives: bool = False


def open_next(connection: sa.Connection, reception: Reception, most: int, only: int | None = None) -> list[Opened]:
    """About ``most`` alerts' letters, or one letter, if it is still there."""
    accept.in_turn(connection, reception.settings.tenant)
    found = letters.next_of(connection, most)
    if only is not None:
        found = [row for row in found if row["id"] == only]
    if not found:
        return []
    rows, opened = list[dict[str, Any]](), list[Opened]()
    for _, group in groupby(found, key=_says):
        *before, row = group
        mine, lives = _read(connection, reception, row, 1 + len(before))
        rows += mine
        opened += [Opened(_key(one), one["size"], (), lives) for one in before]
        opened.append(Opened(_key(row), row["size"], [_key(one) for one in mine], lives))
    if rows:
        inbox.put(connection, rows)
    letters.drop(connection, [row["id"] for row in found])
    return opened


def _says(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["tenant"], row["source"], row["signature"], bytes(row["body"])


def _read(
    connection: sa.Connection, reception: Reception, row: Mapping[str, Any], times: int
) -> tuple[list[dict[str, Any]], bool]:  # fmt: skip
    """Its alerts as they wait in the inbox, and whether it says that its source lives; what is wrong is set aside, as
    often as it came."""
    letter = Letter.of(row)
    try:
        delivery = reception.opened(letter)
    except (InvalidInput, NotFound) as error:  # its source has changed since
        for _ in range(times):
            _all_aside(connection, reception, row, str(error))
        return [], False
    accept.set_aside(connection, reception.settings.tenant, letter.source, [*delivery.bad] * times)
    return rows_of(delivery, times), delivery.beats


def aside(connection: sa.Connection, reception: Reception, row: Mapping[str, Any], why: str) -> None:
    """A letter that cannot be opened is set aside, alert by alert, unless another process has done it."""
    accept.in_turn(connection, reception.settings.tenant)
    if not letters.has(connection, row["id"]):
        return
    _all_aside(connection, reception, row, why)
    letters.drop(connection, [row["id"]])


def _all_aside(connection: sa.Connection, reception: Reception, row: Mapping[str, Any], why: str) -> None:
    entries: Iterable[Any] = orjson.loads(row["body"])["alerts"]
    accept.set_aside(connection, reception.settings.tenant, row["source"], [(why, entry) for entry in entries])


def rows_of(delivery: Delivery, times: int = 1) -> list[dict[str, Any]]:
    """A delivery's alerts as they wait in the inbox. ``times``: how often it came."""
    return [_row(alert, delivery.signature, times) for alert in in_order(delivery.alerts)]


def _row(alert: Alert, signature: str, times: int) -> dict[str, Any]:
    return {
        "tenant": alert.tenant, "environment": alert.environment, "region": alert.region, "source": alert.source,
        "priority": _PRIORITY[alert.severity] if alert.severity else _UNSAID, "alert_id": alert_id(alert),
        "name": alert.name, "status": alert.status.value, "received_at": to_us(alert.received_at),
        "signature": signature, "alert": alert.as_json(), "times": times,
    }  # fmt: skip


def _key(row: Mapping[str, Any]) -> Key:
    return row["tenant"], row["source"]
