"""A fresh clone, as a user gets it: how large it is once installed, and how long `make demo` takes from nothing.

The packages come from pip's cache where it has them, so run it twice for figures of a warm one.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "quell")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        fast = _demo(clone, "fast")
        subprocess.run(["rm", "-rf", str(clone / ".venv")], check=True)
        slow = _demo(clone, "slow")
        return {"installed_mb": _megabytes(clone / ".venv"), "demo_fast_s": fast, "demo_s": slow}


def _demo(clone: Path, pace: str) -> float:
    """Set-up and the whole demo, in seconds."""
    began = time.perf_counter()
    subprocess.run(["make", "demo", f"ARGS=--pace {pace}"], cwd=clone, check=True, capture_output=True)
    return round(time.perf_counter() - began, 1)


def _megabytes(folder: Path) -> float:
    """What it takes on disk (du -s), without the compiled bytecode that every Python makes anew."""
    sizes = (
        path.lstat().st_blocks * 512
        for parent, _, names in os.walk(folder)
        for path in (Path(parent, name) for name in names)
        if path.suffix != ".pyc"
    )
    return round(sum(sizes) / 1e6, 1)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
