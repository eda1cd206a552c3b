"""A bounded history of samples, and the small part of the Prometheus HTTP API that asks for them.

Instant selectors (``name{label="x",other=~"a|b"}``) and one plain aggregation around one
(``max(name{...})``). Everything else is refused the way Prometheus refuses it, never answered with a guess.
A series whose target is gone ends at once (a staleness marker), as in Prometheus.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable

from quell.demo.world.programs.wire import Answer, Request, answer_json, parse_form

KEPT = 4000
MOST_STEPS = 11_000
Labels = tuple[tuple[str, str], ...]
Matcher = Callable[[dict[str, str]], bool]

SELECTOR = re.compile(r"^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{(.*)\})?\s*$", re.DOTALL)
MATCHER = re.compile(
    r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\')\s*(,|$)'
)
AGGREGATION = re.compile(r"^\s*(sum|min|max|avg|count)\s*\((.*)\)\s*$", re.DOTALL)
AGGREGATE: dict[str, Callable[[list[float]], float]] = {
    "sum": sum,
    "min": min,
    "max": max,
    "avg": lambda values: sum(values) / len(values),
    "count": lambda values: float(len(values)),
}


class BadQuery(ValueError):
    """The expression is wrong or outside what is supported; the text is for the caller."""


def labels_of(name: str, **labels: str) -> Labels:
    """The identity of a series: its labels, sorted, the name among them."""
    return tuple(sorted({"__name__": name, **labels}.items()))


class History:
    """Samples per series, the newest at the end; None marks a series as ended."""

    def __init__(self, lookback_s: float) -> None:
        self._lookback = lookback_s
        self._series: dict[Labels, deque[tuple[float, float | None]]] = {}
        self._lock = threading.Lock()

    def record(self, at: float, samples: dict[Labels, float]) -> None:
        """One round of samples; series that are not in it end here."""
        with self._lock:
            for labels, value in samples.items():
                self._series.setdefault(labels, deque(maxlen=KEPT)).append((at, value))
            for labels, points in self._series.items():
                if labels not in samples and points[-1][1] is not None:
                    points.append((at, None))

    def at(self, matches: Matcher, when: float) -> dict[Labels, float]:
        """The value of every matching series at a time."""
        found: dict[Labels, float] = {}
        with self._lock:
            for labels, points in self._series.items():
                if not matches(dict(labels)):
                    continue
                value = next((point for point in reversed(points) if point[0] <= when), None)
                if value and value[1] is not None and when - value[0] <= self._lookback:
                    found[labels] = value[1]
        return found

    def latest(self, name: str) -> dict[Labels, float]:
        """The current values of one metric."""
        return self.at(lambda labels: labels["__name__"] == name, time.time())


def parse(query: str) -> tuple[str, Matcher]:
    """An expression as (aggregation or nothing, matcher); `BadQuery` for anything unsupported."""
    aggregation = AGGREGATION.match(query)
    how, inner = (aggregation[1], aggregation[2]) if aggregation else ("", query)
    selector = SELECTOR.match(inner)
    if selector is None or not (selector[1] or selector[2]):
        raise BadQuery(f"unsupported expression {query.strip()[:80]!r}: only a selector, or one aggregation of it")
    tests = [_test("__name__", "=", selector[1])] if selector[1] else []
    rest = (selector[2] or "").strip()
    while rest:
        matcher = MATCHER.match(rest)
        if matcher is None:
            raise BadQuery(f'unexpected {rest[:40]!r} in label matching, expected label="value"')
        value = matcher[3] if matcher[3] is not None else matcher[4]
        tests.append(_test(matcher[1], matcher[2], re.sub(r"\\(.)", r"\1", value)))
        rest = rest[matcher.end() :]
    return how, lambda labels: all(test(labels) for test in tests)


def _test(name: str, operator: str, value: str) -> Matcher:
    if operator == "=":
        return lambda labels: labels.get(name, "") == value
    if operator == "!=":
        return lambda labels: labels.get(name, "") != value
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise BadQuery(f"invalid regular expression {value[:40]!r}: {error}") from error
    if operator == "=~":
        return lambda labels: pattern.fullmatch(labels.get(name, "")) is not None
    return lambda labels: pattern.fullmatch(labels.get(name, "")) is None


def evaluate(history: History, query: str, when: float) -> dict[Labels, float]:
    """The instant vector of a query at a time."""
    how, matches = parse(query)
    vector = history.at(matches, when)
    if not how:
        return vector
    return {(): AGGREGATE[how](list(vector.values()))} if vector else {}


def _moment(text: str | None, default: float) -> float:
    if not text:
        return default
    try:
        return float(text)
    except ValueError as error:
        raise BadQuery(f'invalid parameter "time": cannot parse {text[:40]!r} to unix seconds') from error


def _pair(when: float, value: float) -> list[object]:
    return [when, repr(value) if value != int(value) else str(int(value))]


def _query(history: History, form: dict[str, str]) -> object:
    when = _moment(form.get("time"), time.time())
    vector = evaluate(history, form.get("query", ""), when)
    result = [{"metric": dict(labels), "value": _pair(when, value)} for labels, value in sorted(vector.items())]
    return {"resultType": "vector", "result": result}


def _query_range(history: History, form: dict[str, str]) -> object:
    if not all(form.get(name) for name in ("start", "end", "step")):
        raise BadQuery('invalid parameter "start", "end" or "step": all three are needed')
    start, end, step = (_moment(form.get(name), 0.0) for name in ("start", "end", "step"))
    if end < start or step <= 0:
        raise BadQuery('invalid parameter "end" or "step": the range must go forward')
    if (end - start) / step > MOST_STEPS:
        raise BadQuery("exceeded maximum resolution of 11,000 points per timeseries")
    rows: dict[Labels, list[list[object]]] = {}
    for index in range(int((end - start) / step) + 1):
        when = start + index * step
        for labels, value in evaluate(history, form.get("query", ""), when).items():
            rows.setdefault(labels, []).append(_pair(when, value))
    result = [{"metric": dict(labels), "values": values} for labels, values in sorted(rows.items())]
    return {"resultType": "matrix", "result": result}


def answer_query(history: History, request: Request) -> Answer:
    """``/api/v1/query`` and ``/api/v1/query_range``, by GET or by a POSTed form."""
    form = {**request.query, **(parse_form(request.body.decode("utf-8", "replace")) if request.body else {})}
    try:
        data = (_query_range if request.path.endswith("_range") else _query)(history, form)
    except BadQuery as error:
        text = f'invalid parameter "query": 1:1: parse error: {error}'
        return answer_json(400, {"status": "error", "errorType": "bad_data", "error": text})
    return answer_json(200, {"status": "success", "data": data})
