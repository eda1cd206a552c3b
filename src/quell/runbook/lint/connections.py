"""With a configuration at hand: every connection that a call needs is configured, and of a type that fits.

What is said is what ``Probe.connection`` would say at run time, before anything has happened. Never does: open one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from quell.runbook.lint.calls import Asked, calls
from quell.runbook.lint.remark import Place, Remark
from quell.runbook.plan import Call, Plan
from quell.runbook.vocabulary import Use, Vocabulary, Way, nearest

THRESHOLD = "prometheus_query"
"""What asks a ``metric_threshold`` trigger's query."""


def connections(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A check or action that names none, or one that is not there, can only fail."""
    known = vocabulary.connections
    if known is None:
        return
    for asked in (*calls(plan, vocabulary), *_triggers(plan, vocabulary)):
        for use in asked.word.uses(asked.call.config) if asked.word else ():
            place = asked.at(use.place)
            if use.name is None:
                # An undo by other parameters of the same type has its connection from the action, which tells.
                if asked.place != ("undo",) or not asked.told:
                    yield from _default(asked, place, use, known)
            elif use.place[0] not in asked.inherited:
                yield from _named(asked, place, use, use.name, known)


def _triggers(plan: Plan, vocabulary: Vocabulary) -> Iterator[Asked]:
    for index, trigger in enumerate(plan.triggers):
        if trigger.type == "metric_threshold":
            call = Call(type=THRESHOLD, config={"query": trigger.metric_query})
            yield Asked(plan.origin, ("triggers", index), call, vocabulary.checks)


def _named(asked: Asked, place: Place, use: Use, name: str, known: Mapping[str, Way]) -> Iterator[Remark]:
    fits = sorted(one for one, way in known.items() if way.type in use.types)
    found, types = known.get(name), " or ".join(use.types)
    if found is not None and found.type in use.types:
        return
    if use.option is not None and (holder := known.get(use.option[0])) is not None:
        inside = holder.options.get(use.option[1])
        if isinstance(inside, Mapping) and name in inside:
            return
        fits += sorted(map(str, inside)) if isinstance(inside, Mapping) else []
    expected = "one of " + ", ".join(fits) if fits else f"a connection of type {types}"
    near = nearest(name, fits)
    if found is not None:
        yield Remark(
            asked.origin, place, f"connection {name!r} is {found.type}, not {types}", "unknown-connection", found=name,
            expected=expected, nearest=near,
        )  # fmt: skip
        return
    yield Remark(
        asked.origin, place, f"no connection {name!r} is configured", "unknown-connection", found=name,
        expected=expected, nearest=near or nearest(name, known),
    )  # fmt: skip


def _default(asked: Asked, place: Place, use: Use, known: Mapping[str, Way]) -> Iterator[Remark]:
    fits = sorted(name for name, way in known.items() if way.type in use.types)
    named = [name for name in fits if name in (*use.types, "default")]
    if len(fits) == 1 or len(named) == 1:
        return
    types = " or ".join(use.types)
    if fits:
        yield Remark(
            asked.origin, place, f"{asked.call.type} names no connection, and {len(fits)} of type {types} are there",
            "unknown-connection", expected="one of " + ", ".join(fits),
        )  # fmt: skip
        return
    yield Remark(
        asked.origin, place, f"{asked.call.type} needs a connection of type {types}, and none is configured",
        "unknown-connection", expected=f"connections: {{NAME: {{type: {use.types[0]}, ...}}}}",
    )  # fmt: skip
