"""The key by which the commands of whoever runs a server reach it: a file that only its owner can read.

A server on this machine writes a new one at each start and takes it away at its end, so a key that somebody caught is
of no use to them afterwards. It lies in ``$XDG_STATE_HOME/quell``, by the address that it is for: one place, whatever
folder or session a command is given in. Never does: read a file that others could have written or read.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import stat
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
LOOPBACK = frozenset({"127.0.0.1", "::1"})
DEFAULT_PORTS = {"http": 80, "https": 443}
MOST_BYTES = 200


def owner() -> str:
    """Who runs this process, empty where nobody knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user in a container
        return ""


def folder() -> Path:
    # An empty or relative value counts for nothing (XDG Base Directory Specification).
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state") / "quell"


def path_for(address: str) -> Path | None:
    """Where the key of a server at ``http://127.0.0.1:8470`` lies; None for one that is not on this machine.

    The machine is a part of its name: homes are shared.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    host = _ANY.get(host, host)
    if host not in LOOPBACK:
        return None
    port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    machine = re.sub(r"[^0-9A-Za-z.-]", "-", socket.gethostname())
    with contextlib.suppress(RuntimeError):  # nobody's home
        return folder() / f"{machine}_{host.replace(':', '.')}_{port}.key"
    return None


def write(address: str, key: str) -> Path | None:
    """The key of the server that listens there, in one piece. Raises ``OSError``; None beyond loopback."""
    if (path := path_for(address)) is None:
        return None
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent)  # 0600 from its first moment on
    try:
        with os.fdopen(number, "w") as file:
            file.write(key + "\n")
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return path


def remove(path: Path, key: str) -> None:
    """Unless another server has put its own there since."""
    with contextlib.suppress(OSError):
        if _text(path) == key:
            path.unlink()


def read(address: str) -> str:
    """The key for a server, empty when there is none that can be trusted."""
    path = path_for(address)
    if path is None:
        return ""
    try:
        return _text(path)
    except (OSError, UnicodeDecodeError):
        return ""


def _text(path: Path) -> str:
    """Empty when it is not a file of ours that nobody else may read. Raises ``OSError``."""
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number) as file:
        known = os.fstat(number)
        ours = stat.S_ISREG(known.st_mode) and known.st_uid == os.getuid() and not known.st_mode & 0o077
        return file.read(MOST_BYTES).strip() if ours else ""
