"""Search recent log lines, in files on this machine or in Loki: how many, since when, and some to look at.

    - id: timeouts
      type: log_search
      config:
        files: /var/log/payment/*.log     # or without files: service or query, asked of Loki
        pattern: (?i)timed? ?out
        level: error                       # this level and worse
        lookback: 15m
        by: error.code                     # a field of JSON lines, or a label in Loki
      interpret: {healthy: count < 5, warning: count >= 5, critical: rate_per_minute >= 20}

Lines are JSON or plain; a line without a moment belongs to the entry before it. When not all could be read
(``truncated``), counts are known as "at least" only: they can be too many, and never few enough. Patterns are regular
expressions without back-references and looking around, as in RE2.
Never does: read a file from its beginning, read compressed files, count lines whose time it cannot tell.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

import quell
from quell import ports
from quell.errors import Permanent, Transient
from quell.plugins.checks import _logscan, _loki, _patterns, _process
from quell.plugins.checks._durations import Bytes, Seconds, seconds_or_none
from quell.ports import Connects, FactSpec, Missing, Probe, Reading

FACTS: Mapping[str, FactSpec] = {
    "count": "number", "rate_per_minute": "number", "samples": "list<string>", "first_at": "time", "last_at": "time",
    "files": "number", "lines": "number", "truncated": "bool", "distinct": "number",
    "top": "list<record>",
}  # fmt: skip
_DEFAULT_LOOKBACK_S = 900.0
_MOST_OUTPUT = 4 * 1024 * 1024
_CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from quell.plugins.checks._logscan import main; main()"
_SOURCE = str(Path(quell.__file__).parent.parent)


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Params(ports.Params):
    """``query`` is a LogQL log query for Loki; ``max_bytes`` and ``max_lines`` bound what is read, newest first."""

    files: Annotated[tuple[str, ...], BeforeValidator(_listed)] = Field(default=(), max_length=50)
    """Paths or globs on this machine. One that names no file that can be read makes every count an "at least"."""
    query: str | None = Field(default=None, max_length=5000)
    pattern: str | None = None
    """A regular expression that a line must match somewhere."""
    ignore_case: bool = False
    """Match the pattern without regard to case."""
    service: str | None = None
    """Lines of this service only; without files, the service to ask Loki for."""
    level: str | None = None
    """This level and worse."""
    lookback: Seconds | None = _DEFAULT_LOOKBACK_S
    """How far back to search; in files, empty means as far as ``max_bytes`` reaches."""
    by: str | None = None
    """A field of JSON lines, or a label in Loki, to count by; see ``top`` and ``distinct``."""
    max_lines: int = Field(default=200_000, ge=1, le=5_000_000)
    max_bytes: Annotated[Bytes, Field(ge=1024, le=1024**3)] = 64 * 1024 * 1024
    connection: Annotated[str | None, Connects(("loki",), unless=("files",))] = None
    """The Loki to ask; may be left out when there is only one."""

    @field_validator("pattern")
    @classmethod
    def _bounded(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            _patterns.compiled(pattern)
        return pattern

    @field_validator("level")
    @classmethod
    def _known(cls, level: str | None) -> str | None:
        if level is not None and level.lower() not in _logscan.LEVELS:
            raise ValueError(f"no level {level!r}; the levels are {', '.join(_logscan.LEVELS)}")
        return level.lower() if level else None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if not (self.files or self.query or self.service):
            raise ValueError("say where to search: files, or service or query (asked of Loki)")
        if self.files and self.query:
            raise ValueError("query is for Loki, files are searched by pattern: say one of them")
        if self.query and (self.service or self.level):
            raise ValueError("say service and level in the query itself")
        if not self.files and not self.lookback:
            raise ValueError("a search in Loki needs a lookback")
        return self


def lag(config: Mapping[str, Any], scrape_s: float) -> float:
    """Lines of before a change stay in the lookback until it has passed."""
    return seconds_or_none(config.get("lookback")) or _DEFAULT_LOOKBACK_S


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Permanent`` (missing, denied, invalid) or ``Transient``."""
    if params.files:
        return _of_files(params, await _scan(params, probe))
    assert params.lookback is not None
    search = _loki.Search(
        query=params.query or "", service=params.service or "", pattern=params.pattern or "",
        ignore_case=params.ignore_case, level=params.level or "", by=params.by, lookback_s=params.lookback,
    )  # fmt: skip
    connection = probe.connection(params.connection, "loki")
    return _of_loki(params, connection.name, await _loki.look(search, connection, probe))


