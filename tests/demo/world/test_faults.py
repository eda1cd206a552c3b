"""Each fault is seen by users, raises its alerts, shows its cause, and goes away by its repair and not by another.

The repairs are done by the means an operator has: the supervisor's XML-RPC, the link to the release, the flag file,
the last good configuration.
"""

import json
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from quell.demo.world import faults
from quell.demo.world.layout import REPLICAS, activate, write_json
from quell.demo.world.programs.wire import Answer, Client, Request, Server
from quell.demo.world.world import World
from quell.errors import NotFound


class Sink:
    """Receives what an Alertmanager would send."""

    def __init__(self) -> None:
        self.bodies: list[dict] = []
        self._lock = threading.Lock()

    def handle(self, request: Request) -> Answer:
        with self._lock:
            self.bodies.append(json.loads(request.body))
        return Answer(200)

    def told(self, status: str) -> list[str]:
        with self._lock:
            return [body["groupLabels"]["alertname"] for body in self.bodies if body["status"] == status]

    def forget(self) -> None:
        with self._lock:
            self.bodies.clear()


@pytest.fixture(scope="module")
def sink() -> Iterator[tuple[Sink, int]]:
    receiver = Sink()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = Server(port, receiver.handle)
    yield receiver, port
    server.drain(1.0)


@pytest.fixture(scope="module")
def shared_world(sink: tuple[Sink, int]) -> Iterator[World]:
    # Starting Python may take longer than the demo's fifth of a second, and who crashes later has started.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("quell.demo.world.world.STARTSECS", 1.5)
        with World(scrape=0.25, alert_webhook=f"http://127.0.0.1:{sink[1]}/hook") as world:
            yield world


@pytest.fixture
def world(shared_world: World, sink: tuple[Sink, int]) -> Iterator[World]:
    sink[0].forget()
    yield shared_world
    faults.reset(shared_world)


