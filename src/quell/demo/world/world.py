"""Starts the world, says where everything is and what users see, and leaves nothing behind.

`World` is a context manager, for ``with`` and for ``async with``. Every process holds the other end of a pipe of
ours as its stdin and exits when that closes; the supervisor then also removes the folder. So nothing stays even
when this process is killed. Never needs root, never listens on anything but loopback, ends no process it did not
start.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from quell.demo.world.layout import HOST, REPLICAS, Layout, Ports, choose_ports, lay_down
from quell.demo.world.programs.wire import Client
from quell.errors import Unavailable

SOURCE = Path(__file__).resolve().parents[3]
"""What goes onto the processes' module path: the folder that holds the package ``quell``."""
USER = "operator"
START_WITHIN_S = 10.0
STOP_WITHIN_S = 5.0
POLL_S = 0.02
STARTSECS = 0.2
STARTRETRIES = 3
BACKOFF_S = 0.15


@dataclass(frozen=True, slots=True)
class UsersView:
    """What users saw in a window. Latencies are of payments that succeeded; None without any."""

    ok: int
    failed: int
    success_rate: float | None
    p50_s: float | None
    p95_s: float | None
    rps: float


@dataclass(frozen=True, slots=True)
class Moment:
    """What users saw in half a second that began at ``at`` (unix seconds)."""

    at: float
    users: UsersView


