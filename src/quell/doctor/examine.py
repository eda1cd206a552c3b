"""The use case: asks everything side by side, each within its time, and has it judged.

Never does: ask one thing after another that does not hang on it, or change anything.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from quell.doctor import acting, connections, fate, people
from quell.doctor.asked import Failure, bounded
from quell.doctor.askers import configured, databases, fleets, machine, messages, redis, schedules, web
from quell.doctor.facts import Disk, Facts, Seen
from quell.doctor.fate import OWN
from quell.doctor.judged import judged
from quell.doctor.judgement import Report
from quell.doctor.people import Way
from quell.doctor.site import Site
from quell.incident.service import Service
from quell.library import Library, load_library
from quell.ports import Connection, NotifierType, ScheduleType
from quell.store.database import normalise_url

_SHORTEST_S = 0.05


async def examine(site: Site, *, notify: bool = False) -> Report:
    """``notify``: send one test message through each notifier."""
    began = time.monotonic()
    facts = await gathered(site, notify=notify)
    return Report(tuple(judged(site, facts)), time.monotonic() - began)


async def gathered(site: Site, *, notify: bool = False) -> Facts:
    world, limit, settings = site.world, site.timeout_s, site.settings
    known = [one for one in world.connections.values() if one.type in site.known_types]
    parts = [(one, region) for one in settings.catalogue.values() for region in one.driver_regions or ("",)]
    own_ways = people.ways(settings.notifiers, (), site.vocabulary)
    path, folders = _path(site), _folders(site)
    library, seen, moved, ways, rooms, file = await asyncio.gather(
        bounded(asyncio.to_thread(load_library, settings.runbook_paths, site.vocabulary), limit),
        asyncio.gather(*(_look(site, one) for one in known)),
        asyncio.gather(*(fleets.looked(world, service, region, limit) for service, region in parts)),
        asyncio.gather(*(messages.found(world, way, site.allowed, limit) for way in own_ways)),
        asyncio.gather(*(machine.room(folder, limit) for folder, _ in folders)),
        _nothing() if path is None else machine.sqlite_file(path, limit),
    )
    read = Library() if isinstance(library, Failure) else library
    acted_on = acting.acted_on(read.plans.values(), site.vocabulary, settings.connections)
    others = _others(site, acted_on)
    own = fate.endpoints("sqlite", str(path)) if site.own is None else fate.endpoints(site.own.type, site.own.url)
    hosts = [one.host for one in (*own, *(place for other in others for place in other.endpoints)) if one.host]
    all_ways = _all_ways(site, read) if notify else []
    shifts = schedules.found(settings, world)
    resolved, sent, on_call = await asyncio.gather(
        machine.resolved(hosts, limit), _sent(site, all_ways),
        asyncio.gather(*(schedules.asked(world, name, choice, limit) for name, choice in shifts.items())),
    )  # fmt: skip
    return Facts(
        library, dict(zip((one.name for one in known), seen, strict=True)), acted_on, tuple(moved),
        tuple((way.to, way.type, one) for way, one in zip(own_ways, ways, strict=True)), sent,
        tuple((name, settings.schedules[name].type, one) for name, one in zip(shifts, on_call, strict=True)),
        tuple(Disk(folder, one, written) for (folder, written), one in zip(folders, rooms, strict=True)),
        None if path is None or file is None else (path, file), own, others, resolved,
        tuple(configured.secrets(settings)), tuple(configured.sources(settings, site.registry)),
        configured.guardrails(settings, site.registry),
    )  # fmt: skip


async def _nothing() -> None:
    return None


async def _look(site: Site, connection: Connection) -> Seen:
    """One after the other, within one time: side by side they would take slots that somebody needs now."""
    world, name, kind, loop = site.world, connection.name, connection.type, asyncio.get_running_loop()
    ends = loop.time() + site.timeout_s

    def left() -> float:
        return max(_SHORTEST_S, ends - loop.time())

    if kind in connections.DATABASES:
        reached = await databases.reached(world, name, kind, left())
        if isinstance(reached, Failure):
            return Seen(reached)
        may = await databases.rights(world, name, kind, left())
        return Seen(reached, may, await databases.slots(world, name, kind, left()))
    if kind == "redis":
        reached = await redis.reached(world, connection, left())
        return Seen(reached, None if isinstance(reached, Failure) else await redis.rights(connection, left()))
    if kind in connections.WEB:
        return Seen(await web.reached(world, connection, left()))
    url = connection.url or connection.password or _usual(site, kind)
    return Seen(await web.touched(url, site.allowed, left()))


def _usual(site: Site, kind: str) -> str:
    """Where notifiers and schedules go whose connection names no address: to the service that they are made for."""
    kinds: list[NotifierType | ScheduleType] = [*site.registry.notifiers.values(), *site.registry.schedules.values()]
    for one in kinds:
        field = one.params.model_fields.get("url")
        if kind in one.connections and field is not None and isinstance(field.default, str):
            return field.default
    return ""


def _path(site: Site) -> Path | None:
    """Quell's own SQLite file."""
    if site.own is not None:
        return None
    return Path(normalise_url(site.settings.database).removeprefix("sqlite:///").partition("?")[0])


def _folders(site: Site) -> list[tuple[Path, bool]]:
    """Those that are looked at, and whether Quell writes there."""
    path, settings = _path(site), site.settings
    kept = settings.folder / settings.audit.folder  # made on first use, where its nearest parent is
    audit = next((folder for folder in (kept, *kept.parents) if folder.exists()), kept)
    places = [audit] if path is None else [path.parent, audit]
    written = [(folder, True) for folder in dict.fromkeys(places)]
    lying = [one.parent if one.is_file() else one for one in site.settings.runbook_paths]
    return written + [(folder, False) for folder in dict.fromkeys(lying) if (folder, True) not in written]


def _others(site: Site, acted_on: dict[str, tuple[str, ...]]) -> tuple[fate.Other, ...]:
    """Connections that runbooks act on or that a service names, and what drivers name by address."""
    catalogue = site.settings.catalogue.values()
    found = []
    for name, one in site.world.connections.items():
        whose = [service.name for service in catalogue if _names(service, name)]
        whys = [f"which {', '.join(acted_on[name])} acts on"] if name in acted_on else []
        whys += [f"which the service {', '.join(whose)} names"] if whose else []
        if whys and name != OWN:
            found.append(fate.Other(f"{one.type} {name}", fate.endpoints(one.type, one.url), " and ".join(whys)))
    for service in catalogue:
        texts = [text for choice in service.drivers for text in acting.strings(choice.config) if "://" in text]
        if places := tuple(place for text in texts for place in fate.endpoints("", text)):
            found.append(fate.Other(f"service {service.name}", places, "which its driver names"))
    return tuple(found)


def _names(service: Service, connection: str) -> bool:
    texts = {text for choice in service.drivers for text in acting.strings(choice.config)}
    return connection in (service.name, *service.aliases, *service.depends_on) or connection in texts


def _all_ways(site: Site, library: Library) -> list[Way]:
    addresses = people.addressed(site.settings.escalation, library.plans.values())
    return people.ways(site.settings.notifiers, addresses, site.vocabulary)


async def _sent(site: Site, ways: list[Way]) -> tuple[tuple[str, str | Failure], ...]:
    url = site.settings.server.base_url
    said = await asyncio.gather(*(messages.sent(site.world, way, url, site.timeout_s) for way in ways))
    return tuple((way.to, one) for way, one in zip(ways, said, strict=True))
