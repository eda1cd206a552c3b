"""Counts matching lines at the end of log files. Runs as a process of its own, so that it can be killed.

In: a JSON document on standard input (``Search``); out: one on standard output. Files are read from the end backwards
until they are older than asked, then forwards from there; a rotated ``.1`` is read when the file itself does not reach
back far enough. Never does: import more than the standard library and the moment reader; read beyond its budget.
"""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import stat
import sys
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from quell.plugins.checks._timestamps import line_time

LEVELS = {
    "trace": 0, "debug": 1, "info": 2, "information": 2, "notice": 3, "warn": 4, "warning": 4, "error": 5, "err": 5,
    "severe": 5, "critical": 6, "crit": 6, "fatal": 6, "panic": 6, "alert": 7, "emerg": 7, "emergency": 7,
}  # fmt: skip
_LEVEL_WORD = re.compile(r"\b(" + "|".join(LEVELS) + r")\b", re.IGNORECASE)
_PACKED = (".gz", ".xz", ".bz2", ".zst", ".zip")
_NOWHERE = "no such file"
_BLOCK = 1024 * 1024
_LONGEST_LINE = 256 * 1024
_LOOK_FOR_STAMP = 50
_LOOK_BACK_LINES = 200
_MOST_FILES = 200
_MOST_DISTINCT = 10_000
_SAMPLES = 5
_TOP = 10
_SAMPLE_LENGTH = 500
_TIME_KEYS = ("time", "timestamp", "ts", "@timestamp", "date", "datetime", "t")
_LEVEL_KEYS = ("level", "severity", "lvl", "levelname", "log.level")
_SERVICE_KEYS = ("service", "service.name", "service_name", "app", "logger", "component")


@dataclass(frozen=True)
class Search:
    """``cutoff`` is epoch seconds, None for all of the file; ``level`` the lowest rank that counts."""

    files: list[str]
    now: float
    cutoff: float | None
    pattern: str | None
    ignore_case: bool
    service: str | None
    level: int | None
    by: str | None
    max_bytes: int
    max_lines: int


@dataclass
class Tally:
    count: int = 0
    untimed: int = 0
    cut: int = 0
    lines: int = 0
    bytes: int = 0
    first_at: float | None = None
    last_at: float | None = None
    read_from: float | None = None
    truncated: bool = False
    samples: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    values: Counter[str] = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def scan(search: Search) -> Tally:
    """Newest files first, so that a spent budget costs the oldest lines."""
    tally = Tally()
    expression = re.compile(search.pattern, re.IGNORECASE if search.ignore_case else 0) if search.pattern else None
    waiting = deque(_matching_files(search, tally))
    seen = set(waiting)
    while waiting:
        path = waiting.popleft()
        try:
            with open(path, "rb", opener=_at_once) as file:
                reached = _scan_file(file, search, expression, tally)
            tally.files.append(path)
        except OSError as error:
            tally.unreadable.append(f"{path}: {error.strerror}")
            continue
        rotated = f"{path}.1"
        if not reached and rotated not in seen and _touched(rotated) >= (search.cutoff or 0.0) > 0:
            seen.add(rotated)
            waiting.append(rotated)
    return tally


def _matching_files(search: Search, tally: Tally) -> list[str]:
    found: dict[str, float] = {}
    for pattern in search.files:
        many = glob.has_magic(pattern)
        path = None
        for path in glob.iglob(pattern, recursive=True) if many else iter((pattern,)):
            if (flaw := _flaw(path)) is not None:
                if not many or flaw == _NOWHERE:  # what a glob finds beside files was not asked for
                    tally.unreadable.append(f"{path}: {flaw}")
                continue
            found[path] = _touched(path)
            if len(found) > _MOST_FILES:
                tally.truncated = True
                break
        if path is None:
            tally.unreadable.append(f"{pattern}: {_NOWHERE}")
    paths_by_age = sorted(found, key=lambda path: found[path], reverse=True)
    fresh = [path for path in paths_by_age if search.cutoff is None or found[path] >= search.cutoff]
    tally.files += [path for path in paths_by_age if path not in fresh]  # looked at: nothing in them is new enough
    return fresh


def _flaw(path: str) -> str | None:
    """Why there is nothing to read behind a path."""
    if os.path.isdir(path):
        return "is a directory"
    if path.endswith(_PACKED):
        return "is compressed"
    return None if os.path.exists(path) else _NOWHERE


def _at_once(path: str, flags: int) -> int:
    """Opening a named pipe would wait for somebody to write into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _touched(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return -1.0


def _scan_file(file: BinaryIO, search: Search, expression: re.Pattern[str] | None, tally: Tally) -> bool:
    """Count one file's lines; whether it reaches back to the cutoff."""
    state = os.fstat(file.fileno())
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    end = state.st_size
    start, reached = _start(file, end, search, tally)
    file.seek(start)
    recent: deque[str] = deque(maxlen=_LOOK_BACK_LINES)
    # A spent budget of lines costs the oldest ones, so the lines are counted before they are judged.
    whole = _lines(file, end, skip_first=start > 0, tally=tally)
    lines = deque(whole, maxlen=max(1, search.max_lines - tally.lines))
    dropped = tally.lines + len(lines) >= search.max_lines
    tally.truncated |= dropped
    tally.lines += len(lines)
    # Where it reaches back far enough, what stands before the first moment is the rest of an entry that is older.
    older = reached and search.cutoff is not None
    for line in lines:
        older = older and _stamp_of(line, None, search.now) is None
        if older:
            continue
        wanted, document = _wanted(line, search, expression)
        if wanted:
            _count(line, document, search, tally, recent)
        recent.append(line)
    return reached


