"""One real server as a child process of the test: started, waited for, stopped, cleaned up.

Never sleeps to be right: readiness and exit are polled against a deadline. Never signals a process that it
did not start: the server is signalled by its own id while that id cannot have been given to another one,
and its descendants are recognised by id and start time together.
"""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self, TypeVar, runtime_checkable

START_WITHIN = 30.0
STOP_WITHIN = 10.0
_POLL = 0.02
_LOG_TAIL = 4_000
_PR_SET_PDEATHSIG = 1
# Loaded before any fork: a child of a threaded process must not open libraries between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class MissingProgramError(Exception):
    """A program that a test needs is not installed; names the Debian package. Reported as a skip."""


class DidNotStartError(Exception):
    """A server ended, or was not ready in time; carries the end of its log."""


def locate(program: str, package: str, *folders: str) -> str:
    """The path of `program`, looked for in `folders` (the last in order wins), then in PATH and the sbins.

    Raises MissingProgramError, naming the Debian `package` that brings it.
    """
    for folder in (*reversed(folders), None):
        search = folder or os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
        if found := shutil.which(program, path=search):
            return found
    raise MissingProgramError(f"needs {program} (Debian package {package})")


def wait_until(condition: Callable[[], bool], what: str, within: float = START_WITHIN) -> None:
    """Poll `condition` until it holds. Raises TimeoutError naming `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {within:g} s")
        time.sleep(_POLL)


def descendants(pid: int) -> dict[int, str]:
    """The living processes below `pid`, as id → start time in clock ticks. Empty without a /proc."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX":
                children.setdefault(int(fields[1]), []).append((int(entry.parent.name), fields[19]))
    found: dict[int, str] = {}
    unseen = [pid]
    while unseen:
        for child, started in children.get(unseen.pop(), ()):
            found[child] = started
            unseen.append(child)
    return found


def start_time(pid: int) -> str | None:
    """When the process began, in clock ticks since boot; None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def alive(pid: int, started: str | None) -> bool:
    """Whether the process `pid` that began at `started` still runs, and not another one with its id."""
    return started is not None and start_time(pid) == started


def die_with_the_parent(how: signal.Signals) -> None:
    """From now on this process gets that signal when the thread that started it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(how), 0, 0, 0)


class Child(Protocol):
    """What a server is to the test that started it: the part of `subprocess.Popen` that is used here."""

    pid: int

    def wait(self, timeout: float | None = None) -> int: ...


@runtime_checkable
class Watched(Child, Protocol):
    """A child of a child of ours, which we cannot ask the kernel about."""

    def ended(self) -> bool: ...


class Server(ABC):
    """A server on loopback with a temporary folder of its own; a context manager.

    A subclass prepares its folder (`prepare`), names its command line (`argv`) and tells when it answers
    (`ready`). `start` and `stop` may be called again in between to restart it on the same port and data;
    leaving the context also removes the folder. Start it from the main thread: the kernel ends the child
    when the *thread* that started it ends (prctl(2), PR_SET_PDEATHSIG).
    """

    user: str | None = None
    """The account to run as; only root can choose one."""
    stop_signal = signal.SIGTERM
    death_signal = signal.SIGTERM
    """What the server gets when the test process dies."""

    folder: Path
    _process: Child | None = None

    def prepare(self) -> None:  # noqa: B027 - not every server has something to prepare
        """Write configuration and data into `folder`, once. Nothing by default."""

    @abstractmethod
    def argv(self) -> Sequence[str]:
        """The command line; must stay in the foreground. Raises MissingProgramError."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether the server answers. Network errors count as not yet."""

    def environment(self) -> Mapping[str, str]:
        """Variables on top of the test's own."""
        return {}

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=f"quell-{type(self).__name__.lower()}-"))
        try:
            if self.user is not None:
                shutil.chown(self.folder, self.user)
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The id of the server's first process. Raises RuntimeError when it is not started."""
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__} is not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and not _exited(self._process)

    def log(self) -> str:
        """The end of what the server wrote to its standard output and error."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace")[-_LOG_TAIL:] if path.exists() else ""

    def start(self, within: float = START_WITHIN) -> None:
        """Start and wait until `ready`. Raises DidNotStartError with the log."""
        argv = self.argv()
        with (self.folder / "server.log").open("ab") as log:
            self._process = self.launch(argv, log)
        try:
            wait_until(lambda: not self.running or self.ready(), argv[0], within)
        except TimeoutError as late:
            raise DidNotStartError(f"{late}\n{self.log()}") from None
        if not self.running:
            raise DidNotStartError(f"{argv[0]} ended at once\n{self.log()}")

    def launch(self, argv: Sequence[str], log: IO[bytes]) -> Child:
        """Begin, in a session of its own, with everything it says in the log."""
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env={**os.environ, **self.environment()},
            start_new_session=True,
            preexec_fn=self._die_with_the_test,
            **_account(self.user),
        )

    def stop(self, how: signal.Signals | None = None, within: float = STOP_WITHIN) -> None:
        """Ask to end with `how` (default `stop_signal`), then insist. Nothing of it runs afterwards."""
        process = self._process
        if process is None:
            return
        family = descendants(process.pid)
        if not _exited(process):
            os.kill(process.pid, how or self.stop_signal)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: _exited(process), "stop", within)
        # Not reaped yet: the id, and with it the group's, cannot belong to a stranger.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None
        for pid, started in family.items():
            if alive(pid, started):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(alive(*one) for one in family.items()), "its processes ended", within)

    def run_once(self, argv: Sequence[str]) -> None:
        """Run a preparing program to its end under the server's account. Raises DidNotStartError."""
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            check=False,
            timeout=60,
            **_account(self.user),
        )
        if done.returncode != 0:
            raise DidNotStartError(f"{argv[0]} failed ({done.returncode})\n{done.stdout.decode()[-_LOG_TAIL:]}")

    def _die_with_the_test(self) -> None:
        die_with_the_parent(self.death_signal)


AnyServer = TypeVar("AnyServer", bound=Server)


class RunServer(Protocol):
    """What the fixture `run_server` gives: starts a server that ends with the test, and returns it."""

    def __call__(self, server: AnyServer, /) -> AnyServer: ...


def account_for(name: str, package: str) -> str | None:
    """The account that a server which refuses root runs as: `name` under root, else the tester's own.

    Raises MissingProgramError when the account, which the Debian `package` makes, does not exist.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        raise MissingProgramError(f"needs the account {name} (Debian package {package})") from None


def _account(user: str | None) -> dict[str, Any]:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _exited(process: Child) -> bool:
    """Whether it ended, without reaping it: its id stays taken until `stop`."""
    if isinstance(process, Watched):
        return process.ended()
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
