"""Finds the plug-ins: scans the folders of ``quell.plugins`` and the entry points ``quell.plugins.<kind>``.

A plug-in is a module; what it must and may say is on the page ``ports``. Never does: keep a list of names.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from types import ModuleType
from typing import Any, TypeVar

from quell import plugins
from quell.errors import NotFound
from quell.fleet import CAPABILITIES
from quell.ports import ActionType, CheckType, DriverType, NotifierType, Params, Risk, ScheduleType, SourceType

T = TypeVar("T", CheckType, ActionType, DriverType, NotifierType, SourceType, ScheduleType)


class BadPlugin(TypeError):
    """A plug-in module lacks something its socket asks for."""


def _need(module: ModuleType, name: str, kind: type | tuple[type, ...] | None = None) -> Any:
    value = getattr(module, name, None)
    if value is None:
        raise BadPlugin(f"{module.__name__}: missing {name}")
    if kind is not None and not isinstance(value, kind):
        raise BadPlugin(f"{module.__name__}: {name} is {type(value).__name__}")
    return value


def _doc(module: ModuleType) -> str:
    return (module.__doc__ or "").strip()


def _check(name: str, module: ModuleType) -> CheckType:
    constant: Mapping[str, Any] | None = getattr(module, "FACTS", None)
    facts: Callable[[Mapping[str, Any]], Mapping[str, Any]] = (
        (lambda config: constant) if constant is not None else _need(module, "facts")
    )
    optional = {key: getattr(module, key) for key in ("lag", "hint", "gate", "commands_of") if hasattr(module, key)}
    return CheckType(
        name=name, params=_need(module, "Params"), facts=facts, run=_need(module, "run"),
        aliases=tuple(getattr(module, "ALIASES", ())), signal=getattr(module, "SIGNAL", True),
        shell=tuple(getattr(module, "SHELL", ())), doc=_doc(module), **optional,
    )  # fmt: skip


def _action(name: str, module: ModuleType) -> ActionType:
    optional = {
        key: getattr(module, key)
        for key in ("observe", "undo", "capture", "service_of", "commands_of")
        if hasattr(module, key)
    }
    constants = {
        key: getattr(module, key.upper())
        for key in (
            "aliases",
            "facts",
            "precondition",
            "postcondition",
            "postcondition_within_s",
            "settles",
            "limits",
            "shell",
        )
        if hasattr(module, key.upper())
    }
    return ActionType(
        name=name, params=_need(module, "Params"), risk=_need(module, "RISK", Risk),
        idempotent=_need(module, "IDEMPOTENT", bool), dry_run=_need(module, "dry_run"),
        execute=_need(module, "execute"), doc=_doc(module), **optional, **constants,
    )  # fmt: skip


def _driver(name: str, module: ModuleType) -> DriverType:
    capabilities = frozenset(_need(module, "CAPABILITIES"))
    if strange := capabilities - CAPABILITIES:
        raise BadPlugin(f"{module.__name__}: unknown capabilities {sorted(strange)}")
    return DriverType(
        name=name, config=_need(module, "Config"), capabilities=capabilities, connect=_need(module, "connect"),
        reconciler=getattr(module, "RECONCILER", ""), doc=_doc(module),
    )  # fmt: skip


def _notifier(name: str, module: ModuleType) -> NotifierType:
    return NotifierType(
        name=name, params=_need(module, "Params"), send=_need(module, "send"),
        prefixes=tuple(getattr(module, "PREFIXES", ())), connections=tuple(getattr(module, "CONNECTIONS", ())),
        doc=_doc(module),
    )  # fmt: skip


def _source(name: str, module: ModuleType) -> SourceType:
    names = ("count", "delivery", "ignored", "proof", "prove", "answer")
    optional = {key: getattr(module, key) for key in names if hasattr(module, key)}
    return SourceType(
        name=name, params=_need(module, "Params"), verify=_need(module, "verify"), parse=_need(module, "parse"),
        by_id=bool(getattr(module, "BY_ID", False)), heartbeat=bool(getattr(module, "HEARTBEAT", False)),
        doc=_doc(module), **optional,
    )  # fmt: skip


def _schedule(name: str, module: ModuleType) -> ScheduleType:
    return ScheduleType(
        name=name, params=_need(module, "Params"), on_call=_need(module, "on_call"),
        connections=tuple(getattr(module, "CONNECTIONS", ())), paths=tuple(getattr(module, "PATHS", ())),
        doc=_doc(module),
    )  # fmt: skip


_MAKERS: dict[str, Callable[[str, ModuleType], Any]] = {
    "checks": _check, "actions": _action, "drivers": _driver, "notifiers": _notifier, "sources": _source,
    "schedules": _schedule,
}  # fmt: skip


def entry_of(kind: str, name: str, module: ModuleType) -> Any:
    """What the registry makes of a module (``kind``: the folder's name). Raises ``BadPlugin`` naming what it lacks."""
    return _MAKERS[kind](name, module)


@cache
def _installed() -> Callable[..., importlib.metadata.EntryPoints]:
    """Selects among the entry points of every package, read once: each look reads what all say of themselves."""
    return importlib.metadata.entry_points().select


@cache
def _names(kind: str) -> Mapping[str, Callable[[], ModuleType]]:
    """Every plug-in's name and how to load it; nothing is loaded yet."""
    package = importlib.import_module(f"{plugins.__name__}.{kind}")
    found: dict[str, Callable[[], ModuleType]] = {
        one.name: partial(importlib.import_module, f"{package.__name__}.{one.name}")
        for one in pkgutil.iter_modules(package.__path__)
        if not one.name.startswith("_")
    }
    for entry in _installed()(group=f"quell.plugins.{kind}"):
        found[entry.name] = entry.load
    return found


@cache
def _load(kind: str, name: str) -> Any:
    return entry_of(kind, name, _names(kind)[name]())


class Shelf(Mapping[str, T]):
    """The plug-ins of one kind by name. One is loaded when it is asked for: a client library that nobody uses costs
    neither time nor memory."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __getitem__(self, name: str) -> T:
        if name not in _names(self._kind):
            raise KeyError(name)
        found: T = _load(self._kind, name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in _names(self._kind)

    def __iter__(self) -> Iterator[str]:
        return iter(_names(self._kind))

    def __len__(self) -> int:
        return len(_names(self._kind))


class Registry:
    """The plug-ins of each kind by name and alias. ``observe_only`` loads no action at all."""

    def __init__(self, *, observe_only: bool = False) -> None:
        self.observe_only = observe_only

    @property
    def checks(self) -> Mapping[str, CheckType]:
        return Shelf("checks")

    @property
    def actions(self) -> Mapping[str, ActionType]:
        return {} if self.observe_only else Shelf("actions")

    @property
    def drivers(self) -> Mapping[str, DriverType]:
        return Shelf("drivers")

    @property
    def notifiers(self) -> Mapping[str, NotifierType]:
        return Shelf("notifiers")

    @property
    def sources(self) -> Mapping[str, SourceType]:
        return Shelf("sources")

    @property
    def schedules(self) -> Mapping[str, ScheduleType]:
        return Shelf("schedules")

    def check(self, name: str) -> CheckType:
        return _find("check type", self.checks, name)

    def action(self, name: str) -> ActionType:
        return _find("action type", self.actions, name)

    def driver(self, name: str) -> DriverType:
        return _find("driver", self.drivers, name)

    def notifier(self, name: str) -> NotifierType:
        return _find("notifier", self.notifiers, name)

    def source(self, name: str) -> SourceType:
        return _find("alert source", self.sources, name)

    def schedule(self, name: str) -> ScheduleType:
        return _find("schedule type", self.schedules, name)


def _find(kind: str, table: Mapping[str, T], name: str) -> T:
    if name in table:
        return table[name]
    for entry in table.values():
        if name in getattr(entry, "aliases", ()):
            return entry
    near = difflib.get_close_matches(name, [*table, *(a for e in table.values() for a in getattr(e, "aliases", ()))], 1)
    raise NotFound(kind, name, near[0] if near else None)


__all__ = ["BadPlugin", "Params", "Registry", "entry_of"]
