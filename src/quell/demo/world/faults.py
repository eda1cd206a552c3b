"""The six faults, really injected, and the way back to a clean world between them.

Each is something that happens: a release with a bug, readers who hang up, a batch job stuck in its transaction, a
half-written configuration, a bank that is gone. Nothing here repairs a fault the way Quell would; `reset` is for
the time between two faults.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from quell.demo.world.layout import GOOD_RELEASE, GOOD_RELEASE_AGE_S, HOST, REPLICAS, activate, deploy, write_json
from quell.demo.world.programs.metrics import parse_page
from quell.demo.world.programs.wire import Client
from quell.demo.world.world import World
from quell.errors import NotFound

HEALTHY_WITHIN_S = 5.0
HANG_UP = struct.pack("ii", 1, 0)
"""SO_LINGER of zero seconds: closing sends a reset, as a phone that lost its network does."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``alerts`` are those it raises, the first one first; ``repair`` is what puts it right."""

    name: str
    title: str
    describe: str
    alerts: tuple[str, ...]
    repair: str
    break_it: Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Injection:
    """When the injection began and was complete (unix seconds)."""

    fault: Fault
    began_at: float
    done_at: float


def inject(world: World, name: str) -> Injection:
    """Break the world. `NotFound` for a fault that does not exist."""
    fault = FAULTS.get(name)
    if fault is None:
        raise NotFound("fault", name)
    began = time.time()
    fault.break_it(world)
    return Injection(fault, began, time.time())


def replica_page(world: World, name: str) -> dict[str, float] | None:
    """The metrics of one replica; None when it does not answer."""
    client = Client(world.ports.replicas[REPLICAS.index(name)], 1.0)
    try:
        return parse_page(client.ask("GET", "/metrics")[1].decode())
    except OSError:
        return None
    finally:
        client.close()


def _answers(world: World, name: str) -> bool:
    return replica_page(world, name) is not None


def open_report_runs(world: World) -> int:
    """How many runs of the nightly report have begun and not ended."""
    connection = sqlite3.connect(f"file:{world.layout.ledger}?mode=ro", uri=True, timeout=1.0)
    try:
        count: int = connection.execute("SELECT COUNT(*) FROM batch_runs WHERE finished_at IS NULL").fetchone()[0]
        return count
    finally:
        connection.close()


def roll(world: World, names: tuple[str, ...] = REPLICAS) -> None:
    """Restart replicas one by one, each answering before the next, as a deployment does."""
    supervisor = world.supervisor.supervisor
    for name in names:
        info: Any = supervisor.getProcessInfo(f"payment:{name}")
        if info["statename"] in ("RUNNING", "STARTING", "BACKOFF"):
            supervisor.stopProcess(f"payment:{name}")
        supervisor.startProcess(f"payment:{name}", False)
        world.wait_until(partial(_answers, world, name), f"{name} answers", HEALTHY_WITHIN_S)


def _ship(world: World, version: str) -> None:
    deploy(world.layout, version)
    activate(world.layout, version)
    roll(world)


def _leak(world: World) -> None:
    """Readers of the live feed come and lose their network, until no connection is left anywhere."""
    for name, port in zip(REPLICAS, world.ports.replicas, strict=True):
        page = replica_page(world, name) or {}
        readers = []
        for _ in range(int(page.get("payment_pool_size", 0))):
            reader = socket.create_connection((HOST, port), 2.0)
            reader.sendall(b"GET /feed HTTP/1.1\r\nHost: payment\r\n\r\n")
            readers.append(reader)
        for reader in readers:
            reader.recv(1)  # the feed has begun, so the replica has taken a connection for it
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HANG_UP)
            reader.close()


def _hold_lock(world: World) -> None:
    """The night's run starts, and nobody reads the pipe that its result goes to."""
    world.layout.report.unlink(missing_ok=True)
    os.mkfifo(world.layout.report, 0o600)
    world.supervisor.supervisor.signalProcess("nightly-report", "SIGUSR1")
    world.wait_until(lambda: open_report_runs(world) > 0, "the report has begun", HEALTHY_WITHIN_S)