def poll(condition: Callable[[], object], what: str, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def success(world: World) -> float:
    return world.users(0.4).success_rate or 0.0


def good_again(world: World) -> bool:
    users = world.users(0.4)
    return bool(users.ok and not users.failed and users.p95_s is not None and users.p95_s < 0.1)


def value(world: World, query: str) -> list[float]:
    client = Client(world.ports.metrics, 5.0)
    quoted = "".join(f"%{ord(char):02x}" if char in '{}="|, ' else char for char in query)
    answer = json.loads(client.ask("GET", f"/api/v1/query?query={quoted}")[1])
    client.close()
    assert answer["status"] == "success", answer
    return [float(one["value"][1]) for one in answer["data"]["result"]]


def logged(world: World, event: str) -> list[dict]:
    lines = [json.loads(line) for line in world.layout.payment_log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def inject(world: World, sink: Sink, name: str) -> faults.Injection:
    """Inject and wait for every alert of the fault; nothing else may fire."""
    injection = faults.inject(world, name)
    poll(lambda: set(injection.fault.alerts) <= set(sink.told("firing")), f"{name}: {injection.fault.alerts} fire")
    assert sink.told("firing") == list(injection.fault.alerts)
    return injection


def repaired(world: World, sink: Sink, injection: faults.Injection, *, all_restarted: bool = False) -> None:
    """Users notice nothing any more, and what fired is resolved, in whatever order.

    Where the test had every replica down at once, whether that was long enough for an alert, and whether those who
    waited for it then filled a pool, is the machine's matter.
    """
    poll(lambda: good_again(world), "users are served again")
    poll(lambda: set(sink.told("firing")) <= set(sink.told("resolved")), "everything is resolved")
    machines = {"PaymentReplicasDown", "PaymentPoolExhausted"} - set(injection.fault.alerts)
    fired = set(sink.told("firing")) - (machines if all_restarted else set())
    assert fired == set(injection.fault.alerts), "the repair raised an alert of its own"
    ends = [body["alerts"][0]["endsAt"] for body in sink.bodies if body["status"] == "resolved"]
    assert all(not end.startswith("0001") for end in ends)


def restart_group(world: World, name: str) -> None:
    supervisor = world.supervisor.supervisor
    supervisor.stopProcessGroup(name)
    supervisor.startProcessGroup(name)


def test_bad_deploy_5xx(world: World, sink: tuple[Sink, int]) -> None:
    injection = inject(world, sink[0], "bad_deploy_5xx")
    poll(lambda: 0.3 < success(world) < 0.9, "two payments in five fail")
    assert {line["error"] for line in logged(world, "unhandled_exception")} == {"KeyError('CHF')", "KeyError('JPY')"}
    assert len(value(world, 'payment_build_info{version="v2"}')) == 3
    restart_group(world, "payment")
    poll(lambda: 0.3 < success(world) < 0.9, "a restart changes nothing")
    assert (world.layout.current / "RELEASE.json").read_text().find('"v2"') > 0
    activate(world.layout, "v1")
    faults.roll(world)
    repaired(world, sink[0], injection, all_restarted=True)


def test_bad_deploy_slow_is_not_mended_by_a_restart(world: World, sink: tuple[Sink, int]) -> None:
    injection = inject(world, sink[0], "bad_deploy_slow")
    poll(lambda: (world.users(0.4).p95_s or 0) > 0.35, "payments are slow")
    assert success(world) > 0.99
    restart_group(world, "payment")
    since = time.time()
    poll(lambda: world.users_between(since, time.time()).ok > 60, "a second after the restart")
    assert (world.users(0.4).p95_s or 0) > 0.35
    # While nobody answered, nothing was slow: the alert may have resolved for that moment.
    names = injection.fault.alerts
    poll(lambda: all(world.alerts().get(name) == "firing" for name in names), "the alert fires still, or again")
    assert max(value(world, "payment:p95_seconds")) > 0.35
    activate(world.layout, "v1")
    faults.roll(world)
    repaired(world, sink[0], injection, all_restarted=True)


def test_pool_leak(world: World, sink: tuple[Sink, int]) -> None:
    injection = inject(world, sink[0], "pool_leak")
    assert success(world) < 0.05
    assert value(world, "payment_pool_in_use") == value(world, "payment_pool_size") == [10, 10, 10]
    assert {line["replica"] for line in logged(world, "pool_exhausted")} == set(REPLICAS)
    assert value(world, "payment:ledger_lock_timeouts") == [0, 0, 0]
    restart_group(world, "payment")
    repaired(world, sink[0], injection, all_restarted=True)


def test_held_lock(world: World, sink: tuple[Sink, int]) -> None:
    injection = inject(world, sink[0], "held_lock")
    assert success(world) < 0.05
    ledger = sqlite3.connect(world.layout.ledger)
    holder = ledger.execute("SELECT program, pid FROM batch_runs WHERE finished_at IS NULL").fetchall()
    ledger.close()
    assert holder == [("nightly-report", world.pids()["nightly-report"])]
    assert logged(world, "ledger_locked")
    assert max(value(world, "payment:ledger_lock_timeouts")) > 0
    assert max(value(world, "payment:pool_used_ratio")) < 1
    restart_group(world, "payment")
    since = time.time()
    poll(lambda: world.users_between(since, time.time()).failed > 20, "restarting the service does not free the lock")
    restart_group(world, "nightly-report")
    repaired(world, sink[0], injection, all_restarted=True)


def test_crash_loop(world: World, sink: tuple[Sink, int]) -> None:
    injection = inject(world, sink[0], "crash_loop")
    supervisor = world.supervisor.supervisor
    assert success(world) < 0.05

    def given_up() -> bool:
        states = [one["statename"] for one in supervisor.getAllProcessInfo() if one["group"] == "payment"]
        return states == ["FATAL"] * 3

    poll(given_up, "the supervisor gives up")
    assert supervisor.getProcessInfo("payment:payment-1")["exitstatus"] == 78
    assert all("config.json" in line["file"] for line in logged(world, "config_invalid"))
    assert value(world, "payment:replicas_up") == [0]
    faults_seen = supervisor.startProcessGroup("payment")
    assert {one["status"] for one in faults_seen} == {50}, "without its configuration it cannot start"
    poll(given_up, "the supervisor gives up again")
    shutil.copyfile(world.layout.last_good_config, world.layout.config)
    assert {one["status"] for one in supervisor.startProcessGroup("payment")} == {80}
    repaired(world, sink[0], injection)


def test_downstream_down(world: World, sink: tuple[Sink, int]) -> None:
    injection = inject(world, sink[0], "downstream_down")
    assert success(world) < 0.05
    assert value(world, "bank_up") == [0]
    assert logged(world, "bank_unreachable")
    write_json(world.layout.flags, {"bank_breaker": True})
    repaired(world, sink[0], injection)
    assert value(world, "bank_up") == [0], "only the damage is over, not its cause"

    def queued() -> int:
        ledger = sqlite3.connect(world.layout.ledger)
        (count,) = ledger.execute("SELECT COUNT(*) FROM payments WHERE status <> 'settled'").fetchone()
        ledger.close()
        return int(count)

    assert queued() > 0
    world.start_bank()
    write_json(world.layout.flags, {"bank_breaker": False})
    poll(lambda: queued() == 0, "queued payments are settled when the bank is back")


def test_reset_leaves_one_release_and_no_flag(world: World) -> None:
    faults.inject(world, "bad_deploy_5xx")
    faults.inject(world, "held_lock")
    faults.inject(world, "downstream_down")
    faults.reset(world)
    assert [release.name for release in world.layout.releases.iterdir()] == ["v1"]
    assert json.loads(world.layout.flags.read_text()) == {"bank_breaker": False}
    assert faults.open_report_runs(world) == 0
    assert not world.layout.report.exists()
    assert good_again(world)


def test_an_unknown_fault_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        faults.inject(world, "solar_flare")
