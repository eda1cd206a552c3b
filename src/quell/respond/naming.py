"""The guardrails of a configuration under the actions' own names, held against the actions that there are.

Never does: load an action that no rule names.
"""

from __future__ import annotations

from collections.abc import Collection

from quell.errors import NotFound
from quell.ports import spellings
from quell.registry import Registry
from quell.respond.rails import ActionWords, Guardrails


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
