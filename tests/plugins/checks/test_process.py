"""The process check on processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.incident.finding import Health
from quell.plugins.checks import _proc, process
from tests.plugins.checks.reading import health, read
from tests.servers.ports import free_port
from tests.servers.process import wait_until

WORK = """
import socket, sys, time
port = int(sys.argv[1])
held = [open("/dev/null") for _ in range(30)]
listening = socket.create_server(("127.0.0.1", port)) if port else None
print("up", flush=True)
while True:
    if sys.argv[2] == "busy":
        sum(range(10_000))
    else:
        time.sleep(0.5)
"""


class Workers:
    """Starts workers and ends them with the test."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []
        self.mark = f"quell-test-worker-{os.getpid()}-{id(self)}"

    def start(self, port: int = 0, work: str = "idle") -> int:
        one = subprocess.Popen([sys.executable, "-c", WORK, str(port), work, self.mark], stdout=subprocess.PIPE)
        self.running.append(one)
        assert one.stdout is not None
        assert one.stdout.readline() == b"up\n"
        return one.pid


@pytest.fixture
def workers() -> Iterator[Workers]:
    started = Workers()
    yield started
    for one in started.running:
        one.kill()
        one.wait()
        if one.stdout:
            one.stdout.close()


def test_those_whose_command_line_fits(workers: Workers) -> None:
    pids = {workers.start(), workers.start()}
    reading = read(process, {"pattern": f"{workers.mark}$"})
    facts = reading.facts
    assert (facts["count"], facts["running"], set(facts["pids"])) == (2, True, pids)
    assert facts["oldest"] >= facts["newest"] >= 0
    assert facts["rss"] > facts["rss_max"] > 1_000_000
    assert facts["threads"] == 2
    assert facts["open_files"] >= 66
    assert 0 < facts["open_files_percent"] <= 100
    assert facts["listening"] is False
    assert {one.target for one in reading.targets} == {str(pid) for pid in pids}
    assert "2 processes" in reading.missing["pid"].reason


def test_a_busy_one_is_told_from_an_idle_one(workers: Workers) -> None:
    busy, idle = workers.start(work="busy"), workers.start()
    reading = read(process, {"pattern": workers.mark, "sample": "1s"})
    percent = {int(one.target): one.facts["cpu_percent"] for one in reading.targets}
    assert percent[busy] > percent[idle] >= 0
    assert reading.facts["cpu_percent"] == pytest.approx(sum(percent.values()))


def test_whoever_listens_on_a_port(workers: Workers) -> None:
    port = free_port()
    workers.start()
    pid = workers.start(port)
    facts = read(process, {"port": port}).facts
    assert (facts["count"], facts["pid"], facts["listening"], facts["ports"]) == (1, pid, True, [port])
    facts = read(process, {"port": free_port()}).facts
    assert (facts["count"], facts["listening"], facts["running"]) == (0, False, False)


def test_the_one_in_the_pid_file(workers: Workers, tmp_path: Path) -> None:
    pid, path = workers.start(), tmp_path / "worker.pid"
    assert read(process, {"pid_file": str(path)}).facts["count"] == 0
    path.write_text(f"{pid}\n")
    assert read(process, {"pid_file": str(path)}).facts["pids"] == [pid]
    assert read(process, {"pid_file": str(path), "name": "something-else"}).facts["count"] == 0
    path.write_text("soon")
    with pytest.raises(Permanent) as failure:
        read(process, {"pid_file": str(path)})
    assert failure.value.error_class == "invalid"


def test_by_name_even_a_long_one(tmp_path: Path) -> None:
    sleeper = tmp_path / "a-name-longer-than-fifteen-characters"
    shutil.copy("/bin/sleep", sleeper)
    with subprocess.Popen([str(sleeper), "600"]) as one:
        wait_until(lambda: read(process, {"name": sleeper.name, "sample": 0.01}).facts["count"] == 1, "the sleeper")
        assert read(process, {"name": sleeper.name}).facts["program"] == sleeper.name[:15]
        one.kill()


def test_a_zombie_is_not_running() -> None:
    one = subprocess.Popen([sys.executable, "-c", ""])
    try:
        wait_until(lambda: (found := _proc.process(one.pid)) is not None and found.zombie, "a zombie")
        path_facts = read(process, {"name": _name(one.pid)}).facts
        assert path_facts["zombie_count"] >= 1
        assert one.pid not in path_facts["pids"]
    finally:
        one.wait()


def _name(pid: int) -> str:
    found = _proc.process(pid)
    assert found is not None
    return found.name


def test_none_at_all_has_no_numbers() -> None:
    reading = read(process, {"name": "no-such-program-anywhere"})
    assert reading.facts["count"] == 0
    assert reading.facts["running"] is False
    assert reading.missing["rss"].reason == "no such process"
    assert reading.missing["newest"].error_class is None


def test_it_never_finds_itself() -> None:
    pattern = " ".join(_proc.process(os.getpid()).command.split())[:40]  # type: ignore[union-attr]
    facts = read(process, {"pattern": "^" + "".join(c if c.isalnum() else "." for c in pattern)}).facts
    assert os.getpid() not in facts["pids"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to look as somebody who may not")
def test_what_is_not_ours_is_missing_and_not_zero(workers: Workers) -> None:
    port = free_port()
    workers.start(port)
    script = (
        "import json, os, asyncio\n"
        "from quell.plugins.checks import process; from quell.probe import World, make_client; from quell.registry import Registry\n"
        "world = World(Registry(), http=make_client())\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "async def run(config):\n"
        "    reading = await process.run(process.Params.model_validate(config), world.probe())\n"
        "    return [reading.facts, {name: [one.reason, one.error_class] for name, one in reading.missing.items()}]\n"
        f"print(json.dumps([asyncio.run(run(c)) for c in ({{'port': {port}}}, {{'pattern': '{workers.mark}'}})]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    by_port, by_pattern = json.loads(done.stdout)
    assert by_port[0]["listening"] is True
    assert by_port[1]["count"][1] == "denied"
    assert by_pattern[0]["count"] == 1
    assert by_pattern[1]["open_files"][1] == "denied"


@pytest.mark.parametrize(
    "wrong",
    [{}, {"name": ""}, {"pattern": "(a+)+$"}, {"pattern": "("}, {"port": 0}, {"nme": "x"}, {"name": "x", "sample": 99}],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        process.Params.model_validate(wrong)


def test_processes_beyond_those_shown_do_not_pass_for_healthy() -> None:
    many = [process.Observation(str(pid), {"rss": 1}) for pid in range(201)]
    assert health(process.Reading({}, process._bounded(many)), healthy="rss < 5") is Health.ERROR
    assert health(process.Reading({}, process._bounded(many[:200])), healthy="rss < 5") is Health.HEALTHY
