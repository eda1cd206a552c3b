"""The world as a whole: it starts, users can pay, and nothing of it stays, however it ends."""

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quell.demo.world.layout import REPLICAS
from quell.demo.world.programs.wire import Client
from quell.demo.world.world import SOURCE, World
from quell.errors import Unavailable

LISTENING = "0A"
"""In /proc/net/tcp (proc(5)): TCP_LISTEN."""
OWNER = """
import json, sys
from pathlib import Path
from quell.demo.world.world import World
with World(Path(sys.argv[1]), scrape=0.25) as world:
    ports = [port for part in (world.ports.replicas, (world.ports.balancer, world.ports.metrics,
             world.ports.load, world.ports.bank, world.ports.supervisor)) for port in part]
    print(json.dumps({"pids": world.pids(), "ports": ports}), flush=True)
    sys.stdin.readline()
    raise RuntimeError("the owner fails")
"""


def poll(condition: Callable[[], bool], what: str, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def listeners(ports: list[int]) -> set[str]:
    """The sockets that listen on these ports, by inode: a port that is free again is soon somebody else's."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    found = (line.split() for line in lines)
    return {row[9] for row in found if row[3] == LISTENING and int(row[1].split(":")[1], 16) in ports}


def belonging(folder: Path) -> list[str]:
    """The command lines that name this folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in found if str(folder) in line]


def every_port(world: World) -> list[int]:
    ports = world.ports
    return [*ports.replicas, ports.balancer, ports.metrics, ports.load, ports.bank, ports.supervisor]


def test_users_can_pay_and_everything_is_gone_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    with World(folder, scrape=0.25) as world:
        pids, ports = world.pids(), every_port(world)
        ours = listeners(ports)
        assert set(REPLICAS) < set(pids)
        assert len(ours) == len(ports)
        began = time.time()
        poll(lambda: world.users_between(began, time.time()).ok >= 60, "sixty payments")
        seen = world.users_between(began, time.time())
        assert seen.success_rate is not None
        assert seen.success_rate > 0.995
        assert world.alerts() == {}
        assert sum(moment.users.ok for moment in world.history(began)) >= 60
        with sqlite3.connect(world.layout.ledger) as ledger:
            booked, spent = ledger.execute("SELECT COUNT(*), SUM(cents + fee_cents) FROM payments").fetchone()
            (balance,) = ledger.execute("SELECT SUM(balance_cents) FROM accounts").fetchone()
            replicas = {row[0] for row in ledger.execute("SELECT DISTINCT replica FROM payments")}
        ledger.close()
        assert booked >= 60
        assert replicas == set(REPLICAS)
        assert 50 * 1_000_000_000 - balance >= spent
    assert not any(lives(pid) for pid in pids.values())
    assert not ours & listeners(ports)
    assert not folder.exists()


def test_a_payment_is_booked_once() -> None:
    with World(rps=1) as world:
        client = Client(world.ports.balancer, 5.0)
        body = b'{"id": "same", "account": 1, "cents": 500, "currency": "CHF"}'
        answers = [client.ask("POST", "/pay", body) for _ in range(3)]
        client.close()
        assert [status for status, _ in answers] == [200, 200, 200]
        ledger = sqlite3.connect(world.layout.ledger)
        assert ledger.execute("SELECT COUNT(*) FROM payments WHERE id = 'same'").fetchone() == (1,)
        ledger.close()
        client = Client(world.ports.replicas[0], 5.0)
        assert client.ask("POST", "/pay", b'{"id": "x"}')[0] == 400
        assert client.ask("GET", "/nowhere")[0] == 404
        client.close()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, "raise"])
def test_nothing_stays_when_the_owner_ends(ending: signal.Signals | str, tmp_path: Path) -> None:
    folder = tmp_path / "world"
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )  # fmt: skip
    try:
        assert owner.stdout is not None
        assert owner.stdin is not None
        said = json.loads(owner.stdout.readline())
        ours = listeners(said["ports"])
        assert len(ours) == len(said["ports"])
        if isinstance(ending, signal.Signals):
            owner.send_signal(ending)
        else:
            owner.stdin.write(b"\n")
            owner.stdin.flush()
        owner.wait(20)
    finally:
        owner.kill()
        owner.communicate()
    poll(lambda: not any(lives(pid) for pid in said["pids"].values()), "no process of the world lives")
    poll(lambda: not folder.exists(), "the folder is gone")
    # A killed owner ends nobody: each process of the world notices by itself, the replicas last.
    poll(lambda: not ours & listeners(said["ports"]), "nobody listens")


def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "world"
    world = World(folder)

    async def owner() -> None:
        async with world:
            raise AssertionError("it was cancelled before")

    async def cancel_while_it_starts() -> None:
        task = asyncio.create_task(owner())
        while not folder.exists():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_while_it_starts())
    assert not folder.exists()
    assert not belonging(folder)


def test_a_folder_with_something_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(FileExistsError):
        World(tmp_path).start()
    assert (tmp_path / "mine").read_text() == "keep"


def test_a_world_that_cannot_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    class Broken(World):
        def _metrics_config(self) -> Path:
            path = self.layout.root / "metrics.json"
            path.write_text("{")
            return path

    with pytest.raises(Unavailable, match="metrics"):
        Broken(tmp_path / "world").start()
    assert not (tmp_path / "world").exists()


def test_the_webhook_must_be_loopback() -> None:
    with World(rps=10) as world:
        with pytest.raises(ValueError, match="127"):
            world.alert_webhook = "http://192.0.2.1:80/hook"
        assert world.alert_webhook == ""


@pytest.mark.parametrize(("scrape", "rps"), [(0.0, 60), (0.5, 0), (0.5, 10_000)])
def test_bounds_of_the_world(scrape: float, rps: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        World(scrape=scrape, rps=rps)
