"""What a plug-in says of itself: its docstring, parameters, facts, conditions. Never does: call it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from quell.errors import InvalidInput
from quell.ports import ActionType, CheckType, Command, NotifierType, Params, Risk, ScheduleType, SourceType
from quell.runbook.expr import ExprSyntaxError, Scope, check_condition, parse, parse_type
from quell.settings import ConnectionSettings
from quell.testing.examples import calls, examples
from quell.testing.promise import Broken, expect
from quell.vocabulary_of import faults_of

_STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 10**400, 2.5, math.nan, math.inf, "", "\x00", "${a.b}", "${", "[", "((((", "a" * 50_000, "5m",
    [], [None], ["${a}"], [[]], {}, {"a": None}, {"${a}": "${b}"}, {1: 2}, b"\xff", object(),
)  # fmt: skip
"""Values that nobody means; what is written reaches a plug-in before its templates are filled."""


def every_model(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and those inside of it, each once."""
    seen: list[type[BaseModel]] = []
    waiting = [model]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.append(one)
            yield one
            waiting += [inner for field in one.model_fields.values() for inner in _models(field.annotation)]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def strange_configs(model: type[BaseModel]) -> Iterator[dict[str, Any]]:
    """Nothing, every key with every strange value, all keys unfilled, and keys that do not exist."""
    yield {}
    yield dict.fromkeys(model.model_fields, "${a.b}")
    for name in (*model.model_fields, "no_such_key"):
        for value in _STRANGE:
            yield {name: value}


# Parameters.


def documented(module: ModuleType) -> None:
    """It says what it does, what it never does, and how it is written."""
    doc = inspect.getdoc(module) or ""
    expect(doc, "the module has no docstring")
    expect("Never does:" in doc, "the docstring does not say what the plug-in never does")


def strict(params: type[BaseModel]) -> None:
    """Parameters are frozen, and an unknown key is refused, in every model inside of them too."""
    expect(issubclass(params, Params), f"{params.__name__} is not a quell.ports.Params")
    for model in every_model(params):
        expect(model.model_config.get("frozen"), f"{model.__name__} is not frozen")
        expect(model.model_config.get("extra") == "forbid", f"{model.__name__} takes unknown keys")
        expect("no_such_key" in _refused(model, "no_such_key"), f"{model.__name__} takes the key no_such_key")


def spelled_both_ways(params: type[BaseModel]) -> None:
    """Every key may be written in snake_case and in camelCase."""
    for model in every_model(params):
        for name, field in model.model_fields.items():
            plain = field.alias if field.alias_priority == 2 and isinstance(field.alias, str) else name
            if isinstance(field.validation_alias, AliasChoices):
                plain = name
            for spelled in dict.fromkeys((plain, to_camel(plain))):
                expect(spelled not in _refused(model, spelled), f"{model.__name__} refuses the key {spelled!r}")


def _refused(model: type[BaseModel], key: str) -> set[str]:
    """The keys that the model calls unknown when it is given this one."""
    try:
        model.model_validate({key: None})
    except ValidationError as error:
        return {str(item["loc"][-1]) for item in error.errors() if item["type"] == "extra_forbidden"}
    except Exception:  # another promise's business
        return set()
    return set()


def strange_values_are_told(params: type[BaseModel]) -> None:
    """Whatever is written, validation either takes it or says what is wrong; it never trips."""
    for config in strange_configs(params):
        try:
            params.model_validate(config)
        except ValidationError:
            continue
        except Exception as error:
            raise Broken(f"{_short(config)} raises {type(error).__name__}: {error}") from error


# Facts and conditions.


def facts_are_types(kind: CheckType) -> None:
    """``facts(config)`` never raises, whatever is written, and every type it declares is one."""
    for config in strange_configs(kind.params):
        facts = _quiet("facts", config, kind.facts, config)
        expect(facts, f"facts({_short(config)}) is empty")
        _scope(facts)


