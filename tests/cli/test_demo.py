"""`quell demo` as a person starts it: its exit code, its figures, and that nothing of it stays."""

import json
import os
import pty
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from quell.cli.demo import _scratch
from tests.cli.command import read_until, run_quell, start_quell
from tests.servers.process import wait_until

PHASES = {"detect_s", "diagnose_s", "decide_s", "act_s", "verify_s"}


def processes_in(folder: Path) -> list[str]:
    """Command lines that name the folder, and programs that work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            place = str((process / "cwd").readlink())
        except OSError:  # it has just ended
            continue
        if str(folder) in words or place.startswith(str(folder)):
            found.append(words)
    return found


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the demo makes its folder."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def nothing_stays(scratch: Path) -> None:
    assert list(scratch.iterdir()) == []
    assert processes_in(scratch) == []


def test_faults_are_repaired_and_nothing_stays(tmp_path: Path, scratch: Path) -> None:
    names = ("downstream_down", "bad_deploy_5xx")
    asked = [word for name in names for word in ("--fault", name)]
    done = run_quell(tmp_path, "demo", "--pace", "fast", "--json", "figures.json", *asked, TMPDIR=str(scratch))
    assert done.returncode == 0, done.stdout + done.stderr
    bank, deploy = json.loads((tmp_path / "figures.json").read_text())
    assert [bank["fault"], deploy["fault"]] == list(names)
    for one in (bank, deploy):
        assert (one["outcome"], one["repaired"]) == ("resolved", True)
        assert one["mttr_s"] > 0
        assert {name for name in PHASES if one[name] > 0} == PHASES
        assert one["users"]["during"] < min(one["users"]["before"], one["users"]["after"])
    assert (bank["actions"], deploy["actions"]) == (["set_flag"], ["rollback"])
    assert deploy["runbook"] == "payment-availability"
    assert deploy["decisions"]
    for words in ("no terminal: approved by the demo", "Median from injection to verified", "users before, during"):
        assert words in done.stdout
    nothing_stays(scratch)


def test_with_json_on_stdout_the_story_is_told_beside_it(tmp_path: Path, scratch: Path) -> None:
    done = run_quell(
        tmp_path, "demo", "--pace", "fast", "--json", "-", "--fault", "held_lock", TMPDIR=str(scratch)
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads(done.stdout)
    assert figures["actions"] == ["restart_service"]
    assert "✓ repaired in" in done.stderr
    nothing_stays(scratch)


def test_whoever_says_no_sees_a_fault_that_is_not_repaired(tmp_path: Path, scratch: Path) -> None:
    leader, follower = pty.openpty()
    process = start_quell(
        tmp_path, "demo", "--pace", "fast", "--fault", "bad_deploy_5xx", start_new_session=True,
        env={"TMPDIR": str(scratch)}, stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    try:
        seen = read_until(leader, b"Approve? [Y/n]")
        os.write(leader, b"n\n")
        seen += read_until(leader, None)
        assert process.wait(30) == 1, seen.decode()
        assert "escalated: did nothing, rollback was right" in seen.decode()
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    nothing_stays(scratch)


def test_interrupted_it_cleans_up(tmp_path: Path, scratch: Path) -> None:
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = start_quell(
            tmp_path, "demo", "--pace", "fast", "--fault", "pool_leak", env={"TMPDIR": str(scratch)}, stdout=out
        )
    try:
        wait_until(lambda: len(processes_in(scratch)) > 3, "the payment service runs", 30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130, said.read_text()
    finally:
        process.kill()
        process.wait()
    nothing_stays(scratch)


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--fault", "pool_leek"), "no fault 'pool_leek'; there are bad_deploy_5xx"), (("--pace", "quick"), "no pace")],
)
def test_what_there_is_not_is_named(tmp_path: Path, words: tuple[str, ...], said: Any) -> None:
    done = run_quell(tmp_path, "demo", *words, COLUMNS="300")
    assert done.returncode == 2
    assert said in done.stderr


def test_its_folder_goes_although_something_still_writes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    remove, late = shutil.rmtree, ["log", "world"]

    def removed(folder: Path, **how: Any) -> None:
        remove(folder, **how)
        if late:
            (folder / late.pop()).mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", removed)
    with _scratch() as folder:
        (folder / "world").mkdir()
    assert (folder.exists(), late) == (False, [])
