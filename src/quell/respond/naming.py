"""What a configuration names, held against what there is: actions in guardrails, kinds of schedules.

Never does: load an action that no rule names, ask a schedule.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from quell.errors import InvalidInput, NotFound, Problem
from quell.ports import spellings
from quell.registry import Registry
from quell.respond.means import ScheduleChoice
from quell.respond.rails import ActionWords, Guardrails
from quell.runbook.invalid import plainly
from quell.runbook.vocabulary import nearest


class Typed(Protocol):
    @property
    def type(self) -> str: ...
    @property
    def params(self) -> Mapping[str, Any]: ...


def named(rails: Guardrails, registry: Registry, services: Collection[str] | None) -> Guardrails:
    """``services``: those of the catalogue, None without one. Raises ``InvalidInput`` with every rule of nothing."""
    words = {name: _words(registry, name) for name in rails.named_actions}
    found = {name: own for name, own in words.items() if own}
    return rails.named_by(found, list(registry.actions), services)


def _words(registry: Registry, name: str) -> ActionWords | None:
    try:
        kind = registry.action(name)
    except NotFound:
        return None
    names = spellings(kind.params)
    return ActionWords(kind.name, names, open=bool({"identifiers", "params"} & set(names)))


def schedules(configured: Mapping[str, Typed], registry: Registry, folder: Path) -> dict[str, ScheduleChoice]:
    """With the files that they name as paths from ``folder``, the configuration's own. Raises ``InvalidInput`` with
    every fault: in an incident it would be a yes that is not taken."""
    found: dict[str, ScheduleChoice] = {}
    problems: list[Problem] = []
    for name, one in configured.items():
        path = f"schedules.{name}"
        try:
            kind = registry.schedule(one.type)
        except NotFound as error:
            known = ", ".join(sorted(registry.schedules))
            problem = Problem(f"no kind of schedule is called {one.type!r}", "unknown-schedule", path=f"{path}.type",
                              found=one.type, expected=f"one of {known}", nearest=error.nearest)  # fmt: skip
            problems.append(problem)
            continue
        params = {key: _from(folder, value) if key in kind.paths else value for key, value in one.params.items()}
        try:
            kind.params.model_validate(params)
        except ValidationError as error:
            problems += _faults(error, path, kind.params.model_fields)
        found[name] = ScheduleChoice(one.type, params)
    if problems:
        raise InvalidInput(problems)
    return found


def _from(folder: Path, value: Any) -> Any:
    return str(folder / value) if isinstance(value, str) and not value.startswith(("env:", "file:")) else value


def _faults(error: ValidationError, path: str, known: Collection[str]) -> Iterator[Problem]:
    for item in error.errors(include_url=False):
        place = ".".join([path, *(str(part) for part in item["loc"])])
        if item["type"] == "extra_forbidden":
            key = str(item["loc"][-1])
            expected = f"one of {', '.join(sorted(known))}"
            yield Problem(f"unknown key {key!r}", "unknown-key", path=place, expected=expected,
                          nearest=nearest(key, known))  # fmt: skip
        else:
            yield Problem(plainly(dict(item)), "wrong-value", path=place)
