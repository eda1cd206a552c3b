"""The sockets, on one page: what a plug-in of each kind must offer, and what it may use of the world.

A plug-in is a module; the registry finds it by its folder and checks it against the lists here. All sockets are
asynchronous functions, data in and data out. Plug-ins raise ``Transient`` or ``Permanent``; only the engine retries.
Never does: hold a plug-in, open a connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Protocol

import httpx
from pydantic import AliasChoices, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from quell.addresses import IS_URL
from quell.fleet import Driver, Fleet, Release, Replica, Right, ServiceState
from quell.incident.action import Effect, Preview, Radius, Risk
from quell.incident.alert import Alert
from quell.incident.finding import Missing, Observation, Reading
from quell.incident.service import Service

__all__ = [
    "IS_URL", "ActionType", "Alert", "Asked", "CheckType", "Command", "Connection", "Connects", "Driver", "DriverType",
    "Effect", "FactSpec", "Fleet", "Message", "Missing", "NotifierType", "Observation", "OnCall", "Params", "Preview",
    "Probe", "Radius", "Reading", "Release", "Replica", "Right", "Risk", "ScheduleType", "Service", "ServiceState",
    "SourceType", "Url", "at_fault",
]  # fmt: skip


FactSpec = str | Mapping[str, Any]
"""A fact's type as ``quell.runbook.expr.parse_type`` reads it: ``number``, ``duration:ms``, ``list<string>``, …"""


