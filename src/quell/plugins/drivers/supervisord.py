"""Moves the processes of a supervisord group over its XML-RPC interface.

Example (service catalogue)::

    drivers:
    - type: supervisord
      url: http://127.0.0.1:9001        # or unix:///run/supervisor.sock
      username: quell
      password: env:SUPERVISOR_PASSWORD
      group: payment                    # or programs: [payment-1, "web:payment-2"]
      health: http://127.0.0.1:81{number}/health

A replica is one process, by its process name. supervisord calls a process RUNNING once it stayed up for its
``startsecs``; ``ready_after`` asks for more, and ``health`` asks the process itself: ready then means that it answers
2xx, and its ``version`` is the one that the answer names. In ``health``, ``{replica}`` is the process name and
``{number}`` the digits at its end. Never does: start what somebody stopped, unless asked to restart it.
"""

from __future__ import annotations

import asyncio
import json
import re
import xmlrpc.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

import httpx
from pydantic import Field, model_validator

from quell import addresses
from quell.errors import Permanent, Transient
from quell.plugins.drivers._fields import Seconds
from quell.plugins.drivers._refusal import Incapable
from quell.plugins.drivers._wire import Answer, exchange
from quell.ports import Params, Probe, Replica, Service, ServiceState

CAPABILITIES = frozenset({"state", "restart"})

# http://supervisord.org/api.html and supervisor.xmlrpc.Faults
_UNKNOWN_METHOD, _SHUTDOWN_STATE, _BAD_NAME, _ALREADY_STARTED, _NOT_RUNNING = 1, 6, 10, 60, 70
_DOWN = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})
_MOVING = frozenset({"STARTING", "STOPPING"})
_MAX_HEALTH = 65_536
_POLL_S = 0.05
_FINISH_S = 3.0


class Config(Params):
    """``password`` is a reference. Either ``group`` or ``programs`` says which processes belong to the service."""

    url: str
    """The address of its XML-RPC interface; ``unix://`` for a socket."""
    username: str = ""
    """The user of that interface."""
    password: str = ""
    group: str = ""
    programs: tuple[str, ...] = ()
    health: str | dict[str, str] = ""
    """An address that each replica answers; or one for each, by its name."""
    health_within: Seconds = 2.0
    """How long that answer may take."""
    ready_after: Seconds = 0.0
    """How long a process must have been up."""
    stop_within: Seconds = 30.0
    """How long a process may take to stop."""
    ready_within: Seconds = 60.0
    """How long a process may take to be ready."""
    max_processes: int = Field(default=200, ge=1)
    """More than these are refused."""

    @model_validator(mode="after")
    def _one_way_to_name(self) -> Config:
        if bool(self.group) == bool(self.programs):
            raise ValueError("name either group or programs")
        if not self.url.startswith(("http://", "https://", "unix://")):
            raise ValueError("url starts with http://, https:// or unix://")
        return self


def connect(config: Config, service: Service, probe: Probe) -> Supervisord:
    return Supervisord(config, service.name, probe)


@dataclass(frozen=True, slots=True)
class _Process:
    name: str
    group: str
    state: str
    since: datetime | None
    uptime_s: float
    note: str

    @property
    def spec(self) -> str:
        return f"{self.group}:{self.name}"


