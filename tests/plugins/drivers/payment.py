"""The payment service of these tests: three real replicas under a real supervisord, behind a real HAProxy.

Never replaces a part by a stand-in.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from quell.incident.service import DriverChoice, Service
from tests.servers.haproxy import HAProxy
from tests.servers.ports import free_port
from tests.servers.supervisord import Supervisord

NAMES = ("payment-1", "payment-2", "payment-3")
PASSWORD_VARIABLE = "QUELL_TEST_SUPERVISOR_PASSWORD"


@dataclass(frozen=True)
class Payment:
    folder: Path
    ports: tuple[int, ...]
    supervisord: Supervisord
    haproxy: HAProxy

    @property
    def supervisord_choice(self) -> dict[str, object]:
        return {
            "type": "supervisord",
            "url": f"http://{self.supervisord.address}",
            "username": self.supervisord.username,
            "password": f"env:{PASSWORD_VARIABLE}",
            "group": "payment",
            "health": {name: f"http://127.0.0.1:{port}/health" for name, port in zip(NAMES, self.ports, strict=True)},
        }

    @property
    def haproxy_choice(self) -> dict[str, object]:
        return {"type": "haproxy", "socket": str(self.haproxy.socket), "backend": "payment", "drain_within": "5s"}

    @property
    def releases_choice(self) -> dict[str, object]:
        return {"type": "releases", "path": str(self.folder / "releases"), "current": str(self.folder / "current")}

    def service(self, *choices: dict[str, object]) -> Service:
        kinds = choices or (self.supervisord_choice, self.haproxy_choice, self.releases_choice)
        return Service(name="payment", drivers=tuple(DriverChoice.model_validate(choice) for choice in kinds))


def make_release(folder: Path, version: str) -> Path:
    release = folder / "releases" / version
    release.mkdir(parents=True)
    (release / "VERSION").write_text(version)
    return release


@contextlib.contextmanager
def payment(folder: Path, *, startup_s: float = 0.0, version: str = "v1") -> Iterator[Payment]:
    """Started, with release ``version`` current and every replica ready; all gone afterwards."""
    (folder / "current").symlink_to(make_release(folder, version))
    ports = tuple(free_port() for _ in NAMES)
    command = (
        f"{sys.executable} {Path(__file__).with_name('replica.py')} {','.join(map(str, ports))} "
        f"%(process_num)d {folder}/current/VERSION {startup_s}"
    )
    program = {
        "command": command, "numprocs": 3, "numprocs_start": 1, "process_name": "payment-%(process_num)d",
        "startsecs": 0, "stopasgroup": "false", "stopwaitsecs": 5,
    }  # fmt: skip
    servers = "\n".join(
        f"    server {name} 127.0.0.1:{port} check inter 50 fall 2 rise 1"
        for name, port in zip(NAMES, ports, strict=True)
    )
    sections = f"""\
frontend in
    bind 127.0.0.1:${{PORT}}
    default_backend payment

backend payment
    option httpchk GET /health
{servers}
"""
    with Supervisord({"payment": program}) as supervisord, HAProxy(sections) as haproxy:
        yield Payment(folder, ports, supervisord, haproxy)
