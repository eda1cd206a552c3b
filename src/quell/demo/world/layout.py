"""Where everything of the world lies: ports, paths, and the files laid down before anything starts.

Release directories are written here too: `deploy` makes one, `activate` points ``current`` at it with one rename.
Never writes outside the folder it was given, and starts nothing.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from quell.demo.world.programs import ledger

PROGRAMS = Path(__file__).parent / "programs"
REPLICAS = ("payment-1", "payment-2", "payment-3")
GOOD_RELEASE = "v1"
GOOD_RELEASE_AGE_S = 6 * 86_400
PORT_RANGE = range(18_000, 32_000)
"""Below every kernel's ephemeral range: an outgoing connection must not take the port of a replica that restarts."""
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports. ``replicas`` is in the order of `REPLICAS`."""

    supervisor: int
    balancer: int
    load: int
    metrics: int
    bank: int
    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one world, all below ``root``."""

    root: Path

    @property
    def releases(self) -> Path:
        """One folder per release."""
        return self.root / "releases"

    @property
    def current(self) -> Path:
        """The link to the release that replicas start from."""
        return self.root / "current"

    @property
    def config(self) -> Path:
        """Shared configuration of the payment service, read at its start."""
        return self.root / "shared" / "config.json"

    @property
    def last_good_config(self) -> Path:
        """The last configuration that worked."""
        return self.root / "shared" / "config.json.last-good"

    @property
    def flags(self) -> Path:
        """Feature flags; the service reads them again when they change."""
        return self.root / "shared" / "flags.json"

    @property
    def ledger(self) -> Path:
        """The SQLite ledger."""
        return self.root / "data" / "ledger.sqlite3"

    @property
    def report(self) -> Path:
        """Where the nightly report writes its result."""
        return self.root / "data" / "daily.csv"

    @property
    def logs(self) -> Path:
        """``payment.jsonl`` and ``nightly-report.jsonl``, and the raw output of every program (``*.out``)."""
        return self.root / "logs"

    @property
    def payment_log(self) -> Path:
        """The structured log of all replicas."""
        return self.logs / "payment.jsonl"

    @property
    def report_log(self) -> Path:
        """The structured log of the nightly report."""
        return self.logs / "nightly-report.jsonl"


def choose_ports() -> Ports:
    """Free ports, all different; free now, which is not a promise."""
    chosen: list[int] = []
    held: list[socket.socket] = []
    candidates = random.sample(PORT_RANGE, 500)
    try:
        while len(chosen) < 5 + len(REPLICAS):
            port = candidates.pop()
            try:
                held.append(socket.create_server((HOST, port)))
            except OSError:
                continue
            chosen.append(port)
    finally:
        for listener in held:
            listener.close()
    supervisor, balancer, load, metrics, bank, *replicas = chosen
    return Ports(supervisor, balancer, load, metrics, bank, tuple(replicas))


def write_json(path: Path, value: object) -> None:
    """Replace a file by one rename, so that a reader sees the old or the new."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(json.dumps(value, indent=2) + "\n")
    fresh.replace(path)


def deploy(layout: Layout, version: str, *, age_s: float = 0.0) -> Path:
    """Write the release directory of a version that this package has (v1, v2, v3); nothing uses it yet."""
    folder = layout.releases / version
    folder.mkdir(parents=True)
    shutil.copyfile(PROGRAMS / "payment.py", folder / "service.py")
    shutil.copyfile(PROGRAMS / f"pricing_{version}.py", folder / "pricing.py")
    for neighbour in ("ledger.py", "wire.py"):
        shutil.copyfile(PROGRAMS / neighbour, folder / neighbour)
    write_json(
        folder / "config.json", {"pool_size": 10, "pool_wait_s": 0.2, "ledger_busy_s": 0.25, "bank_timeout_s": 0.5}
    )
    at = time.time() - age_s
    deployed_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    note = {"version": version, "deployed_at": deployed_at, "migrations_reversible": True}
    write_json(folder / "RELEASE.json", note)
    os.utime(folder, (at, at))
    return folder


def activate(layout: Layout, version: str, *, age_s: float = 0.0) -> None:
    """Point ``current`` at a release; replicas that run stay on theirs until they restart."""
    fresh = layout.root / ".current.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("releases") / version)
    at = time.time() - age_s
    os.utime(fresh, (at, at), follow_symlinks=False)
    fresh.replace(layout.current)


def lay_down(layout: Layout, ports: Ports) -> None:
    """Everything on disk that the processes expect. ``FileExistsError`` when the folder is not empty."""
    layout.root.mkdir(parents=True, exist_ok=True)
    if any(layout.root.iterdir()):
        raise FileExistsError(f"{layout.root} is not empty")
    for folder in (layout.releases, layout.config.parent, layout.ledger.parent, layout.logs):
        folder.mkdir()
    ledger.create(str(layout.ledger))
    shared = {
        "region": "local",
        "bank_port": ports.bank,
        "ledger": str(layout.ledger),
        "flags": str(layout.flags),
    }
    write_json(layout.config, shared)
    shutil.copyfile(layout.config, layout.last_good_config)
    write_json(layout.flags, {"bank_breaker": False})
    deploy(layout, GOOD_RELEASE, age_s=GOOD_RELEASE_AGE_S)
    activate(layout, GOOD_RELEASE, age_s=GOOD_RELEASE_AGE_S)
