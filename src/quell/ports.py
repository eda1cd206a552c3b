"""The sockets, on one page: what a plug-in of each kind must offer, and what it may use of the world.

A plug-in is a module; the registry finds it by its folder and checks it against the lists here. All sockets are
asynchronous functions, data in and data out. Plug-ins raise ``Transient`` or ``Permanent``; only the engine retries.
Never does: hold a plug-in, open a connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import httpx
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from quell.fleet import Driver, Fleet, Release, Replica, ServiceState
from quell.incident.action import Effect, Preview, Risk
from quell.incident.alert import Alert
from quell.incident.finding import Missing, Observation, Reading
from quell.incident.service import Service

__all__ = [
    "ActionType", "Alert", "CheckType", "Connection", "Driver", "DriverType", "Effect", "FactSpec", "Fleet", "Message",
    "Missing", "NotifierType", "Observation", "Params", "Preview", "Probe", "Reading", "Release", "Replica", "Risk",
    "Service", "ServiceState", "SourceType",
]  # fmt: skip


FactSpec = str | Mapping[str, Any]
"""A fact's type as ``quell.runbook.expr.parse_type`` reads it: ``number``, ``duration:ms``, ``list<string>``, …"""


class Params(BaseModel):
    """The parent of every plug-in's parameters: frozen, unknown keys refused, snake_case or camelCase."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


@dataclass(frozen=True, slots=True)
class Connection:
    """A named way to a system. ``password`` and ``headers`` are resolved secrets: never log, never put in an error."""

    name: str
    type: str
    url: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)


class Probe(Protocol):
    """What a plug-in may use of the world while one call of it runs."""

    @property
    def timeout_s(self) -> float:
        """Seconds this call has; the caller cancels it then, so a plug-in need not count."""
        ...

    @property
    def http(self) -> httpx.AsyncClient:
        """A client with connection reuse, size limits and the guard against internal addresses."""
        ...

    def now(self) -> datetime:
        """UTC."""
        ...

    def connection(self, name: str | None, *types: str) -> Connection:
        """The connection of that name, or the only one (or the one named like the type) of these types.

        Raises ``Permanent`` (missing) naming what exists.
        """
        ...

    def service(self, name: str) -> Service:
        """Raises ``Permanent`` (missing) with the nearest name."""
        ...

    def fleet(self, service: str, region: str | None = None) -> Fleet:
        """The drivers of a service, joined; of one region of it, when one is named.

        Raises ``Permanent``: missing, or refused when no driver serves the region or one does not say which it serves.
        """
        ...

    def secret(self, reference: str) -> str:
        """The value behind ``env:NAME`` or ``file:PATH``. Raises ``Permanent`` (missing) without the value."""
        ...

    @property
    def key(self) -> str:
        """The idempotency key of this execution: ``<run>/<node>/<visit>/<target>``."""
        ...


@dataclass(frozen=True, slots=True)
class CheckType:
    """``plugins/checks/<name>.py``: ``Params``, ``FACTS`` (or ``facts(params)``), ``run(params, probe)``.

    Optional: ``ALIASES``, ``lag(config, scrape_s)`` (seconds until the evidence can show a change; default 0),
    ``hint(config)`` (what lint should warn about, a line each, or None), ``SIGNAL`` (False: it tells what was, not how
    things are now, so verification does not ask it unless told to), ``SHELL`` (parameters that a shell reads when they
    are one string). ``config`` is what was written, templates not filled.
    """

    name: str
    params: type[Params]
    facts: Callable[[Mapping[str, Any]], Mapping[str, FactSpec]]
    run: Callable[[Any, Probe], Awaitable[Reading]]
    aliases: tuple[str, ...] = ()
    lag: Callable[[Mapping[str, Any], float], float] = lambda config, scrape_s: 0.0
    hint: Callable[[Mapping[str, Any]], str | None] = lambda config: None
    signal: bool = True
    shell: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class ActionType:
    """``plugins/actions/<name>.py``: ``Params``, ``RISK``, ``IDEMPOTENT``, ``dry_run``, ``execute``.

    ``dry_run(params, probe) -> Preview`` changes nothing. ``execute(params, probe) -> Effect`` changes the system
    once; ``probe.key`` is its idempotency key. Optional: ``ALIASES``, ``FACTS`` with ``observe(params, probe) ->
    Reading`` (what pre- and postconditions read), ``PRECONDITION``, ``POSTCONDITION`` (conditions that hold unless the
    runbook says its own), ``POSTCONDITION_WITHIN_S``, ``undo(params, effect, probe) -> Effect``,
    ``capture(params, queries, probe) -> dict`` (values to remember before acting), ``service_of(params) -> str | None``
    (the catalogue's service it acts on), ``LIMITS`` (guard keys of its own), ``SHELL`` as for checks.
    """

    name: str
    params: type[Params]
    risk: Risk
    idempotent: bool
    dry_run: Callable[[Any, Probe], Awaitable[Preview]]
    execute: Callable[[Any, Probe], Awaitable[Effect]]
    aliases: tuple[str, ...] = ()
    facts: Mapping[str, FactSpec] = field(default_factory=dict)
    observe: Callable[[Any, Probe], Awaitable[Reading]] | None = None
    precondition: str | None = None
    postcondition: str | None = None
    postcondition_within_s: float = 60.0
    undo: Callable[[Any, Effect, Probe], Awaitable[Effect]] | None = None
    capture: Callable[[Any, Mapping[str, str], Probe], Awaitable[dict[str, Any]]] | None = None
    service_of: Callable[[Any], str | None] = lambda params: getattr(params, "service", None)
    limits: Mapping[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class DriverType:
    """``plugins/drivers/<name>.py``: ``Config``, ``CAPABILITIES``, ``connect(config, service, probe) -> Driver``."""

    name: str
    config: type[Params]
    capabilities: frozenset[str]
    connect: Callable[[Any, Service, Probe], Driver]
    reconciler: str = ""
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What a notifier sends. ``kind``: page | update | approval | resolved. ``sections`` are (title, lines)."""

    kind: str
    incident: str
    title: str
    text: str
    severity: str
    service: str
    url: str = ""
    status: str = ""
    dedup_key: str = ""
    sections: tuple[tuple[str, tuple[str, ...]], ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class NotifierType:
    """``plugins/notifiers/<name>.py``: ``Params``, ``send(message, params, probe) -> str`` (their answer)."""

    name: str
    params: type[Params]
    send: Callable[[Message, Any, Probe], Awaitable[str]]
    prefixes: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class SourceType:
    """``plugins/sources/<name>.py``: ``Params``, ``verify(headers, body, params) -> str | None`` (why it is refused),
    ``parse(body, headers, params, received_at) -> (alerts, quarantined)``; quarantined are (reason, fragment)."""

    name: str
    params: type[Params]
    verify: Callable[[Mapping[str, str], bytes, Any], str | None]
    parse: Callable[[bytes, Mapping[str, str], Any, datetime], tuple[list[Alert], list[tuple[str, Any]]]]
    doc: str = ""