class Supervisord(Incapable):
    """The driver of one service's processes."""

    capabilities = CAPABILITIES
    rolls_by_itself = False

    def __init__(self, config: Config, service: str, probe: Probe) -> None:
        self._config, self._service, self._probe = config, service, probe

    async def state(self) -> ServiceState:
        """Raises ``Permanent`` (missing) when supervisord knows none of the processes."""
        processes = await self._processes()
        replicas = await asyncio.gather(*(self._replica(process) for process in processes))
        versions = {replica.version for replica in replicas if replica.version}
        return ServiceState(
            replicas=tuple(replicas),
            desired=len(replicas),
            version=versions.pop() if len(versions) == 1 else "",
            rolling=any(process.state in _MOVING for process in processes),
            details={"states": {process.name: process.state for process in processes}},
        )

    async def restart(self, replicas: Sequence[str] = ()) -> str:
        """With names: stopped, seen stopped, start accepted. Without: all, each ready before the next."""
        known = {process.name: process for process in await self._processes()}
        if unknown := [name for name in replicas if name not in known]:
            raise Permanent(f"{self._service}: no process {unknown[0]!r}; known: {', '.join(known)}", "missing")
        if replicas:
            await asyncio.gather(*(self._cycle(known[name].spec) for name in replicas))
            return f"supervisord restarted {', '.join(replicas)}"
        for process in known.values():
            await self._cycle(process.spec)
            await self._until_ready(process.name)
        return f"supervisord restarted {', '.join(known)}, one by one"

    async def _cycle(self, spec: str) -> None:
        try:
            await self._call("supervisor.stopProcess", spec, False, fine=_NOT_RUNNING)
            await self._until_stopped(spec)
        except asyncio.CancelledError:
            # A restart that is cut short must not leave the replica stopped.
            with suppress(Exception):
                await asyncio.wait_for(asyncio.shield(self._finish(spec)), _FINISH_S)
            raise
        await self._start(spec)

    async def _finish(self, spec: str) -> None:
        await self._until_stopped(spec)
        await self._start(spec)

    async def _start(self, spec: str) -> None:
        # wait=False: waiting would hold supervisord's only thread of control for startsecs.
        await self._call("supervisor.startProcess", spec, False, fine=_ALREADY_STARTED)

    async def _until_stopped(self, spec: str) -> None:
        deadline = asyncio.get_running_loop().time() + self._config.stop_within
        while True:
            state = _process(await self._call("supervisor.getProcessInfo", spec)).state
            if state in _DOWN:
                return
            if asyncio.get_running_loop().time() >= deadline:
                raise Permanent(f"{spec}: still {state} after {self._config.stop_within:g} s", "timeout")
            await asyncio.sleep(_POLL_S)

    async def _until_ready(self, name: str) -> None:
        deadline = asyncio.get_running_loop().time() + self._config.ready_within
        while True:
            note = next((one.note for one in (await self.state()).replicas if one.name == name and not one.ready), None)
            if note is None:
                return
            if asyncio.get_running_loop().time() >= deadline:
                raise Permanent(f"{name}: not ready within {self._config.ready_within:g} s ({note})", "timeout")
            await asyncio.sleep(_POLL_S)

    async def _processes(self) -> list[_Process]:
        found = [_process(one) for one in _listed(await self._call("supervisor.getAllProcessInfo"))]
        wanted = set(self._config.programs)
        mine = [
            process
            for process in found
            if process.group == self._config.group
            or process.spec in wanted
            or (process.name in wanted and process.group == process.name)
        ]
        if not mine:
            what = self._config.group or ", ".join(sorted(wanted))
            known = ", ".join(sorted({process.group for process in found})) or "none"
            raise Permanent(f"{self._service}: supervisord has no {what!r}; its groups: {known}", "missing")
        return mine[: self._config.max_processes]

    async def _replica(self, process: _Process) -> Replica:
        up = process.state == "RUNNING" and process.uptime_s >= self._config.ready_after
        template = self._config.health
        address = template.get(process.name, "") if isinstance(template, Mapping) else template
        if not up or not address:
            return Replica(process.name, up, since=process.since, note=f"{process.state}: {process.note}")
        number = re.search(r"\d+\Z", process.name)
        url = address.replace("{replica}", process.name).replace("{number}", number[0] if number else "")
        ready, version, note = await self._health(url)
        return Replica(process.name, ready, version, process.since, note)

    async def _health(self, url: str) -> tuple[bool, str, str]:
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
            return False, "", str(error)
        version = ""
        with suppress(ValueError):
            said = json.loads(answer.body)
            version = str(said.get("version", ""))[:100] if isinstance(said, dict) else ""
        return answer.ok, version, f"{addresses.shown(url)} answers {answer.status}"

    async def _call(self, method: str, *values: Any, fine: int | None = None) -> Any:
        """One XML-RPC call; the fault ``fine`` counts as done and gives None."""
        answer = await self._post(xmlrpc.client.dumps(values, method).encode())
        if answer.status == httpx.codes.UNAUTHORIZED:
            raise Permanent(
                f"supervisord at {addresses.shown(self._config.url)}: username or password refused", "denied"
            )
        if not answer.ok:
            raise Transient(f"supervisord at {addresses.shown(self._config.url)}: HTTP {answer.status}", "lost")
        try:
            return _parse(answer.body)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == fine:
                return None
            raise _fault(method, values, fault) from None

    async def _post(self, body: bytes) -> Answer:
        config = self._config
        auth = None
        if config.username:
            auth = httpx.BasicAuth(config.username, self._probe.secret(config.password) if config.password else "")
        headers = {"content-type": "text/xml"}
        what = f"supervisord at {addresses.shown(config.url)}"
        if not config.url.startswith("unix://"):
            url = config.url.rstrip("/").removesuffix("/RPC2") + "/RPC2"
            return await exchange(self._probe.http, "POST", url, what=what, content=body, headers=headers, auth=auth)
        transport = httpx.AsyncHTTPTransport(uds=config.url.removeprefix("unix://"))
        async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=self._probe.timeout_s) as client:
            return await exchange(
                client, "POST", "http://supervisord/RPC2", what=what, content=body, headers=headers, auth=auth
            )


