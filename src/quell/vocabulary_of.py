"""Registry → Vocabulary: what the runbook room must know of plug-ins, told as data.

Never does: load a runbook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Generic, Protocol, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError

from quell.errors import NotFound
from quell.incident.alert import SEVERITY_WORDS, severity_of
from quell.incident.matcher import parse_matchers
from quell.ports import ActionType, CheckType, Command, Connects, NotifierType
from quell.registry import Registry
from quell.runbook.invalid import plainly
from quell.runbook.template import has_template
from quell.runbook.vocabulary import (
    ActionWord,
    AlertWords,
    CheckWord,
    Config,
    Fault,
    NotifierWord,
    Sender,
    Use,
    Vocabulary,
    Way,
    nearest,
)


class Unfit(Protocol):
    """Why a command may not run; ``at``: which word is to blame, the number of words when none is."""

    @property
    def at(self) -> int: ...

    @property
    def found(self) -> str: ...

    @property
    def expected(self) -> str: ...

    @property
    def nearest(self) -> str | None: ...

    @property
    def says(self) -> str: ...


Fits = Callable[[Command], Unfit | None]
K = TypeVar("K")
W = TypeVar("W")


def vocabulary_of(
    registry: Registry,
    *,
    services: Iterable[str] | None = None,
    connections: Mapping[str, Way] | None = None,
    notifiers: Mapping[str, Sender] | None = None,
    circles: Iterable[str] | None = None,
    sources: Iterable[str] | None = None,
    variables: Mapping[str, Any] | None = None,
    scrape_s: float = 15.0,
    misfit: Fits = lambda command: None,
) -> Vocabulary:
    """Every check and action under its name and its aliases; a plug-in is loaded when a runbook names it.

    ``misfit``: what the site's guardrails say of a command.
    """
    checks = Words(registry.checks, registry.check, lambda kind: _check(kind, scrape_s, misfit))
    actions = Words(registry.actions, registry.action, lambda kind: _action(kind, misfit))
    return Vocabulary(
        checks=checks, actions=actions, scrape_s=scrape_s, variables=variables or {},
        services=frozenset(services) if services is not None else None,
        connections=connections, notifiers=notifiers,
        circles=frozenset(circles) if circles is not None else None,
        alerts=AlertWords(
            severity_of, SEVERITY_WORDS, parse_matchers,
            # One that is not configured has the name of its type.
            frozenset((*sources, *registry.sources)) if sources is not None else None,
        ),
        notifier_kinds=Words(registry.notifiers, registry.notifier, _notifier),
    )  # fmt: skip


class Words(Mapping[str, W], Generic[K, W]):
    """Words made from plug-ins when asked for. Iterating gives names only, so that it loads nothing."""

    def __init__(self, kinds: Mapping[str, K], find: Callable[[str], K], make: Callable[[K], W]) -> None:
        self._kinds, self._find, self._make = kinds, find, make
        self._made: dict[str, W] = {}

    def __getitem__(self, name: str) -> W:
        if name not in self._made:
            try:
                self._made[name] = self._make(self._find(name))
            except NotFound:
                raise KeyError(name) from None
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


def _check(kind: CheckType, scrape_s: float, misfit: Fits) -> CheckWord:
    return CheckWord(
        name=kind.name, facts=kind.facts, faults=lambda config: faults_of(kind.params, config),
        lag_s=lambda config: kind.lag(config, scrape_s), hint=kind.hint, gate=kind.gate, signal=kind.signal,
        shell=kind.shell, uses=lambda config: uses_of(kind.params, config),
        misfits=lambda config: misfits_of(kind, config, misfit),
    )  # fmt: skip


def _notifier(kind: NotifierType) -> NotifierWord:
    return NotifierWord(kind.name, kind.prefixes, kind.connections)


def _action(kind: ActionType, misfit: Fits) -> ActionWord:
    return ActionWord(
        name=kind.name, faults=lambda config: faults_of(kind.params, config), facts=kind.facts,
        precondition=kind.precondition, postcondition=kind.postcondition,
        postcondition_within_s=kind.postcondition_within_s, has_undo=kind.undo is not None,
        can_capture=kind.capture is not None, risk=kind.risk.value,
        limits=kind.limits, shell=kind.shell, uses=lambda config: uses_of(kind.params, config),
        misfits=lambda config: misfits_of(kind, config, misfit),
    )  # fmt: skip


def faults_of(params: type[BaseModel], config: Config) -> list[Fault]:
    """What Pydantic says of a config whose templates are not filled yet: a place with a template is not judged."""
    try:
        params.model_validate(dict(config))
    except ValidationError as error:
        return [
            _fault(dict(item), params)
            for item in error.errors(include_url=False)
            if not has_template(_at(config, _place(dict(item))))
        ]
    except Exception as error:  # a validator of a plug-in that trips over an unfilled template
        return [] if has_template(dict(config)) else [Fault((), f"{type(error).__name__}: {error}")]
    return []


def _place(item: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Where it is told; ``at_fault`` says so by itself."""
    return tuple((item.get("ctx") or {}).get("place", item["loc"]))


