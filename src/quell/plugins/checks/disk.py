"""Look at the file systems that paths of this host lie on: space, inodes, and what is deleted but still open.

    - id: space
      type: disk
      config:
        paths: [/var/log, /data]
        largest: /var/log/**/*.log      # optional: the biggest files that fit
      interpret: {healthy: used_percent < 80%, warning: used_percent >= 80%, critical: used_percent >= 95%}

Deleting a file that a process holds open frees nothing: ``deleted_holders`` names those processes, largest first, and
``deleted_bytes`` what ending them would free. Processes that may not be looked into are counted in ``unreadable``;
with some of those, ``deleted_bytes`` is the least it can be. ``used_percent`` is what df(1) shows: of the space that
users may have. With several paths the facts of the whole are those of the fullest.
Never does: follow a link out of the glob's folder, cross into another file system, delete.
"""

from __future__ import annotations

import heapq
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, Field, field_validator

from quell import ports
from quell.errors import Permanent
from quell.plugins.checks import _proc
from quell.plugins.checks._threads import Pace, in_thread
from quell.ports import FactSpec, Missing, Observation, Probe, Reading

_HOLDER: Mapping[str, FactSpec] = {"pid": "number", "program": "string", "bytes": "bytes", "files": "number"}
_FILE: Mapping[str, FactSpec] = {"path": "string", "bytes": "bytes", "age": "duration:s"}
FACTS: Mapping[str, Any] = {
    "used_percent": "percent:bare", "used": "bytes", "free": "bytes", "total": "bytes",
    "inodes_percent": "percent:bare", "inodes_free": "number", "mount": "string", "filesystem": "string",
    "device": "string", "read_only": "bool", "deleted_holders": [_HOLDER], "deleted_bytes": "bytes",
    "unreadable": "number", "largest": [_FILE], "largest_bytes": "bytes", "path": "string", "duration": "duration:ms",
}  # fmt: skip

_MAGIC = re.compile(r"[*?\[]")
_SHOWN = 20


