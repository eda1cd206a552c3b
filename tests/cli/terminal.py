"""Runs ``quell`` as a person does: a process of its own, with what it said and how it ended.

Never pretends: no function of the command line is called inside the test's own process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.servers.forked import QUELL, run

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


def quell(*words: object, cwd: Path | None = None, stdin: str | bytes = b"", env: dict[str, str] | None = None) -> Said:
    """One command line, to its end."""
    source = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    ran = run(
        QUELL, [str(word) for word in words], cwd=cwd, stdin=stdin.encode() if isinstance(stdin, str) else stdin,
        env={**os.environ, "PYTHONPATH": source, "COLUMNS": "100", "NO_COLOR": "1", **(env or {})},
    )  # fmt: skip
    return Said(ran.returncode, ran.stdout.decode(), ran.stderr.decode())
