"""Registry → Vocabulary: what the runbook room must know of plug-ins, told as data.

Never does: load a runbook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from quell.ports import ActionType, CheckType
from quell.registry import Registry
from quell.runbook.template import has_template
from quell.runbook.vocabulary import ActionWord, CheckWord, Config, Fault, Vocabulary, nearest


def vocabulary_of(
    registry: Registry,
    *,
    services: Iterable[str] | None = None,
    connections: Iterable[str] | None = None,
    variables: Mapping[str, Any] | None = None,
    scrape_s: float = 15.0,
) -> Vocabulary:
    """Every check and action under its name and its aliases."""
    checks = {name: _check(kind, scrape_s) for kind in registry.checks.values() for name in (kind.name, *kind.aliases)}
    actions = {name: _action(kind) for kind in registry.actions.values() for name in (kind.name, *kind.aliases)}
    return Vocabulary(
        checks=checks, actions=actions, scrape_s=scrape_s, variables=variables or {},
        services=frozenset(services) if services is not None else None,
        connections=frozenset(connections) if connections is not None else None,
    )  # fmt: skip


def _check(kind: CheckType, scrape_s: float) -> CheckWord:
    return CheckWord(
        name=kind.name, facts=kind.facts, faults=lambda config: faults_of(kind.params, config),
        lag_s=lambda config: kind.lag(config, scrape_s), hint=kind.hint, signal=kind.signal, shell=kind.shell,
    )  # fmt: skip


def _action(kind: ActionType) -> ActionWord:
    return ActionWord(
        name=kind.name, faults=lambda config: faults_of(kind.params, config), facts=kind.facts,
        precondition=kind.precondition, postcondition=kind.postcondition,
        postcondition_within_s=kind.postcondition_within_s, has_undo=kind.undo is not None, risk=kind.risk.value,
        limits=kind.limits, shell=kind.shell,
    )  # fmt: skip


def faults_of(params: type[BaseModel], config: Config) -> list[Fault]:
    """What Pydantic says of a config whose templates are not filled yet: a place with a template is not judged."""
    try:
        params.model_validate(dict(config))
    except ValidationError as error:
        return [
            (tuple(item["loc"]), _message(dict(item), params))
            for item in error.errors(include_url=False)
            if not has_template(_at(config, item["loc"]))
        ]
    except Exception as error:  # a validator of a plug-in that trips over an unfilled template
        return [] if has_template(dict(config)) else [((), f"{type(error).__name__}: {error}")]
    return []


def _message(item: Mapping[str, Any], params: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        near = nearest(str(item["loc"][-1]), params.model_fields)
        known = ", ".join(sorted(params.model_fields))
        return f"unknown parameter {item['loc'][-1]!r}" + (f", nearest {near!r}" if near else f"; known: {known}")
    return str(item["msg"]).removeprefix("Value error, ")


def _at(config: Any, place: tuple[str | int, ...]) -> Any:
    """The value at a place, or the deepest one on the way there (unions add parts that are not in the data)."""
    for part in place:
        if isinstance(config, Mapping):
            config = config.get(str(part), config)
        elif isinstance(config, list) and isinstance(part, int) and part < len(config):
            config = config[part]
    return config
