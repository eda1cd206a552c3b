"""The audit as use cases: verify, export, checkpoint, the key, an incident's events. Works beside a server or without.

It opens the database itself, to read only. Never does: change the log, or start anything of the house.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from quell.errors import InvalidInput, NotFound, Problem
from quell.incident.event import Event, Stream
from quell.settings import Settings
from quell.store import audit, bundle, checkpoint, offline, queries
from quell.store.chain import Fault, Report
from quell.store.database import normalise_url, now_us
from quell.store.readonly import ReadOnly
from quell.store.seal import Public, Seal

__all__ = ["Audit", "Fault", "Report", "verify_bundle"]

T = TypeVar("T")


def verify_bundle(lines: Iterable[bytes], public_key: Path) -> Report:
    """An exported bundle, with nothing else. Raises ``InvalidInput``, ``OSError``."""
    return offline.verify(lines, Public.read(public_key))


class Audit:
    """Of the installation that these settings describe. ``tenant``: of that one alone."""

    def __init__(self, settings: Settings, tenant: str | None = None) -> None:
        self._url = normalise_url(settings.database)
        self._tenant = tenant
        self.folder = settings.folder / settings.audit.folder
        self._key = settings.folder / settings.audit.key

    def verify(self, public_key: Path | None = None) -> Report:
        """The log where it lies, and against every checkpoint of the folder. Raises ``InvalidInput``, ``NotFound``."""
        seen = checkpoint.Seen()
        if checkpoint.paths(self.folder):
            seen = checkpoint.seen(self.folder, self._public(public_key))
        report = self._read(lambda c: audit.verify(c, self._tenant, seen.marks))
        report.checkpoints = seen.count
        report.faults += seen.faults
        return report

    def export(self, incident: str | None = None, since_s: float | None = None) -> Iterator[bytes]:
        """The lines of a bundle, made as they are asked for. Raises ``NotFound``, before the first line."""
        if (asked := incident) is not None:
            incident = self._read(lambda c: self._whole(c, asked)[1])
        since_us = None if since_s is None else time.time_ns() // 1000 - int(since_s * 1_000_000)
        scope, seal = bundle.Scope(self._tenant, incident, since_us), self.seal()
        with self._connected() as connection:
            yield from bundle.export(connection, seal, now_us(), scope, checkpoint.sound(self.folder, seal.public))

    def checkpoint(self) -> Path | None:
        """Where every stream stands, signed, in a new file; None when nothing happened since the last one.

        Raises ``FileExistsError`` when another came first.
        """
        seal = self.seal()
        before = checkpoint.seen(self.folder, seal.public)
        document = self._read(lambda c: checkpoint.take(c, seal, now_us(), before))
        return checkpoint.write(self.folder, document) if document else None

    def checkpoint_when_due(self, every_s: float) -> Path | None:
        """A checkpoint, unless the newest one is younger than this. Several processes may do it in one folder."""
        newest = max((path.stat().st_mtime for path in checkpoint.paths(self.folder)), default=0.0)
        if time.time() - newest < every_s:
            return None
        with contextlib.suppress(FileExistsError):  # somebody else has just made it
            return self.checkpoint()
        return None

    def seal(self) -> Seal:
        """The key, made when there is none yet. Raises ``InvalidInput``."""
        return Seal.at(self._key)

    def events(self, incident: str) -> list[Event]:
        """Everything that happened in an incident. Raises ``NotFound``."""
        return self._read(lambda c: queries.timeline(c, *self._whole(c, incident)))

    def _public(self, path: Path | None) -> Public:
        if path is not None:
            return Public.read(path)
        if not self._key.exists():
            flaw = "there are checkpoints, and no key to hold them against"
            raise InvalidInput([Problem(flaw, "key", str(self._key), expected="the key, or --public-key")])
        return self.seal().public

    def _whole(self, connection: sa.Connection, incident: str) -> tuple[str, str]:
        """Tenant and id by a unique beginning of it."""
        found = audit.begin_with(connection, Stream.INCIDENT, incident, self._tenant)
        if len(found) != 1:
            many = f", but {', '.join(name for _, name in found)} begin so" if found else ""
            raise (
                NotFound("incident", incident)
                if not many
                else InvalidInput([Problem(f"no incident is {incident!r}{many}", "incident", "command line")])
            )
        return found[0]

    def _read(self, work: Callable[[sa.Connection], T]) -> T:
        with self._connected() as connection:
            return work(connection)

    def _connected(self) -> ReadOnly:
        try:
            return ReadOnly(self._url)
        except FileNotFoundError as error:
            raise NotFound("database", str(error.filename)) from None
