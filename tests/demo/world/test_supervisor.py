"""The supervisor through supervisord's own interface: names, states, faults, retries, and the password."""

import json
import os
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quell.demo.world.layout import choose_ports
from quell.demo.world.world import SOURCE

STAYS = "import time; print('hello', flush=True); time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
LEAVES = "import sys; sys.exit(3)"


def poll(condition: Callable[[], object], what: str, within_s: float = 10.0) -> None:
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


class Running:
    """A supervisor over three programs of group ``web`` and one that cannot be spawned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

        def spec(name: str, group: str, *command: str) -> dict[str, Any]:
            return {
                "name": name, "group": group, "command": command, "stdout_logfile": str(folder / f"{name}.out"),
                "startsecs": 0.2, "startretries": 2, "backoff": 0.05, "environment": {"PATH": os.defpath},
            }  # fmt: skip

        programs = [
            spec("stays", "web", sys.executable, "-c", STAYS),
            spec("leaves", "web", sys.executable, "-c", LEAVES),
            spec("stubborn", "stubborn", sys.executable, "-c", STUBBORN),
            spec("absent", "absent", str(folder / "no-such-program")),
        ]
        self.port = choose_ports().supervisor
        config = folder / "supervisor.json"
        settings = {"port": self.port, "user": "u", "password": "p", "scratch": str(folder), "programs": programs}
        config.write_text(json.dumps(settings))
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-m", "quell.demo.world.programs.supervisor", str(config)],
            stdin=subprocess.PIPE, env={"PYTHONPATH": str(SOURCE)},
        )  # fmt: skip
        poll(self._answers, "the supervisor answers")

    def _answers(self) -> bool:
        try:
            return bool(self.rpc().getState()["statename"] == "RUNNING")
        except OSError:
            return False

    def rpc(self, password: str = "p") -> Any:
        return xmlrpc.client.ServerProxy(f"http://u:{password}@127.0.0.1:{self.port}/RPC2").supervisor

    def state(self, name: str) -> str:
        return str(self.rpc().getProcessInfo(name)["statename"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    supervisor = Running(tmp_path_factory.mktemp("supervisor"))
    yield supervisor
    supervisor.process.terminate()
    supervisor.process.communicate(timeout=20)


def fault_of(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(xmlrpc.client.Fault) as caught:
        call()
    return caught.value.faultCode, caught.value.faultString


def test_what_it_says_about_a_running_program(running: Running) -> None:
    poll(lambda: running.state("web:stays") == "RUNNING", "running")
    info = running.rpc().getProcessInfo("web:stays")
    assert set(info) == {
        "name", "group", "start", "stop", "now", "state", "statename", "spawnerr", "exitstatus", "logfile",
        "stdout_logfile", "stderr_logfile", "pid", "description",
    }  # fmt: skip
    assert (info["name"], info["group"], info["state"]) == ("stays", "web", 20)
    assert info["description"].startswith(f"pid {info['pid']}, uptime 0:00:")
    assert lives(info["pid"])
    poll(lambda: "hello" in running.rpc().readProcessStdoutLog("web:stays", 0, 0), "its output")
    assert running.rpc().tailProcessStdoutLog("web:stays", 0, 3)[0] == "lo\n"
    assert {one["name"] for one in running.rpc().getAllProcessInfo()} == {"stays", "leaves", "stubborn", "absent"}


def test_faults_have_supervisords_codes(running: Running) -> None:
    rpc = running.rpc()
    poll(lambda: running.state("web:stays") == "RUNNING", "running")
    assert fault_of(lambda: rpc.getProcessInfo("nobody")) == (10, "BAD_NAME: nobody")
    assert fault_of(lambda: rpc.startProcessGroup("nobody"))[0] == 10
    assert fault_of(lambda: rpc.startProcess("web:stays")) == (60, "ALREADY_STARTED: stays")
    assert fault_of(lambda: rpc.signalProcess("web:stays", "SIGNONE"))[0] == 11
    assert fault_of(lambda: rpc.getProcessInfo())[0] == 2
    assert fault_of(lambda: rpc.abolish())[0] == 1
    poll(lambda: running.state("absent") == "FATAL", "given up")
    assert fault_of(lambda: rpc.stopProcess("absent"))[0] == 70
    assert fault_of(lambda: rpc.startProcess("absent"))[0] == 50


def test_stop_and_start(running: Running) -> None:
    rpc = running.rpc()
    poll(lambda: running.state("web:stays") == "RUNNING", "running")
    pid = rpc.getProcessInfo("web:stays")["pid"]
    assert rpc.stopProcess("web:stays") is True
    assert running.state("web:stays") == "STOPPED"
    assert not lives(pid)
    assert fault_of(lambda: rpc.stopProcess("web:stays"))[0] == 70
    assert rpc.startProcess("web:stays") is True
    assert running.state("web:stays") == "RUNNING"
    answers = rpc.stopProcess("web:*")
    assert {"name": "stays", "group": "web", "status": 80, "description": "OK"} in answers
    rpc.startProcess("web:stays")


def test_a_killed_program_comes_back(running: Running) -> None:
    poll(lambda: running.state("web:stays") == "RUNNING", "running")
    before = running.rpc().getProcessInfo("web:stays")["pid"]
    running.rpc().signalProcess("web:stays", "KILL")
    poll(lambda: running.rpc().getProcessInfo("web:stays")["pid"] not in (0, before), "another process")
    poll(lambda: running.state("web:stays") == "RUNNING", "running again")


def test_a_crash_loop_ends_in_fatal_and_can_be_started_again(running: Running) -> None:
    poll(lambda: running.state("web:leaves") in ("FATAL", "STOPPED"), "given up")
    rpc = running.rpc()
    assert fault_of(lambda: rpc.startProcess("web:leaves"))[0] == 50
    poll(lambda: running.state("web:leaves") == "FATAL", "given up again")
    info = rpc.getProcessInfo("web:leaves")
    assert (info["exitstatus"], info["pid"], info["spawnerr"][:18]) == (3, 0, "Exited too quickly")


def test_a_stubborn_program_is_killed(running: Running) -> None:
    poll(lambda: running.state("stubborn") == "RUNNING", "running")
    pid = running.rpc().getProcessInfo("stubborn")["pid"]
    assert running.rpc().stopProcess("stubborn") is True
    assert not lives(pid)


def test_the_password_is_asked(running: Running) -> None:
    with pytest.raises(xmlrpc.client.ProtocolError) as caught:
        running.rpc("wrong").getState()
    assert caught.value.errcode == 401


@pytest.mark.parametrize("ending", [signal.SIGKILL, "lifeline"])
def test_its_programs_end_with_it(ending: signal.Signals | str, tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    supervisor = Running(folder)
    poll(lambda: supervisor.state("web:stays") == "RUNNING", "running")
    pid = supervisor.rpc().getProcessInfo("web:stays")["pid"]
    if ending == "lifeline":
        assert supervisor.process.stdin is not None
        supervisor.process.stdin.close()
        supervisor.process.wait(20)
        assert not folder.exists()
        assert not lives(pid)
    else:
        supervisor.process.kill()
        supervisor.process.communicate()
        os.kill(pid, signal.SIGKILL)  # this program reads no lifeline; those of the world do (see test_world)
