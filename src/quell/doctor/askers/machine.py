"""This machine: its disks, what names lead to, the head of Quell's own SQLite file.

Never does: write a byte, open the database (that would leave files beside it).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterable
from pathlib import Path

from quell.doctor.asked import Failure, bounded
from quell.doctor.room import Room

_HEAD = b"SQLite format 3\x00"


async def room(folder: Path, timeout_s: float) -> Room | Failure:
    """In a thread: a disk of another machine may hang."""
    return await bounded(asyncio.to_thread(_room, folder), timeout_s)


def _room(folder: Path) -> Room:
    if not folder.is_dir():
        return Room(False, 0, 0)
    disk = os.statvfs(folder)
    files = disk.f_favail if disk.f_files else None
    writable = os.access(folder, os.W_OK | os.X_OK)
    return Room(True, disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize, files, writable)


async def sqlite_file(path: Path, timeout_s: float) -> str | Failure:
    """What is there: a database, nothing yet, or something else, which is a failure."""
    return await bounded(asyncio.to_thread(_sqlite_file, path), timeout_s)


def _sqlite_file(path: Path) -> str | Failure:
    if not path.exists():
        return "there is none yet; the first start makes it"
    if not path.is_file():
        return Failure("invalid", "it is no file")
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD))
    except PermissionError:
        return Failure("denied", "this user may not read it")
    if head and head != _HEAD:
        return Failure("invalid", "it is no SQLite database")
    if not os.access(path, os.W_OK):
        return Failure("denied", "this user may not write to it")
    return "a SQLite database"


async def resolved(hosts: Iterable[str], timeout_s: float) -> dict[str, frozenset[str]]:
    """Host → its addresses; one that leads nowhere is left out."""
    names = list(dict.fromkeys(hosts))
    found = await asyncio.gather(*(bounded(_addresses(name), timeout_s) for name in names))
    return {name: seen for name, seen in zip(names, found, strict=True) if not isinstance(seen, Failure)}


async def _addresses(host: str) -> frozenset[str]:
    told = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return frozenset(str(address[0]) for *_, address in told)