class World:
    """A payment service with its users, its bank, its supervisor and its monitoring.

    ``folder`` must be absent or empty and is removed at the end; without one a temporary folder is made.
    ``scrape`` is in seconds, ``rps`` the payments per second of all users together, ``duration_s`` how long they
    pay at most. ``alert_webhook`` is where alerts are posted (a loopback URL), and may be set later.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        scrape: float = 0.5,
        rps: float = 60.0,
        duration_s: float = 900.0,
        alert_webhook: str = "",
    ) -> None:
        if not 0.1 <= scrape <= 10 or not 1 <= rps <= 500:
            raise ValueError("scrape must be 0.1 to 10 seconds, rps 1 to 500")
        self._folder, self._scrape, self._rps, self._duration_s = folder, scrape, rps, duration_s
        self._webhook = alert_webhook
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lifeline: tuple[int, int] | None = None
        self.password = secrets.token_urlsafe(12)
        self.user = USER

    layout: Layout
    """Paths; set by `start`."""
    ports: Ports
    """Ports; set by `start`."""

    @property
    def supervisor_url(self) -> str:
        """Where the supervisor's XML-RPC interface is, without the password."""
        return f"http://{HOST}:{self.ports.supervisor}/RPC2"

    @property
    def prometheus_url(self) -> str:
        """The base of the Prometheus API."""
        return f"http://{HOST}:{self.ports.metrics}"

    @property
    def pay_url(self) -> str:
        """The users' address, at the balancer."""
        return f"http://{HOST}:{self.ports.balancer}/pay"

    @property
    def bank_url(self) -> str:
        """The base address of the bank."""
        return f"http://{HOST}:{self.ports.bank}"

    @property
    def replica_urls(self) -> dict[str, str]:
        """The base address of each replica."""
        return {name: f"http://{HOST}:{port}" for name, port in zip(REPLICAS, self.ports.replicas, strict=True)}

    @property
    def supervisor(self) -> xmlrpc.client.ServerProxy:
        """A new XML-RPC proxy, already with the password."""
        address = f"http://{self.user}:{self.password}@{HOST}:{self.ports.supervisor}/RPC2"
        return xmlrpc.client.ServerProxy(address)

    @property
    def alert_webhook(self) -> str:
        """Where alerts are posted."""
        return self._webhook

    @alert_webhook.setter
    def alert_webhook(self, url: str) -> None:
        """`ValueError` for an address that is not loopback; what fires now is posted there at once."""
        status, answer = Client(self.ports.metrics, 2.0).ask("PUT", "/-/webhook", url.encode())
        if status != 200:
            raise ValueError(json.loads(answer)["error"])
        self._webhook = url

    def users(self, window_s: float = 1.0) -> UsersView:
        """What users saw in the last `window_s` seconds."""
        now = time.time()
        return self.users_between(now - window_s, now)

    def users_between(self, since: float, until: float) -> UsersView:
        """What users saw between two moments (unix seconds)."""
        return UsersView(**self._ask_load(f"/snapshot?since={since}&until={until}"))

    def history(self, since: float, until: float | None = None) -> list[Moment]:
        """What users saw, per half second, from `since` to `until` (unix seconds; default: now)."""
        until = time.time() if until is None else until
        rows = self._ask_load(f"/history?since={since}&until={until}")
        return [Moment(row.pop("at"), UsersView(**row)) for row in rows]

    def _ask_load(self, path: str) -> Any:
        return self._ask(self.ports.load, path)

    @staticmethod
    def _ask(port: int, path: str) -> Any:
        client = Client(port, 2.0)
        try:
            return json.loads(client.ask("GET", path)[1])
        finally:
            client.close()

    def alerts(self) -> dict[str, str]:
        """Every alert that is not silent: its name, and ``pending`` or ``firing``."""
        listing = self._ask(self.ports.metrics, "/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert["state"] for alert in listing}

    def pids(self) -> dict[str, int]:
        """The processes that run now, by name."""
        own = {name: process.pid for name, process in self._processes.items() if process.poll() is None}
        known: Any = self.supervisor.supervisor.getAllProcessInfo()
        return own | {one["name"]: one["pid"] for one in known if one["pid"]}

    def all_running(self) -> bool:
        """Whether every program of the supervisor is RUNNING."""
        known: Any = self.supervisor.supervisor.getAllProcessInfo()
        return all(one["statename"] == "RUNNING" for one in known)

    def wait_until(self, condition: Callable[[], bool], what: str, within_s: float) -> None:
        """Poll; `Unavailable` when it does not come true in time."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                raise Unavailable(f"not within {within_s:g} s: {what}")
            time.sleep(POLL_S)

    def start_bank(self) -> None:
        """Start the bank, if it does not run."""
        bank = self._processes.get("bank")
        if bank is None or bank.poll() is not None:
            self._spawn("bank", str(self.ports.bank))

    def kill_bank(self) -> None:
        """The bank is gone, without a goodbye."""
        self._processes["bank"].kill()
        self._processes["bank"].wait()

    def start(self) -> Self:
        """Start everything; returns once users pay. `Unavailable` when it does not come up."""
        made = Path(tempfile.mkdtemp(prefix="payment-world-")) if self._folder is None else self._folder
        self.layout, self.ports = Layout(made.resolve()), choose_ports()
        lay_down(self.layout, self.ports)
        self._lifeline = os.pipe()
        try:
            self._spawn("supervisor", str(self._supervisor_config()))
            self._spawn("metrics", str(self._metrics_config()))
            self.start_bank()
            self._spawn("balancer", *map(str, (self.ports.balancer, *self.ports.replicas)))
            users = max(8, int(self._rps / 2))
            load, balancer = self.ports.load, self.ports.balancer
            self._spawn("load", *map(str, (load, balancer, self._rps, users, self._duration_s)))
            self.wait_until(self._open_for_business, "users can pay", START_WITHIN_S)
            if self._webhook:
                self.alert_webhook = self._webhook
        except Unavailable as error:
            words = self._last_words()
            self.stop()
            raise Unavailable(f"{error}\n{words}") from None
        except BaseException:
            self.stop()
            raise
        return self

    def _open_for_business(self) -> bool:
        dead = [name for name, process in self._processes.items() if process.poll() is not None]
        if dead:
            raise Unavailable(f"{', '.join(dead)} ended at the start")
        try:
            ready = Client(self.ports.metrics, 1.0).ask("GET", "/-/ready")[0] == 200
            return ready and self.users(START_WITHIN_S).ok >= min(5, self._rps) and self.all_running()
        except OSError:
            return False

    def _last_words(self) -> str:
        texts = ((path.name, path.read_text(errors="replace")[-400:]) for path in self.layout.logs.glob("*.out"))
        return "\n".join(f"{name}: {text}" for name, text in texts if text)

    def _spawn(self, name: str, *arguments: str) -> None:
        if self._lifeline is None:
            raise Unavailable("the world is not running")
        command = [sys.executable, "-S", "-s", "-B", "-m", f"quell.demo.world.programs.{name}", *arguments]
        with (self.layout.logs / f"{name}.out").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=self._lifeline[0],
                stdout=log,
                stderr=log,
                env=self._environment(),
                cwd=self.layout.root,
                start_new_session=True,  # Ctrl-C in the terminal is for us, and we stop them
            )

    @staticmethod
    def _environment() -> dict[str, str]:
        return {"PYTHONPATH": str(SOURCE), "PATH": os.defpath, "LC_ALL": "C.UTF-8"}

    def _supervisor_config(self) -> Path:
        def spec(name: str, group: str, *command: str) -> dict[str, object]:
            return {
                "name": name,
                "group": group,
                "command": [sys.executable, "-S", "-s", "-B", *command],
                "stdout_logfile": str(self.layout.logs / f"{name}.out"),
                "startsecs": STARTSECS,
                "startretries": STARTRETRIES,
                "backoff": BACKOFF_S,
                "environment": self._environment(),
            }

        layout = self.layout
        service = str(layout.current / "service.py")
        programs = [
            spec(name, "payment", service, name, str(port), str(layout.config), str(layout.payment_log))
            for name, port in zip(REPLICAS, self.ports.replicas, strict=True)
        ]
        report = ("-m", "quell.demo.world.programs.nightly_report")
        paths = map(str, (layout.ledger, layout.report, layout.report_log))
        programs.append(spec("nightly-report", "nightly-report", *report, *paths))
        path = layout.root / "supervisor.json"
        config = {"port": self.ports.supervisor, "user": self.user, "password": self.password}
        path.touch(0o600)
        path.write_text(json.dumps({**config, "scratch": str(layout.root), "programs": programs}))
        return path

    def _metrics_config(self) -> Path:
        path = self.layout.root / "metrics.json"
        ports = {"port": self.ports.metrics, "load": self.ports.load, "bank": self.ports.bank}
        replicas = dict(zip(REPLICAS, self.ports.replicas, strict=True))
        path.write_text(json.dumps({**ports, "scrape": self._scrape, "replicas": replicas}))
        return path

    def stop(self) -> None:
        """End everything and remove the folder. Safe to call twice."""
        if self._lifeline is None:
            return
        ours, theirs = self._lifeline
        self._lifeline = None
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_WITHIN_S
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        os.close(theirs)
        os.close(ours)
        self._processes.clear()
        shutil.rmtree(self.layout.root, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])  # a thread cannot be cancelled: let it finish, then clear away
            await asyncio.to_thread(self.stop)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.stop))