def _fault(item: Mapping[str, Any], params: type[BaseModel]) -> Fault:
    place = _place(item)
    name = str(place[-1]) if place else ""
    if item["type"] == "extra_forbidden":
        known = sorted(params.model_fields) if len(place) == 1 else []
        expected = "one of " + ", ".join(known) if known else None
        return Fault(place, f"unknown parameter {name!r}", name, expected, nearest(name, known))
    if item["type"] == "missing":
        return Fault(place, f"missing parameter {name!r}", expected=name)
    if item["type"] == "literal_error":
        found = str(item["input"])
        words = str((item.get("ctx") or {}).get("expected", ""))
        near = nearest(found, [word.strip("' ") for word in words.replace(" or ", ",").split(",")])
        return Fault(place, "not one of the words allowed here", repr(found), words, near)
    return Fault(place, plainly(item))


def _at(config: Any, place: tuple[str | int, ...]) -> Any:
    """The value at a place, or the deepest one on the way there (unions add parts that are not in the data)."""
    for part in place:
        if isinstance(config, Mapping):
            config = config.get(str(part), config)
        elif isinstance(config, list) and isinstance(part, int) and part < len(config):
            config = config[part]
    return config


def misfits_of(kind: CheckType | ActionType, config: Config, misfit: Fits) -> list[Fault]:
    """What the guardrails would refuse of its commands. Nobody knows what a template gives: from there on, nothing."""
    try:
        commands = list(kind.commands_of(kind.params.model_validate(dict(config))))
    except Exception:  # not filled yet, or wrong, which faults tell
        return []
    found = []
    for command in commands:
        wrong = misfit(command)
        if wrong is not None and wrong.at < _literal(command):
            word = command.line if wrong.at >= len(command.argv) else command.argv[wrong.at]
            message = f"the guardrails let it run nowhere: {wrong.says}"
            found.append(Fault(_written(config, word), message, wrong.found, wrong.expected, wrong.nearest))
    return found


def _literal(command: Command) -> int:
    """How many words stand as they are written; one more than there are when the rest does so too."""
    words = [*command.argv, [command.line or "", *command.env.values(), command.cwd or ""]]
    return next((number for number, word in enumerate(words) if has_template(word)), len(words))


def _written(config: Config, word: str | None) -> tuple[str | int, ...]:
    """Where a word of a command stands in a config; the config itself when that cannot be told."""
    for key, value in config.items():
        texts = [str(one) for one in value] if isinstance(value, list | tuple) else []
        if word is not None and (value == word or word in texts):
            return (key,) if value == word else (key, texts.index(word))
    return ()


def uses_of(params: type[BaseModel], config: Config) -> list[Use]:
    """The connections that parameters marked with ``Connects`` need; a name that a template gives is not judged."""
    marks = _marks(params)
    if not marks:
        return []
    try:
        given = dict(params.model_validate(dict(config)))
    except Exception:  # not filled yet, or wrong, which faults tell; then only names as they are written count
        given = {name: config[key] for name, keys, _ in marks for key in keys if key in config}
        whole = False
    else:
        whole = True
    found: list[Use] = []
    for name, keys, mark in marks:
        needless = any(given.get(other) for other in mark.unless)
        if not (needless and mark.before):
            key = next((key for key in keys if key in config), name)
            found += _uses(given, name, key, mark, default=mark.default and whole and not needless)
    return found


@cache
def _marks(params: type[BaseModel]) -> tuple[tuple[str, tuple[str, ...], Connects], ...]:
    """Each marked parameter with its spellings."""
    found: list[tuple[str, tuple[str, ...], Connects]] = []
    for name, field in params.model_fields.items():
        alias = field.validation_alias
        spelled = [str(one) for one in alias.choices] if isinstance(alias, AliasChoices) else [str(alias or name)]
        for mark in field.metadata:
            if isinstance(mark, Connects):
                found.append((name, (name, *spelled), mark))
    return tuple(found)


def _uses(given: Mapping[str, Any], name: str, key: str, mark: Connects, *, default: bool) -> Iterator[Use]:
    value = given.get(name)
    written: list[tuple[str, tuple[str | int, ...]]] = [(value, (key,))] if isinstance(value, str) else []
    if isinstance(value, list | tuple):
        written = [(one, (key, index)) for index, one in enumerate(value) if isinstance(one, str)]
    option = None
    if mark.option is not None and isinstance(of := given.get(mark.option[0]), str):
        option = (of, mark.option[1])
    for text, place in written:
        called, marked, _ = text.partition(mark.before) if mark.before else (text, "-", "")
        if has_template(text):
            continue
        if marked:
            yield Use(mark.types, called, place, option)
        elif default:
            yield Use(mark.types)
    if not written and default:
        yield Use(mark.types)
