"""Takes users off a replica and gives them back, over HAProxy's runtime socket; also replaces a certificate.

Example (service catalogue)::

    drivers:
    - type: haproxy
      socket: /run/haproxy/admin.sock   # or 127.0.0.1:9999; `stats socket ... level admin`
      backend: payment
      server: "{replica}"               # how HAProxy calls a replica
      drain_within: 10s

Draining lets sessions end by themselves, for ``drain_within`` at most; what is left then is said, not an error. With
``state: true`` the driver also tells which replicas HAProxy would send users to. Source: HAProxy 2.6 management
guide, 9.3 "Unix Socket commands". Never does: pass on a name that could hold a second command.
"""

from __future__ import annotations

import asyncio
import csv
import io
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from pydantic import field_validator

from quell.errors import Permanent, Transient
from quell.plugins.drivers._fields import Seconds
from quell.plugins.drivers._refusal import Incapable
from quell.ports import Params, Probe, Replica, Service, ServiceState

CAPABILITIES = frozenset({"drain", "certificate", "state"})

# The characters HAProxy itself allows in names of proxies and servers; `;` and newline would start a new command.
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_PATH = re.compile(r"[A-Za-z0-9_.@:/+-]+")
_PEM = re.compile(r"[A-Za-z0-9+/= \n:.,_@()-]+")
_MAX_ANSWER = 8 * 1024 * 1024
_POLL_S = 0.05


class Config(Params):
    """``server`` is a template of HAProxy's name for a replica; ``state`` adds the capability of that name."""

    socket: str
    """The path of the runtime socket, or ``host:port``."""
    backend: str
    """HAProxy's name for the service."""
    server: str = "{replica}"
    drain_within: Seconds = 10.0
    """How long open sessions may take to end."""
    ready_within: Seconds = 30.0
    """How long a server may take to be up again."""
    state: bool = False

    @field_validator("backend")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("a name holds letters, digits and _ . : - only")
        return value

    @field_validator("server")
    @classmethod
    def _names_a_replica(cls, value: str) -> str:
        if value.count("{replica}") != 1 or not _NAME.fullmatch(value.replace("{replica}", "r")):
            raise ValueError("holds {replica} once, and letters, digits and _ . : - only")
        return value


def connect(config: Config, service: Service, probe: Probe) -> Haproxy:
    return Haproxy(config, service.name, probe)


@dataclass(frozen=True, slots=True)
class _Server:
    name: str
    status: str
    sessions: int
    queued: int
    changed_s: int
    address: str
    check: str

    @property
    def serves(self) -> bool:
        return self.status.startswith("UP") or self.status == "no check"


