"""A configuration held against what there is, before anything is opened: every fault at once, each with its line.

Never does: open what it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from quell import source_of
from quell.errors import InvalidInput, Problem
from quell.ports import Connection
from quell.registry import Registry
from quell.respond.means import ScheduleChoice
from quell.respond.naming import named, schedules
from quell.respond.rails import Guardrails
from quell.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Configured:
    """What a configuration comes to."""

    connections: Mapping[str, Connection]
    rails: Guardrails
    schedules: Mapping[str, ScheduleChoice]


def configured(settings: Settings, registry: Registry) -> Configured:
    """Raises ``InvalidInput``."""
    problems = list[Problem]()

    def held(read: Callable[[], T], without: T) -> T:
        try:
            return read()
        except InvalidInput as error:
            problems.extend(error.problems)
            return without

    # Where no action is loaded, the rules are still held against those that there are.
    words = Registry() if registry.observe_only else registry
    found = Configured(
        held(settings.resolved_connections, {}),
        held(lambda: named(settings.guardrails, words, settings.services or None), settings.guardrails),
        held(lambda: schedules(settings.schedules, registry, settings.folder), {}),
    )
    problems += source_of.faults(settings, registry)  # later, it would be an alert that nobody gets
    if problems:
        raise InvalidInput(sorted(settings.located(problems), key=lambda one: (one.line, one.column)))
    return found