def lag_and_hint_are_quiet(kind: CheckType) -> None:
    """``lag``, ``hint`` and ``gate`` never raise; a lag is a finite number of seconds, the others are text or None."""
    for config in strange_configs(kind.params):
        lag = _quiet("lag", config, kind.lag, config, 15.0)
        expect(isinstance(lag, int | float) and math.isfinite(lag) and lag >= 0, f"lag({_short(config)}) is {lag!r}")
        for name, ask in (("hint", kind.hint), ("gate", kind.gate)):
            said = _quiet(name, config, ask, config)
            expect(said is None or (isinstance(said, str) and said), f"{name}({_short(config)}) is {said!r}")


def _quiet(what: str, config: Mapping[str, Any], ask: Callable[..., Any], *given: Any) -> Any:
    try:
        return ask(*given)
    except Exception as error:
        raise Broken(f"{what}({_short(config)}) raises {type(error).__name__}: {error}") from error


def declares_its_danger(module: ModuleType, kind: ActionType) -> None:
    """Risk and idempotency are said, not assumed; what it limits is explained."""
    expect(isinstance(getattr(module, "RISK", None), Risk), "RISK is not a quell.ports.Risk")
    expect(isinstance(getattr(module, "IDEMPOTENT", None), bool), "IDEMPOTENT is not a bool")
    unexplained = [key for key, text in kind.limits.items() if not str(text).strip()]
    expect(not unexplained, f"LIMITS does not explain {unexplained}")
    expect(not (kind.risk is Risk.IRREVERSIBLE and kind.undo), "an irreversible action offers an undo")
    arities = {"dry_run": 2, "execute": 2, "observe": 2, "undo": 3, "capture": 3}
    for name, arity in arities.items():
        _asynchronous(getattr(kind, name), name, arity)


def _asynchronous(function: Any, name: str, arity: int) -> None:
    if function is not None:
        expect(inspect.iscoroutinefunction(function), f"{name} is not an async function")
        expect(len(inspect.signature(function).parameters) == arity, f"{name} does not take {arity} arguments")


def conditions_hold_water(kind: ActionType) -> None:
    """Its own pre- and postcondition read facts that it declares, and compare like with like."""
    scope = _scope(kind.facts)
    expect(not kind.facts or kind.observe, "FACTS without observe: nobody gives them")
    for name in ("precondition", "postcondition"):
        text = getattr(kind, name)
        if text is not None:
            expect(kind.facts, f"{name} without FACTS: there is nothing to read")
            _compiles(text, scope, name)


def _scope(facts: Mapping[str, Any]) -> Scope:
    try:
        return {str(name): parse_type(spec) for name, spec in facts.items()}
    except ValueError as error:
        raise Broken(f"a fact's type is none: {error}") from error


def _compiles(text: str, scope: Scope, what: str) -> None:
    try:
        flaws = check_condition(parse(text), scope)
    except ExprSyntaxError as error:
        flaws = tuple(error.flaws)
    expect(not flaws, f"{what} {text!r}: {'; '.join(flaw.message for flaw in flaws)}")


def shell_parameters_exist(kind: CheckType | ActionType) -> None:
    """What it calls a shell line is a parameter of it."""
    strange = set(kind.shell) - set(kind.params.model_fields)
    expect(not strange, f"SHELL names {sorted(strange)}, which are no parameters")


def commands_are_told(name: str, module: ModuleType, kind: CheckType | ActionType) -> None:
    """What it starts for a runbook is told to the guardrails: of its example, words or a line, never both."""
    told = hasattr(module, "commands_of")
    expect(told or not kind.shell, "SHELL without commands_of: the guardrails would not see what it runs")
    for data in examples(module.__doc__ or "") if told else ():
        for _, config in calls(data, name):
            params = kind.params.model_validate(dict(config))
            commands = list(_quiet("commands_of", config, kind.commands_of, params))
            right = all(isinstance(one, Command) and bool(one.argv) is (one.line is None) for one in commands)
            expect(right, f"commands_of({_short(config)}) is {_short(commands)}: no Commands with words or a line")


def prefixes_are_prefixes(kind: NotifierType) -> None:
    """A prefix is what a target starts with: text, and not empty."""
    for prefix in kind.prefixes:
        expect(isinstance(prefix, str) and prefix, f"{prefix!r} is no prefix")


