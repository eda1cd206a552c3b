"""The part of Loki's HTTP API that a search needs: how many lines, the newest of them, and when the first was.

Source: grafana.com/docs/loki/latest/reference/loki-http-api. Never does: push, fetch all the lines to count them.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quell.errors import Permanent, QuellError, Transient
from quell.plugins.checks import _fetch
from quell.plugins.checks._logscan import LEVELS
from quell.ports import Connection, Probe

_MAX_BYTES = 8 * 1024 * 1024
_SAMPLES = 5
_SAMPLE_LENGTH = 500
_NS = 1_000_000_000
_METRIC = re.compile(r"\s*[a-z_]+\s*(?:\(|by\b|without\b)")


@dataclass(frozen=True, slots=True)
class Search:
    """``query``: a log query of the author's; else one is made of service and level. ``by``: a label."""

    query: str
    service: str
    pattern: str
    ignore_case: bool
    level: str
    by: str | None
    lookback_s: float


@dataclass(frozen=True, slots=True)
class Found:
    """``values``: counts by the value of the label, most first. Moments are epoch seconds."""

    query: str
    count: int
    samples: tuple[str, ...]
    first_at: float | None
    last_at: float | None
    values: tuple[tuple[str, int], ...]


async def look(search: Search, connection: Connection, probe: Probe) -> Found:
    """Raises ``Permanent`` or ``Transient`` with Loki's own words."""
    query = _query(search, connection)
    now = probe.now().timestamp()
    span = {"start": str(int((now - search.lookback_s) * _NS)), "end": str(int(now * _NS))}
    counted, newest, oldest = await asyncio.gather(
        _counted(query, search, connection, probe, now),
        _ask(connection, probe, "query_range", {"query": query, **span, "limit": str(_SAMPLES)}),
        _ask(connection, probe, "query_range", {"query": query, **span, "limit": "1", "direction": "forward"}),
    )
    values: Counter[str] = Counter()
    for series in counted:
        values[str(series["metric"].get(search.by or "", ""))] += int(float(series["value"][1]))
    lines = sorted(_entries(newest), reverse=True)[:_SAMPLES]
    firsts = sorted(_entries(oldest))
    return Found(
        query=query,
        count=sum(values.values()),
        samples=tuple(line[:_SAMPLE_LENGTH] for _, line in lines),
        first_at=firsts[0][0] if firsts else None,
        last_at=lines[0][0] if lines else None,
        values=tuple(values.most_common()) if search.by else (),
    )


def _query(search: Search, connection: Connection) -> str:
    options = connection.options
    if search.query:
        if _METRIC.match(search.query) or not search.query.lstrip().startswith("{"):
            raise Permanent('query must be a LogQL log query, such as {app="payment"} |= "error"', "invalid")
        query = search.query.strip()
    else:
        label = str(options.get("service_label", "service"))
        parts = [f"{label}={_quoted(search.service)}"]
        if search.level:
            worse = "|".join(word for word, rank in LEVELS.items() if rank >= LEVELS[search.level])
            parts.append(f"{options.get('level_label', 'level')}=~{_quoted(f'(?i)({worse})')}")
        query = "{" + ", ".join(parts) + "}"
    if search.pattern:
        query += f" |~ {_quoted(('(?i)' if search.ignore_case else '') + search.pattern)}"
    return query


def _quoted(text: str) -> str:
    """A string of LogQL, which are Go's: JSON's escapes are among theirs."""
    return json.dumps(text, ensure_ascii=False)


async def _counted(
    query: str, search: Search, connection: Connection, probe: Probe, now: float
) -> list[Mapping[str, Any]]:
    """Counts by stream; summed by the server where there are more streams than it gives in one answer."""
    count = f"count_over_time({query} [{max(1, round(search.lookback_s))}s])"
    form = {"query": count, "time": str(int(now * _NS))}
    try:
        return await _ask(connection, probe, "query", form)
    except Permanent as error:
        if "maximum of series" not in str(error):
            raise
    grouping = f" by ({search.by})" if search.by else ""
    return await _ask(connection, probe, "query", {**form, "query": f"sum{grouping} ({count})"})


async def _ask(connection: Connection, probe: Probe, what: str, form: Mapping[str, str]) -> list[Mapping[str, Any]]:
    url = f"{connection.url.rstrip('/')}/loki/api/v1/{what}"
    answer = await _fetch.fetch(
        probe.http, "GET", url, params=form, headers=_fetch.login_headers(connection), max_bytes=_MAX_BYTES,
        timeout_s=probe.timeout_s,
    )  # fmt: skip
    if answer.cut:
        raise Permanent(f"the answer is larger than {_MAX_BYTES // 1024**2} MiB; narrow the search", "too_large")
    if answer.status != 200:
        raise _refusal(answer, _fetch.shown(url), connection)
    try:
        document = await answer.json()
        result = document["data"]["result"]
        if not all(isinstance(one, dict) and ("metric" in one or "stream" in one) for one in result):
            raise TypeError
    except (KeyError, TypeError, ValueError):
        raise Permanent("the answer is not of the form of Loki's API", "invalid") from None
    rows: list[Mapping[str, Any]] = result
    return rows


def _refusal(answer: _fetch.Answer, where: str, connection: Connection) -> QuellError:
    words = answer.body[:500].decode("utf-8", "replace").strip()
    for secret in (*_fetch.login_headers(connection).values(), connection.password):
        words = words.replace(secret, "•••") if secret else words  # a server that repeats what it was sent
    if answer.status in (401, 403):
        return Permanent(f"{where}: not allowed to ask (HTTP {answer.status})", "denied")
    if answer.status == 404:
        return Permanent(f"{where}: there is no Loki at this address (HTTP 404)", "missing")
    if answer.status == 429:
        return Transient(f"Loki is asked too much: {words}", "exhausted")
    if answer.status >= 500:
        return Transient(f"{where}: HTTP {answer.status} {words}", "failed")
    return Permanent(f"Loki refuses the query: {words}", "invalid")


def _entries(streams: list[Mapping[str, Any]]) -> list[tuple[float, str]]:
    return [(int(entry[0]) / _NS, str(entry[1])) for stream in streams for entry in stream.get("values", ())]
