"""Points the users of a database to another address: in a JSON or INI file, or as a server of HAProxy.

Never does: leave half a file, touch another key of it, send HAProxy a name that could hold a second command.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from quell.errors import Permanent, Transient
from quell.plugins.actions import _flags
from quell.ports import Params, Probe

_NAME = re.compile(r"[A-Za-z0-9_.:-]+/[A-Za-z0-9_.:-]+")
_HOST = re.compile(r"[A-Za-z0-9_.:-]+")
_SECTION = re.compile(r"\s*\[([^\]]+)\]\s*\Z")
_SERVER, _ADDRESS, _PORT = 3, 4, 18  # columns of "show servers state", version 1
_MOST_ANSWER = 1_048_576


class Repoint(Params):
    """One place. ``file`` with ``key`` (JSON: a dotted path; ``.ini``/``.conf``/``.env``: ``section.key`` or ``key``),
    or ``haproxy`` (a socket's path or ``host:port``) with ``server`` (``backend/server``).

    ``value``: what a file gets, ``{host}`` and ``{port}`` filled; a lone ``{port}`` in JSON becomes a number.
    """

    file: str | None = Field(default=None, pattern=r"^/[^\x00]*$")
    key: str | None = Field(default=None, min_length=1)
    value: str = "{host}:{port}"
    haproxy: str | None = Field(default=None, min_length=1)
    server: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.file is None) == (self.haproxy is None):
            raise ValueError("say either file or haproxy")
        if self.file is not None and (self.key is None or ".." in self.file.split("/")):
            raise ValueError("a file needs a key, and its path has no ..")
        if self.haproxy is not None and not (self.server and _NAME.fullmatch(self.server)):
            raise ValueError("haproxy needs a server, written backend/server")
        return self

    @property
    def place(self) -> str:
        return f"{self.file}/{self.key}" if self.file else f"haproxy/{self.server}"

    def title(self, address: tuple[str, int]) -> str:
        if self.file:
            return f"set {self.key} = {self._filled(address)} in {self.file}"
        return f"set server {self.server} addr {address[0]} port {address[1]}"

    async def now(self, probe: Probe) -> str:
        """Where it points now. Raises ``Transient`` or ``Permanent`` when it could not be changed either."""
        if self.haproxy:
            return await _server_address(self.haproxy, self.server or "")
        path, key = self.file or "", self.key or ""
        if not path.endswith(".json"):
            return await asyncio.to_thread(lambda: set_line(_text(Path(path)), key, "", path)[1])
        value = await _flags.FileStore(path, key, probe.key, probe.now).read()
        if value is _flags.ABSENT:
            raise Permanent(f"{path} has no {key}", "missing")
        return value if isinstance(value, str) else _flags.shown(value)

    async def apply(self, address: tuple[str, int], probe: Probe) -> str:
        """What was done. Raises ``Transient`` or ``Permanent``; then the place is as it was."""
        if self.haproxy:
            return await _set_server(self.haproxy, self.server or "", address)
        return await self._set_key(address, probe)

    def _filled(self, address: tuple[str, int]) -> str:
        return self.value.replace("{host}", address[0]).replace("{port}", str(address[1]))

    async def _set_key(self, address: tuple[str, int], probe: Probe) -> str:
        path, key, value = self.file or "", self.key or "", self._filled(address)
        if path.endswith(".json"):
            store = _flags.FileStore(path, key, probe.key, probe.now)
            before = await store.swap(address[1] if self.value == "{port}" else value)
            return f"set {key} in {path} (was {_flags.shown(before)})"
        was = await asyncio.to_thread(_swap_line, Path(path), key, value)
        return f"set {key} in {path} (was {was})"


def _swap_line(path: Path, key: str, value: str) -> str:
    with _flags.locked(path):
        text = _text(path)
        changed, was = set_line(text, key, value, str(path))
        if changed != text:
            _flags.replace_file(path, changed.encode())
    return was


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise Permanent(f"{path}: {error.strerror}", "missing") from None
    except UnicodeDecodeError:
        raise Permanent(f"{path}: not text", "invalid") from None


def set_line(text: str, key: str, value: str, path: str = "the file") -> tuple[str, str]:
    """The text with ``key = value`` replaced in its section, everything else kept, and the value of before.

    Raises ``Permanent``: missing when there is no such key, ambiguous when there are two, invalid for a broken value.
    """
    if "\n" in value or "\r" in value:
        raise Permanent("the value has a line break in it", "invalid")
    lines, section, found = text.splitlines(keepends=True), "", list[tuple[int, str, str]]()
    for number, line in enumerate(lines):
        if head := _SECTION.match(line):
            section = head[1].strip()
            continue
        name, equals, rest = line.partition("=")
        full = f"{section}.{name.strip()}" if section else name.strip()
        if equals and full == key and not line.lstrip().startswith(("#", ";")):
            space = rest[: len(rest) - len(rest.lstrip(" \t"))]
            found.append((number, f"{name}={space}", rest.strip()))
    if len(found) != 1:
        how_many = "no" if not found else "more than one"
        raise Permanent(f"{path} has {how_many} line for {key}", "ambiguous" if found else "missing")
    number, head_text, was = found[0]
    ending = lines[number][len(lines[number].rstrip("\r\n")) :]
    lines[number] = f"{head_text}{value}{ending}"
    return "".join(lines), was


async def _set_server(where: str, server: str, address: tuple[str, int]) -> str:
    """Sets the address and reads it back (HAProxy 2.6 management guide, 9.3, "set server", "show servers state")."""
    host, port = address
    if not _HOST.fullmatch(host):
        raise Permanent(f"{host[:60]!r} is no address for HAProxy", "invalid")
    said = await _command(where, f"set server {server} addr {host} port {port}")
    if await _server_address(where, server) != f"{host}:{port}":
        raise Permanent(f"haproxy: {server} does not point to {host}:{port}: {' '.join(said.split())[:200]}", "failed")
    return f"pointed {server} to {host}:{port}"


async def _server_address(where: str, server: str) -> str:
    backend, _, name = server.partition("/")
    state = await _command(where, f"show servers state {backend}")
    rows = [line.split() for line in state.splitlines() if line and not line.startswith("#")]
    now = next((row for row in rows if len(row) > _PORT and row[_SERVER] == name), None)
    if now is None:
        raise Permanent(f"haproxy has no server {server}: {' '.join(state.split())[:100]}", "missing")
    return f"{now[_ADDRESS]}:{now[_PORT]}"


async def _command(where: str, line: str) -> str:
    try:
        if where.startswith("/"):
            reader, writer = await asyncio.open_unix_connection(where)
        else:
            host, _, port = where.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
    except (OSError, ValueError) as error:
        raise Transient(f"haproxy: cannot reach its socket: {error}", "unreachable") from None
    try:
        writer.write(line.encode() + b"\n")
        await writer.drain()
        answer = bytearray()
        while (chunk := await reader.read(65_536)) and len(answer) < _MOST_ANSWER:
            answer += chunk
        return answer.decode("utf-8", "replace")
    except OSError as error:
        raise Transient(f"haproxy: the connection broke: {error}", "lost") from None
    finally:
        writer.close()
