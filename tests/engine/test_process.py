"""Gone for sure: real processes that end, are not reaped, are stopped; an id that somebody else has now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quell.engine import process
from tests.servers.process import wait_until


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield child
        child.kill()


def test_who_lives_is_not_gone(child: subprocess.Popen[bytes]) -> None:
    for pid in (os.getpid(), child.pid, 1):
        began = process.born(pid)
        assert began
        assert not process.is_gone(pid, began)


def test_who_is_stopped_is_not_gone(child: subprocess.Popen[bytes]) -> None:
    began = process.born(child.pid)
    assert began
    child.send_signal(signal.SIGSTOP)
    os.waitpid(child.pid, os.WUNTRACED)
    assert not process.is_gone(child.pid, began)


def test_who_was_killed_is_gone_before_and_after_it_is_reaped(child: subprocess.Popen[bytes]) -> None:
    began = process.born(child.pid)
    assert began
    child.kill()
    wait_until(lambda: process.is_gone(child.pid, began), "it is seen")
    child.wait()
    assert process.is_gone(child.pid, began)


def test_an_id_that_is_used_again_is_somebody_else(child: subprocess.Popen[bytes]) -> None:
    began = process.born(child.pid)
    assert began
    assert process.is_gone(child.pid, str(int(began) - 1))


def test_what_is_not_told_is_no_reason(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert process.machine(tmp_path) == ""
    assert not process.is_gone(child.pid, "")
    assert not process.is_gone(child.pid, "12", tmp_path), "its files are hidden from us, but it is there"
    assert not process.is_gone(0, "12")


def test_another_boot_or_namespace_is_another_machine(tmp_path: Path) -> None:
    def proc(name: str, boot: str, pids: str, clock: str = "") -> str:
        (tmp_path / name / "sys/kernel/random").mkdir(parents=True)
        (tmp_path / name / "self/ns").mkdir(parents=True)
        (tmp_path / name / "sys/kernel/random/boot_id").write_text(f"{boot}\n")
        (tmp_path / name / "self/ns/pid").symlink_to(pids)
        if clock:
            (tmp_path / name / "self/ns/time").symlink_to(clock)
        return process.machine(tmp_path / name)

    machines = [
        proc("one", "b1", "pid:[1]"), proc("booted", "b2", "pid:[1]"), proc("container", "b1", "pid:[2]"),
        proc("clock", "b1", "pid:[1]", "time:[3]"),
    ]  # fmt: skip
    assert len(set(machines)) == 4
    assert "" not in machines
    assert process.machine() == process.machine() != ""
