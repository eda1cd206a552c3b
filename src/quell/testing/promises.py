"""The promises of each kind of plug-in, put together. To add one, write its function and give it a row here.

Never does: look whether one is kept; ``Promise.keep`` does.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from quell.errors import InvalidInput, Permanent, Transient
from quell.incident.alert import Alert
from quell.ports import SourceType
from quell.registry import BadPlugin, Registry, entry_of
from quell.respond.look import bounded
from quell.settings import SourceSettings
from quell.testing import declared, played
from quell.testing.examples import calls, examples
from quell.testing.promise import Broken, Promise, expect
from quell.testing.stage import Play, Stage, outcome_of, probe_of, scene_at

KINDS = ("checks", "actions", "drivers", "notifiers", "sources", "schedules")
_DEEP = 5_000


def promises(kind: str, module: ModuleType, *, play: Play | None = None, name: str | None = None) -> list[Promise]:
    """What a plug-in of this kind promises. ``name`` is the one it is registered under; by default the module's.

    Raises ``Broken`` when the registry would not take the module at all.
    """
    name = name or module.__name__.rpartition(".")[2]
    try:
        entry = entry_of(kind, name, module)
    except BadPlugin as error:
        raise Broken(str(error)) from error
    rows = [*_everybody(name, module, entry), *_OF_KIND[kind](module, entry)]
    if play is not None:
        rows += [row for call in _calls(kind, entry) for row in _played(call, play)]
    return [Promise(name, text, check) for text, check in rows]


def unique_names(registry: Registry) -> Promise:
    """Names, aliases and prefixes are given once in the whole registry."""

    def check() -> None:
        for kind in ("checks", "actions", "notifiers", "schedules"):
            entries = getattr(registry, kind).values()
            words = [word for one in entries for word in (one.name, *getattr(one, "aliases", ()))]
            words += [prefix for one in entries for prefix in getattr(one, "prefixes", ())]
            twice = [word for word, times in Counter(words).items() if times > 1]
            expect(not twice, f"several {kind} are called {', '.join(twice)}")

    return Promise("registry", "names are given once", check)


Row = tuple[str, Callable[[], Any]]


def _everybody(name: str, module: ModuleType, entry: Any) -> Iterator[Row]:
    params = entry.config if hasattr(entry, "config") else entry.params
    yield "says what it does and never does", lambda: declared.documented(module)
    yield "parameters are frozen and strict", lambda: declared.strict(params)
    yield "keys are snake_case or camelCase", lambda: declared.spelled_both_ways(params)
    yield "strange values are told, not tripped over", lambda: declared.strange_values_are_told(params)


def _check(module: ModuleType, entry: Any) -> Iterator[Row]:
    yield "the example is right", lambda: declared.example_is_right(entry.name, module, entry.params, entry.facts)
    yield "facts are typed, whatever is written", lambda: declared.facts_are_types(entry)
    yield "lag and hint never raise", lambda: declared.lag_and_hint_are_quiet(entry)
    yield "shell parameters exist", lambda: declared.shell_parameters_exist(entry)
    yield "commands are told to the guardrails", lambda: declared.commands_are_told(entry.name, module, entry)


def _action(module: ModuleType, entry: Any) -> Iterator[Row]:
    yield "the example is right", lambda: declared.example_is_right(entry.name, module, entry.params)
    yield "risk and idempotency are declared", lambda: declared.declares_its_danger(module, entry)
    yield "its conditions read its facts", lambda: declared.conditions_hold_water(entry)
    yield "shell parameters exist", lambda: declared.shell_parameters_exist(entry)
    yield "commands are told to the guardrails", lambda: declared.commands_are_told(entry.name, module, entry)


def _driver(module: ModuleType, entry: Any) -> Iterator[Row]:
    yield "the example is right", lambda: declared.example_is_right(entry.name, module, entry.config)


def _notifier(module: ModuleType, entry: Any) -> Iterator[Row]:
    yield "the example is right", lambda: declared.example_names_it(entry, module)
    yield "prefixes are text", lambda: declared.prefixes_are_prefixes(entry)


def _source(module: ModuleType, entry: Any) -> Iterator[Row]:
    right = partial(declared.example_is_right, entry.name, module, entry.params, site=SourceSettings)
    yield "the example is right", right
    yield "a bad body is told, not tripped over", lambda: bad_bodies_are_told(entry, _params(module, entry))
    yield "a sender without credentials is told why", lambda: strangers_are_refused(entry)
    if entry.prove is not None or entry.answer is not None:
        yield "prove and answer are asked asynchronously", lambda: declared.source_is_whole(entry)
    if entry.prove is not None:
        yield "what nobody has signed is not believed", lambda: unproven_is_refused(entry, _params(module, entry))


def _schedule(module: ModuleType, entry: Any) -> Iterator[Row]:
    yield "the example is right", lambda: declared.example_schedules_it(entry, module)
    yield "its socket is filled", lambda: declared.schedule_is_whole(entry)


_OF_KIND: Mapping[str, Callable[[ModuleType, Any], Iterator[Row]]] = {
    "checks": _check, "actions": _action, "drivers": _driver, "notifiers": _notifier, "sources": _source,
    "schedules": _schedule,
}  # fmt: skip


def _calls(kind: str, entry: Any) -> Iterator[played.Call]:
    if kind == "checks":
        yield played.Call("run", entry.params, entry.run)
    elif kind == "actions":
        yield played.Call("dry_run", entry.params, entry.dry_run)
        yield played.Call("execute", entry.params, entry.execute)
        if entry.observe is not None:
            yield played.Call("observe", entry.params, entry.observe)
    elif kind == "notifiers":
        yield played.Call("send", entry.params, lambda params, probe: entry.send(played.MESSAGE, params, probe))
    elif kind == "schedules":
        yield played.Call("on_call", entry.params, lambda params, probe: entry.on_call(params, probe, probe.now()))


def _played(call: played.Call, play: Play) -> Iterator[Row]:
    yield f"{call.name}: a refused connection is told", lambda: played.refused_is_told(call, play)
    yield f"{call.name}: silence is a timeout", lambda: played.silence_is_a_timeout(call, play)
    yield f"{call.name}: secrets stay secret", lambda: played.secrets_stay_secret(call, play)
    with scene_at(1) as scene:
        needs_connection = bool(play(scene).connections)
    if needs_connection:
        yield f"{call.name}: an unknown connection is missing", lambda: played.unknown_connection_is_missing(call, play)
        if call.name in ("run", "dry_run", "on_call"):
            yield "its connection is declared", lambda: played.connection_is_declared(call, play)
    if call.name == "on_call":
        yield "on_call: nonsense is not nobody", lambda: played.nonsense_is_not_nobody(call, play)
    if call.name == "dry_run":
        yield f"{call.name}: changes nothing", lambda: played.dry_run_changes_nothing(call, play)


# Sources are not called over the network: they are handed what came over it.

_BODIES: tuple[bytes, ...] = (
    b"", b"null", b"[]", b"{}", b"{", b'"text"', b"0", b"\xff\xfe", b"\x00", b"NaN", b"[" * _DEEP, b'{"a":' * _DEEP,
    json.dumps({"version": "4", "alerts": [None, 1, "a", [], {}]}).encode(), b'{"version": "4", "alerts": []}',
    b'{"event": {"event_type": "a.b"}, "action": "b"}', b'{"alerts": {"a": 1}}', b"1e999",
)  # fmt: skip


def _params(module: ModuleType, entry: SourceType) -> Any:
    """The defaults; those of its example where some parameters are required."""
    if not any(field.is_required() for field in entry.params.model_fields.values()):
        return entry.params()
    found = [call for data in examples(module.__doc__ or "") for call in calls(data, entry.name)]
    expect(found, f"the docstring has no example of {entry.name!r}")
    try:
        own, _ = declared.parted(found[0][1], entry.params, SourceSettings)
        return entry.params.model_validate(own)
    except ValidationError as error:
        raise Broken(f"the example is not what it takes: {error}") from error


async def unproven_is_refused(entry: SourceType, params: Any) -> None:
    """Where nobody can be asked, no body of a stranger's is believed: refused, ``Transient`` or ``Permanent``."""
    assert entry.prove is not None
    async with probe_of(Stage({}), played.PLENTY_S) as probe:
        for body in _BODIES:
            if entry.verify({}, body, params):
                continue
            came = await outcome_of(bounded(entry.prove({}, body, params, probe), played.PLENTY_S))
            if came.error is not None and not isinstance(came.error, Transient | Permanent):
                raise Broken(f"{body[:40]!r}: prove raises {type(came.error).__name__}: {came.error}")
            told = came.error is not None or (isinstance(came.value, str) and came.value)
            expect(told, f"{body[:40]!r} is believed, and nobody signed it")


