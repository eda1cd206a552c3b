"""The part of Prometheus' HTTP API that a check needs: instant and range queries, bounded, errors by their kind.

Source: prometheus.io/docs/prometheus/latest/querying/api. Never does: write, read an answer without a limit.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from quell.errors import Permanent, QuellError, Transient
from quell.plugins.checks import _fetch
from quell.plugins.checks._series import Trace
from quell.ports import Connection, Probe

_MAX_BYTES = 32 * 1024 * 1024
_LONGEST_IN_ADDRESS = 4000
_LONGEST_WORDS = 500
_MOST_SELECTORS = 6
_MOST_WARNINGS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """``traces``: the series; a scalar is one without labels. ``text``: a string result."""

    traces: tuple[Trace, ...]
    warnings: tuple[str, ...] = ()
    text: str | None = None


def identity(labels: Mapping[str, str]) -> str:
    """One text for one label set, without the metric's name, which functions take off."""
    return repr(sorted((name, value) for name, value in labels.items() if name != "__name__"))


class Client:
    """Asks one Prometheus as of the moment ``at`` (epoch seconds), or as of its own now.

    Its own now rather than ours: a clock of ours that is behind would show it an older world.
    """

    def __init__(self, probe: Probe, connection: Connection, at: float | None, max_series: int) -> None:
        self._probe, self._connection, self._max_series = probe, connection, max_series
        self._time = {} if at is None else {"time": f"{at:.3f}"}

    async def instant(self, query: str) -> Result:
        return await self._ask("query", {"query": query, **self._time})

    async def over(self, query: str, start: float, end: float, step_s: float) -> Result:
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:.3f}"}
        return await self._ask("query_range", {"query": query, **times})

    async def ages(self, selector: str) -> dict[str, float]:
        """Seconds since the sample of each series of one selector, by the series' identity."""
        result = await self.instant(f"timestamp({selector})")
        return {identity(trace.labels): _age(trace) for trace in result.traces}

    async def oldest(self, selectors: Sequence[str]) -> dict[str, float]:
        """Seconds since the oldest of the newest samples of each selector; those without any are left out."""
        asked = selectors[:_MOST_SELECTORS]
        results = await asyncio.gather(*(self.instant(f"min(timestamp({one}))") for one in asked))
        return {one: _age(result.traces[0]) for one, result in zip(asked, results, strict=True) if result.traces}

    async def _ask(self, what: str, form: Mapping[str, str]) -> Result:
        url = f"{self._connection.url.rstrip('/')}/api/v1/{what}"
        # The server gives up when we do, so that a query nobody waits for does not load it.
        form = {**form, "timeout": f"{max(1, math.ceil(self._probe.timeout_s))}s"}
        long = len(form["query"]) > _LONGEST_IN_ADDRESS
        answer = await _fetch.fetch(
            self._probe.http, "POST" if long else "GET", url, max_bytes=_MAX_BYTES, timeout_s=self._probe.timeout_s,
            headers=_fetch.login_headers(self._connection), **({"data": form} if long else {"params": form}),
        )  # fmt: skip
        if answer.cut:
            raise too_large(f"the answer is larger than {_MAX_BYTES // 1024**2} MiB; aggregate in the query")
        if len(answer.body) > _fetch.INLINE_PARSE_BYTES:
            return await asyncio.to_thread(_read, answer, _fetch.shown(url), self._max_series)
        return _read(answer, _fetch.shown(url), self._max_series)


def _age(trace: Trace) -> float:
    """By the server's clock alone: the moment of evaluation less the sample's."""
    evaluated, sampled = trace.points[0]
    return max(0.0, evaluated - sampled)


def too_large(words: str) -> Permanent:
    return Permanent(words, "too_large")


def _read(answer: _fetch.Answer, where: str, max_series: int) -> Result:
    try:
        document = orjson.loads(answer.body)
    except ValueError:
        document = None
    document = document if isinstance(document, dict) else {}
    if answer.status != 200 or document.get("status") != "success":
        raise _refusal(answer, document, where)
    return _result(document, max_series)


def _refusal(answer: _fetch.Answer, document: Mapping[str, Any], where: str) -> QuellError:
    """Prometheus' own words, and whether asking again may help."""
    kind, status = str(document.get("errorType", "")), answer.status
    words = str(document.get("error", "")).strip()[:_LONGEST_WORDS]
    if status in (401, 403):
        return Permanent(f"{where}: not allowed to ask (HTTP {status})", "denied")
    if kind == "bad_data" or (status == 400 and words):
        return Permanent(f"Prometheus refuses the query: {words}", "invalid")
    if kind in ("timeout", "canceled"):
        return Transient(f"Prometheus gave up: {words}", "timeout")
    if status == 422 or kind == "execution":
        loaded = "too many samples" in words
        return Permanent(f"Prometheus cannot evaluate the query: {words}", "too_large" if loaded else "invalid")
    if status == 404:
        return Permanent(f"{where}: there is no Prometheus API at this address (HTTP 404)", "missing")
    if status == 429:
        return Transient(f"{where}: too many requests", "exhausted", retry_after=_retry_after(answer))
    if status >= 500:
        return Transient(f"{where}: HTTP {status} {words}".rstrip(), "failed", retry_after=_retry_after(answer))
    return Permanent(f"{where}: not an answer of a Prometheus API (HTTP {status})", "invalid")


def _retry_after(answer: _fetch.Answer) -> float | None:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None


def _result(document: Mapping[str, Any], max_series: int) -> Result:
    try:
        data = document["data"]
        kind, result = data["resultType"], data["result"]
        warnings = tuple(
            str(one)[:_LONGEST_WORDS]
            for one in (*(document.get("warnings") or ()), *(document.get("infos") or ()))[:_MOST_WARNINGS]
        )
        if kind == "string":
            return Result((), warnings, str(result[1])[:_LONGEST_WORDS])
        if kind == "scalar":
            return Result((Trace({}, (_point(result),)),), warnings)
        if len(result) > max_series:
            raise too_large(f"the query gives {len(result)} series, more than {max_series}; aggregate it")
        return Result(tuple(_trace(one) for one in result), warnings)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise Permanent("the answer is not of the form of the Prometheus API", "invalid") from None


def _trace(series: Mapping[str, Any]) -> Trace:
    labels = {str(name): str(value) for name, value in series["metric"].items()}
    if "values" in series:
        return Trace(labels, tuple(_point(pair) for pair in series["values"]))
    if "value" in series:
        return Trace(labels, (_point(series["value"]),))
    return Trace(labels, (), "a native histogram; use histogram_quantile or histogram_avg to make a number of it")


def _point(pair: Sequence[Any]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])
