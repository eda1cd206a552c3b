"""A database as a site has it after a year: a million alerts and a hundred thousand incidents, most of them over.

Whatever an incident leaves was written by the App itself, once for each way in which one goes (`bench.played`); here it
is copied under other ids, names, services and times, chained and folded anew, and inserted in bulk, so that lists,
folds, ``why`` and an audit work on it as on one's own. The runs of those that are open look ended to the engine: nobody
goes on with them. Never does: measure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa

from bench.played import OPEN, STARTED, Model, fingerprint, play
from quell.app import App, Kind
from quell.incident.event import Event, EventKind, Stream
from quell.incident.incident import Incident, apply
from quell.settings import parse_settings
from quell.store.bulk import Bulk
from quell.store.canonical import envelope_of
from quell.store.database import make_engine
from quell.store.events import GENESIS, INCIDENT_SCHEMA, to_us, when
from quell.store.schema import alerts, events, incidents, plans, streams

SERVICES, NAMES = 200, 300
YEAR_US, HOUR_US = 365 * 86_400 * 1_000_000, 3_600 * 1_000_000
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
APART = "\x1e"
"""Between texts that are changed together: JSON has it only escaped."""
AT_ONCE = 500
"""Incidents in one transaction."""
TABLES = (
    "quell_plans", "quell_incidents", "quell_alerts", "quell_streams", "quell_events", "quell_runs", "quell_approvals",
    "quell_intents", "quell_permits", "workflow_status", "operation_outputs",
)  # fmt: skip
"""Those that have rows."""
SHARES = {"repaired": 25, "asked": 8, "passed": 42, "taken": 25}
"""Of incidents that are over: how they went, in per cent."""
OPEN_SHARE = 0.03
LATELY_SHARE = 0.7
"""Of those that are open, how many began within two weeks; the others were forgotten."""
SIZES = ((0.5, 1, 1), (0.3, 2, 5), (0.15, 6, 20), (0.045, 21, 100), (0.005, 101, 400))
"""Share of incidents, and the alerts that each of them has: from, to."""


def service(number: int) -> str:
    return f"shop-service-{number:03}"


def _often(count: int) -> list[float]:
    """The weights of things of which a few are met again and again."""
    return list(accumulate(1 / (one + 2) for one in range(count)))


class Copier:
    """Copies of one model. A text is changed once for everything that it tells, which is most of the work."""

    def __init__(self, model: Model, luck: random.Random) -> None:
        self.model, self._luck = model, luck
        log, first, second = model.told
        mine = [orjson.loads(event["payload"]).get("alert") == model.alerts[1]["id"] for event in log]
        self._log = [*zip(log, mine, strict=True)]
        self._others = [(rows.table, row) for rows in model.others for row in rows.rows]
        began = (log or first)[0]["at"]
        self._began, self._lasted = began, max((log or first)[-1]["at"] - began, 1)
        # What tells of the incident and its first alert, and what tells of each more.
        once = [*(event for event, its in self._log if not its), *first, model.alerts[0], model.incident or {},
                *(row for _, row in self._others)]  # fmt: skip
        each = [*(event for event, its in self._log if its), *second, model.alerts[1]]
        self._once, self._each = Sheet(once), Sheet(each)
        self._approvals = [row for table, row in self._others if table.name == "quell_approvals"]

    def copy(self, began: int, lasts: int, size: int, names: Sequence[str], about: str, into: Batch) -> None:
        """``began``, ``lasts``: in microseconds; ``size``: how many alerts it has; ``names``: what they are called."""
        model, luck = self.model, self._luck
        severity, source = luck.choice(("P1", "P2", "P3", "P3", "P4")), luck.choice(("eu", "us", "ap"))
        same = [
            (model.service, about), ('"severity":"P2"', f'"severity":"{severity}"'),
            (f"book-{model.name}", f"book-{about}"), (STARTED, f"{when(began - 60_000_000):%Y-%m-%dT%H:%M:%S}"),
            ('"source":"alertmanager"', f'"source":"prometheus-{source}"'),
            ("default.alertmanager.", f"default.prometheus-{source}."),
        ]  # fmt: skip
        for number in (0, 1):
            received = orjson.loads(model.alerts[number]["alert"])["received_at"]
            same.append((received, when(began + lasts).isoformat()))
        if model.incident is not None:
            same.append((model.incident["id"], incident_id(began, luck)))
        for approval in self._approvals:
            same.append((approval["id"], f"{luck.getrandbits(128):032x}"))
            same.append((approval["hash"], f"{luck.getrandbits(256):064x}"))

        def moved(at: int) -> int:
            return began + (at - self._began) * lasts // self._lasted

        def named(number: int, name: str) -> list[tuple[str, str]]:
            return [*same, (f"Alert{number}Of-{model.name}", name),
                    (fingerprint(model.name, number), f"{luck.getrandbits(64):016x}")]  # fmt: skip

        first = self._once.changed(named(0, names[0]))
        more = [self._each.changed(named(1, name)) for name in names[1:size]]
        log, told = len(self._log), [iter(first), *map(iter, more)]
        rows = list[dict[str, Any]]()
        for _, its in self._log[:log]:
            rows += [next(one) for one in told[1:]] if its else [next(told[0])]
        for number, one in enumerate(told):
            into.log(Stream.ALERT, [next(one) for _ in model.told[min(number + 1, 2)]], moved)
            into.alert(next(one), moved, luck, f"prometheus-{source}", severity)
        if model.incident is not None:
            into.incident(next(told[0]), rows, moved)
        else:
            next(told[0])
        for table, _ in self._others:
            into.other(table, next(told[0]), moved)


class Sheet:
    """Rows whose texts are changed together."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = [dict(row) for row in rows]
        self._texts = [[name for name, value in row.items() if isinstance(value, str)] for row in self._rows]
        self._text = APART.join(
            row[name] for row, names in zip(self._rows, self._texts, strict=True) for name in names
        )  # fmt: skip

    def changed(self, changes: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
        text = self._text
        for old, new in changes:
            text = text.replace(old, new)
        parts = iter(text.split(APART))
        return [
            {**row, **{name: next(parts) for name in names}} for row, names in zip(self._rows, self._texts, strict=True)
        ]  # fmt: skip


class Batch:
    """Rows on their way into the database."""

    def __init__(self) -> None:
        self.rows: dict[sa.Table, list[dict[str, Any]]] = {}

    def put(self, table: sa.Table, row: dict[str, Any]) -> None:
        self.rows.setdefault(table, []).append(row)

    def log(self, stream: Stream, told: Sequence[dict[str, Any]], moved: Any) -> Incident | None:
        """A log, chained anew, and for an incident what it comes to."""
        known: Incident | None = None
        previous, seq = GENESIS, 0
        for seq, row in enumerate(told, 1):
            payload = orjson.loads(row["payload"])
            row |= {"seq": seq, "at": moved(row["at"]), "payload_hash": _hashed(payload)}
            row["hash"] = previous = _hashed(dict(envelope_of(row)), previous.encode())
            self.put(events, row)
            if stream is Stream.INCIDENT:
                known = apply(known, _event(row, payload))
        if told:
            of = {"tenant": told[0]["tenant"], "stream": stream.value, "stream_id": told[0]["stream_id"]}
            self.put(streams, {**of, "seq": seq, "hash": previous})
        return known

    def incident(self, row: dict[str, Any], told: Sequence[dict[str, Any]], moved: Any) -> None:
        known = self.log(Stream.INCIDENT, told, moved)
        assert known is not None
        assert known.updated_at is not None
        ended = to_us(known.ended_at) if known.ended_at else None
        self.put(incidents, row | {
            "severity": known.severity, "opened_at": told[0]["at"], "updated_at": to_us(known.updated_at),
            "ended_at": ended, "seq": known.seq, "state": known.model_dump_json(), "schema_version": INCIDENT_SCHEMA,
        })  # fmt: skip

    def alert(self, row: dict[str, Any], moved: Any, luck: random.Random, source: str, severity: str) -> None:
        """One that fires has been said again since."""
        again = luck.randrange(HOUR_US) if row["status"] == "firing" else 0
        times = {name: moved(row[name]) for name in ("first_at", "last_at", "changed_at")}
        times["last_at"] += again
        changes = orjson.dumps([moved(at) for at in orjson.loads(row["changes"])]).decode()
        self.put(alerts, row | times | {"changes": changes, "source": source, "severity": severity,
                                        "count": row["count"] + again // 60_000_000})  # fmt: skip

    def other(self, table: sa.Table, row: dict[str, Any], moved: Any) -> None:
        """Times are known by their size: the durable library's are milliseconds."""
        for name, value in row.items():
            if isinstance(value, int) and value > 10**15:
                row[name] = moved(value)
            elif isinstance(value, int) and value > 10**12:
                row[name] = moved(value * 1000) // 1000
        if table.name == "workflow_status":
            row["status"] = "SUCCESS"
        if row.get("answered_at"):
            row["told_at"] = row["answered_at"]
        self.put(table, row)


def _hashed(value: Any, before: bytes = b"") -> str:
    """As `quell.store.canonical` does it, without a look whether the fast writer may be trusted: here it may."""
    return hashlib.sha256(before + orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _event(row: Mapping[str, Any], payload: dict[str, Any]) -> Event:
    return Event.model_construct(
        tenant=row["tenant"], stream=Stream.INCIDENT, stream_id=row["stream_id"], seq=row["seq"], at=when(row["at"]),
        kind=EventKind(row["kind"]), actor=row["actor"], node=row["node"], payload=payload, hash=row["hash"],
    )  # fmt: skip


def incident_id(at_us: int, luck: random.Random) -> str:
    """As one that began then."""
    stamp, text = at_us // 1_000_000, ""
    for _ in range(7):
        stamp, digit = divmod(stamp, 32)
        text = ALPHABET[digit] + text
    return text + "".join(luck.choices(ALPHABET, k=8))


class Year:
    """What happened, in the order in which it began."""

    def __init__(self, models: Sequence[Model], many_alerts: int, many_incidents: int, now_us: int) -> None:
        self._luck = random.Random(7)
        self._copiers = {model.name: Copier(model, self._luck) for model in models}
        self._many, self._now = many_alerts, now_us
        self._sizes = [self._size() for _ in range(many_incidents)]
        # What is over and above them led to no incident; where it is less, the largest have fewer.
        while (over := sum(self._sizes) - many_alerts) > 0:
            place = max(range(len(self._sizes)), key=self._sizes.__getitem__)
            self._sizes[place] -= min(over, self._sizes[place] - 1)
        self._quiet = many_alerts - sum(self._sizes)
        self._services, self._names = _often(SERVICES), _often(NAMES)

    def _size(self) -> int:
        ((_, least, most),) = self._luck.choices(SIZES, [share for share, _, _ in SIZES])
        return self._luck.randint(least, most)

    def batches(self) -> Iterator[Batch]:
        """Each of some hundred incidents."""
        begun = sorted(self._begun())
        for start in range(0, len(begun), AT_ONCE):
            batch = Batch()
            for began, name, size in begun[start : start + AT_ONCE]:
                self._copy(batch, began, name, size)
            yield batch

    def _begun(self) -> Iterator[tuple[int, str, int]]:
        luck = self._luck
        ways, often = list(SHARES), list(SHARES.values())
        for size in self._sizes:
            if luck.random() < OPEN_SHARE:
                lately = luck.random() < LATELY_SHARE
                yield self._now - luck.randrange(YEAR_US // 26 if lately else YEAR_US), luck.choice(OPEN), size
            else:
                yield self._now - HOUR_US - luck.randrange(YEAR_US), luck.choices(ways, often)[0], size
        for _ in range(self._quiet // 2):
            yield self._now - HOUR_US - luck.randrange(YEAR_US), "quiet", 2
        if self._quiet % 2:
            yield self._now - HOUR_US - luck.randrange(YEAR_US), "quiet", 1

    def _copy(self, batch: Batch, began: int, name: str, size: int) -> None:
        luck = self._luck
        names = [f"Alert{one:03}" for one in luck.choices(range(NAMES), cum_weights=self._names, k=max(size, 2))]
        (about,) = luck.choices(range(SERVICES), cum_weights=self._services)
        lasts = luck.randint(60_000_000, HOUR_US)
        self._copiers[name].copy(began, lasts, size, names, service(about), batch)


def fill(file: str, many_alerts: int, many_incidents: int) -> None:
    """A new SQLite database. Says how far it is."""
    engine = make_engine(file)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_prepare(file, Path(folder)))
        models = play(Path(folder))
        played = make_engine(str(Path(folder, "played.db")))
        with played.connect() as connection:
            known = [dict(row) for row in connection.execute(sa.select(plans)).mappings()]
        played.dispose()
    puts: dict[sa.Table, Bulk] = {}
    done, began = 0, time.monotonic()
    year = Year(models, many_alerts, many_incidents, time.time_ns() // 1000)
    gc.disable()  # nothing here goes in circles, and there are millions of rows
    with engine.connect() as connection:
        for pragma in ("synchronous=OFF", "cache_size=-1000000"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.execute(sa.insert(plans), known)
        connection.commit()
        for batch in year.batches():
            for table, rows in batch.rows.items():
                if table not in puts:
                    puts[table] = Bulk(table, *(["id"] if table is events else []))
                puts[table].put(connection, rows)
            connection.commit()
            done += len(batch.rows[alerts])
            _say(f"\r{done:,} of {many_alerts:,} alerts, {time.monotonic() - began:.0f} s")
        _say("\n")
    engine.dispose()


def copy(file: str, url: str) -> None:
    """The same rows into an empty database on PostgreSQL: what a file was filled with need not be made twice."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_prepare(url, Path(folder)))
    began = time.monotonic()
    with contextlib.closing(sqlite3.connect(file)) as source, psycopg.connect(url, autocommit=True) as target:
        for table in TABLES:
            names = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
            into = table if table.startswith("quell_") else f"dbos.{table}"
            columns = ", ".join(f'"{name}"' for name in names)
            with target.cursor().copy(f"COPY {into} ({columns}) FROM STDIN") as rows:
                read = source.execute(f"SELECT {columns} FROM {table}")
                while some := read.fetchmany(AT_ONCE):
                    rows.write("".join(map(_line, some)))
            _say(f"{table}, {time.monotonic() - began:.0f} s\n")
        target.execute(
            "SELECT setval(pg_get_serial_sequence('quell_events', 'id'), (SELECT max(id) FROM quell_events))"
        )
        target.execute("VACUUM ANALYZE")  # as autovacuum does of what is not written all at once


def _line(row: Sequence[Any]) -> str:
    """As COPY reads it."""
    return "\t".join(_cell(value) for value in row) + "\n"


def _cell(value: Any) -> str:
    if not isinstance(value, str):
        return "\\N" if value is None else str(value)
    if "\\" in value or "\n" in value or "\t" in value:
        value = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    return value


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


async def _prepare(url: str, folder: Path) -> None:
    """Every table, ours and the durable library's, as a first start makes them."""
    settings = parse_settings("", "bench", folder).model_copy(update={"database": url, "runbooks": ()})
    app = App(settings, kind=Kind.RUN)
    await app.start()
    await app.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", help="the file of a new SQLite database")
    parser.add_argument("--alerts", type=int, default=1_000_000)
    parser.add_argument("--incidents", type=int, default=100_000)
    options = parser.parse_args()
    if Path(options.database).exists():
        parser.error(f"{options.database} is there already")
    fill(options.database, options.alerts, options.incidents)


if __name__ == "__main__":
    main()
