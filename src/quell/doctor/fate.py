"""Whether Quell's own database is one that it is there to repair: then both are away at the same moment.

Pure. Never does: resolve a name; whoever asks hands in what names lead to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from psycopg import Error, conninfo

from quell.doctor.judgement import Judgement, ok, warning

OWN = "quell's own database"
"""What the judgements call it, and the name under which it is asked where it is a server."""
LOOPBACK = "localhost"
_PORTS = {
    "postgresql": 5432, "postgres": 5432, "mysql": 3306, "mariadb": 3306, "redis": 6379, "http": 80, "https": 443,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server, and the database on it. Of a file: no host, and its path as the name."""

    host: str
    port: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """A connection, or a service of the catalogue, with where it is. ``why`` it counts."""

    looked_at: str
    endpoints: tuple[Endpoint, ...]
    why: str


def endpoints(kind: str, url: str) -> tuple[Endpoint, ...]:
    """Where an address of this type leads; several for a list of hosts, none when it cannot be read."""
    scheme = url.partition("://")[0].partition("+")[0] if "://" in url else kind
    try:
        if scheme in ("sqlite", "file"):
            path = url.removeprefix("sqlite:///").removeprefix("file:").partition("?")[0]
            return (Endpoint("", 0, os.path.realpath(path)),) if path else ()
        if scheme in ("postgresql", "postgres"):
            return _of_postgres(f"postgresql://{url.partition('://')[2]}" if "://" in url else url)
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(scheme, 0)
        return (Endpoint(parts.hostname, port, unquote(parts.path).strip("/")),) if parts.hostname else ()
    except (ValueError, Error):
        return ()


def _of_postgres(url: str) -> tuple[Endpoint, ...]:
    given = {name: str(value) for name, value in conninfo.conninfo_to_dict(url).items()}
    hosts = (given.get("hostaddr") or given.get("host") or LOOPBACK).split(",")
    ports = (given.get("port") or "5432").split(",")
    name = given.get("dbname") or given.get("user") or ""
    numbers = [int(ports[index % len(ports)] or 5432) for index in range(len(hosts))]
    return tuple(Endpoint(_reached(host), number, name) for host, number in zip(hosts, numbers, strict=True))


def _reached(host: str) -> str:
    """A socket of this machine is this machine."""
    return LOOPBACK if not host or host.startswith(("/", "@")) else host


def judge(own: Iterable[Endpoint], others: Iterable[Other], resolved: Mapping[str, frozenset[str]]) -> list[Judgement]:
    """``resolved``: host → its addresses; one that leads nowhere is only equal to itself."""
    ours, looked, found = list(own), list(others), []
    for other in looked:
        shared = [(mine, theirs) for mine in ours for theirs in other.endpoints if _same(mine, theirs, resolved)]
        if shared:
            mine, theirs = next((pair for pair in shared if pair[0].name == pair[1].name), shared[0])
            what = "the same database" if mine.name == theirs.name else "another database of the same server"
            found.append(_shared(f"{what} as {other.looked_at}, {other.why}"))
    if not found:
        many = f"none of the {len(looked)} connections and services that it repairs or watches over"
        found.append(ok("fate", OWN, f"shares its server with {many if looked else 'nothing'}"))
    return found


def _shared(found: str) -> Judgement:
    expected = "a database that works when that one does not"
    return warning("fate", OWN, found, expected, "give Quell a server of its own, or a SQLite file")


def _same(mine: Endpoint, theirs: Endpoint, resolved: Mapping[str, frozenset[str]]) -> bool:
    if not mine.host or not theirs.host:
        return mine == theirs
    one, two = (resolved.get(host) or frozenset({host.lower()}) for host in (mine.host, theirs.host))
    return mine.port == theirs.port and bool(one & two)
