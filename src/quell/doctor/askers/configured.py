"""Holds sources, guardrails and references to secrets against the plug-ins and the environment of this process.

Never does: keep a secret, or tell more of it than whether it is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from quell import source_of
from quell.doctor.asked import Failure
from quell.doctor.secrets import references
from quell.errors import InvalidInput, Permanent, Problem, QuellError
from quell.probe import resolve_secret
from quell.registry import Registry
from quell.respond.naming import named
from quell.settings import Settings


def secrets(settings: Settings) -> Iterator[tuple[str, str | None, bool]]:
    """(place, why it leads nowhere, whether what is there is empty)."""
    for place, reference in references(settings):
        try:
            yield place, None, not resolve_secret(reference)
        except Permanent as error:
            yield place, str(error), False


def sources(settings: Settings, registry: Registry) -> Iterator[tuple[str, str, bool | Failure]]:
    """(name, type, whether it asks for credentials)."""
    for name, one in settings.sources.items():
        kind = one.type or name
        try:
            plugin, params = source_of.read(settings, registry, name)
            yield name, kind, plugin.verify({}, b"", params) is not None
        except InvalidInput as error:
            parts = [f"{one.path.removeprefix(f'sources.{name}.')}: {one.message}" for one in error.problems]
            yield name, kind, Failure("invalid", "; ".join(parts))
        except QuellError as error:
            yield name, kind, Failure("invalid", str(error))


def guardrails(settings: Settings, registry: Registry) -> tuple[Problem, ...]:
    """As the start of the server finds them."""
    try:
        named(settings.guardrails, registry, settings.services or None)
    except InvalidInput as error:
        return error.problems
    return ()
