"""A real HAProxy on loopback with its runtime socket at level admin.

Never adds a frontend or a backend: the test's text says them all.
"""

import socket
from collections.abc import Mapping
from pathlib import Path

from tests.servers.ports import LOOPBACK, free_port, listening
from tests.servers.process import Server, locate

_GLOBAL = """\
global
    stats socket "${FOLDER}/admin.sock" mode 600 level admin
    stats socket ipv4@${ADMIN} level admin
    stats timeout 30s

defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
    # Else a check that is not answered within its own interval counts as failed: on a busy machine, of a sound server.
    timeout check 5s

"""


class HAProxy(Server):
    """`sections` are the frontends and backends; `port` is free for them to bind: `bind 127.0.0.1:${PORT}`.

    `files` (name → text, certificates say) are written next to the configuration, where `"${FOLDER}/name"`
    finds them. The runtime API answers at `socket` and, over TCP, at `admin` (`host:port`).
    """

    def __init__(self, sections: str, *, files: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.admin = f"{LOOPBACK}:{free_port()}"
        self._sections = sections
        self._files = dict(files or {})

    @property
    def socket(self) -> Path:
        return self.folder / "admin.sock"

    def environment(self) -> dict[str, str]:
        return {"FOLDER": str(self.folder), "PORT": str(self.port), "ADMIN": self.admin}

    def prepare(self) -> None:
        (self.folder / "haproxy.cfg").write_text(_GLOBAL + self._sections)
        for name, text in self._files.items():
            (self.folder / name).write_text(text)

    def argv(self) -> list[str]:
        return [locate("haproxy", "haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg")]

    def ready(self) -> bool:
        return self.socket.exists() and listening(int(self.admin.partition(":")[2]))

    def command(self, line: str) -> str:
        """What the runtime API answers to one command, e.g. `set server app/one state drain`."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as runtime:
            runtime.settimeout(5)
            runtime.connect(str(self.socket))
            runtime.sendall(line.encode() + b"\n")
            answer = bytearray()
            while chunk := runtime.recv(65_536):
                answer += chunk
        return answer.decode().strip()

    def servers(self) -> dict[str, str]:
        """The state of every server by `backend/server`: `UP`, `DOWN`, `DRAIN`, `MAINT`, …"""
        header, *lines = self.command("show stat").splitlines()
        names = header.lstrip("# ").split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines if line]
        return {
            f"{row['pxname']}/{row['svname']}": row["status"]
            for row in rows
            if row["svname"] not in ("FRONTEND", "BACKEND")
        }
