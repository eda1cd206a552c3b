"""Runs one program for a check: bounded output, no standard input, a clean environment, and no process left behind.

The program gets a session of its own. Whenever the run ends (by itself, at a limit, by cancellation) the whole group
is killed, and on Linux also what left the group, recognised by a mark in its environment.
Never does: use a shell (who wants one names it), wait for children that keep a pipe open, signal a stranger.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from quell.errors import Permanent, QuellError, Transient

KEPT = ("PATH", "HOME", "LANG")
"""All that a program inherits of our own environment."""
_MARK = "QUELL_CHECK_RUN"
_CHUNK = 64 * 1024
_DRAIN_S = 0.5
"""How long the output is still read when the program has ended but a child of it keeps the pipe open."""
_POLL_S = 0.02
_REAP_POLLS = 250
_KILL_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Ran:
    """``exit_code`` is None when it was killed for its output; a signal's number is negative."""

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    truncated: bool


def signal_name(exit_code: int | None) -> str | None:
    """The signal that ended it, ``SIGKILL`` say; None when it ended by itself."""
    if exit_code is None or exit_code >= 0:
        return None
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal has no name of its own
        return f"signal {-exit_code}"


class _Pipe:
    """One output, read up to a limit.

    By hand, and not as a transport of the loop: uvloop's closes the file a second time, and by then the number may be
    that of a connection which another thread has just opened.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self.stream, self.limit, self.data, self.over = stream, limit, bytearray(), False

    async def read(self) -> None:
        """Until its end, or until it is over the limit."""
        loop, handle, ready = asyncio.get_running_loop(), self.stream.fileno(), asyncio.Event()
        os.set_blocking(handle, False)
        loop.add_reader(handle, ready.set)
        try:
            while not self.over:
                await ready.wait()
                ready.clear()
                try:
                    part = os.read(handle, _CHUNK)
                except BlockingIOError:
                    continue
                if not part:
                    return
                self.over = len(self.data) + len(part) > self.limit
                self.data += part[: self.limit - len(self.data)]
        finally:
            loop.remove_reader(handle)


async def run(
    argv: Sequence[str], *, max_bytes: int, env: Mapping[str, str] | None = None, cwd: str | None = None,
    stdin: bytes | None = None,
) -> Ran:  # fmt: skip
    """Run to the end, or to ``max_bytes`` of either output. Raises ``Permanent`` (missing, denied, invalid)."""
    mark = secrets.token_hex(16)
    process = _start(argv, env or {}, cwd, mark, stdin is not None)
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = _Pipe(process.stdout, max_bytes), _Pipe(process.stderr, max_bytes)
    tasks = [asyncio.ensure_future(one) for one in (out.read(), err.read(), _feed(process, stdin))]
    ended = asyncio.ensure_future(_ended(process))
    try:
        await _until_done(ended, tasks, (out, err))
    finally:
        for task in (*tasks, ended):
            task.cancel()
        flooded = out.over or err.over
        _kill_group(process)
        code = await _reap(process)
        await asyncio.to_thread(_kill_marked, mark)
        await asyncio.gather(*tasks, ended, return_exceptions=True)  # nobody looks at what is closed now
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
    return Ran(None if flooded else code, bytes(out.data), bytes(err.data), flooded)


async def _until_done(
    ended: asyncio.Future[None], tasks: Sequence[asyncio.Future[None]], pipes: Sequence[_Pipe]
) -> None:
    readers = set(tasks[:2])
    waiting: set[asyncio.Future[None]] = {ended, *readers}
    while waiting and not any(pipe.over for pipe in pipes):
        grace = _DRAIN_S if ended.done() else None
        done, waiting = await asyncio.wait(waiting, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return
        for task in done:
            task.result()


async def _feed(process: subprocess.Popen[bytes], data: bytes | None) -> None:
    if process.stdin is None or data is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await asyncio.to_thread(_write_all, process.stdin, data)


def _write_all(stream: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.write(data)
        stream.close()


def _start(
    argv: Sequence[str], env: Mapping[str, str], cwd: str | None, mark: str, fed: bool
) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    try:
        return subprocess.Popen(  # noqa: S603
            list(argv),
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"LANG": "C.UTF-8", **kept, **env, _MARK: mark},
            cwd=cwd,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        raise _refused(error, argv[0], cwd) from None
    except ValueError:
        raise Permanent("the command or its environment holds a null character", "invalid") from None


def _refused(error: OSError, program: str, cwd: str | None) -> QuellError:
    if cwd is not None and not Path(cwd).is_dir():
        return Permanent(f"no folder {cwd!r} to run in", "missing")
    if error.errno == errno.ENOENT:
        return Permanent(f"no program {program!r} on this machine", "missing")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Permanent(f"not allowed to run {program!r}", "denied")
    if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return Transient(f"cannot start {program!r} now: {error.strerror}", "exhausted")
    return Permanent(f"cannot run {program!r}: {error.strerror}", "failed")


async def _ended(process: subprocess.Popen[bytes]) -> None:
    """Until it has ended, without reaping it, so that its id and its group's cannot become a stranger's."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(process.pid)
            await _readable(handle)
            return
    while not _has_ended(process):  # noqa: ASYNC110 - there is nobody to set an event here
        await asyncio.sleep(_POLL_S)


async def _readable(handle: int) -> None:
    loop, seen = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handle, seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


async def _reap(process: subprocess.Popen[bytes]) -> int | None:
    """Its exit code; it has ended or was killed, so this takes no time unless the kernel holds it in a call."""
    for _ in range(_REAP_POLLS):
        if process.poll() is not None:
            break
        await asyncio.sleep(_POLL_S)
    return process.returncode


def _kill_marked(mark: str) -> None:
    """Kill what this run started and that made itself a session of its own; nothing where there is no /proc."""
    if sys.platform != "linux":
        return
    wanted = f"{_MARK}={mark}".encode()
    for _ in range(_KILL_ROUNDS):  # one that forks while it is looked for is found in the next round
        found = [path for path in Path("/proc").glob("[0-9]*/environ") if _has(path, wanted)]
        if not found:
            return
        for path in found:
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(int(path.parent.name))
                try:
                    if _has(path, wanted):  # the handle is of the process that was found, not of a later one
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                finally:
                    os.close(handle)


def _has(path: Path, wanted: bytes) -> bool:
    try:
        return wanted in path.read_bytes().split(b"\0")
    except OSError:
        return False