class Params(ports.Params):
    """``paths`` (or ``path``) are absolute. ``max_files`` bounds the walk for ``largest``."""

    paths: tuple[Path, ...] = Field(
        default=(Path("/"),), min_length=1, max_length=50, validation_alias=AliasChoices("paths", "path")
    )
    holders: bool = True
    """Look for processes that hold deleted files open."""
    largest: str | None = Field(default=None, max_length=1000)
    top: int = Field(default=10, ge=1, le=100)
    """How many of the largest files to name."""
    max_files: int = Field(default=50_000, ge=1, le=1_000_000)

    @field_validator("paths", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("paths")
    @classmethod
    def _absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if relative := [str(path) for path in value if not path.is_absolute()]:
            raise ValueError(f"{relative[0]!r} is not an absolute path")
        return value

    @field_validator("largest")
    @classmethod
    def _anchored(cls, value: str | None) -> str | None:
        if value is not None and (not value.startswith("/") or ".." in value.split("/")):
            raise ValueError("a glob is absolute and has no '..'")
        return value


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Permanent`` (missing, denied) for a path that is not there or may not be looked at."""
    observations = [await in_thread(_Look(params, path).run, "disk") for path in params.paths]
    worst = max(observations, key=lambda one: one.facts.get("used_percent", 0.0))
    return Reading(
        worst.facts, tuple(observations), worst.missing, "; ".join(one.summary for one in observations),
        probe.now(), {"paths": [str(path) for path in params.paths], "largest": params.largest},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Look:
    """The look at one path, in a thread: a dead mount never answers."""

    params: Params
    path: Path

    def run(self, pace: Pace) -> Observation:
        started = time.monotonic()
        try:
            place = self.path.resolve(strict=True)
            space, device = os.statvfs(place), place.stat().st_dev
        except OSError as error:
            kind = "denied" if isinstance(error, PermissionError) else "missing"
            raise Permanent(f"{self.path}: {error.strerror}", kind) from None
        facts: dict[str, Any] = {"path": str(self.path)}
        missing: dict[str, Missing] = {}
        _space(space, facts, missing)
        _mount(place, facts, missing)
        self._deleted(device, pace, facts, missing)
        self._largest(pace, facts, missing)
        facts["duration"] = time.monotonic() - started
        return Observation(str(self.path), facts, {"path": str(self.path)}, missing, _summary(facts))

    def _deleted(self, device: int, pace: Pace, facts: dict[str, Any], missing: dict[str, Missing]) -> None:
        names = ("deleted_holders", "deleted_bytes", "unreadable")
        if not self.params.holders or not _proc.PROC.joinpath("self").exists():
            reason = "not asked for" if not self.params.holders else "this system has no /proc"
            missing |= dict.fromkeys(names, Missing(reason))
            return
        holders: list[dict[str, Any]] = []
        files: dict[int, int] = {}
        unreadable = 0
        for pid in _proc.pids():
            pace.check()
            try:
                held = {one.inode: one.size for one in _proc.deleted_files(pid) if one.device == device}
            except PermissionError:
                unreadable += 1
                continue
            except OSError:
                continue  # it ended meanwhile
            found = _proc.process(pid) if held else None
            if found is not None:
                files |= held
                size = sum(held.values())
                holders.append({"pid": pid, "program": found.name, "bytes": size, "files": len(held)})
        holders.sort(key=lambda one: -one["bytes"])
        # One file that several processes hold is freed once.
        facts |= dict(zip(names, (holders[:_SHOWN], sum(files.values()), unreadable), strict=True))

    def _largest(self, pace: Pace, facts: dict[str, Any], missing: dict[str, Missing]) -> None:
        if self.params.largest is None:
            missing |= dict.fromkeys(("largest", "largest_bytes"), Missing("no glob is given"))
            return
        total, best = 0, []
        for seen, (path, found) in enumerate(_fits(self.params.largest, pace), start=1):
            if seen > self.params.max_files:
                missing["largest_bytes"] = Missing(f"more than {self.params.max_files} files", "too_large")
                break
            total += found.st_blocks * 512
            best.append((found.st_blocks * 512, path, found.st_mtime))
            if len(best) > 10 * self.params.top:
                best = heapq.nlargest(self.params.top, best)
        now = time.time()
        facts["largest"] = [
            {"path": path, "bytes": size, "age": max(0.0, now - changed)}
            for size, path, changed in heapq.nlargest(self.params.top, best)
        ]
        if "largest_bytes" not in missing:
            facts["largest_bytes"] = total


def _space(space: os.statvfs_result, facts: dict[str, Any], missing: dict[str, Missing]) -> None:
    unit = space.f_frsize
    used = (space.f_blocks - space.f_bfree) * unit
    facts |= {
        "used": used, "free": space.f_bavail * unit, "total": space.f_blocks * unit,
        "read_only": bool(space.f_flag & os.ST_RDONLY),
    }  # fmt: skip
    if used + facts["free"]:
        facts["used_percent"] = 100 * used / (used + facts["free"])
    else:
        missing["used_percent"] = Missing("the file system has no size of its own")
    if space.f_files:
        facts["inodes_percent"] = 100 * (space.f_files - space.f_ffree) / space.f_files
        facts["inodes_free"] = space.f_favail
    else:
        missing |= dict.fromkeys(("inodes_percent", "inodes_free"), Missing("the file system does not count inodes"))


def _mount(place: Path, facts: dict[str, Any], missing: dict[str, Missing]) -> None:
    mount = _proc.mount_of(place)
    if mount is None:
        missing |= dict.fromkeys(("mount", "filesystem", "device"), Missing("the mount table cannot be read"))
    else:
        facts |= {"mount": mount.point, "filesystem": mount.kind, "device": mount.source}


def _fits(pattern: str, pace: Pace) -> Iterator[tuple[str, os.stat_result]]:
    """The regular files of one file system that fit the glob; ``**`` spans folders."""
    plain = _MAGIC.split(pattern)[0]
    base = plain if plain == pattern else plain.rpartition("/")[0] or "/"
    wanted, deepest = re.compile(_regex(pattern)), None if "**" in pattern else pattern.count("/")
    try:
        device = os.stat(base).st_dev
    except OSError:
        return
    folders = [base] if os.path.isdir(base) else []
    if not folders and wanted.fullmatch(base):
        yield base, os.lstat(base)
    while folders:
        pace.check()
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue  # not ours to read, or gone
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    if found.st_dev == device and (deepest is None or entry.path.count("/") < deepest):
                        folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and wanted.fullmatch(entry.path):
                    yield entry.path, found
            except OSError:
                continue


def _regex(pattern: str) -> str:
    """``*`` and ``?`` stay within a name, ``**/`` is any number of folders, ``[…]`` a class."""
    words = {"**/": "(?:.*/)?", "**": ".*", "?": "[^/]"}
    parts = [part for part in re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]/]*\]|/)", pattern) if part]
    made, open_star = [], False
    for place, part in enumerate(parts):
        if part == "*":
            # The first fit is as good as any while another star of the same name follows: then it is never tried again.
            rest = parts[place + 1 :]
            ends = next((one for one in rest if one in ("*", "**", "**/", "/")), "")
            made.append((")" if open_star else "") + ("(?>[^/]*?" if ends == "*" else "[^/]*"))
            open_star = ends == "*"
        elif len(part) > 2 and part[0] == "[":
            made.append(f"[{'^' if part[1] == '!' else ''}{_class(part)}]")
        else:
            made.append(words.get(part) or re.escape(part))
    return "".join(made)


def _class(part: str) -> str:
    return part[1:-1].removeprefix("!").replace("\\", r"\\").replace("]", r"\]").replace("^", r"\^").replace("[", r"\[")


def _summary(facts: Mapping[str, Any]) -> str:
    used = f"{facts['used_percent']:.1f} % used" if "used_percent" in facts else "no size"
    deleted = f", {facts['deleted_bytes']} bytes deleted but held" if facts.get("deleted_bytes") else ""
    read_only = ", read only" if facts["read_only"] else ""
    return f"{facts['path']}: {used}{deleted}{read_only}"
