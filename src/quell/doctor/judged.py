"""All the judgements of a site, family by family.

Pure. Never does: ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from quell.doctor import books, clocks, configured, connections, fate, fleets, people, rights, room, secrets, slots
from quell.doctor.asked import Failure
from quell.doctor.facts import Facts, Seen
from quell.doctor.fate import OWN
from quell.doctor.judgement import Judgement, error, ok
from quell.doctor.site import Site

_ROLE = {
    "postgresql": "make a role for Quell with what its runbooks need: pg_monitor, and select on what checks read",
    "mysql": "make a user for Quell with what its runbooks need: process, and select on what checks read",
    "redis": "make a user for Quell: ACL SETUSER quell on >PASSWORD ~* -@all +@read +@connection +info +time +slowlog",
    OWN: "make a role that owns this database, and nothing beside it",
}


def judged(site: Site, facts: Facts) -> Iterator[Judgement]:
    settings, plans = site.settings, list(facts.read.plans.values())
    yield from secrets.judge(facts.secrets)
    yield from _connections(site, facts)
    if facts.file is not None:
        yield _file(*facts.file)
    yield from fate.judge(facts.own, facts.others, facts.resolved)
    for disk in facts.disks:
        yield room.judge(str(disk.folder), disk.room, written=disk.written)
    for name, state, may in facts.moved:
        yield fleets.judge(name, state)
        if may:
            yield from fleets.judge_rights(name, may)
    for name, kind, seen in facts.notifiers:
        yield people.judge_notifier(name, kind, seen)
    if told := people.judge_default(settings.escalation, plans):
        yield told
    for to, whose in people.addressed(settings.escalation, plans).items():
        yield people.judge_address(to, whose, site.vocabulary)
    for to, said in facts.sent:
        yield people.judge_sent(to, said)
    for name, kind, on_call in facts.shifts:
        yield people.judge_schedule(name, kind, on_call)
    for name, kind, asks in facts.sources:
        yield configured.judge_source(name, kind, asks)
    yield from configured.judge_guardrails(facts.guardrails)
    yield from configured.judge_needs(settings.catalogue, settings.connections)
    if isinstance(facts.library, Failure):
        yield error("runbook", "runbooks", facts.library.words, "runbooks that can be read", "look at the disk")
        return
    yield from books.judge(facts.library, settings.catalogue, settings.sources, settings.guardrails.ownership)


def _connections(site: Site, facts: Facts) -> Iterator[Judgement]:
    for name, one in site.settings.connections.items():
        if name in site.unasked:
            yield connections.judge(f"{one.type} {name}", site.unasked[name], place=f"connections.{name}")
        elif name not in facts.connections:
            yield connections.unknown(name, one.type, site.known_types)
        else:
            yield from _connection(name, one.type, facts.connections[name], facts.acted_on.get(name, ()))
    if site.own is not None:
        yield from _connection(OWN, site.own.type, facts.connections[OWN], None)


def _connection(name: str, kind: str, seen: Seen, acted_by: Sequence[str] | None) -> Iterator[Judgement]:
    own = name == OWN
    looked_at, place = (OWN, "database") if own else (f"{kind} {name}", f"connections.{name}")
    yield connections.judge(looked_at, seen.reached, place=place)
    if not isinstance(seen.reached, Failure) and seen.reached.clock is not None:
        yield clocks.judge(looked_at, seen.reached.clock)
    if seen.rights is not None:
        family = {"postgres": "postgresql", "mariadb": "mysql"}.get(kind, kind)
        yield rights.judge(looked_at, seen.rights, acted_by, _ROLE[OWN if own else family])
    if isinstance(seen.slots, Failure):
        yield connections.judge(looked_at, seen.slots, place=place)
    elif seen.slots is not None:
        yield from slots.judge(looked_at, seen.slots)
        if own:
            yield slots.judge_capacity(looked_at, seen.slots)


def _file(path: Path, seen: str | Failure) -> Judgement:
    if isinstance(seen, Failure):
        expected = "a SQLite database that Quell can write to"
        return error("reach", OWN, f"{path}: {seen.words}", expected, "correct database, or the rights of the file")
    return ok("reach", OWN, f"{path}: {seen}")