def _break_config(world: World) -> None:
    """A push of the configuration that was cut off half-way, and the restart that goes with a push."""
    text = world.layout.config.read_text()
    fresh = world.layout.config.with_name(".config.json.new")
    fresh.write_text(text[: len(text) // 2])
    fresh.replace(world.layout.config)
    supervisor = world.supervisor.supervisor
    supervisor.stopProcessGroup("payment")
    supervisor.startProcessGroup("payment", False)


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "bad_deploy_5xx",
            "A bad deploy returns 5xx",
            "Release v2 is rolled out. It knows fees for three currencies; payments in CHF and JPY fail with 500.",
            ("PaymentErrorsHigh",),
            "roll back to v1",
            lambda world: _ship(world, "v2"),
        ),
        Fault(
            "bad_deploy_slow",
            "A bad deploy is slow",
            "Release v3 is rolled out. Every payment waits 0.4 s for a risk score that nobody computes.",
            ("PaymentLatencyHigh",),
            "roll back to v1 (a restart changes nothing)",
            lambda world: _ship(world, "v3"),
        ),
        Fault(
            "pool_leak",
            "A connection pool runs dry",
            "Readers of the live feed lose their network; the service never takes their connections back.",
            ("PaymentPoolExhausted", "PaymentErrorsHigh"),
            "restart payment",
            _leak,
        ),
        Fault(
            "held_lock",
            "The ledger's lock is held",
            "The nightly report sits in its transaction, waiting for a reader of its result that never comes.",
            ("LedgerLocked", "PaymentErrorsHigh"),
            "restart nightly-report",
            _hold_lock,
        ),
        Fault(
            "crash_loop",
            "A bad configuration makes every replica crash",
            "A push of shared/config.json is cut off half-way; replicas restart, cannot read it, and crash.",
            ("PaymentReplicasDown", "PaymentErrorsHigh"),
            "put config.json.last-good back, then restart payment",
            _break_config,
        ),
        Fault(
            "downstream_down",
            "The bank is down",
            "The bank's process is killed. It is not ours to restart; every authorisation is refused.",
            ("BankDown", "PaymentErrorsHigh"),
            "open the breaker: set bank_breaker, payments queue until the bank is back",
            lambda world: world.kill_bank(),
        ),
    )
}


def _needs_restart(world: World, name: str) -> bool:
    """Down, on another release, or with connections that do not come back."""
    least = None
    for _ in range(4):
        page = replica_page(world, name)
        if page is None or f'payment_build_info{{version="{GOOD_RELEASE}"}}' not in page:
            return True
        least = min(page["payment_pool_in_use"], least if least is not None else page["payment_pool_in_use"])
        if not least:
            return False
        time.sleep(0.01)
    return True


def _queued(world: World) -> int:
    connection = sqlite3.connect(f"file:{world.layout.ledger}?mode=ro", uri=True, timeout=1.0)
    try:
        count: int = connection.execute("SELECT COUNT(*) FROM payments WHERE status <> 'settled'").fetchone()[0]
        return count
    finally:
        connection.close()


def _steady(world: World) -> bool:
    users = world.users(0.5)
    return not world.alerts() and users.ok > 0 and users.failed == 0 and _queued(world) == 0 and world.all_running()


def reset(world: World, within_s: float = 15.0) -> None:
    """The state of the start, whatever was broken or repaired; returns once users notice nothing and no alert is on.

    `Unavailable` when that takes longer than `within_s`.
    """
    layout = world.layout
    if json.loads(layout.flags.read_text()) != {"bank_breaker": False}:
        write_json(layout.flags, {"bank_breaker": False})
    shutil.copyfile(layout.last_good_config, layout.config)
    world.start_bank()
    supervisor = world.supervisor.supervisor
    if open_report_runs(world):
        supervisor.stopProcess("nightly-report")
        supervisor.startProcess("nightly-report", False)
    layout.report.unlink(missing_ok=True)
    activate(layout, GOOD_RELEASE, age_s=GOOD_RELEASE_AGE_S)
    roll(world, tuple(name for name in REPLICAS if _needs_restart(world, name)))
    for release in layout.releases.iterdir():
        if release.name != GOOD_RELEASE:
            shutil.rmtree(release)
    world.wait_until(lambda: _steady(world), "users notice nothing and no alert is on", within_s)
