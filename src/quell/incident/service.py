"""The service catalogue's words: what runs where, whose it is, what it needs. Never does: reach a service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class DriverChoice(BaseModel):
    """Which driver moves a service, with that driver's own settings."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    """Which [driver](drivers.md); the other keys are its parameters."""
    region: str = ""
    """The region that it serves, when each has drivers of its own; then all of the service's drivers name theirs."""

    @property
    def config(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Service(BaseModel):
    """One service. ``tier`` 0 is what users touch first; ``match`` are labels that point to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    aliases: tuple[str, ...] = ()
    drivers: tuple[DriverChoice, ...] = ()
    environment: str = ""
    tenant: str = "default"
    regions: tuple[str, ...] = ()
    tier: int = 1
    owner: str = ""
    oncall: str = ""
    depends_on: tuple[str, ...] = ()
    match: tuple[dict[str, str], ...] = Field(default=())

    @property
    def driver_regions(self) -> tuple[str, ...]:
        """The regions that have drivers of their own, in the order of the catalogue."""
        return tuple(dict.fromkeys(choice.region for choice in self.drivers if choice.region))


def resolve_service(
    services: Iterable[Service], labels: Mapping[str, str], named: str | None, environment: str = ""
) -> tuple[str | None, str]:
    """The service that an alert is about, and why: named, an alias, or the ``match`` that fits most labels.

    None when nothing fits, two fit equally well, or it fits one of another environment: then the incident diagnoses
    and pages, and never acts.
    """
    everywhere = list(services)
    name, why = _resolved([one for one in everywhere if _is_in(one, environment)], labels, named)
    if name is not None:
        return name, why
    other, _ = _resolved([one for one in everywhere if not _is_in(one, environment)], labels, named)
    return None, f"{other!r} is not a service of environment {environment!r}" if other else why


def needs(services: Mapping[str, Service], name: str) -> dict[str, int]:
    """What a service needs, directly or by way of others → over how many steps. A circle ends where it began."""
    found: dict[str, int] = {}
    edge, steps = [name], 0
    while edge:
        steps += 1
        here = [need for one in edge if one in services for need in services[one].depends_on]
        edge = [need for need in dict.fromkeys(here) if need not in found and need != name]
        found |= dict.fromkeys(edge, steps)
    return found


def names_of(services: Iterable[Service], name: str | None) -> tuple[str, ...]:
    """Every name of a service, its own first; none when it is not known."""
    return next(((one.name, *one.aliases) for one in services if one.name == name), ())


def _is_in(service: Service, environment: str) -> bool:
    return not (service.environment and environment) or service.environment == environment


def _resolved(known: Sequence[Service], labels: Mapping[str, str], named: str | None) -> tuple[str | None, str]:
    for wanted in (named, labels.get("service")):
        for service in known:
            if wanted and wanted in (service.name, *service.aliases):
                return service.name, f"the alert names {wanted!r}"
    fits = [
        (len(rule), service.name, rule)
        for service in known
        for rule in service.match
        if rule and all(labels.get(name) == value for name, value in rule.items())
    ]
    best = [fit for fit in fits if fit[0] == max(size for size, _, _ in fits)] if fits else []
    if len({name for _, name, _ in best}) == 1:
        return best[0][1], f"labels match {best[0][2]}"
    if best:
        return (
            None,
            f"labels match several services equally: {', '.join(sorted({name for _, name, _ in best}))}",
        )
    asked = named or labels.get("service")
    said = f"the alert names {asked!r}, which is not in the catalogue," if asked else "no service is named"
    return None, f"{said} and no mapping rule of the catalogue matches the labels"
