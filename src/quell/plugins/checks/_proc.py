"""What Linux tells of processes and mounts in /proc: read, parsed, bounded.

Source: proc(5). A process that ends while it is looked at is no error: it is left out.
Never does: read another process's environment or memory.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_LISTEN = "0A"
_MAX_CMDLINE = 32_768
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Process:
    """One process. ``started`` in clock ticks since boot, with the pid what names it; ``cpu_s`` used so far."""

    pid: int
    name: str
    state: str
    parent: int
    argv: tuple[str, ...]
    started: int
    age_s: float
    cpu_s: float
    threads: int
    rss: int

    @property
    def command(self) -> str:
        return " ".join(self.argv) or self.name

    @property
    def zombie(self) -> bool:
        return self.state in "ZX"


def pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdecimal()]


def process(pid: int) -> Process | None:
    """None when it is not there any more."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
        with (PROC / str(pid) / "cmdline").open("rb") as file:
            cmdline = file.read(_MAX_CMDLINE)
        uptime = float((PROC / "uptime").read_text().split()[0])
    except OSError:
        return None
    # The name stands in parentheses and may hold any character, parentheses too.
    head, _, tail = text.rpartition(")")
    rest = tail.split()
    started = int(rest[19])
    return Process(
        pid=pid, name=head.partition("(")[2], state=rest[0], parent=int(rest[1]),
        argv=tuple(part.decode(errors="replace") for part in cmdline.rstrip(b"\0").split(b"\0") if part),
        started=started, age_s=max(0.0, uptime - started / _TICKS), cpu_s=(int(rest[11]) + int(rest[12])) / _TICKS,
        threads=int(rest[17]), rss=int(rest[21]) * _PAGE,
    )  # fmt: skip


def open_files(pid: int) -> int | None:
    """None when it may not be asked."""
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))
    except OSError:
        return None


def open_files_limit(pid: int) -> int | None:
    """The soft limit; None when unlimited or it may not be asked."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "limits").read_text().splitlines():
            if line.startswith("Max open files"):
                soft = line.split()[3]
                return int(soft) if soft.isdecimal() else None
    return None


def sockets(pid: int) -> set[int] | None:
    """The inodes of its sockets; None when it may not be asked."""
    found = set()
    try:
        for entry in os.scandir(PROC / str(pid) / "fd"):
            with suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    except OSError:
        return None
    return found


def listeners() -> dict[int, int]:
    """The TCP sockets that accept connections: inode → port, IPv4 and IPv6."""
    found = {}
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if len(fields) > 9 and fields[3] == _LISTEN:
                    found[int(fields[9])] = int(fields[1].rpartition(":")[2], 16)
    return found


@dataclass(frozen=True, slots=True)
class DeletedFile:
    """An open file that has no name any more, by device and inode."""

    device: int
    inode: int
    size: int


def deleted_files(pid: int) -> Iterator[DeletedFile]:
    """What it holds open though deleted. Raises PermissionError when it may not be asked."""
    with os.scandir(PROC / str(pid) / "fd") as entries:
        for entry in entries:
            with suppress(OSError):
                found = os.stat(entry.path)
                if found.st_nlink == 0 and stat.S_ISREG(found.st_mode):
                    yield DeletedFile(found.st_dev, found.st_ino, found.st_blocks * 512)


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a file system is mounted, and what it is."""

    point: str
    kind: str
    source: str


def mount_of(path: Path) -> Mount | None:
    """The mount that ``path`` lies on: the longest mount point above it, the newest where one covers another."""
    best: Mount | None = None
    with suppress(OSError):
        for line in (PROC / "self" / "mountinfo").read_text().splitlines():
            fields = line.split()
            tail = fields[fields.index("-") + 1 :]
            point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            above = path == Path(point) or Path(point) in path.parents
            if above and (best is None or len(point) >= len(best.point)):
                best = Mount(point, tail[0], tail[1])
    return best
