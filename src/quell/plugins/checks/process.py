"""Look for processes of this host: how many, how old, how busy, how large, and whether they listen.

    - id: workers
      type: process
      config:
        name: payment-worker          # the program's name, or
        pattern: 'worker --queue=jobs'  # a regular expression on the command line, or
        pid_file: /run/payment.pid    # the process whose id is in this file, or
        port: 8080                    # whoever listens on this TCP port; what is given must all hold
      interpret: {healthy: count >= 3, warning: count >= 1, critical: count == 0}

``cpu_percent`` is measured over ``sample`` (100 % is one core). ``newest`` is the age of the youngest: a crash loop
shows there. What the rights of Quell's user do not let it see is missing, with the reason. Linux only. Source: proc(5).
Never does: signal a process, match Quell itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from quell import ports
from quell.errors import Permanent
from quell.plugins.checks import _patterns, _proc
from quell.plugins.checks._durations import Seconds
from quell.plugins.checks._threads import Pace, in_thread
from quell.ports import FactSpec, Missing, Observation, Probe, Reading

FACTS: Mapping[str, FactSpec] = {
    "count": "number", "running": "bool", "pids": "list<number>", "oldest": "duration:s", "newest": "duration:s",
    "cpu_percent": "percent:bare", "rss": "bytes", "rss_max": "bytes", "threads": "number", "open_files": "number",
    "open_files_percent": "percent:bare", "zombie_count": "number", "listening": "bool", "ports": "list<number>",
    "pid": "number", "program": "string", "age": "duration:s", "state": "string",
}  # fmt: skip
_OF_ONE = ("pid", "program", "age", "state")
_OF_SOME = ("oldest", "newest", "cpu_percent", "rss", "rss_max", "threads", "open_files", "open_files_percent", "ports")
_MAX_TARGETS = 200
_LONGEST_COMMAND = 4096


class Params(ports.Params):
    """At least one of ``name``, ``pattern``, ``pid_file``, ``port``."""

    name: str | None = Field(default=None, min_length=1, max_length=255)
    pattern: str | None = Field(default=None, min_length=1, max_length=1000)
    pid_file: Path | None = None
    port: int | None = Field(default=None, ge=1, le=65_535)
    sample: Annotated[Seconds, Field(le=30)] = 0.2
    """How long processor time is measured."""

    @field_validator("pattern")
    @classmethod
    def _cannot_run_away(cls, value: str | None) -> str | None:
        if value is not None:
            _patterns.compiled(value)
        return value

    @model_validator(mode="after")
    def _says_which(self) -> Params:
        if self.name is None and self.pattern is None and self.pid_file is None and self.port is None:
            raise ValueError("say which: name, pattern, pid_file or port")
        return self


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Permanent``: invalid (no /proc, a pid file without a number), denied (a pid file that is not ours)."""
    if not (_proc.PROC / "self" / "stat").exists():
        raise Permanent("process: this system has no /proc", "invalid")
    return await in_thread(_Look(params, probe).run, "process")


