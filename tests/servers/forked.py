"""Children that have imported Quell before they begin: a small process has, and forks for each of them.

Importing was most of what a test of a command took. A child is a process like any other: with arguments, files, a
folder and an environment of its own, signalled and waited for by its id, and it ends as Python ends. Never does: give
a child anything of the test's own process, or show what a command imports; for that, start Python.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.servers.process import die_with_the_parent

QUELL = "quell.cli.main:main"
ROOT = Path(__file__).parents[2]
File = int | IO[bytes]
LONGEST = 200_000
"""Bytes of a request: mostly the environment."""


class Forked:
    """A running ``module:function``; what it returns is its exit code. Has the words of `subprocess.Popen`, but reads
    nothing unless ``stdin`` is given.
    """

    def __init__(
        self, call: str, words: Sequence[str] = (), *, given: Sequence[Any] = (), cwd: Path | None = None,
        env: Mapping[str, str] | None = None, stdin: File | None = None, stdout: File | None = None,
        stderr: File | None = None, start_new_session: bool = False,
    ) -> None:  # fmt: skip
        """``words`` are its ``sys.argv[1:]``, ``given`` (JSON) its arguments. ``stdout`` may be ``subprocess.PIPE``."""
        self.args = (call, *words)
        self.returncode: int | None = None
        self.stdout: IO[bytes] | None = None
        request = {"call": call, "words": list(words), "given": list(given), "cwd": str(cwd or Path.cwd()),
                   "session": start_new_session, "env": dict(os.environ if env is None else env)}  # fmt: skip
        with contextlib.ExitStack() as ours:
            null = ours.enter_context(open(os.devnull, "rb"))
            if stdout == subprocess.PIPE:
                reader, writer = os.pipe()
                self.stdout, stdout = os.fdopen(reader, "rb"), ours.enter_context(os.fdopen(writer, "wb"))
            files = [null if stdin is None else stdin, 1 if stdout is None else stdout, 2 if stderr is None else stderr]
            self.pid = _nursery().ask(request, [one if isinstance(one, int) else one.fileno() for one in files])
        # It is not reaped before it is waited for: so far its id is its own.
        self._watched = os.pidfd_open(self.pid)

    def ended(self, within: float = 0) -> bool:
        """Whether it has, or does so within these seconds."""
        return self.returncode is not None or bool(select.select([self._watched], [], [], within)[0])

    def poll(self) -> int | None:
        """The exit code once it has ended, negative when a signal ended it. Leaves its id its own."""
        if self.returncode is not None or not self.ended():
            return self.returncode
        return _nursery().ask({"look": self.pid})

    def wait(self, timeout: float | None = None) -> int:
        """Raises ``subprocess.TimeoutExpired``."""
        if self.returncode is None:
            if timeout is None:
                select.select([self._watched], [], [])
            elif not self.ended(timeout):
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = _nursery().ask({"reap": self.pid})
            os.close(self._watched)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run(
    call: str, words: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None,
    stdin: bytes = b"", timeout: float = 90,
) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
    """To its end, as ``subprocess.run`` does. Raises ``subprocess.TimeoutExpired``, and leaves nothing behind."""
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        told.write(stdin)
        told.seek(0)
        child = Forked(call, words, cwd=cwd, env=env, stdin=told, stdout=out, stderr=err)
        try:
            code = child.wait(timeout)
        except BaseException:
            child.kill()
            child.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(child.args, code, out.read(), err.read())


class _Nursery:
    """The process that forks: one per process of tests, from its first child on. It ends when that process does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.servers.forked", str(there.fileno())], cwd=ROOT,
                env={**os.environ, "PYTHONPATH": path}, pass_fds=[there.fileno()],
            )  # fmt: skip

    def ask(self, request: Mapping[str, Any], files: Sequence[int] = ()) -> int:
        with self._lock:
            socket.send_fds(self._here, [json.dumps(request).encode()], files)
            answer = self._here.recv(100)
        if not answer:
            raise ChildProcessError(f"the nursery has ended: {self._process.wait()}")
        return int(answer)


_ours: dict[int, _Nursery] = {}
"""By process: a fork of ours has a nursery of its own."""


def _nursery() -> _Nursery:
    if os.getpid() not in _ours:
        _ours[os.getpid()] = _Nursery()
    return _ours[os.getpid()]


# In the nursery.


def _serve(asked: socket.socket) -> int:
    """Fork until nobody asks any more. In a child: the exit code of what it was made for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for those who do something
    while True:
        message, files, _, _ = socket.recv_fds(asked, LONGEST, 3)
        if not message:
            return 0
        request = json.loads(message)
        if "call" in request:
            answer = os.fork()
            if not answer:
                asked.close()
                return _live(request, files)
            for one in files:
                os.close(one)
        else:
            (pid,) = request.values()
            found = os.waitid(os.P_PID, pid, os.WEXITED | (os.WNOWAIT if "look" in request else 0))
            assert found is not None
            answer = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        asked.send(str(answer).encode())


def _live(request: Mapping[str, Any], files: Sequence[int]) -> int:
    """As if Python had just begun."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    die_with_the_parent(signal.SIGTERM)
    if request["session"]:
        os.setsid()
    for number, one in enumerate(files):
        os.dup2(one, number)
    for one in files:
        os.close(one)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    tempfile.tempdir = None
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    sys.argv = [request["call"], *request["words"]]
    sys.path[:1] = [request["cwd"], *filter(None, request["env"].get("PYTHONPATH", "").split(os.pathsep))]
    module, _, name = request["call"].partition(":")
    return int(getattr(importlib.import_module(module), name)(*request["given"]) or 0)


def _import_quell() -> None:
    """As `quell` does it: without what a command never has. Starts no thread, since a fork would not have it."""
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    from quell.cli.commands import COMMANDS
    from quell.registry import Registry

    importlib.import_module("quell.cli.group")
    sys.modules["rich"] = None  # type: ignore[assignment]
    for name in {command.target.partition(":")[0] for command in COMMANDS} | {"quell.web.run"}:
        importlib.import_module(name)
    Registry()
    del sys.modules["rich"]
    assert len(os.listdir("/proc/self/task")) == 1, threading.enumerate()


if __name__ == "__main__":
    import gc

    _import_quell()
    gc.collect()
    gc.freeze()
    sys.exit(_serve(socket.socket(fileno=int(sys.argv[1]))))
