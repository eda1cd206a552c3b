"""The disk check on this host's own file systems and processes."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from quell.errors import Permanent
from quell.plugins.checks import disk
from quell.plugins.checks._threads import Pace, Stopped, in_thread
from tests.plugins.checks.reading import read
from tests.servers.process import wait_until

HOLD = """
import os, sys, time
held = open(sys.argv[1], "wb"); held.write(b"x" * 3_000_000); held.flush(); os.fsync(held.fileno())
os.unlink(sys.argv[1]); kept = open(sys.argv[1] + ".kept", "wb"); print("held", flush=True); time.sleep(600)
"""


def test_space_is_what_df_says(tmp_path: Path) -> None:
    facts = read(disk, {"path": str(tmp_path)}).facts
    usage, space = shutil.disk_usage(tmp_path), os.statvfs(tmp_path)
    assert facts["total"] == usage.total
    assert facts["used"] == pytest.approx(usage.used, rel=0.05)
    assert facts["free"] == pytest.approx(usage.free, rel=0.05, abs=100_000_000)
    assert facts["used_percent"] == pytest.approx(100 * usage.used / (usage.used + usage.free), abs=2)
    assert ("inodes_percent" in facts) == bool(space.f_files)
    assert facts["read_only"] is False
    assert tmp_path.is_relative_to(facts["mount"])


def test_a_deleted_file_that_is_held_has_a_name_and_a_size(tmp_path: Path) -> None:
    path = tmp_path / "big.log"
    # The test runner's own captured output is a deleted file: it must not be inherited.
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        facts = read(disk, {"paths": [str(tmp_path)]}).facts
        (mine,) = [one for one in facts["deleted_holders"] if one["pid"] == holder.pid]
        assert mine["program"].startswith("python")
        assert mine["bytes"] >= 3_000_000
        assert mine["files"] == 1
        assert facts["deleted_bytes"] >= mine["bytes"]
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    after = read(disk, {"paths": [str(tmp_path)]}).facts
    assert holder.pid not in [one["pid"] for one in after["deleted_holders"]]


def test_the_largest_files_that_fit(tmp_path: Path) -> None:
    for name, size in {"a.log": 50_000, "deep/er/b.log": 90_000, "c.txt": 500_000, "deep/d.log": 10_000}.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size)
    (tmp_path / "link.log").symlink_to(tmp_path / "c.txt")
    reading = read(disk, {"path": str(tmp_path), "largest": f"{tmp_path}/**/*.log", "top": 2})
    assert [Path(one["path"]).name for one in reading.facts["largest"]] == ["b.log", "a.log"]
    assert reading.facts["largest_bytes"] >= 150_000
    flat = read(disk, {"path": str(tmp_path), "largest": f"{tmp_path}/*.log"})
    assert [Path(one["path"]).name for one in flat.facts["largest"]] == ["a.log"]
    one = read(disk, {"path": str(tmp_path), "largest": f"{tmp_path}/c.txt"})
    assert [Path(found["path"]).name for found in one.facts["largest"]] == ["c.txt"]
    chosen = read(disk, {"path": str(tmp_path), "largest": f"{tmp_path}/[!b].???"})
    assert {Path(found["path"]).name for found in chosen.facts["largest"]} == {"a.log", "c.txt"}
    none = read(disk, {"path": str(tmp_path), "largest": "/nowhere/*.log"})
    assert none.facts["largest"] == []


def test_a_glob_of_many_stars_is_matched_in_one_pass(tmp_path: Path) -> None:
    for name in ("a" * 250, "a" * 249 + "b", "xaxaxaxab", "ab"):
        (tmp_path / name).touch()
    reading = read(disk, {"path": str(tmp_path), "largest": f"{tmp_path}/*a*a*a*a*a*a*a*a*b"})
    assert [Path(one["path"]).name for one in reading.facts["largest"]] == ["a" * 249 + "b"]
    chosen = read(disk, {"path": str(tmp_path), "largest": f"{tmp_path}/x*[a]x?x*"})
    assert [Path(one["path"]).name for one in chosen.facts["largest"]] == ["xaxaxaxab"]


def test_a_walk_that_finds_too_much_says_so(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}.log").touch()
    reading = read(disk, {"path": str(tmp_path), "largest": f"{tmp_path}/*.log", "maxFiles": 10})
    assert reading.missing["largest_bytes"].error_class == "too_large"
    assert len(reading.facts["largest"]) == 10


def test_several_paths_are_targets_and_the_fullest_speaks(tmp_path: Path) -> None:
    reading = read(disk, {"paths": [str(tmp_path), "/dev/shm"]})
    assert [one.target for one in reading.targets] == [str(tmp_path), "/dev/shm"]
    assert reading.facts["used_percent"] == max(one.facts["used_percent"] for one in reading.targets)


def test_a_file_system_without_a_size_has_no_share() -> None:
    reading = read(disk, {"path": "/proc", "holders": False})
    assert "no size" in reading.missing["used_percent"].reason
    assert "not asked" in reading.missing["deleted_bytes"].reason


def test_a_path_that_is_not_there_is_missing() -> None:
    with pytest.raises(Permanent) as failure:
        read(disk, {"path": "/nowhere/at/all"})
    assert failure.value.error_class == "missing"


@pytest.mark.parametrize(
    "wrong", [{"paths": []}, {"path": "var"}, {"largest": "x/*.log"}, {"largest": "/a/../b"}, {"pth": "/"}, {"top": 0}]
)
def test_wrong_parameters_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        disk.Params.model_validate(wrong)


def test_work_in_a_thread_stops_when_nobody_waits() -> None:
    stopped: list[str] = []

    def work(pace: Pace) -> None:
        try:
            pace.sleep(600)
        except Stopped:
            stopped.append("yes")
            raise

    async def run() -> None:
        task = asyncio.create_task(in_thread(work, "test"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    wait_until(lambda: stopped == ["yes"], "the work stops")
