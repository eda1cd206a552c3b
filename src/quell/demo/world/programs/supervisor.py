"""A small process supervisor that speaks supervisord's XML-RPC interface at ``/RPC2``, with basic authentication.

Method names, struct fields, state numbers and fault codes are supervisord's (its API page, version 3.0 of the
interface), so that a driver written for supervisord works on it. A program that exits is started again; one that
exits within ``startsecs`` is retried with growing pauses and then given up as FATAL.

When whoever started it goes away, however that happens, the programs are stopped and the scratch folder is removed.
Never reads a configuration again, and has no method that ends the supervisor itself.
"""

from __future__ import annotations

import base64
import hmac
import os
import shutil
import signal
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from xmlrpc.client import Fault
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer

from quell.demo.world.programs.upkeep import ALIVE, Program, fault
from quell.demo.world.programs.wire import HOST, hold_lifeline, read_config, wait_for_term

SUCCESS = 80


class Supervisor:
    """The XML-RPC methods, by supervisord's names and meaning."""

    def __init__(self, programs: list[Program]) -> None:
        self.programs = programs
        self._methods: dict[str, Callable[..., object]] = {
            "supervisor.getAPIVersion": lambda: "3.0",
            "supervisor.getSupervisorVersion": lambda: "4.2.5",
            "supervisor.getIdentification": lambda: "payment-world",
            "supervisor.getState": lambda: {"statecode": 1, "statename": "RUNNING"},
            "supervisor.getPID": os.getpid,
            "supervisor.getAllProcessInfo": lambda: [program.info() for program in self.programs],
            "supervisor.getProcessInfo": lambda name: self._one(name).info(),
            "supervisor.startProcess": self.start,
            "supervisor.stopProcess": self.stop,
            "supervisor.startProcessGroup": lambda name, wait=True: self._all(self._group(name), "start", wait),
            "supervisor.stopProcessGroup": lambda name, wait=True: self._all(self._group(name), "stop", wait),
            "supervisor.startAllProcesses": lambda wait=True: self._all(self.programs, "start", wait),
            "supervisor.stopAllProcesses": lambda wait=True: self._all(self.programs, "stop", wait),
            "supervisor.signalProcess": self._send_signal,
            "supervisor.readProcessStdoutLog": lambda name, offset, length: self._one(name).log(offset, length),
            "supervisor.readProcessLog": lambda name, offset, length: self._one(name).log(offset, length),
            "supervisor.tailProcessStdoutLog": self._tail,
            "supervisor.tailProcessLog": self._tail,
            "system.listMethods": lambda: sorted(self._methods),
        }

    def _dispatch(self, method: str, params: tuple[object, ...]) -> object:
        handler = self._methods.get(method)
        if handler is None:
            raise fault("UNKNOWN_METHOD", method)
        try:
            return handler(*params)
        except TypeError as error:
            raise fault("INCORRECT_PARAMETERS", str(error)) from error

    def _group(self, name: str) -> list[Program]:
        members = [program for program in self.programs if program.group == name]
        if not members:
            raise fault("BAD_NAME", name)
        return members

    def _one(self, name: str) -> Program:
        group, _, process = str(name).partition(":")
        for program in self.programs:
            if (program.group, program.name) == (group, process or group):
                return program
        raise fault("BAD_NAME", str(name))

    def start(self, name: str, wait: bool = True) -> object:
        """One program, or ``group:*``."""
        if str(name).endswith(":*"):
            return self._all(self._group(str(name)[:-2]), "start", wait)
        return self._one(name).start(wait)

    def stop(self, name: str, wait: bool = True) -> object:
        """One program, or ``group:*``."""
        if str(name).endswith(":*"):
            return self._all(self._group(str(name)[:-2]), "stop", wait)
        return self._one(name).stop(wait)

    def _all(self, programs: list[Program], verb: str, wait: bool) -> list[dict[str, object]]:
        """All at once; the answer has one struct per program that was concerned, as supervisord's has."""
        concerned = [program for program in programs if (program.state in ALIVE) == (verb == "stop")]
        answers: dict[str, dict[str, object]] = {}

        def one(program: Program) -> None:
            status, text = SUCCESS, "OK"
            try:
                (program.start if verb == "start" else program.stop)(wait)
            except Fault as error:
                status, text = error.faultCode, error.faultString
            entry = {"name": program.name, "group": program.group, "status": status, "description": text}
            answers[program.name] = entry

        threads = [threading.Thread(target=one, args=(program,)) for program in concerned]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [answers[program.name] for program in concerned]

    def _send_signal(self, name: str, word: str) -> bool:
        word = str(word).upper()
        known = signal.Signals.__members__.get(word if word.startswith("SIG") else f"SIG{word}")
        number = int(known) if known else int(word) if word.isdigit() else 0
        if not number:
            raise fault("BAD_SIGNAL", word)
        return self._one(name).signal(number)

    def _tail(self, name: str, offset: int, length: int) -> list[object]:
        text = self._one(name).log(-length, length)
        return [text, len(text), False]


class Door(SimpleXMLRPCRequestHandler):
    """Lets in who knows the password."""

    rpc_paths = ("/RPC2",)
    expected = ""

    def do_POST(self) -> None:  # noqa: N802  the library's name
        if hmac.compare_digest(self.headers.get("Authorization", ""), self.expected):
            super().do_POST()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="default"')
        self.send_header("Content-Length", "0")
        self.end_headers()


class Listener(socketserver.ThreadingMixIn, SimpleXMLRPCServer):
    """A thread per call, because a start with ``wait`` blocks."""

    daemon_threads = True


def main() -> None:
    """``supervisor.py CONFIG``"""
    config: dict[str, Any] = read_config(sys.argv[1])
    ours, _keep_open = os.pipe()
    supervisor = Supervisor([Program(spec, ours) for spec in config["programs"]])
    token = base64.b64encode(f"{config['user']}:{config['password']}".encode()).decode()
    Door.expected = f"Basic {token}"
    listener = Listener((HOST, int(config["port"])), Door, logRequests=False)
    listener.register_instance(supervisor)

    def clear() -> None:
        supervisor._all(supervisor.programs, "stop", wait=True)
        for _ in range(20):
            shutil.rmtree(config["scratch"], ignore_errors=True)
            if not os.path.exists(config["scratch"]):
                return
            time.sleep(0.05)

    hold_lifeline(clear)
    supervisor._all(supervisor.programs, "start", wait=False)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    wait_for_term()
    supervisor._all(supervisor.programs, "stop", wait=True)


if __name__ == "__main__":
    main()