async def _scan(params: Params, probe: Probe) -> dict[str, Any]:
    now = probe.now().timestamp()
    search = _logscan.Search(
        files=list(params.files), now=now, cutoff=None if params.lookback is None else now - params.lookback,
        pattern=params.pattern, ignore_case=params.ignore_case, service=params.service,
        level=None if params.level is None else _logscan.LEVELS[params.level], by=params.by,
        max_bytes=params.max_bytes, max_lines=params.max_lines,
    )  # fmt: skip
    argv = [sys.executable, "-I", "-S", "-c", _CHILD, _SOURCE]
    ran = await _process.run(argv, max_bytes=_MOST_OUTPUT, stdin=json.dumps(asdict(search)).encode())
    try:
        result = json.loads(ran.stdout)
    except ValueError:
        words = ran.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Transient(f"the search broke off: {''.join(words)[:300]}", "failed") from None
    found: dict[str, Any] = result
    return found


def _of_files(params: Params, result: Mapping[str, Any]) -> Reading:
    unreadable = result["unreadable"]
    if not result["files"]:
        if any("ermission" in words for words in unreadable):
            raise Permanent(f"not allowed to read {unreadable[0]}", "denied")
        raise Permanent(f"no file to search: {'; '.join(unreadable[:3]) or ', '.join(params.files)}", "missing")
    unseen = _unseen(result)
    evidence = {"files": result["paths"], "unreadable": unreadable, "untimed": result["untimed"],
                "pattern": params.pattern, "lookback_s": params.lookback}  # fmt: skip
    found = {name: result[name] for name in ("count", "samples", "files", "lines", "distinct", "top")}
    found["truncated"] = bool(unseen)
    missing: dict[str, Missing] = {}
    if result["untimed"] and not result["count"]:
        reason = Missing("the lines that match carry no moment that can be read; with lookback: null all of them count")
        found = {name: found[name] for name in ("files", "lines", "truncated")}
        missing |= dict.fromkeys(("count", "samples", "distinct", "top"), reason)
    reading = _reading(params, found, missing, result["first_at"], result["last_at"], evidence)
    return _in_part(reading, unseen) if unseen else reading


def _unseen(result: Mapping[str, Any]) -> str:
    """Why there may be more lines that match than were counted; empty when there cannot."""
    if result["unreadable"]:
        return f"not all was read: {result['unreadable'][0]}"
    if result["truncated"]:
        return "not all was read: max_bytes or max_lines is spent"
    if result["cut"]:
        return "not all was searched: of a line longer than 256 KiB only the beginning is"
    if result["untimed"] and result["count"]:
        return f"{result['untimed']} more that match carry no moment that can be read"
    return ""


def _in_part(reading: Reading, why: str) -> Reading:
    """What is still known when not every line was seen: no count is more than the least that there can be."""
    facts, missing = dict(reading.facts), dict(reading.missing)
    for name in ("count", "rate_per_minute", "distinct", "last_at"):
        if name in facts:
            missing[name] = Missing(why, at_least=facts.pop(name))
    for name in ("first_at", "top"):
        if facts.pop(name, None) is not None:
            missing[name] = Missing(why)
    return replace(reading, facts=facts, missing=missing)


def _of_loki(params: Params, connection: str, result: _loki.Found) -> Reading:
    found: dict[str, Any] = {
        "count": result.count, "samples": list(result.samples), "truncated": False, "distinct": len(result.values),
        "top": [{"value": value, "count": count} for value, count in result.values[:10]],
    }  # fmt: skip
    missing = dict.fromkeys(("files", "lines"), Missing("Loki was asked, not files"))
    evidence = {"query": result.query, "connection": connection, "lookback_s": params.lookback}
    return _reading(params, found, missing, result.first_at, result.last_at, evidence)


def _reading(
    params: Params, found: dict[str, Any], missing: dict[str, Missing], first_at: float | None, last_at: float | None,
    evidence: dict[str, Any],
) -> Reading:  # fmt: skip
    for name, value in (("first_at", first_at), ("last_at", last_at)):
        if value is None:
            missing[name] = Missing("no matching line with a moment")
        else:
            found[name] = value
    if "count" not in found:
        missing["rate_per_minute"] = missing["count"]
    elif params.lookback:
        found["rate_per_minute"] = found["count"] / (params.lookback / 60.0)
    else:
        missing["rate_per_minute"] = Missing("there is no lookback to divide by")
    if params.by is None:
        for name in ("distinct", "top"):
            found.pop(name, None)
            missing[name] = Missing("say by: a field, to tell lines apart")
    count = f"{found['count']} lines" if "count" in found else "lines without a moment"
    summary = f"{'at least ' if found['truncated'] else ''}{count}"
    observed = None if last_at is None else datetime.fromtimestamp(last_at, UTC)
    return Reading(found, missing=missing, summary=summary, observed_at=observed, evidence=evidence)
