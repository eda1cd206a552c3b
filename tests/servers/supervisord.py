"""A real supervisord on loopback with its XML-RPC interface, running the programs a test names.

Never daemonises, and never outlives its programs: stopping it stops them.
"""

import os
from collections.abc import Mapping
from typing import Any
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from tests.servers.ports import LOOPBACK, free_port
from tests.servers.process import Server, locate

_CONFIGURATION = """\
[supervisord]
nodaemon = true
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
childlogdir = {folder}
{account}

[inet_http_server]
port = {address}
username = {username}
password = {password}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
_PROGRAM = {"startsecs": 0, "stopwaitsecs": 2, "stopasgroup": "true", "killasgroup": "true"}


class Supervisord(Server):
    """`programs` maps a name to the options of its section: `{"web": {"command": "…", "autostart": "false"}}`."""

    def __init__(
        self,
        programs: Mapping[str, Mapping[str, str | int]],
        *,
        username: str = "quell",
        password: str = "let-me-in",
    ) -> None:
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.username = username
        self.password = password
        self.url = f"http://{self.address}/RPC2"
        self._programs = programs

    def prepare(self) -> None:
        text = _CONFIGURATION.format(
            folder=self.folder,
            address=self.address,
            username=self.username,
            password=self.password,
            account="user = root" if os.geteuid() == 0 else "",
        )
        for name, options in self._programs.items():
            lines = [f"{key} = {value}" for key, value in {**_PROGRAM, **options}.items()]
            text += "\n".join(("", f"[program:{name}]", *lines, ""))
        (self.folder / "supervisord.conf").write_text(text)

    def argv(self) -> list[str]:
        return [locate("supervisord", "supervisor"), "-c", str(self.folder / "supervisord.conf")]

    def ready(self) -> bool:
        try:
            return bool(self.call("supervisor.getState")["statename"] == "RUNNING")
        except (OSError, ProtocolError, Fault):
            return False

    def call(self, method: str, *values: Any) -> Any:
        """Call an XML-RPC method, e.g. `supervisor.startProcess`. Raises xmlrpc.client.Fault."""
        login = f"{self.username}:{self.password}@"
        with ServerProxy(f"http://{login}{self.address}/RPC2") as proxy:
            return getattr(proxy, method)(*values)

    def state(self, program: str) -> str:
        """`RUNNING`, `STOPPED`, `BACKOFF`, `FATAL`, …"""
        return str(self.call("supervisor.getProcessInfo", program)["statename"])

    def program_pid(self, program: str) -> int:
        """The process id of a program; 0 when it does not run."""
        return int(self.call("supervisor.getProcessInfo", program)["pid"])
