"""A real `quell serve` on a database of `bench.stored`: how long it takes to answer, and what taking alerts in costs.

Each question is asked of a few hundred incidents, alerts or names at random, over one kept connection, by one who asks.
Taking in is measured beside a server with an empty database of the same kind in the same run: both are sent the same
new alerts in turns, and what counts is the ratio of the two medians. What is taken in stays: on SQLite in the file that
was given, so give it a copy.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from bench.__main__ import postgres
from bench.processes import cpu_s
from bench.stored import NAMES, SERVICES, copy, service
from quell import local
from quell.store.database import make_engine
from quell.store.schema import alerts, incidents
from tests.cli.command import Served, served

ASKED, WARM = 200, 5
LONG_S = 8.0
"""A question that takes so long is asked less often, though twenty times."""
FEW = 300
"""Incidents and alerts that are asked for, of all that there are."""
NEW = 20
"""Services that only the alerts have that are taken in."""
ROUNDS, SINGLE, BATCHES, EACH = 6, 20, 4, 50
QUIET_S, AT_REST = 0.3, 0.2
BOUND_MS, BOUND_RATIO = 50, 1.1


@dataclass(frozen=True, slots=True)
class Known:
    """Some of what is stored."""

    incidents: Sequence[str]
    alerts: Sequence[tuple[str, str]]
    """Id and fingerprint."""

    @classmethod
    def of(cls, url: str, luck: random.Random) -> Known:
        engine = make_engine(url)
        with engine.connect() as connection:
            of = list(connection.execute(sa.select(incidents.c.id)).scalars())
            rows = list(connection.execute(sa.select(alerts.c.id, alerts.c.fingerprint)).all())
        engine.dispose()
        return cls(luck.sample(of, FEW), [(row.id, row.fingerprint) for row in luck.sample(rows, FEW)])


Ask = Callable[[], str]


def questions(known: Known, luck: random.Random, client: Client) -> Iterator[tuple[str, Ask]]:
    """What is asked, and each time anew where."""

    def some(path: str, of: Sequence[str]) -> Ask:
        return lambda: path.format(quote(luck.choice(of), safe=""))

    def second(path: str, key: str = "next") -> Ask:
        after = quote(client.get(path).get(key) or "")
        return lambda: f"{path}&before={after}"

    ids, one = [name for name, _ in known.alerts], known.incidents
    often, seldom, tenth = "Alert000", f"Alert{NAMES - 1:03}", "Alert010"
    yield "incidents: the newest 50", lambda: "/api/v1/incidents"
    yield "incidents: the page after them", second("/api/v1/incidents?limit=50")
    yield "incidents: open", lambda: "/api/v1/incidents?open=true"
    for status in ("escalated", "waiting_approval", "resolved", "closed", "acting"):
        yield f"incidents: {status}", some(f"/api/v1/incidents?status={status}", [""])
    yield "one incident", some("/api/v1/incidents/{}", one)
    yield "one incident, by the beginning of its id", some("/api/v1/incidents/{}", [name[:11] for name in one])
    yield "one that nobody knows", some("/api/v1/incidents/{}", ["HighErrorRate", "zzzz"])
    yield "why, of an incident", some("/api/v1/incidents/{}/why", one)
    yield "timeline of an incident", some("/api/v1/incidents/{}/timeline", one)
    yield "alerts: the newest 100", lambda: "/api/v1/alerts"
    yield "alerts: the page after them", second("/api/v1/alerts?limit=100")
    for status in ("firing", "resolved", "acknowledged"):
        yield f"alerts: {status}", some(f"/api/v1/alerts?status={status}", [""])
    yield "alerts: firing, the page after", second("/api/v1/alerts?status=firing")
    for what, name in (("a tenth", often), ("1 %", tenth), ("a thousandth", seldom)):
        yield f"alerts by name, {what} of all", some("/api/v1/alerts?name={}", [name])
        yield f"alerts by name, {what} of all: firing", some("/api/v1/alerts?status=firing&name={}", [name])
    yield "alerts by name, a tenth of all: the page after", second(f"/api/v1/alerts?name={often}")
    yield "alerts: how many of a name, a tenth of all", some("/api/v1/alerts?limit=1&total=true&name={}", [often])
    yield "alerts: how many", lambda: "/api/v1/alerts?limit=1&total=true"
    yield "one alert", some("/api/v1/alerts/{}", ids)
    yield "one alert, by the beginning of its fingerprint", some(
        "/api/v1/alerts/{}", [print_[:10] for _, print_ in known.alerts]
    )  # fmt: skip
    yield "one alert, by a name that many have (409)", some("/api/v1/alerts/{}", [often])
    yield "why, of an alert", some("/api/v1/alerts/{}/why", ids)
    yield "how many are held", lambda: "/api/v1/silences"
    yield "page: incidents", lambda: "/"
    yield "page: incidents, all", lambda: "/?all=1"
    yield "page: one incident", some("/incidents/{}", one)
    yield "page: why, of an incident", some("/incidents/{}/why", one)
    yield "page: alerts", lambda: "/alerts"
    yield "page: one alert", some("/alerts/{}", ids)
    yield "page: runbooks", lambda: "/runbooks"
    yield "page: silences", lambda: "/silences"


class Client:
    """One connection to a server that is kept."""

    def __init__(self, server: Served) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self._headers = {"authorization": f"Bearer {local.read(server.address)}", "content-type": "application/json"}

    def connect_again(self) -> None:
        """A server lets go of a connection that has rested for a while."""
        self._connection.close()
        self._connection.connect()

    def ask(self, path: str, body: bytes | None = None) -> tuple[float, int, bytes]:
        """How long it took, in milliseconds, the status and what was told."""
        page = {"accept": "text/html"} if not path.startswith("/api/") and body is None else {}
        began = time.perf_counter()
        self._connection.request("POST" if body else "GET", path, body, self._headers | page)
        answer = self._connection.getresponse()
        told = answer.read()
        return (time.perf_counter() - began) * 1000, answer.status, told

    def get(self, path: str) -> Any:
        return json.loads(self.ask(path)[2])


def measured(client: Client, ask: Ask) -> tuple[list[float], set[int], int]:
    """Milliseconds, the statuses, and the bytes of the last answer."""
    for _ in range(WARM):
        client.ask(ask())
    took, statuses, size, began = list[float](), set[int](), 0, time.monotonic()
    while len(took) < ASKED and (len(took) < 20 or time.monotonic() - began < LONG_S):
        spent, status, told = client.ask(ask())
        took.append(spent)
        statuses.add(status)
        size = len(told)
    return sorted(took), statuses, size


def p95(ordered: Sequence[float]) -> float:
    return ordered[math.ceil(len(ordered) * 0.95) - 1]


# Taking in.


def alert(run: str, number: int) -> dict[str, Any]:
    """A new one, of a service that needs others."""
    labels = {"alertname": f"New{number % 7}", "service": f"new-service-{number % NEW}", "severity": "error",
              "instance": f"{run}-{number}", "cluster": "eu-1"}  # fmt: skip
    return {"status": "firing", "labels": labels, "annotations": {"summary": "5xx at 12.5 % of requests"},
            "startsAt": "2026-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": f"{run}-{number}"}  # fmt: skip


def body(told: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps(
        {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "quell", "groupLabels": {},
         "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": list(told)}
    ).encode()  # fmt: skip


class Intake:
    """One of the two servers, and what it took for each delivery."""

    def __init__(self, server: Served) -> None:
        self._server, self._client = server, Client(server)
        self.single, self.batch, self.visible, self.cpu = list[float](), list[float](), list[float](), list[float]()

    def round(self, run: str) -> None:
        for number in range(SINGLE):
            began = time.perf_counter()
            spent, status, told = self._client.ask("/webhooks/alertmanager", body([alert(run, number)]))
            assert status < 300, told
            self.single.append(spent)
            (incident,) = json.loads(told)["incidents"]
            assert self._client.ask(f"/api/v1/incidents/{incident}")[1] == 200
            self.visible.append((time.perf_counter() - began) * 1000)
        self.rest()
        for number in range(BATCHES):
            before = cpu_s(self._server.process.pid)
            told_ = [alert(f"{run}-{number}", one) for one in range(EACH)]
            spent, status, told = self._client.ask("/webhooks/alertmanager", body(told_))
            assert status < 300, told
            self.batch.append(spent)
            self.rest()
            self.cpu.append((cpu_s(self._server.process.pid) - before) * 1000 / EACH)

    def rest(self) -> None:
        """Until what follows from it is done: it must not be what is measured next, here or there."""
        pid = self._server.process.pid
        while True:
            before, began = cpu_s(pid), time.monotonic()
            time.sleep(QUIET_S)
            if cpu_s(pid) - before <= AT_REST * (time.monotonic() - began):
                self._client.connect_again()
                return


def ratios(full: Intake, empty: Intake, rounds: int) -> Iterator[tuple[str, float, float]]:
    run = f"{time.time_ns():x}"
    for number in range(rounds):
        for one in (full, empty) if number % 2 else (empty, full):
            one.round(f"{run}-{number}")
    for name, of in (
        ("one alert, which opens an incident: to its 2xx", lambda one: one.single),
        ("one alert: until its incident is told", lambda one: one.visible),
        (f"{EACH} alerts in a delivery: to its 2xx", lambda one: one.batch),
        (f"{EACH} alerts in a delivery: processor time of each, with all that follows", lambda one: one.cpu),
    ):
        yield name, statistics.median(of(full)), statistics.median(of(empty))


# The site.


def write_site(folder: Path, rules: bool) -> None:
    """Services that need one another, as the stored ones have them."""
    stored = {service(n): {"depends_on": [service(n + 1)]} for n in range(SERVICES - 1)} | {service(SERVICES - 1): {}}
    new = {f"new-service-{n}": {"depends_on": [service(n)]} for n in range(NEW)}
    rule = {"source_matchers": ["severity=critical"], "target_matchers": ["severity=error"], "equal": ["cluster"]}
    settings = {
        "services": stored | new, "audit": {"every": "0s"}, "guardrails": {"breaker": {"enabled": False}},
        **({"inhibit_rules": [rule]} if rules else {}),
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "quell.yaml").write_text(json.dumps(settings))


def say(line: str) -> None:
    print(line, flush=True)


def report(url: str, fresh: Callable[[], str], only: str, rounds: int, rules: bool) -> bool:
    """Whether every bound was kept. ``fresh``: gives an empty database on PostgreSQL; on SQLite the server makes it."""
    luck, kept = random.Random(3), True
    known = Known.of(url, luck)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        write_site(folder / "full", rules)
        write_site(folder / "empty", rules)
        full = stack.enter_context(served(folder / "full", "--db", url))
        client = Client(full)
        say("| question | p50 | p95 | kept |\n| --- | --- | --- | --- |")
        for name, ask in questions(known, luck, client):
            if only in name:
                took, statuses, size = measured(client, ask)
                kept &= (good := p95(took) <= BOUND_MS)
                say(f"| {name} | {statistics.median(took):.1f} ms | {p95(took):.1f} ms | {'yes' if good else 'NO'} |")
                print(f"  {name}: {sorted(statuses)}, {size:,} bytes", file=sys.stderr, flush=True)
        if not rounds:
            return kept
        empty = stack.enter_context(served(folder / "empty", "--db", fresh() or "empty.db"))
        say("\n| taking in | full | empty | ratio | kept |\n| --- | --- | --- | --- | --- |")
        for name, there, here in ratios(Intake(full), Intake(empty), rounds):
            kept &= (good := there / here <= BOUND_RATIO)
            say(f"| {name} | {there:.1f} ms | {here:.1f} ms | {there / here:.2f} | {'yes' if good else 'NO'} |")
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", help="what `python -m bench.stored` has filled")
    parser.add_argument("--only", default="", metavar="WORD", help="only the questions whose name holds it")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of taking in; 0 for none")
    parser.add_argument("--postgres", action="store_true", help="the same rows on a PostgreSQL server of its own")
    parser.add_argument("--inhibit", action="store_true", help="with an inhibition rule that is asked of each alert")
    options = parser.parse_args()
    file = str(Path(options.database).absolute())
    if not options.postgres:
        return 0 if report(file, str, options.only, options.rounds, options.inhibit) else 1
    with postgres("") as fresh:
        if fresh is None:
            return 2
        url = fresh()
        copy(file, url)
        return 0 if report(url, fresh, options.only, options.rounds, options.inhibit) else 1


if __name__ == "__main__":
    raise SystemExit(main())
