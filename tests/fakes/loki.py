"""A fake Loki: stored log lines, LogQL's everyday subset, over Loki's HTTP API.

GET (or POST) /loki/api/v1/query_range, /query, /labels, /label/<name>/values, POST /push, GET /ready.
Source: Grafana Loki's HTTP API reference. Answers carry `streams`, `matrix` or `vector`; errors are plain
text with status 400, as Loki sends them, and a limit above the server's is refused, not lowered.

It has no aggregation over labels and no parsers (`| json`): such a query is a parse error here.
"""

from __future__ import annotations

import calendar
import re
import time
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.logql import Query, QueryError, parse, seconds
from tests.fakes.serving import FakeServer, Fault, Reply, Request

MAX_ENTRIES = 5000
MAX_POINTS = 11000
NS = 1_000_000_000


@dataclass
class Stream:
    """One label set and its entries (Unix nanoseconds, line), kept in time order."""

    labels: dict[str, str]
    entries: list[tuple[int, str]] = field(default_factory=list)


class BadRequest(Exception):
    """Becomes a 400 with this text."""


class FakeLoki(FakeServer):
    """Fill it with `add`; `max_entries` is the server's limit per query."""

    def __init__(self, *, max_entries: int = MAX_ENTRIES) -> None:
        super().__init__()
        self.max_entries = max_entries
        self.streams: dict[tuple[tuple[str, str], ...], Stream] = {}

    def add(self, labels: dict[str, str], *lines: str, at: float | None = None, step_s: float = 0.001) -> None:
        """Store lines of one stream, `step_s` apart, the first at `at` Unix seconds (default: now)."""
        start = time.time_ns() if at is None else int(at * NS)
        entries = [(start + int(i * step_s * NS), line) for i, line in enumerate(lines)]
        self._store(labels, entries)

    def _store(self, labels: dict[str, str], entries: list[tuple[int, str]]) -> None:
        with self._changed:
            stream = self.streams.setdefault(tuple(sorted(labels.items())), Stream(dict(labels)))
            stream.entries = sorted([*stream.entries, *entries], key=lambda entry: entry[0])

    # -- the protocol

    def refusal(self, request: Request, fault: Fault) -> Reply:
        """Loki's errors are plain text."""
        words = {429: "too many outstanding requests", 500: "internal error", 503: "empty ring"}
        return Reply.text(words.get(fault.status, "injected"), fault.status)

    def answer(self, request: Request) -> Reply:
        """Route; a BadRequest is a 400 in plain text."""
        if request.path == "/ready":
            return Reply.text("ready\n")
        if request.path == "/loki/api/v1/push" and request.method == "POST":
            return self._push(request)
        if request.method not in ("GET", "POST"):
            return Reply.text("Method Not Allowed\n", 405)
        try:
            return self._query(request)
        except (BadRequest, QueryError) as error:
            return Reply.text(f"{error}\n" if isinstance(error, BadRequest) else str(error), 400)

    def _query(self, request: Request) -> Reply:
        if request.path == "/loki/api/v1/query_range":
            return self._range(request)
        if request.path == "/loki/api/v1/query":
            return self._instant(request)
        if request.path == "/loki/api/v1/labels":
            names = sorted({name for stream in self.streams.values() for name in stream.labels})
            return Reply.of({"status": "success", "data": names})
        if match := re.fullmatch(r"/loki/api/v1/label/([^/]+)/values", request.path):
            found = {s.labels[match[1]] for s in self.streams.values() if match[1] in s.labels}
            return Reply.of({"status": "success", "data": sorted(found)})
        return Reply.text("404 page not found\n", 404)

    def _push(self, request: Request) -> Reply:
        try:
            for row in request.json()["streams"]:
                self._store(row["stream"], [(int(at), line) for at, line, *_ in row["values"]])
        except (ValueError, KeyError, TypeError) as error:
            return Reply.text(f"couldn't parse push request: {error}\n", 400)
        return Reply(204, content_type="")

    def _range(self, request: Request) -> Reply:
        query = parse(_form(request, "query"))
        end = _instant_ns(_form(request, "end"), time.time_ns())
        since = seconds(_form(request, "since") or "1h")
        start = _instant_ns(_form(request, "start"), end - int(since * NS))
        if end < start:
            raise BadRequest("end timestamp must not be before or equal to start time")
        if query.range_s is None:
            return self._streams(request, query, start, end)
        step = _step(_form(request, "step"), start, end)
        if (end - start) / NS / step > MAX_POINTS:
            said = "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step"
            raise BadRequest(said)
        moments = [start + int(i * step * NS) for i in range(int((end - start) / NS / step) + 1)]
        rows = []
        for stream in self._matching(query):
            values = [[at / NS, str(n)] for at in moments if (n := _count(stream, query, at))]
            if values:
                rows.append({"metric": stream.labels, "values": values})
        return _success("matrix", rows)

    def _instant(self, request: Request) -> Reply:
        query = parse(_form(request, "query"))
        at = _instant_ns(_form(request, "time"), time.time_ns())
        if query.range_s is None:
            raise BadRequest(
                "log queries are not supported as an instant query type, please change your query to a range query type"
            )
        counted = [(stream.labels, _count(stream, query, at)) for stream in self._matching(query)]
        return _success("vector", [{"metric": m, "value": [at / NS, str(n)]} for m, n in counted if n])

    def _streams(self, request: Request, query: Query, start: int, end: int) -> Reply:
        limit = _limit(_form(request, "limit"))
        if limit > self.max_entries:
            said = "max entries limit per query exceeded, limit > max_entries_limit_per_query"
            raise BadRequest(f"{said} ({limit} > {self.max_entries})")
        direction = (_form(request, "direction") or "backward").lower()
        if direction not in ("backward", "forward"):
            raise BadRequest(f"invalid direction '{direction}'")
        found = [
            (at, line, stream)
            for stream in self._matching(query)
            for at, line in stream.entries
            if start <= at < end and query.keeps(line)
        ]
        found.sort(key=lambda entry: entry[0], reverse=direction == "backward")
        rows: dict[int, dict[str, Any]] = {}
        for at, line, stream in found[:limit]:
            row = rows.setdefault(id(stream), {"stream": stream.labels, "values": []})
            row["values"].append([str(at), line])
        return _success("streams", list(rows.values()))

    def _matching(self, query: Query) -> list[Stream]:
        with self._changed:
            kept = [s for s in self.streams.values() if query.selects(s.labels)]
            return [Stream(s.labels, list(s.entries)) for s in kept]


