"""Moves systemd units of this host through `systemctl`.

Example (service catalogue)::

    drivers:
    - type: systemd
      units: [payment@1..3, payment-gateway]   # .service is the default suffix; 1..3 means 1, 2 and 3
      user: false                              # true: the units of the user that Quell runs as
      health: http://127.0.0.1:81{number}/health

A replica is one unit, by its name without `.service`. Ready means active and running, for ``ready_after`` at least, and
answering 2xx at ``health`` if that is given; ``{replica}`` is the unit, ``{number}`` the digits at its end. Restarting
needs the right to: a polkit rule for `org.freedesktop.systemd1.manage-units`, or ``user: true``. Units of this host
only. Never does: use a shell, ask for a password, pass on a name that `systemctl` could read as an option.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from pydantic import Field, field_validator

from quell import addresses
from quell.errors import Permanent, Transient
from quell.plugins.drivers._fields import Seconds
from quell.plugins.drivers._refusal import Incapable
from quell.plugins.drivers._wire import exchange
from quell.ports import Params, Probe, Replica, Service, ServiceState

CAPABILITIES = frozenset({"state", "restart"})
RECONCILER = "systemd"

# systemd.unit(5): the characters of unit names; a leading dash is systemd's own right, and refused here.
_UNIT = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:@\\-]{0,254}")
_RANGE = re.compile(r"(.*?)(\d+)\.\.(\d+)(.*)")
_PROPERTIES = (
    "Id", "LoadState", "ActiveState", "SubState", "ActiveEnterTimestampMonotonic",
    "StateChangeTimestampMonotonic", "NRestarts", "Result", "ExecMainStatus", "MainPID",
)  # fmt: skip
_MOVING = frozenset({"activating", "deactivating", "reloading"})
_MAX_OUTPUT = 1024 * 1024
_MAX_UNITS = 200
_MAX_HEALTH = 65_536
_POLL_S = 0.05


def expand(units: Sequence[str]) -> tuple[str, ...]:
    """``payment@1..3`` → ``payment@1``, ``payment@2``, ``payment@3``. Raises ValueError for a name that is none."""
    found: list[str] = []
    for unit in units:
        spread = _RANGE.fullmatch(unit)
        if spread:
            before, first, last, after = spread.groups()
            found += [f"{before}{number}{after}" for number in range(int(first), min(int(last), int(first) + 999) + 1)]
        else:
            found.append(unit)
    names = [name.removesuffix(".service") for name in found]
    for name in names:
        if not _UNIT.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a unit")
    if not 0 < len(set(names)) == len(names) <= _MAX_UNITS:
        raise ValueError(f"names 1 to {_MAX_UNITS} different units")
    return tuple(names)


class Config(Params):
    """``units`` are names, template instances or ranges of those."""

    units: tuple[str, ...] = Field(min_length=1, max_length=_MAX_UNITS)
    user: bool = False
    """Units of the user that Quell runs as, instead of the system's."""
    health: str = ""
    """An address that each replica answers."""
    health_within: Seconds = 2.0
    """How long that answer may take."""
    ready_after: Seconds = 0.0
    """How long a unit must have been active."""
    ready_within: Seconds = 60.0
    """How long a unit may take to be ready."""

    @field_validator("units")
    @classmethod
    def _expanded(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return expand(value)


def connect(config: Config, service: Service, probe: Probe) -> Systemd:
    return Systemd(config, service.name, probe)


class Systemd(Incapable):
    """The driver of one service's units."""

    capabilities = CAPABILITIES
    rolls_by_itself = False

    def __init__(self, config: Config, service: str, probe: Probe) -> None:
        self._config, self._service, self._probe = config, service, probe

    async def state(self) -> ServiceState:
        """Raises ``Permanent`` (missing) when systemd knows none of the units."""
        shown = await self._show(self._config.units)
        known = {name: unit for name, unit in shown.items() if unit.get("LoadState") not in ("not-found", None)}
        if not known:
            raise Permanent(f"{self._service}: systemd knows none of {', '.join(self._config.units)}", "missing")
        # A unit that should be there and is not counts as a replica that is not ready.
        replicas = await asyncio.gather(*(self._replica(name, shown.get(name, {})) for name in self._config.units))
        return ServiceState(
            replicas=tuple(replicas),
            desired=len(self._config.units),
            rolling=any(unit.get("ActiveState") in _MOVING for unit in known.values()),
            details={"restarts": {name: _whole(unit.get("NRestarts")) for name, unit in known.items()}},
        )

    async def restart(self, replicas: Sequence[str] = ()) -> str:
        """With names: returns when systemd has restarted them. Without: one by one, each ready before the next."""
        names = [name.removesuffix(".service") for name in replicas]
        if unknown := [name for name in names if name not in self._config.units]:
            known = ", ".join(self._config.units)
            raise Permanent(f"{self._service}: no unit {unknown[0]!r}; known: {known}", "missing")
        if names:
            await self._restart(names)
            return f"systemd restarted {', '.join(names)}"
        for name in self._config.units:
            await self._restart([name])
            await self._until_ready(name)
        return f"systemd restarted {', '.join(self._config.units)}, one by one"

    async def _restart(self, names: Sequence[str]) -> None:
        await self._systemctl("restart", "--", *(f"{name}.service" for name in names))

    async def _until_ready(self, name: str) -> None:
        deadline = asyncio.get_running_loop().time() + self._config.ready_within
        while True:
            replica = await self._replica(name, (await self._show([name])).get(name, {}))
            if replica.ready:
                return
            if asyncio.get_running_loop().time() >= deadline:
                text = f"{name}: not ready within {self._config.ready_within:g} s ({replica.note})"
                raise Permanent(text, "timeout")
            await asyncio.sleep(_POLL_S)

    async def _replica(self, name: str, unit: Mapping[str, str]) -> Replica:
        active, sub = unit.get("ActiveState", "unknown"), unit.get("SubState", "unknown")
        since = _entered(unit, self._probe.now())
        note = f"{active} ({sub})"
        if unit.get("LoadState") != "loaded":
            note = f"{unit.get('LoadState', 'unknown')}, {note}"
        if unit.get("Result", "success") != "success":
            note += f", {unit['Result']}, exit {unit.get('ExecMainStatus', '?')}"
        if _whole(unit.get("NRestarts")):
            note += f", {unit['NRestarts']} restarts"
        up = active == "active" and sub == "running"
        if up and self._config.ready_after:
            up = since is not None and self._probe.now() - since >= timedelta(seconds=self._config.ready_after)
        if up and self._config.health:
            up, note = await self._health(name, note)
        return Replica(name, up, since=since, note=note)

    async def _health(self, name: str, note: str) -> tuple[bool, str]:
        number = re.search(r"\d+\Z", name)
        url = self._config.health.replace("{replica}", name).replace("{number}", number[0] if number else "")
        try:
            answer = await exchange(
                self._probe.http,
                "GET",
                url,
                what=addresses.shown(url),
                limit=_MAX_HEALTH,
                timeout=self._config.health_within,
            )
        except (Transient, Permanent) as error:
            return False, f"{note}, {error}"
        return answer.ok, f"{note}, {url} answers {answer.status}"

    async def _show(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The properties of each unit by its name; `show` separates units by an empty line."""
        text = await self._systemctl(
            "show", f"--property={','.join(_PROPERTIES)}", "--", *(f"{name}.service" for name in names)
        )
        blocks = [dict(_pairs(block)) for block in text.strip().split("\n\n")]
        # In the order asked: an alias answers with the Id of the unit it stands for.
        return dict(zip(names, blocks, strict=False)) if len(blocks) == len(names) else {}

    async def _systemctl(self, *words: str) -> str:
        """One run of `systemctl`, ended with us. Raises ``Permanent`` (missing, denied, failed, too_large)."""
        program = shutil.which("systemctl")
        if program is None:
            raise Permanent(f"{self._service}: this host has no systemctl", "missing")
        # Without a language of its own the words of errors, which are read below, are always the same.
        environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        scope = ["--user"] if self._config.user else ["--system"]
        process = await asyncio.create_subprocess_exec(
            program, "--no-pager", "--no-ask-password", *scope, *words, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            out, err = await asyncio.gather(_bounded(process.stdout, process), _bounded(process.stderr, process))
            code = await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                # asyncio calls a process ended only when its pipes have been read to their ends.
                await asyncio.gather(_bounded(process.stdout, process), _bounded(process.stderr, process))
                await process.wait()
        if out is None or err is None:
            raise Permanent(f"systemctl {words[0]} wrote more than {_MAX_OUTPUT} bytes", "too_large")
        if code != 0:
            raise _failure(words[0], code, err)
        return out


async def _bounded(stream: asyncio.StreamReader | None, process: asyncio.subprocess.Process) -> str | None:
    """What it writes until its end; None, and the process killed, when that is too much."""
    data, size = bytearray(), 0
    while stream is not None and (chunk := await stream.read(65_536)):
        size += len(chunk)
        if size <= _MAX_OUTPUT:
            data += chunk
        elif process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
    return data.decode(errors="replace") if size <= _MAX_OUTPUT else None


def _failure(verb: str, code: int, said: str) -> Transient | Permanent:
    text = f"systemctl {verb}: exit {code}: {' '.join(said.split())[:300]}"
    if "not been booted with systemd" in said or "Failed to connect to" in said:
        return Transient(text, "unreachable")
    if "not found" in said or "not loaded" in said:
        return Permanent(text, "missing")
    if re.search(r"Access denied|authentication|not permitted|Permission denied", said, re.IGNORECASE):
        return Permanent(text, "denied")
    return Permanent(text, "failed")


def _pairs(block: str) -> list[tuple[str, str]]:
    return [(name, value) for name, equals, value in (line.partition("=") for line in block.splitlines()) if equals]


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _entered(unit: Mapping[str, str], now: datetime) -> datetime | None:
    """When the unit became what it is now.

    systemd counts these from boot (CLOCK_MONOTONIC of this host), which no zone or language can change.
    """
    active = unit.get("ActiveState") in ("active", "reloading")
    since = _whole(unit.get("ActiveEnterTimestampMonotonic" if active else "StateChangeTimestampMonotonic"))
    if not since:
        return None
    return now - timedelta(seconds=time.clock_gettime(time.CLOCK_MONOTONIC) - since / 1e6)
