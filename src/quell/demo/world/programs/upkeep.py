"""How the supervisor keeps one program alive: states, retries, stopping, and what supervisord would say about it.

Programs get the supervisor's own pipe as stdin and end when it closes, so none outlives it. Never starts what was
asked to stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from typing import Any
from xmlrpc.client import Fault

STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL = 0, 10, 20, 30, 40, 100, 200
STATE_NAMES = {
    STOPPED: "STOPPED",
    STARTING: "STARTING",
    RUNNING: "RUNNING",
    BACKOFF: "BACKOFF",
    STOPPING: "STOPPING",
    EXITED: "EXITED",
    FATAL: "FATAL",
}
ALIVE = (STARTING, RUNNING, BACKOFF)
FAULTS = {
    "UNKNOWN_METHOD": 1,
    "INCORRECT_PARAMETERS": 2,
    "BAD_NAME": 10,
    "BAD_SIGNAL": 11,
    "NO_FILE": 20,
    "ABNORMAL_TERMINATION": 40,
    "SPAWN_ERROR": 50,
    "ALREADY_STARTED": 60,
    "NOT_RUNNING": 70,
}
STOP_WAIT_S = 3.0


def fault(kind: str, text: str) -> Fault:
    """A fault the way supervisord words it."""
    return Fault(FAULTS[kind], f"{kind}: {text}")


class Program:
    """One program and the thread that keeps it alive while it is wanted."""

    def __init__(self, spec: dict[str, Any], lifeline: int) -> None:
        self.name, self.group = str(spec["name"]), str(spec["group"])
        self._command, self._logfile = [str(word) for word in spec["command"]], str(spec["stdout_logfile"])
        self._startsecs, self._retries = float(spec["startsecs"]), int(spec["startretries"])
        self._pause, self._environment = float(spec["backoff"]), dict(spec["environment"])
        self._lifeline = lifeline
        self._changed = threading.Condition()
        self.state, self.pid, self.exitstatus, self.spawnerr = STOPPED, 0, 0, ""
        self.started, self.stopped = 0.0, 0.0
        self._stop_asked = False
        self._thread: threading.Thread | None = None

    def start(self, wait: bool) -> bool:
        """Begin to keep it alive; with `wait` until it has stayed up for ``startsecs``."""
        with self._changed:
            self._changed.wait_for(lambda: self.state != STOPPING, STOP_WAIT_S)
            if self.state in ALIVE:
                raise fault("ALREADY_STARTED", self.name)
            self._stop_asked, self.spawnerr, self.state = False, "", STARTING
            self._thread = threading.Thread(target=self._keep_alive, daemon=True)
            self._thread.start()
            if not wait:
                return True
            self._changed.wait_for(lambda: self.state != STARTING, self._startsecs + 5)
            if self.spawnerr:
                raise fault("SPAWN_ERROR", self.name)
            if self.state != RUNNING:
                raise fault("ABNORMAL_TERMINATION", self.name)
            return True

    def stop(self, wait: bool) -> bool:
        """TERM, later KILL; with `wait` until it has gone."""
        with self._changed:
            if self.state not in ALIVE:
                raise fault("NOT_RUNNING", self.name)
            self._stop_asked = True
            if self.state != BACKOFF:
                self.state = STOPPING
            self._signal(signal.SIGTERM)
            self._changed.notify_all()
            reaper = threading.Thread(target=self._insist, daemon=True)
            reaper.start()
        if wait:
            reaper.join()
        return True

    def _insist(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self.state == STOPPED, STOP_WAIT_S):
                self._signal(signal.SIGKILL)
                self._changed.wait_for(lambda: self.state == STOPPED, STOP_WAIT_S)

    def signal(self, number: int) -> bool:
        """Send a signal to the running program."""
        with self._changed:
            if self.state not in (RUNNING, STARTING, STOPPING):
                raise fault("NOT_RUNNING", self.name)
            self._signal(number)
            return True

    def _signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(self.pid, number)

    def _keep_alive(self) -> None:
        attempts = 0
        while True:
            early = self._live_once()
            with self._changed:
                if self._stop_asked:
                    self._move(STOPPED)
                    return
                attempts = attempts + 1 if early else 0
                if not early:
                    self._move(EXITED)
                    self._move(STARTING)
                    continue
                self.spawnerr = self.spawnerr or "Exited too quickly (process log may have details)"
                if attempts > self._retries:
                    self._move(FATAL)
                    return
                self._move(BACKOFF)
                if self._changed.wait_for(lambda: self._stop_asked, self._pause * attempts):
                    self._move(STOPPED)
                    return
                self.spawnerr = ""
                self._move(STARTING)

    def _live_once(self) -> bool:
        """One life of the process, from spawn to exit; whether it ended too early."""
        with self._changed:
            if self._stop_asked:
                return True
            try:
                with open(self._logfile, "ab") as log:
                    child = subprocess.Popen(
                        self._command, stdin=self._lifeline, stdout=log, stderr=log, env=self._environment
                    )
            except OSError as error:
                self.spawnerr = f"can't start: {error}"
                return True
            self.pid, self.started = child.pid, time.time()
        early = True
        try:
            child.wait(self._startsecs)
        except subprocess.TimeoutExpired:
            early = False
            with self._changed:
                if not self._stop_asked:
                    self._move(RUNNING)
            child.wait()
        with self._changed:
            self.pid, self.stopped, self.exitstatus = 0, time.time(), max(0, child.returncode)
        return early

    def _move(self, state: int) -> None:
        self.state = state
        self._changed.notify_all()

    def info(self) -> dict[str, object]:
        """The struct of ``getProcessInfo``; times in whole unix seconds, as there."""
        with self._changed:
            now = int(time.time())
            if self.state == RUNNING:
                up = max(0, now - int(self.started))
                description = f"pid {self.pid}, uptime {up // 3600}:{up % 3600 // 60:02}:{up % 60:02}"
            elif self.state in (BACKOFF, FATAL):
                description = self.spawnerr
            elif self.state in (STARTING, STOPPING):
                description = ""
            else:
                description = (
                    time.strftime("%b %d %I:%M %p", time.gmtime(self.stopped)) if self.stopped else "Not started"
                )
            return {
                "name": self.name,
                "group": self.group,
                "start": int(self.started),
                "stop": int(self.stopped),
                "now": now,
                "state": self.state,
                "statename": STATE_NAMES[self.state],
                "spawnerr": self.spawnerr,
                "exitstatus": self.exitstatus,
                "logfile": self._logfile,
                "stdout_logfile": self._logfile,
                "stderr_logfile": "",
                "pid": self.pid,
                "description": description,
            }

    def log(self, offset: int, length: int) -> str:
        """Output from `offset`; a negative offset counts from the end, a length of 0 means the rest."""
        try:
            with open(self._logfile, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(max(0, size + offset) if offset < 0 else offset)
                return file.read(length or -1).decode("utf-8", "replace")
        except OSError as error:
            raise fault("NO_FILE", self._logfile) from error