def bad_bodies_are_told(entry: SourceType, params: Any) -> None:
    """Whatever is posted: alerts, quarantined pieces with their reasons, or ``InvalidInput``; nothing else."""
    now = datetime.now(UTC)
    for body in _BODIES:
        try:
            alerts, quarantined = entry.parse(body, {}, params, now)
        except InvalidInput as error:
            expect(error.problems, f"{body[:40]!r}: InvalidInput without a problem")
            continue
        except Exception as error:
            raise Broken(f"{body[:40]!r} raises {type(error).__name__}: {error}") from error
        expect(all(isinstance(alert, Alert) for alert in alerts), f"{body[:40]!r} gives something that is no Alert")
        expect(all(reason for reason, _ in quarantined), f"{body[:40]!r}: quarantined without a reason")
        _says_what_it_is(entry, body, nothing=not alerts and not quarantined)


def _says_what_it_is(entry: SourceType, body: bytes, *, nothing: bool) -> None:
    """``delivery`` and ``ignored`` of what ``parse`` has read are texts or None."""
    try:
        said = [entry.delivery({}, body), entry.ignored(body) if nothing else None]
    except Exception as error:
        raise Broken(f"{body[:40]!r}: what it is raises {type(error).__name__}: {error}") from error
    expect(all(one is None or (isinstance(one, str) and one) for one in said), f"{body[:40]!r} is called {said}")


def strangers_are_refused(entry: SourceType) -> None:
    """With a secret configured, a request without it is refused with a reason that does not hold the secret."""
    if "token" not in entry.params.model_fields:
        return
    with scene_at(1) as scene:
        params = entry.params.model_validate({"token": scene.reference})
        for headers in ({}, {"Authorization": ""}, {"authorization": "Bearer wrong"}, {"Authorization": "\xff"}):
            reason = entry.verify(headers, b"{}", params)
            expect(reason, f"a sender with {headers} is let in")
            expect(scene.canary not in str(reason), "the refusal shows the secret")
        expect(
            entry.verify({"Authorization": f"Bearer {scene.canary}"}, b"{}", params) is None,
            "the right token is refused",
        )
