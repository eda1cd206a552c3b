"""Room on the disk where Quell writes and where its runbooks lie: what fills up stops an incident in the middle.

Pure. Never does: look at a disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from quell.doctor.asked import Failure
from quell.doctor.judgement import Judgement, error, ok, warning

MIB, GIB = 1024**2, 1024**3
LEAST, LITTLE, LITTLE_SHARE, PLENTY = 100 * MIB, GIB, 0.05, 20 * GIB
FEW_FILES = 1000


@dataclass(frozen=True, slots=True)
class Room:
    """A folder and its disk. ``files``: how many more it takes, None where it does not count them."""

    exists: bool
    free: int
    total: int
    files: int | None = None
    writable: bool = True


def judge(looked_at: str, seen: Room | Failure, *, written: bool) -> Judgement:
    """``written``: Quell writes there; the runbooks are only read."""
    expected = f"at least {shown(LITTLE)} free"
    free_it = "free some of it, or move it to another disk"
    if isinstance(seen, Failure):
        return error("disk", looked_at, seen.words, expected, "look at the disk")
    if not seen.exists:
        return error("disk", looked_at, "there is no such folder", "a folder", "make it, or correct the path")
    if written and not seen.writable:
        advice = "give it to the user that runs Quell"
        return error("disk", looked_at, "this user may not write there", "a folder that Quell can write to", advice)
    found = f"{shown(seen.free)} of {shown(seen.total)} free"
    if seen.free < LEAST:
        judged = error if written else warning
        return judged("disk", looked_at, found, expected, free_it)
    if seen.files is not None and seen.files < FEW_FILES:
        found = f"room for {seen.files} more files only"
        return warning("disk", looked_at, found, f"room for {FEW_FILES} more files", "remove what has many small files")
    if seen.free < LITTLE or (seen.free < PLENTY and seen.free < LITTLE_SHARE * seen.total):
        return warning("disk", looked_at, found, f"{expected}, and 5 % of it", free_it)
    return ok("disk", looked_at, found)


def shown(size: int) -> str:
    """``1.5 GiB``, ``80 MiB``."""
    return f"{size / GIB:.1f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"
