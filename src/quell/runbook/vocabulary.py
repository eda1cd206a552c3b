"""What lint and compile must know of plug-ins, handed in as data: facts, parameters, risk.

The runbook room knows no plug-in; whoever wires the house fills a ``Vocabulary`` from the registry.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

Config = Mapping[str, Any]


class Fault(NamedTuple):
    """A place inside a config and what is wrong there."""

    place: tuple[str | int, ...]
    message: str
    found: str | None = None
    expected: str | None = None
    nearest: str | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """A connection that a call needs: ``name`` as written at ``place``, None for the only one of these ``types``.

    ``option``: (connection, option) that may hold the name as well.
    """

    types: tuple[str, ...]
    name: str | None = None
    place: tuple[str | int, ...] = ()
    option: tuple[str, str] | None = None


class Way(Protocol):
    """What lint must know of a configured connection."""

    @property
    def type(self) -> str: ...

    @property
    def options(self) -> Mapping[str, Any]: ...


class Sender(Protocol):
    """What lint must know of a configured notifier."""

    @property
    def type(self) -> str: ...

    @property
    def params(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class NotifierWord:
    """A notifier type: the beginnings of its addresses, and the types of connection it sends through (none: it needs
    none)."""

    name: str
    prefixes: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()


def _no_faults(config: Config) -> list[Fault]:
    return []


def _no_uses(config: Config) -> list[Use]:
    return []


@dataclass(frozen=True, slots=True)
class CheckWord:
    """A check type: the facts it publishes with this config, what is wrong with it, how late its evidence is.

    ``hint``: what may not be meant where its ``value`` is read; ``gate``: where a verification requires it to give a
    series. ``signal``: it tells how things are now, so verification may ask it. ``shell``: parameters that a shell
    reads when they are one string. ``misfits``: what the site's guardrails would refuse of the commands in it.
    """

    name: str
    facts: Callable[[Config], Mapping[str, Any]] = lambda config: {}
    faults: Callable[[Config], list[Fault]] = _no_faults
    lag_s: Callable[[Config], float] = lambda config: 0.0
    hint: Callable[[Config], str | None] = lambda config: None
    gate: Callable[[Config], str | None] = lambda config: None
    signal: bool = True
    shell: tuple[str, ...] = ()
    uses: Callable[[Config], list[Use]] = _no_uses
    misfits: Callable[[Config], list[Fault]] = _no_faults


@dataclass(frozen=True, slots=True)
class ActionWord:
    """An action type: what pre- and postconditions may read, its own conditions, its own guard keys."""

    name: str
    faults: Callable[[Config], list[Fault]] = _no_faults
    facts: Mapping[str, Any] = field(default_factory=dict)
    precondition: str | None = None
    postcondition: str | None = None
    postcondition_within_s: float = 60.0
    has_undo: bool = False
    can_capture: bool = True
    risk: str = "medium"
    limits: Mapping[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] = ()
    uses: Callable[[Config], list[Use]] = _no_uses
    misfits: Callable[[Config], list[Fault]] = _no_faults


class Asks(Protocol):
    """One matcher, as lint must know it."""

    @property
    def name(self) -> str: ...

    @property
    def operator(self) -> str: ...

    @property
    def value(self) -> str: ...


@dataclass(frozen=True, slots=True)
class AlertWords:
    """How triggers speak of alerts. ``severity``: what a word stands for, None for none; ``severities``: such words;
    ``matchers``: those that a text holds, ``ValueError`` says where it goes wrong. ``sources``: every name that an
    alert's source can have, None when there is no configuration."""

    severity: Callable[[str], str | None]
    severities: tuple[str, ...]
    matchers: Callable[[str], Sequence[Asks]]
    sources: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """``checks`` and ``actions`` by every name and alias. ``services``: the catalogue's, None when there is none.
    ``connections``, ``notifiers`` and ``circles`` (groups and schedules of people): those configured, None when there
    is no configuration. ``alerts``: what triggers may ask of an alert, None when that is not judged.

    ``variables``: the site's own, which go before a runbook's. ``scrape_s``: how long until a change of the world is
    in a sample (scrape + evaluation), seconds.
    """

    checks: Mapping[str, CheckWord] = field(default_factory=dict)
    actions: Mapping[str, ActionWord] = field(default_factory=dict)
    services: frozenset[str] | None = None
    connections: Mapping[str, Way] | None = None
    notifiers: Mapping[str, Sender] | None = None
    circles: frozenset[str] | None = None
    notifier_kinds: Mapping[str, NotifierWord] = field(default_factory=dict)
    alerts: AlertWords | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    scrape_s: float = 15.0


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The closest known word, None when none is close."""
    found = difflib.get_close_matches(word, list(known), 1, 0.6)
    return found[0] if found else None