def _start(file: BinaryIO, end: int, search: Search, tally: Tally) -> tuple[int, bool]:
    """Where to begin reading: the first block, from the end, that begins before the cutoff."""
    start = end
    while start > 0:
        size = min(_BLOCK, start, search.max_bytes - tally.bytes)
        if size <= 0:
            tally.truncated = True
            return start, True
        start -= size
        tally.bytes += size
        if search.cutoff is not None and start > 0:
            stamp = _first_stamp(file, start, search.now)
            if stamp is not None and stamp < search.cutoff:
                return start, True
    stamp = _first_stamp(file, 0, search.now)
    return 0, search.cutoff is None or (stamp is not None and stamp < search.cutoff)


def _first_stamp(file: BinaryIO, start: int, now: float) -> float | None:
    file.seek(start)
    for number, line in enumerate(_lines(file, start + _BLOCK, skip_first=start > 0)):
        stamp = _stamp_of(line, None, now)
        if stamp is not None or number >= _LOOK_FOR_STAMP:
            return stamp
    return None


def _lines(file: BinaryIO, end: int, *, skip_first: bool, tally: Tally | None = None) -> Iterator[str]:
    """Lines up to ``end``; the first may be the rest of one, and is left out. What is cut off a line that is too long
    is not searched, and the ``tally`` says so.
    """
    inside = skip_first
    while file.tell() < end:
        part = file.readline(_LONGEST_LINE)
        if not part:
            return
        if not inside:
            yield part.decode("utf-8", "replace").rstrip("\r\n")
        elif tally is not None and not skip_first:
            tally.cut += 1
        inside = not part.endswith(b"\n")
        skip_first = skip_first and inside


def _wanted(line: str, search: Search, expression: re.Pattern[str] | None) -> tuple[bool, dict[str, Any] | None]:
    if expression is not None and not expression.search(line):
        return False, None
    document = _document(line)
    if search.service is not None and not _is_of(search.service, line, document):
        return False, None
    if search.level is not None:
        level = _level(line, document)
        if level is None or level < search.level:
            return False, None
    return True, document


def _document(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _is_of(service: str, line: str, document: dict[str, Any] | None) -> bool:
    if document is not None:
        return any(_field(document, key) == service for key in _SERVICE_KEYS)
    return re.search(rf"(?<![\w-]){re.escape(service)}(?![\w-])", line) is not None


def _level(line: str, document: dict[str, Any] | None) -> int | None:
    if document is None:
        match = _LEVEL_WORD.search(line)
        return LEVELS[match[1].lower()] if match else None
    for key in _LEVEL_KEYS:
        value = _field(document, key)
        if isinstance(value, str) and value.lower() in LEVELS:
            return LEVELS[value.lower()]
        if isinstance(value, int) and 10 <= value <= 60:  # bunyan and pino: 10 trace … 60 fatal
            return {1: 0, 2: 1, 3: 2, 4: 4, 5: 5, 6: 6}[value // 10]
    return None


def _field(document: dict[str, Any], path: str) -> Any:
    """``a.b`` as a key of its own, or as b in a."""
    if path in document:
        return document[path]
    here: Any = document
    for part in path.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here


def _count(line: str, document: dict[str, Any] | None, search: Search, tally: Tally, recent: deque[str]) -> None:
    stamp = _stamp_of(line, document, search.now)
    if stamp is None:  # the rest of an entry, a stack trace say: its first line has the moment
        earlier = (_stamp_of(text, None, search.now) for text in reversed(recent))
        stamp = next((found for found in earlier if found is not None), None)
    if search.cutoff is not None:
        if stamp is None:
            tally.untimed += 1
            return
        if stamp < search.cutoff:
            return
    tally.count += 1
    if stamp is not None:
        tally.first_at = stamp if tally.first_at is None else min(tally.first_at, stamp)
        tally.last_at = stamp if tally.last_at is None else max(tally.last_at, stamp)
    tally.samples.append((stamp or 0.0, _printable(line)))
    if search.by is not None and document is not None:
        value = _field(document, search.by)
        text = value if isinstance(value, str) else json.dumps(value)
        if value is not None and (text in tally.values or len(tally.values) < _MOST_DISTINCT):
            tally.values[text[:_SAMPLE_LENGTH]] += 1


def _stamp_of(line: str, document: dict[str, Any] | None, now: float) -> float | None:
    document = document if document is not None else _document(line)
    if document is None:
        return line_time(line, now)
    for key in _TIME_KEYS:
        value = document.get(key)
        if isinstance(value, str):
            return line_time(value, now)
        if isinstance(value, int | float) and value > 0:
            while value > 1e11:  # milliseconds, microseconds or nanoseconds
                value /= 1000.0
            return float(value)
    return None


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in line[:_SAMPLE_LENGTH])


def main() -> None:
    """Read a ``Search`` as JSON, write what was found as JSON."""
    tally = scan(Search(**json.load(sys.stdin)))
    newest_first = sorted(tally.samples, reverse=True)
    json.dump(
        {
            "count": tally.count, "untimed": tally.untimed, "cut": tally.cut, "lines": tally.lines,
            "first_at": tally.first_at, "last_at": tally.last_at, "truncated": tally.truncated,
            "samples": [text for _, text in newest_first],
            "distinct": len(tally.values), "files": len(tally.files), "paths": tally.files[:20],
            "top": [{"value": value, "count": count} for value, count in tally.values.most_common(_TOP)],
            "unreadable": tally.unreadable[:20],
        },
        sys.stdout,
    )  # fmt: skip


if __name__ == "__main__":
    main()
