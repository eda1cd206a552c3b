"""Releases as folders beside one another, the current one named by a symbolic link.

Example (service catalogue)::

    drivers:
    - type: releases
      path: /srv/payment/releases      # one folder per release
      current: /srv/payment/current    # the link

A folder may say more about itself in ``RELEASE.json``: ``version`` (default: the folder's name), ``deployed_at``
(ISO 8601 or epoch seconds; default: the folder's own time), ``migrations_reversible``, ``by``, ``note``. When the
current release went live is the link's own time. Activating a release puts a new link in place of the old one with
one rename(2): a reader sees the old or the new, never none. Never does: follow a name out of ``path``, delete a
release, restart what runs it.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path

from pydantic import Field

from quell.errors import Permanent, Transient
from quell.fleet import Release
from quell.plugins.drivers import _folders
from quell.plugins.drivers._refusal import Incapable
from quell.ports import Params, Probe, Service

CAPABILITIES = frozenset({"releases", "rollback"})


class Config(Params):
    """``path`` and ``current`` are absolute; ``max_releases`` newest folders are read."""

    path: Path
    current: Path
    max_releases: int = Field(default=500, ge=1)


def connect(config: Config, service: Service, probe: Probe) -> Releases:
    return Releases(config, service.name)


class Releases(Incapable):
    """The driver of one service's release folders. The file system is asked in threads."""

    capabilities = CAPABILITIES
    rolls_by_itself = False

    def __init__(self, config: Config, service: str = "") -> None:
        self._config, self._service = config, service

    async def releases(self) -> tuple[Release, ...]:
        """Oldest first. Raises ``Permanent`` (missing, denied) when the folder cannot be read."""
        config = self._config
        return await asyncio.to_thread(_folders.listed, config.path, config.current, config.max_releases)

    async def rollback(self, to: str) -> str:
        """Point the link at release ``to`` (a version or a folder's name).

        Raises ``Permanent``: missing (no such release), denied (outside the folder), invalid (``current`` is no link).
        """
        return await asyncio.to_thread(self._activate, to)

    def _target(self, to: str) -> Path:
        if not _folders.NAME.fullmatch(to):
            raise Permanent(f"{self._service}: {to!r} is not the name of a release", "denied")
        folders = _folders.folders(self._config.path, self._config.max_releases)
        named = [folder for folder in folders if folder.name == to]
        said = [folder for folder in folders if _folders.version(folder) == to]
        fits = named or said
        if len(fits) > 1:
            raise Permanent(f"{self._service}: {len(fits)} folders say they are {to!r}; name the folder", "ambiguous")
        if fits:
            return fits[0]
        if (self._config.path / to).is_symlink():
            raise Permanent(f"{self._service}: {to!r} is a link, not a release folder; refused", "denied")
        known = ", ".join(folder.name for folder in folders[-5:]) or "none"
        raise Permanent(f"{self._service}: no release {to!r}; the newest are {known}", "missing")

    def _activate(self, to: str) -> str:
        target, current = self._target(to), self._config.current
        if current.exists() and not current.is_symlink():
            raise Permanent(f"{self._service}: {current} is not a symbolic link; refused to replace it", "invalid")
        live = _folders.live(current)
        if live is not None and live[0] == target:
            return f"{current} already leads to {target.name}"
        # Beside the link, so that the rename stays within one file system.
        fresh = current.with_name(f".{current.name}.{secrets.token_hex(8)}")
        try:
            # As the people who deploy wrote it: a relative link stays relative.
            relative = current.is_symlink() and not os.path.isabs(os.readlink(current))
            fresh.symlink_to(os.path.relpath(target, current.parent.resolve()) if relative else target)
            fresh.replace(current)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            text = f"{self._service}: {current}: {error.strerror}"
            if isinstance(error, PermissionError):
                raise Permanent(text, "denied") from None
            raise Transient(text, "failed") from None
        return f"{current} leads to {target.name}, before to {live[0].name if live else 'nothing'}"