class _Look:
    """One look, in a thread: two samples with the time between them."""

    def __init__(self, params: Params, probe: Probe) -> None:
        self._params, self._now = params, probe.now
        self._listeners: dict[int, int] = {}
        self._hidden = 0

    def run(self, pace: Pace) -> Reading:
        self._listeners = _proc.listeners()
        found = self._matching(pace)
        alive = [one for one in found if not one.zombie]
        pace.sleep(self._params.sample if alive else 0)
        observations = [self._observed(one) for one in found]
        facts: dict[str, Any] = {
            "count": len(alive), "running": bool(alive), "pids": [one.pid for one in alive],
            "zombie_count": len(found) - len(alive),
        }  # fmt: skip
        missing: dict[str, Missing] = {}
        living = [one for one, process in zip(observations, found, strict=True) if not process.zombie]
        self._joined(living, facts, missing)
        self._listening(living, facts, missing)
        if len(living) == 1:
            facts |= {name: living[0].facts[name] for name in _OF_ONE}
        else:
            missing |= dict.fromkeys(_OF_ONE, Missing(f"{len(living)} processes: there is one for each target"))
        shown = self._params.model_dump(mode="json", exclude_none=True, exclude={"sample"})
        summary = f"{len(alive)} running" + (f", {facts['zombie_count']} zombies" if facts["zombie_count"] else "")
        return Reading(facts, _bounded(observations), missing, summary, self._now(), {"match": shown})

    def _matching(self, pace: Pace) -> list[_proc.Process]:
        params, candidates = self._params, _proc.pids()
        if params.pid_file is not None:
            wanted = _pid_in(params.pid_file)
            candidates = [pid for pid in candidates if pid == wanted]
        pattern = _patterns.compiled(params.pattern) if params.pattern is not None else None
        found = []
        for pid in candidates:
            pace.check()
            one = _proc.process(pid) if pid != os.getpid() else None
            if one is None or (params.name is not None and not _named(one, params.name)):
                continue
            if pattern is not None and not pattern.search(one.command[:_LONGEST_COMMAND]):
                continue
            if params.port is None or self._listens(pid, params.port):
                found.append(one)
        return sorted(found, key=lambda one: (-one.age_s, one.pid))

    def _listens(self, pid: int, port: int) -> bool:
        own = _proc.sockets(pid)
        if own is None:
            self._hidden += 1
            return False
        return any(self._listeners.get(inode) == port for inode in own)

    def _observed(self, first: _proc.Process) -> Observation:
        """One process, the second sample against the first."""
        again = _proc.process(first.pid)
        facts: dict[str, Any] = {
            "pid": first.pid, "program": first.name, "age": first.age_s, "state": first.state, "rss": first.rss,
            "threads": first.threads, "running": not first.zombie,
        }  # fmt: skip
        missing: dict[str, Missing] = {}
        if again is not None and again.started == first.started and again.age_s > first.age_s:
            facts["cpu_percent"] = 100 * (again.cpu_s - first.cpu_s) / (again.age_s - first.age_s)
        else:
            missing["cpu_percent"] = Missing("it ended between the samples")
        files, limit = _proc.open_files(first.pid), _proc.open_files_limit(first.pid)
        if files is None:
            missing |= dict.fromkeys(("open_files", "open_files_percent"), _not_ours(first.pid))
        else:
            facts["open_files"] = files
            if limit:
                facts["open_files_percent"] = 100 * files / limit
            else:
                missing["open_files_percent"] = Missing("it has no limit of open files")
        own = _proc.sockets(first.pid)
        if own is None:
            missing["ports"] = _not_ours(first.pid)
        else:
            facts["ports"] = sorted({self._listeners[inode] for inode in own if inode in self._listeners})
        return Observation(
            str(first.pid), facts, {"pid": str(first.pid), "program": first.name}, missing, first.command[:200]
        )

    @staticmethod
    def _joined(living: list[Observation], facts: dict[str, Any], missing: dict[str, Missing]) -> None:
        """Sums over all; of shares of a limit the highest. One that is missing makes the whole missing."""
        if not living:
            missing |= dict.fromkeys(_OF_SOME, Missing("no such process"))
            return
        ages = [one.facts["age"] for one in living]
        facts |= {
            "oldest": max(ages), "newest": min(ages), "rss_max": max(one.facts["rss"] for one in living),
            "rss": sum(one.facts["rss"] for one in living), "threads": sum(one.facts["threads"] for one in living),
        }  # fmt: skip
        for name, join in (("cpu_percent", sum), ("open_files", sum), ("open_files_percent", max), ("ports", _union)):
            reasons = [one.missing[name] for one in living if name in one.missing]
            if reasons:
                missing[name] = reasons[0]
            else:
                facts[name] = join([one.facts[name] for one in living])

    def _listening(self, living: list[Observation], facts: dict[str, Any], missing: dict[str, Missing]) -> None:
        port = self._params.port
        if port is None:
            if "ports" in facts:
                facts["listening"] = bool(facts["ports"])
            else:
                missing["listening"] = missing["ports"]
            return
        facts["listening"] = port in self._listeners.values()
        if facts["listening"] and not living and self._hidden:
            # Somebody listens, and it may be one of those that were not ours to look into.
            reason = Missing(f"port {port} belongs to a process that Quell's user may not look into", "denied")
            for name in ("count", "running", "pids", "zombie_count"):
                facts.pop(name, None)
                missing[name] = reason
            missing |= dict.fromkeys(_OF_SOME, reason)
            facts["zombie_count"] = 0


def _bounded(observations: list[Observation]) -> tuple[Observation, ...]:
    """The targets as far as they are shown; of the rest nothing is known, so that they do not pass for healthy."""
    rest = observations[_MAX_TARGETS:]
    if not rest:
        return tuple(observations)
    names = sorted({name for one in rest for name in (*one.facts, *one.missing)})
    why = Missing(f"more than {_MAX_TARGETS} processes match; say which more narrowly", "too_large")
    return (*observations[:_MAX_TARGETS], Observation(f"{len(rest)} more", {}, missing=dict.fromkeys(names, why)))


def _union(many: Iterable[list[int]]) -> list[int]:
    return sorted({port for some in many for port in some})


def _not_ours(pid: int) -> Missing:
    return Missing(f"Quell's user may not look into process {pid}", "denied")


def _named(one: _proc.Process, name: str) -> bool:
    """The kernel keeps 15 characters of a name; the command line has the whole."""
    return name in (one.name, os.path.basename(one.argv[0]) if one.argv else "")


def _pid_in(path: Path) -> int:
    """The process id in a file; 0, which no process has, when there is no file."""
    try:
        text = path.read_text()[:100].strip()
    except FileNotFoundError:
        return 0
    except (OSError, UnicodeDecodeError) as error:
        raise Permanent(f"{path}: {getattr(error, 'strerror', None) or 'not text'}", "denied") from None
    first = text.split()[0] if text else ""
    if not first.isdecimal():
        raise Permanent(f"{path}: holds no process id", "invalid")
    return int(first)