def _form(request: Request, name: str) -> str:
    return request.arg(name)


def _success(kind: str, result: list[Any]) -> Reply:
    return Reply.of({"status": "success", "data": {"resultType": kind, "result": result, "stats": {}}})


def _count(stream: Stream, query: Query, at: int) -> int:
    assert query.range_s is not None
    begin = at - int(query.range_s * NS)
    return sum(begin < when <= at and query.keeps(line) for when, line in stream.entries)


def _limit(text: str) -> int:
    if not re.fullmatch(r"\d*", text):
        raise BadRequest(f'strconv.Atoi: parsing "{text}": invalid syntax')
    limit = int(text or 100)
    if limit <= 0:
        raise BadRequest("limit must be a positive value")
    return limit


def _step(text: str, start: int, end: int) -> float:
    step = seconds(text) if text else max(1.0, (end - start) / NS // 250)
    if step <= 0:
        raise BadRequest("zero or negative query resolution step widths are not accepted. Try a positive integer")
    return step


def _instant_ns(text: str, default: int) -> int:
    """Nanoseconds, seconds with a fraction, whole seconds (≤ 10 digits), or RFC 3339 in UTC."""
    if not text:
        return default
    if re.fullmatch(r"\d+", text):
        return int(text) * (NS if len(text) <= 10 else 1)
    if re.fullmatch(r"\d+\.\d+", text):
        return int(float(text) * NS)
    if match := re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z", text):
        whole = calendar.timegm(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
        return whole * NS + int(float(match[2] or 0) * NS)
    raise BadRequest(f"could not parse '{text}': strconv.ParseInt: parsing \"{text}\": invalid syntax")