def _parse(body: bytes) -> Any:
    """The value of an XML-RPC answer. A document type is refused, and with it every entity.

    Raises ``xmlrpc.client.Fault``; ``Permanent`` (invalid) for anything that is not XML-RPC.
    """
    target = xmlrpc.client.Unmarshaller(use_builtin_types=True)
    parser = expat.ParserCreate()
    parser.StartElementHandler = target.start
    parser.EndElementHandler = target.end
    parser.CharacterDataHandler = target.data
    parser.StartDoctypeDeclHandler = _refuse_document_type
    target.xml(None, None)  # type: ignore[arg-type]  # as the library's own parser: expat gives text already
    try:
        parser.Parse(body, True)
        return target.close()[0]
    except xmlrpc.client.Fault:
        raise
    except (expat.ExpatError, xmlrpc.client.Error, ValueError, TypeError, LookupError) as error:
        raise Permanent(f"supervisord: not an XML-RPC answer ({type(error).__name__})", "invalid") from None


def _refuse_document_type(*_: Any) -> None:
    raise Permanent("supervisord: the answer carries a document type; refused", "invalid")


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Permanent("supervisord: a list was expected", "invalid")
    return value


def _process(info: Any) -> _Process:
    try:
        state, start, stop, now = str(info["statename"]), int(info["start"]), int(info["stop"]), int(info["now"])
        entered = start if state in ("RUNNING", "STARTING", "BACKOFF") else stop
        return _Process(
            name=str(info["name"]), group=str(info["group"]), state=state,
            since=datetime.fromtimestamp(entered, UTC) if entered else None,
            uptime_s=now - start if start else 0.0, note=str(info.get("spawnerr") or info.get("description", "")),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError):
        raise Permanent("supervisord: the process information cannot be read", "invalid") from None


def _fault(method: str, values: Sequence[Any], fault: xmlrpc.client.Fault) -> Transient | Permanent:
    text = f"supervisord: {method}({', '.join(map(str, values))}): {fault.faultString}"
    if fault.faultCode == _SHUTDOWN_STATE:
        return Transient(text, "unreachable")
    kinds = {_BAD_NAME: "missing", _UNKNOWN_METHOD: "invalid"}
    return Permanent(text, kinds.get(fault.faultCode, "failed"))
