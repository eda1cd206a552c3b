"""What is examined: the configuration with what it leads to, made once from its values.

Never does: refuse a configuration for what is wrong in it; that is what is to be reported.
"""

from __future__ import annotations

from dataclasses import dataclass

from quell import addresses
from quell.doctor.asked import TIMEOUT_S, Failure
from quell.doctor.connections import known_types
from quell.doctor.fate import OWN
from quell.errors import Permanent
from quell.ports import Connection
from quell.probe import World, make_client
from quell.registry import Registry
from quell.runbook.vocabulary import Vocabulary
from quell.settings import Settings
from quell.vocabulary_of import vocabulary_of


@dataclass(frozen=True, slots=True)
class Site:
    """``unasked``: connections that cannot be asked, and why. ``own``: Quell's database, where it is a server."""

    settings: Settings
    registry: Registry
    vocabulary: Vocabulary
    world: World
    unasked: dict[str, Failure]
    own: Connection | None
    timeout_s: float

    @property
    def known_types(self) -> frozenset[str]:
        """Of connections, that somebody here asks or sends through."""
        kinds = self.vocabulary.notifier_kinds
        notifiers = (kinds[name].connections for name in kinds)
        return known_types((*notifiers, *(one.connections for one in self.registry.schedules.values())))

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(self.settings.network.allow)


def site_of(settings: Settings, *, registry: Registry | None = None, timeout_s: float = TIMEOUT_S) -> Site:
    """Close its ``world`` at the end."""
    registry = registry or Registry()
    connections: dict[str, Connection] = {}
    unasked: dict[str, Failure] = {}
    for name, one in settings.connections.items():
        try:
            found = one.resolved(name)
        except Permanent as error:
            unasked[name] = Failure(error.error_class, str(error))
            continue
        if found.type != "sqlite" and (flaw := addresses.flaw(found.url)):
            unasked[name] = Failure("invalid", f"the address: {flaw}")
        else:
            connections[name] = found
    own = _own(settings)
    vocabulary = vocabulary_of(
        registry, services=settings.services or None, connections=settings.connections, notifiers=settings.notifiers,
        circles=settings.circles, sources=settings.sources,
        variables=settings.variables, scrape_s=settings.scrape_interval, misfit=settings.guardrails.misfit,
    )  # fmt: skip
    world = World(
        registry, make_client(settings.network.allow), settings.catalogue,
        {**connections, **({OWN: own} if own else {})},
    )  # fmt: skip
    return Site(settings, registry, vocabulary, world, unasked, own, timeout_s)


def _own(settings: Settings) -> Connection | None:
    """The database as a connection, so that it is asked as any other is."""
    scheme, mark, rest = settings.database.partition("://")
    if not mark or scheme.startswith("sqlite"):
        return None
    return Connection(OWN, "postgresql", f"postgresql://{rest}")
