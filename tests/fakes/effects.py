"""A file of effects: one JSON line each, on the disk before the caller is answered.

Tests that kill processes count effects here: what this file does not hold did not happen, and what it
holds twice happened twice. It never rewrites or removes a line.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class EffectLog:
    """An append-only file; safe for several threads and processes (one O_APPEND write per effect)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def append(self, effect: dict[str, Any]) -> None:
        """Write one effect and wait until the disk has it."""
        line = json.dumps(effect, separators=(",", ":")).encode() + b"\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            if os.write(handle, line) != len(line):
                raise OSError(f"{self.path}: an effect was written in part")
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        """All effects, oldest first."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def count(self, **like: Any) -> int:
        """How many effects have all these fields with these values."""
        return sum(all(effect.get(key) == value for key, value in like.items()) for effect in self.read())