class Haproxy(Incapable):
    """The driver of one backend."""

    rolls_by_itself = False

    def __init__(self, config: Config, service: str, probe: Probe) -> None:
        self._config, self._service, self._probe = config, service, probe
        self.capabilities = CAPABILITIES if config.state else CAPABILITIES - {"state"}

    async def state(self) -> ServiceState:
        """``ready``: HAProxy sends new users there. Raises ``Permanent`` (missing) without such a backend."""
        if not self._config.state:
            self._refuse("tell the state")
        before, after = self._config.server.split("{replica}")
        servers = [
            server
            for server in await self._servers()
            if server.name.startswith(before) and server.name.endswith(after) and len(server.name) > len(before + after)
        ]
        replicas = tuple(
            Replica(
                name=server.name[len(before) : len(server.name) - len(after)],
                ready=server.serves,
                since=self._probe.now() - timedelta(seconds=server.changed_s),
                note=f"{server.status} at {server.address}: {server.check}, {server.sessions} sessions",
            )
            for server in servers
        )
        return ServiceState(replicas, desired=len(replicas), rolling=any(one.status == "DRAIN" for one in servers))

    async def drain(self, replica: str) -> str:
        """No new users; returns when the sessions ended, or after ``drain_within`` saying how many did not."""
        name = await self._set(replica, "drain")
        deadline = asyncio.get_running_loop().time() + self._config.drain_within
        while True:
            server = await self._server(name)
            left = server.sessions + server.queued
            if left == 0:
                return f"{self._config.backend}/{name} drained"
            if asyncio.get_running_loop().time() >= deadline:
                return f"{self._config.backend}/{name} drained, {left} sessions left"
            await asyncio.sleep(_POLL_S)

    async def undrain(self, replica: str) -> str:
        """Users again; returns when HAProxy calls it UP. Raises ``Permanent`` (timeout) when it does not."""
        name = await self._set(replica, "ready")
        deadline = asyncio.get_running_loop().time() + self._config.ready_within
        while not (server := await self._server(name)).serves:
            if asyncio.get_running_loop().time() >= deadline:
                raise Permanent(
                    f"{self._config.backend}/{name}: {server.status} ({server.check}) after "
                    f"{self._config.ready_within:g} s",
                    "timeout",
                )
            await asyncio.sleep(_POLL_S)
        return f"{self._config.backend}/{name} {server.status}"

    async def certificate(self, path: str, pem: str) -> str:
        """Replace the certificate that HAProxy loaded as ``path`` by ``pem`` (key and chain), in memory.

        HAProxy checks that key and certificate belong together before it takes them. Never puts ``pem`` in an error.
        """
        if not _PATH.fullmatch(path) or not _PEM.fullmatch(pem) or "\n\n" in pem.strip():
            raise Permanent("haproxy: not a plain path and a PEM without blank lines", "invalid")
        answer = await self._ask(f"set ssl cert {path} <<\n{pem.strip()}\n")
        if "Transaction created" not in answer and "Transaction updated" not in answer:
            raise Permanent(f"haproxy: set ssl cert {path}: {_brief(answer)}", "invalid")
        answer = await self._ask(f"commit ssl cert {path}")
        if "Success!" not in answer:
            # Only reads here, so a half-made transaction is taken back for the next attempt.
            await self._ask(f"abort ssl cert {path}")
            raise Permanent(f"haproxy: commit ssl cert {path}: {_brief(answer)}", "failed")
        return f"haproxy serves the new certificate as {path}"

    async def _set(self, replica: str, state: str) -> str:
        name = self._config.server.replace("{replica}", replica)
        if not _NAME.fullmatch(name):
            raise Permanent(f"haproxy: {replica!r} is not a plain name", "invalid")
        answer = (await self._ask(f"set server {self._config.backend}/{name} state {state}")).strip()
        if answer.startswith(("No such", "Require 'backend/server'")):
            raise Permanent(f"haproxy: {self._config.backend}/{name}: {_brief(answer)}", "missing")
        if answer:
            raise Permanent(f"haproxy: {self._config.backend}/{name}: {_brief(answer)}", "denied")
        return name

    async def _server(self, name: str) -> _Server:
        for server in await self._servers():
            if server.name == name:
                return server
        raise Permanent(f"haproxy: no server {name!r} in backend {self._config.backend}", "missing")

    async def _servers(self) -> list[_Server]:
        answer = await self._ask(f"show stat {self._config.backend} 4 -1")
        if not answer.startswith("# "):
            kind = "missing" if "No such proxy" in answer else "denied"
            raise Permanent(f"haproxy: show stat {self._config.backend}: {_brief(answer)}", kind)
        rows = csv.DictReader(io.StringIO(answer.removeprefix("# ")))
        try:
            return [_server(row) for row in rows if row["pxname"] == self._config.backend]
        except (KeyError, TypeError, ValueError):
            raise Permanent("haproxy: the statistics cannot be read", "invalid") from None

    async def _ask(self, command: str) -> str:
        """One command on a connection of its own: HAProxy answers and closes."""
        try:
            reader, writer = await self._open()
        except OSError as error:
            raise self._unreachable(error) from None
        try:
            writer.write(command.encode() + b"\n")
            await writer.drain()
            answer = await reader.read(_MAX_ANSWER + 1)
            while (more := await reader.read(65_536)) and len(answer) <= _MAX_ANSWER:
                answer += more
        except OSError as error:
            raise Transient(f"haproxy at {self._config.socket}: the connection broke: {error}", "lost") from None
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        if len(answer) > _MAX_ANSWER:
            raise Permanent(f"haproxy: the answer is larger than {_MAX_ANSWER} bytes", "too_large")
        text = answer.decode(errors="replace")
        if text.startswith("Permission denied"):
            raise Permanent("haproxy: the socket lacks `level admin`", "denied")
        return text

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        place = self._config.socket.removeprefix("unix://")
        if place.startswith("/"):
            return await asyncio.open_unix_connection(place)
        host, _, port = place.rpartition(":")
        if not host or not port.isdecimal():
            raise Permanent("haproxy: socket is an absolute path or host:port", "invalid")
        return await asyncio.open_connection(host.strip("[]"), int(port))

    def _unreachable(self, error: OSError) -> Transient | Permanent:
        text = f"haproxy at {self._config.socket}: {error.strerror or error}"
        if isinstance(error, PermissionError):
            return Permanent(text, "denied")
        refused = isinstance(error, ConnectionRefusedError | FileNotFoundError)
        return Transient(text, "refused" if refused else "unreachable")


def _server(row: dict[str, str]) -> _Server:
    return _Server(
        name=row["svname"], status=row["status"], sessions=int(row["scur"] or 0), queued=int(row["qcur"] or 0),
        changed_s=int(row["lastchg"] or 0), address=row.get("addr", ""), check=row.get("check_status", ""),
    )  # fmt: skip


def _brief(answer: str) -> str:
    return " ".join(answer.split())[:300]
