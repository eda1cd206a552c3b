"""The shop of the acceptance test: three real replicas under supervisord, behind HAProxy, released as folders.

`Users` are what it is all for: they buy all the time, and every answer and every count of replicas is kept. Never
retries for a user: what fails once has failed.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.servers.haproxy import HAProxy
from tests.servers.ports import free_port
from tests.servers.process import wait_until
from tests.servers.supervisord import Supervisord

PROGRAMS = Path(__file__).parent / "programs"
REPLICAS = ("shop-1", "shop-2", "shop-3")
CURRENCIES = ("EUR", "USD", "JPY")


@dataclass(frozen=True)
class Shop:
    folder: Path
    ports: tuple[int, ...]
    supervisord: Supervisord
    haproxy: HAProxy
    metrics: str

    @property
    def current(self) -> Path:
        return self.folder / "current"

    def release(self, version: str) -> Path:
        """Put a release beside the others; nothing runs it yet."""
        folder = self.folder / "releases" / version
        folder.mkdir(parents=True)
        shutil.copy(PROGRAMS / "shop.py", folder)
        shutil.copy(PROGRAMS / f"pricing_{version}.py", folder / "pricing.py")
        (folder / "RELEASE.json").write_text(
            json.dumps({"version": version, "migrations_reversible": True, "by": "ci"})
        )
        return folder

    def deploy(self, version: str) -> None:
        """As the people who deploy do it: the link, then one replica after another, drained."""
        fresh = self.current.with_name("fresh")
        fresh.symlink_to(self.release(version))
        fresh.replace(self.current)
        for name, port in zip(REPLICAS, self.ports, strict=True):
            self._replace(name, port, version)

    def _replace(self, name: str, port: int, version: str) -> None:
        self.haproxy.command(f"set server shop/{name} state drain")
        wait_until(lambda: self.sessions(name) == 0, f"{name} drained", 10)
        self.supervisord.call("supervisor.stopProcess", f"shop:{name}")
        self.supervisord.call("supervisor.startProcess", f"shop:{name}")
        wait_until(lambda: version_at(port) == version, f"{name} on {version}", 10)
        self.haproxy.command(f"set server shop/{name} state ready")
        wait_until(lambda: self.haproxy.servers()[f"shop/{name}"].startswith("UP"), f"{name} up", 10)

    def sessions(self, name: str) -> int:
        header, *lines = self.haproxy.command("show stat").splitlines()
        names = header.lstrip("# ").split(",")
        rows = (dict(zip(names, line.split(","), strict=False)) for line in lines if line)
        return next(int(row["scur"]) for row in rows if row["svname"] == name)

    def versions(self) -> list[str]:
        """What each replica runs."""
        return [version_at(port) for port in self.ports]


def version_at(port: int) -> str:
    """What the replica at this port runs; nothing when it does not answer."""
    try:
        return str(httpx.get(f"http://127.0.0.1:{port}/health", timeout=2).json()["version"])
    except httpx.HTTPError:
        return ""


@dataclass
class Users:
    """People who buy, one after another in three currencies, and a look at HAProxy every few milliseconds."""

    shop: Shop
    answers: list[tuple[float, int]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    up: list[tuple[float, int]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Users:
        self._threads = [threading.Thread(target=work) for work in (self._buy, self._buy, self._watch)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _buy(self) -> None:
        with httpx.Client(base_url=self.shop.haproxy.url, timeout=5) as client:
            number = 0
            while not self._stop.wait(0.005):
                number += 1
                try:
                    answer = client.get("/buy", params={"currency": CURRENCIES[number % len(CURRENCIES)]})
                    self.answers.append((time.time(), answer.status_code))
                except httpx.HTTPError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            states = self.shop.haproxy.servers()
            # `UP 1/2` is a server that has just failed a check and still gets users.
            self.up.append((time.time(), sum(states[f"shop/{name}"].startswith("UP") for name in REPLICAS)))

    def statuses(self, since: float, until: float) -> Counter[int]:
        return Counter(status for at, status in self.answers if since <= at <= until)

    def counts(self, since: float, until: float) -> Counter[int]:
        """How often how many replicas took users."""
        return Counter(up for at, up in self.up if since <= at <= until)


@contextlib.contextmanager
def shop(folder: Path) -> Iterator[Shop]:
    """Started, v1 released and every replica up; all gone afterwards."""
    ports, metrics = tuple(free_port() for _ in REPLICAS), free_port()
    program: dict[str, str | int] = {
        "command": f"{sys.executable} {folder}/current/shop.py {','.join(map(str, ports))} %(process_num)d",
        "numprocs": 3, "numprocs_start": 1, "process_name": "shop-%(process_num)d", "stopasgroup": "false",
        "stopwaitsecs": 5, "environment": "PYTHONDONTWRITEBYTECODE=1", "autostart": "false",
    }  # fmt: skip
    servers = "\n".join(
        f"    server {name} 127.0.0.1:{port} check inter 100 fall 2 rise 1"
        for name, port in zip(REPLICAS, ports, strict=True)
    )
    sections = f"""\
frontend users
    bind 127.0.0.1:${{PORT}}
    default_backend shop

frontend metrics
    bind 127.0.0.1:{metrics}
    http-request use-service prometheus-exporter if {{ path /metrics }}

backend shop
    option httpchk GET /health
    retries 0
{servers}
"""
    with Supervisord({"shop": program}) as supervisord, HAProxy(sections) as haproxy:
        made = Shop(folder, ports, supervisord, haproxy, f"127.0.0.1:{metrics}")
        made.current.symlink_to(made.release("v1"))
        supervisord.call("supervisor.startProcessGroup", "shop")
        wait_until(lambda: set(haproxy.servers().values()) == {"UP"}, "the replicas", 15)
        yield made