def source_is_whole(kind: SourceType) -> None:
    """What it may ask before it believes a message is asked asynchronously."""
    _asynchronous(kind.prove, "prove", 4)
    _asynchronous(kind.answer, "answer", 4)


def schedule_is_whole(kind: ScheduleType) -> None:
    """It is asked asynchronously; types of connections are text; what it calls a path is a parameter of it."""
    _asynchronous(kind.on_call, "on_call", 3)
    strange = [one for one in kind.connections if not (isinstance(one, str) and one)]
    expect(not strange, f"CONNECTIONS holds {strange}, which are no types")
    unknown = sorted(set(kind.paths) - set(kind.params.model_fields))
    expect(not unknown, f"PATHS names {unknown}, which are no parameters")


# Examples.


def example_is_right(
    name: str, module: ModuleType, params: type[BaseModel], facts: Any = None, site: type[BaseModel] | None = None
) -> None:  # fmt: skip
    """The docstring has an example of it, with parameters that it takes and conditions that its facts can answer.
    ``site``: what may stand beside the parameters of every plug-in of its kind."""
    try:
        found = [call for data in examples(module.__doc__ or "") for call in calls(data, name)]
    except InvalidInput as error:
        raise Broken(f"the example cannot be read: {error}") from error
    expect(found, f"the docstring has no example of {name!r}")
    for entry, config in found:
        given, beside = parted(config, params, site)
        told = [*faults_of(params, given), *(faults_of(site, beside) if site is not None else ())]
        faults = [f"{'.'.join(map(str, one.place))}: {one.message}" for one in told]
        expect(not faults, f"the example is not what it takes: {'; '.join(faults)}")
        for level, text in _interpreted(entry) if facts is not None else ():
            _compiles(text, _scope(facts(config)), level)


def parted(
    config: Mapping[str, Any], params: type[BaseModel], site: type[BaseModel] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its own parameters, and what a site says of every plug-in of its kind."""
    theirs = set(site.model_fields) - set(params.model_fields) if site is not None else set()
    own = {key: value for key, value in config.items() if key not in theirs}
    return own, {key: value for key, value in config.items() if key in theirs}


def example_names_it(kind: NotifierType, module: ModuleType) -> None:
    """The docstring shows a target that this notifier would get, and connections that the configuration takes."""
    try:
        found = [data for data in examples(module.__doc__ or "") if isinstance(data, Mapping)]
    except InvalidInput as error:
        raise Broken(f"the example cannot be read: {error}") from error
    targets = [str(to) for data in found for to in (data.get("escalation") or {}).values()]
    expect(any(to.startswith(kind.prefixes) for to in targets), "the docstring has no example with its prefix")
    _connections_are_right(found)


def example_schedules_it(kind: ScheduleType, module: ModuleType) -> None:
    """The docstring shows a schedule of this type, and connections that the configuration takes."""
    try:
        found = [data for data in examples(module.__doc__ or "") if isinstance(data, Mapping)]
    except InvalidInput as error:
        raise Broken(f"the example cannot be read: {error}") from error
    written = [one for data in found for one in (data.get("schedules") or {}).values() if one.get("type") == kind.name]
    expect(written, f"the docstring has no example of {kind.name!r} under schedules")
    for one in written:
        given = {key: value for key, value in one.items() if key != "type"}
        faults = [f"{'.'.join(map(str, fault.place))}: {fault.message}" for fault in faults_of(kind.params, given)]
        expect(not faults, f"the example is not what it takes: {'; '.join(faults)}")
    _connections_are_right(found)


def _connections_are_right(found: Iterable[Mapping[str, Any]]) -> None:
    for name, given in ((name, one) for data in found for name, one in (data.get("connections") or {}).items()):
        try:
            ConnectionSettings.model_validate(given)
        except ValidationError as error:
            raise Broken(f"the example's connection {name!r} is not one: {error}") from error


def _interpreted(entry: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    given = entry.get("interpret")
    return ((str(level), str(text)) for level, text in given.items()) if isinstance(given, Mapping) else ()


def _short(config: Any) -> str:
    text = repr(config)
    return text if len(text) <= 100 else text[:97] + "..."