class Params(BaseModel):
    """The parent of every plug-in's parameters: frozen, unknown keys refused, snake_case or camelCase."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


def at_fault(place: tuple[str | int, ...], what: str) -> PydanticCustomError:
    """To be raised by a validator over several parameters: lint shows it at this one."""
    return PydanticCustomError("at_fault", "{what}", {"what": what, "place": place})


Url = Annotated[str, IS_URL]
"""A parameter that is an address: what a template puts into it is percent-encoded, so that it stays one part of it.
A value that the address begins with (or is) stays as it is."""


@dataclass(frozen=True, slots=True)
class Connects:
    """Marks a parameter that names a connection of one of these types: ``Annotated[str, Connects(("redis",))]``.

    ``default``: left out, the only such connection is taken (as ``Probe.connection`` does), so there must be one.
    ``unless``: not when one of these other parameters is given. ``before``: only what stands before this mark is the
    name, and none of it is when ``unless`` holds. ``option``: (parameter, option): the name may as well be in that
    option of the connection in that parameter.
    """

    types: tuple[str, ...]
    default: bool = True
    unless: tuple[str, ...] = ()
    before: str = ""
    option: tuple[str, str] | None = None


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


@dataclass(frozen=True, slots=True)
class Command:
    """A program that a call would start because its runbook says so: its words, or instead one ``line`` for a shell.

    ``env`` and ``cwd``: what the runbook gives it beside them; secrets by their references.
    """

    argv: tuple[str, ...] = ()
    line: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None


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


def spellings(params: type[Params]) -> dict[str, str]:
    """Every name under which a parameter may be written → the parameter."""
    found: dict[str, str] = {}
    for name, info in params.model_fields.items():
        alias = info.validation_alias
        others = alias.choices if isinstance(alias, AliasChoices) else [alias, info.alias]
        found |= {other: name for other in (name, *others) if isinstance(other, str)}
    return found


@dataclass(frozen=True, slots=True)
class CheckType:
    """``plugins/checks/<name>.py``: ``Params``, ``FACTS`` (or ``facts(params)``), ``run(params, probe)``.

    Optional: ``ALIASES``, ``lag(config, scrape_s)`` (seconds until the evidence can show a change; default 0),
    ``hint(config)`` (what lint should warn about where ``value`` is read, a line each, or None), ``gate(config)`` (the
    same where ``verify.require`` takes a series for a yes), ``SIGNAL`` (False: it tells what was, not how
    things are now, so verification does not ask it unless told to), ``SHELL`` (parameters that a shell reads when they
    are one string), ``commands_of(params)`` (each ``Command`` that it would start for its runbook: the guardrails are
    asked about it first). ``config`` is what was written, templates not filled.
    """

    name: str
    params: type[Params]
    facts: Callable[[Mapping[str, Any]], Mapping[str, FactSpec]]
    run: Callable[[Any, Probe], Awaitable[Reading]]
    aliases: tuple[str, ...] = ()
    lag: Callable[[Mapping[str, Any], float], float] = lambda config, scrape_s: 0.0
    hint: Callable[[Mapping[str, Any]], str | None] = lambda config: None
    gate: Callable[[Mapping[str, Any]], str | None] = lambda config: None
    signal: bool = True
    shell: tuple[str, ...] = ()
    commands_of: Callable[[Any], Iterable[Command]] = lambda params: ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class ActionType:
    """``plugins/actions/<name>.py``: ``Params``, ``RISK``, ``IDEMPOTENT``, ``dry_run``, ``execute``.

    ``dry_run(params, probe) -> Preview`` changes nothing. ``execute(params, probe) -> Effect`` changes the system
    once; ``probe.key`` is its idempotency key. Optional: ``ALIASES``, ``FACTS`` with ``observe(params, probe) ->
    Reading`` (what pre- and postconditions read), ``PRECONDITION``, ``POSTCONDITION`` (conditions that hold unless the
    runbook says its own), ``POSTCONDITION_WITHIN_S``, ``SETTLES`` (True: it can hold only if the action was done, so it
    may settle an action of which nobody knows), ``undo(params, effect, probe) -> Effect``,
    ``capture(params, queries, probe) -> dict`` (values to remember before acting), ``service_of(params) -> str | None``
    (the catalogue's service it acts on), ``LIMITS`` (guard keys of its own), ``SHELL`` and ``commands_of`` (with those
    of its undo) as for checks.
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
    settles: bool = False
    undo: Callable[[Any, Effect, Probe], Awaitable[Effect]] | None = None
    capture: Callable[[Any, Mapping[str, str], Probe], Awaitable[dict[str, Any]]] | None = None
    service_of: Callable[[Any], str | None] = lambda params: getattr(params, "service", None)
    limits: Mapping[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] = ()
    commands_of: Callable[[Any], Iterable[Command]] = lambda params: ()
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
class Asked:
    """What a person is asked to answer, all of it. ``asks``: approval (may it be done?) | step (do it by hand) |
    happened (was it done?) | revert (take it back?). ``whom``: as the runbook names them. ``only``: whose yes counts,
    where not everybody's does. ``silence``: when it expires, and what follows."""

    approval: str
    asks: str
    call: str
    hash: str = ""
    targets: tuple[str, ...] = ()
    before: str = ""
    after: str = ""
    clauses: tuple[str, ...] = ()
    impact: str = ""
    history: str = ""
    undo: str = ""
    risk: str = ""
    instructions: str = ""
    people: int = 1
    whom: str = ""
    only: str = ""
    expires_at: str = ""
    silence: str = ""
    answer: tuple[str, ...] = ()
    """How to answer, a way each."""

    @property
    def rows(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """(title, lines) in the order in which a person weighs them; what is empty is left out."""
        change = f"{self.before} → {self.after}" if self.before and self.after else self.after or self.before
        undo = f"{self.undo} (risk {self.risk})" if self.undo and self.risk else self.undo
        rows = (
            # Of the others the instructions only say what is asked.
            ("Do", (self.instructions if self.asks in ("step", "revert") else "",)),
            ("Call", (self.call,)), ("Targets", self.targets), ("Changes", (change,)), ("Why", self.clauses),
            ("Users", (self.impact,)), ("Before this", (self.history,)), ("Undo", (undo,)),
            ("Silence", (self.silence,)), ("For", (self.whom,)), ("Only", (self.only,)),
            ("Answer", self.answer),
        )  # fmt: skip
        return tuple((title, told) for title, lines in rows if (told := tuple(line for line in lines if line)))


@dataclass(frozen=True, slots=True)
class Message:
    """What a notifier sends. ``kind``: page | update | approval | resolved. ``sections`` are (title, lines).

    ``asked``: what is to be answered, shown before everything else.
    """

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
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class NotifierType:
    """``plugins/notifiers/<name>.py``: ``Params``, ``send(message, params, probe) -> str`` (their answer).

    Optional: ``PREFIXES`` of the addresses it serves, ``CONNECTIONS``: the types of connection it sends through, by the
    name behind the prefix (none: it needs no connection).
    """

    name: str
    params: type[Params]
    send: Callable[[Message, Any, Probe], Awaitable[str]]
    prefixes: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class SourceType:
    """``plugins/sources/<name>.py``: ``Params``, ``verify(headers, body, params) -> str | None`` (why it is refused),
    ``parse(body, headers, params, received_at) -> (alerts, quarantined)``; quarantined are (reason, fragment).

    Optional: ``delivery(headers, body) -> str | None``: what the sender calls this delivery, so that one which is sent
    again within 48 hours has no second effect; ``ignored(body) -> str | None``: what it is, when it is none of those
    that say anything of an alert. Both are asked about what ``parse`` has read, and raise nothing.
    ``proof(headers, body, params) -> str``: how whoever was let in was known, in a few words that are shown and hold no
    secret (``signature v1 verified``, ``bearer token``); empty when no secret is configured. ``BY_ID = True``: what
    comes later names an alert by its id and may leave out labels, so that a site cannot tell its alerts apart by them.
    ``HEARTBEAT = True``: it has no alerts; that something comes is all that it says, by GET as well.

    ``count(body) -> int | None``, where all that ``parse`` looks at is the body: how many alerts ``parse`` would find,
    those that are wrong with them; None of a body that it would refuse as a whole. In a storm such a body is accepted
    as it is, and read when there is time. Cheap, and raises nothing.

    Optional, where believing a message takes the network; both are asked after ``verify`` and before ``parse``, and
    while they raise ``Transient`` or ``Permanent`` the sender is told to come again (503).
    ``prove(headers, body, params, probe) -> str | None``: why it is refused after all; whatever must not lead us
    anywhere ``verify`` has refused before. ``answer(headers, body, params, probe) -> str | None``, of what is proven:
    does what the sender asks for beside alerts (to confirm that we want them), and says what it was and what was done,
    which is logged and told; None: it is for ``parse``. A message that comes twice is answered twice.
    """

    name: str
    params: type[Params]
    verify: Callable[[Mapping[str, str], bytes, Any], str | None]
    parse: Callable[[bytes, Mapping[str, str], Any, datetime], tuple[list[Alert], list[tuple[str, Any]]]]
    delivery: Callable[[Mapping[str, str], bytes], str | None] = lambda headers, body: None
    ignored: Callable[[bytes], str | None] = lambda body: None
    count: Callable[[bytes], int | None] = lambda body: None
    proof: Callable[[Mapping[str, str], bytes, Any], str] | None = None
    prove: Callable[[Mapping[str, str], bytes, Any, Probe], Awaitable[str | None]] | None = None
    answer: Callable[[Mapping[str, str], bytes, Any, Probe], Awaitable[str | None]] | None = None
    by_id: bool = False
    heartbeat: bool = False
    doc: str = ""


@dataclass(frozen=True, slots=True)
class OnCall:
    """Somebody who is on call. ``name``: as their token is called. ``also``: other names of the same person, such as an
    e-mail address, a handle or an id. ``until``: when the shift ends, UTC; None when nobody says."""

    name: str
    also: tuple[str, ...] = ()
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ScheduleType:
    """``plugins/schedules/<name>.py``: ``Params``, ``on_call(params, probe, at) -> tuple[OnCall, ...]``.

    ``at`` has its offset. An empty tuple says that nobody is on call then; what could not be found out is an error.
    Optional: ``CONNECTIONS``: the types of connection that it asks through; ``PATHS``: parameters that are paths of
    files (whoever reads the configuration joins a relative one to the configuration's folder).
    """

    name: str
    params: type[Params]
    on_call: Callable[[Any, Probe, datetime], Awaitable[tuple[OnCall, ...]]]
    connections: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    doc: str = ""
