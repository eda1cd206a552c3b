"""A forked child is a process of its own: what it is given, how it ends, and that nothing of another one is left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.forked import QUELL, Forked, run
from tests.servers.process import alive, start_time, wait_until

HERE = "tests.servers.test_forked"
SEEN: list[str] = []


def speak() -> int:
    """In a child."""
    SEEN.append("a child was here")
    print(json.dumps([sys.argv[1:], os.environ.get("QUELL_SAID"), str(Path.cwd()), sys.stdin.read(), SEEN]))
    print("beside it", file=sys.stderr)
    return 7


def fail() -> None:
    raise RuntimeError("on purpose")


def wait(seconds: float) -> None:
    print("there", flush=True)
    time.sleep(seconds)


def test_it_has_what_it_is_given_and_nothing_of_the_child_before(tmp_path: Path) -> None:
    for words in (["a", "b c"], ["ä"]):
        done = run(f"{HERE}:speak", words, cwd=tmp_path, env={"QUELL_SAID": "x"}, stdin=b"in")
        assert (done.returncode, done.stderr) == (7, b"beside it\n")
        assert json.loads(done.stdout) == [words, "x", str(tmp_path), "in", ["a child was here"]]


def test_it_ends_as_python_does() -> None:
    done = run(f"{HERE}:fail", [])
    assert done.returncode == 1
    assert b"RuntimeError: on purpose" in done.stderr


def test_it_is_quell_itself(tmp_path: Path) -> None:
    words = ("lint", "nowhere.yaml")
    started = subprocess.run(
        [sys.executable, "-m", "quell.cli.main", *words], cwd=tmp_path, capture_output=True, check=False
    )
    forked = run(QUELL, words, cwd=tmp_path)
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)
    assert forked.returncode


def test_it_is_signalled_and_its_id_is_its_own_until_it_is_waited_for() -> None:
    child = Forked(f"{HERE}:wait", given=[600], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"there\n"
    assert child.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0)
    child.send_signal(signal.SIGTERM)
    wait_until(child.ended, "its end", 10)
    assert [child.poll(), child.poll()] == [-signal.SIGTERM] * 2
    assert Path(f"/proc/{child.pid}").exists()
    assert [child.wait(), child.wait()] == [-signal.SIGTERM] * 2
    assert not Path(f"/proc/{child.pid}").exists()


def test_it_dies_with_the_test_process() -> None:
    program = (
        "import time; from tests.servers.forked import Forked\n"
        f"print(Forked('{HERE}:wait', given=[600]).pid, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True
    ) as tester:
        assert tester.stdout is not None
        pid = int(tester.stdout.readline())
        started = start_time(pid)
        assert alive(pid, started)
        tester.kill()
        tester.wait()
        wait_until(lambda: not alive(pid, started), "the child is gone", 10)
