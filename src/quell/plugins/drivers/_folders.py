"""Release folders beside one another, read: which there are, which is current, what each says of itself.

The driver ``releases`` moves the link, the check ``deployments`` looks at ages: both read through here.
Never does: change anything; follow a link that lies among the folders.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quell.errors import Permanent
from quell.fleet import Release

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@:~-]{0,199}")
_MAX_NOTE = 65_536


def listed(path: Path, current: Path, most: int) -> tuple[Release, ...]:
    """Oldest first. Raises ``Permanent`` (missing, denied) when the folder cannot be read."""
    now = live(current)
    return tuple(_release(folder, now) for folder in folders(path, most))


def folders(path: Path, most: int) -> list[Path]:
    """The ``most`` newest release folders, oldest first."""
    try:
        root = path.resolve(strict=True)
        with os.scandir(root) as entries:
            found = [
                (entry.stat(follow_symlinks=False).st_mtime, entry.name)
                for entry in entries
                if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError as error:
        kind = "denied" if isinstance(error, PermissionError) else "missing"
        raise Permanent(f"{path}: {error.strerror}", kind) from None
    newest = [root / name for _, name in sorted(found)[-most:]]
    return sorted(newest, key=lambda folder: (_deployed_at(folder, _note(folder)), folder.name))


def live(current: Path) -> tuple[Path, datetime] | None:
    """Where the link leads and since when; None when there is no link."""
    try:
        since = datetime.fromtimestamp(current.lstat().st_mtime, UTC)
        return (current.resolve(), since) if current.is_symlink() else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Permanent(f"{current}: {error.strerror}", "denied") from None


def version(folder: Path) -> str:
    return _version(folder, _note(folder))


def _note(folder: Path) -> dict[str, Any]:
    """What ``RELEASE.json`` says; nothing when it is absent or cannot be read."""
    try:
        with (folder / "RELEASE.json").open("rb") as file:
            note = json.loads(file.read(_MAX_NOTE))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _version(folder: Path, note: dict[str, Any]) -> str:
    version = note.get("version")
    return str(version)[:200] if isinstance(version, str | int | float) else folder.name


def _deployed_at(folder: Path, note: dict[str, Any]) -> datetime:
    said = note.get("deployed_at")
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(said, str):
            moment = datetime.fromisoformat(said)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        if isinstance(said, int | float) and not isinstance(said, bool):
            return datetime.fromtimestamp(said, UTC)
    try:
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)


def _release(folder: Path, live: tuple[Path, datetime] | None) -> Release:
    note = _note(folder)
    reversible = note.get("migrations_reversible")
    current = live is not None and live[0] == folder
    return Release(
        version=_version(folder, note),
        at=_deployed_at(folder, note),
        current=current,
        migrations_reversible=reversible if isinstance(reversible, bool) else None,
        by=str(note.get("by", ""))[:200],
        note=str(note.get("note", ""))[:500],
        live_since=live[1] if current and live else None,
    )
