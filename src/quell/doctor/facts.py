"""Everything that was asked of a site, as one piece of data. Never does: judge, ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from quell.doctor.asked import Failure
from quell.doctor.connections import Reached
from quell.doctor.fate import Endpoint, Other
from quell.doctor.fleets import Moved
from quell.doctor.rights import Rights
from quell.doctor.room import Room
from quell.doctor.slots import Slots
from quell.errors import Problem
from quell.library import Library
from quell.ports import OnCall


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was asked of one connection."""

    reached: Reached | Failure
    rights: Rights | Failure | None = None
    slots: Slots | Failure | None = None


@dataclass(frozen=True, slots=True)
class Disk:
    """``written``: Quell writes there."""

    folder: Path
    room: Room | Failure
    written: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """What came back. ``file``: Quell's SQLite file, with what it is; None where its database is a server."""

    library: Library | Failure
    connections: dict[str, Seen] = field(default_factory=dict)
    acted_on: dict[str, tuple[str, ...]] = field(default_factory=dict)
    moved: tuple[Moved, ...] = ()
    notifiers: tuple[tuple[str, str, str | Failure], ...] = ()
    sent: tuple[tuple[str, str | Failure], ...] = ()
    shifts: tuple[tuple[str, str, tuple[OnCall, ...] | Failure], ...] = ()
    disks: tuple[Disk, ...] = ()
    file: tuple[Path, str | Failure] | None = None
    own: tuple[Endpoint, ...] = ()
    others: tuple[Other, ...] = ()
    resolved: dict[str, frozenset[str]] = field(default_factory=dict)
    secrets: tuple[tuple[str, str | None, bool], ...] = ()
    sources: tuple[tuple[str, str, bool | Failure], ...] = ()
    guardrails: tuple[Problem, ...] = ()

    @property
    def read(self) -> Library:
        """The runbooks that could be read."""
        return Library() if isinstance(self.library, Failure) else self.library
