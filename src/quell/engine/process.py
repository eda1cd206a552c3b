"""Whether a process that once ran here is gone for sure: neither a reused id nor another container deceives.

``machine()`` names this boot and the namespaces that ids and start times are told in: only where both processes name
the same one does an id mean the same. What cannot be read is empty, and then nobody is declared gone.
Never does: guess, signal a process.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
_ENDED = "ZX"
"""States of a process that only waits to be reaped."""


def machine(proc: Path = PROC) -> str:
    """This boot of this kernel, and our namespaces of process ids and of time; empty where one is not told."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        pids = os.readlink(proc / "self/ns/pid")
    except OSError:
        return ""
    try:
        clock = os.readlink(proc / "self/ns/time")
    except OSError:  # a kernel that has none tells everybody the same time
        clock = ""
    return f"{boot} {pids} {clock}".strip() if boot and pids else ""


def born(pid: int, proc: Path = PROC) -> str | None:
    """When a process began, in ticks of its machine; "" when it has ended and was not reaped, None when not told."""
    try:
        # The name before the last parenthesis may itself hold spaces and parentheses.
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "" if fields[0] in _ENDED else fields[19]


def is_gone(pid: int, was_born: str, proc: Path = PROC) -> bool:
    """Whether the process ``pid`` of this machine that began then has ended. False when in doubt."""
    if pid <= 0 or not was_born:
        return False
    try:
        os.kill(pid, 0)  # asks only; unlike the files of /proc it cannot be hidden from us
    except ProcessLookupError:
        return True
    except OSError:
        pass  # somebody else's, so it is there
    now = born(pid, proc)
    return now is not None and now != was_born
