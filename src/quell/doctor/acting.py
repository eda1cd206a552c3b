"""Which connections the actions of runbooks may use: there a right to write is needed, elsewhere it is one too many.

What a template names is not known before an incident: then every connection of a type that fits counts. Pure.
Never does: load a runbook.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quell.runbook.plan import Act, Call, Plan
from quell.runbook.template import has_template
from quell.runbook.vocabulary import Vocabulary, Way

_ANY = ("1", "1s")
"""What may be a name, and a number or a duration."""


def acted_on(plans: Iterable[Plan], vocabulary: Vocabulary, known: Mapping[str, Way]) -> dict[str, tuple[str, ...]]:
    """Connection → the runbooks whose actions may change what is behind it."""
    found: dict[str, list[str]] = {}
    for plan in plans:
        calls = [call for node in plan.nodes if isinstance(node, Act) for call in (node.call, node.undo.call) if call]
        for name in dict.fromkeys(name for call in calls for name in _named(call, vocabulary, known)):
            found.setdefault(name, []).append(plan.id)
    return {name: tuple(runbooks) for name, runbooks in found.items()}


def _named(call: Call, vocabulary: Vocabulary, known: Mapping[str, Way]) -> Iterator[str]:
    yield from (name for text in strings(call.config) for name in (text, text.partition(":")[0]) if name in known)
    word = vocabulary.actions.get(call.type)
    uses = [use for any_ in _ANY for use in word.uses(_filled(call.config, any_))] if word is not None else []
    types = {kind for use in uses if use.name is None or use.name in _ANY for kind in use.types}
    yield from (name for name, way in known.items() if way.type in types)


def _filled(value: Any, any_: str) -> Any:
    """With something for each template, so that the whole can be judged."""
    if isinstance(value, Mapping):
        return {key: _filled(inner, any_) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(inner, any_) for inner in value]
    return any_ if isinstance(value, str) and has_template(value) else value


def strings(value: Any) -> Iterator[str]:
    """Every text in a configuration, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from strings(inner)
