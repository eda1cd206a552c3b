"""A `systemctl` program over a table of units in a file, for hosts without a running systemd.

It speaks the formats of systemd 252: `show --property=…` with an empty line between units, not-found units with exit 0,
errors in systemctl's own words with its exit codes (LSB: 5 not installed, 4 no permission). A test puts it before the
real one in PATH. Never imports the product, never touches a process.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOPPED = {
    "LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead", "ActiveEnterTimestampMonotonic": "0",
    "StateChangeTimestampMonotonic": "0", "NRestarts": "0", "Result": "success", "ExecMainStatus": "0", "MainPID": "0",
}  # fmt: skip
NOT_FOUND = {**STOPPED, "LoadState": "not-found"}


class FakeSystemctl:
    """The table, and what the program was called with."""

    def __init__(self, folder: Path) -> None:
        self._table, self._calls = folder / "units.json", folder / "calls"
        self._table.write_text("{}")
        self._calls.touch()
        program = folder / "systemctl"
        program.write_text(
            f"#!{sys.executable}\nimport runpy, sys\nsys.argv.insert(1, {str(folder)!r})\n"
            f"runpy.run_path({str(Path(__file__).resolve())!r}, run_name='__main__')\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    @property
    def units(self) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = json.loads(self._table.read_text())
        return found

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()]

    def set(self, unit: str, **properties: str) -> None:
        """Put or change one unit; `denied="Access denied"` and `comes_up="failed"` steer its restart."""
        units = self.units
        self._table.write_text(json.dumps({**units, unit: {**units.get(unit, STOPPED), **properties}}))

    def run(self, unit: str, since_s: float = 60.0, **properties: str) -> None:
        """Make it a unit that has been running for so many seconds."""
        self.set(unit, **running(since_s), **properties)


def running(since_s: float) -> dict[str, str]:
    entered = str(int((time.clock_gettime(time.CLOCK_MONOTONIC) - since_s) * 1e6))
    return {
        "ActiveState": "active", "SubState": "running", "ActiveEnterTimestampMonotonic": entered,
        "StateChangeTimestampMonotonic": entered, "MainPID": "4711", "Result": "success",
    }  # fmt: skip


@contextmanager
def first_in_path(folder: Path) -> Iterator[FakeSystemctl]:
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder}{os.pathsep}{before}"
    try:
        yield FakeSystemctl(folder)
    finally:
        os.environ["PATH"] = before


def main(folder: Path, words: list[str]) -> int:
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    units: dict[str, dict[str, Any]] = json.loads((folder / "units.json").read_text())
    if (folder / "hang").exists():
        (folder / "pid").write_text(str(os.getpid()))
        time.sleep(600)
    if (folder / "flood").exists():
        while True:
            print("x" * 65_536)
    names = words[words.index("--") + 1 :]
    if "show" in words:
        wanted = next(word for word in words if word.startswith("--property=")).partition("=")[2].split(",")
        blocks = []
        for name in names:
            unit = {**units.get(name, NOT_FOUND), "Id": name}
            blocks.append("".join(f"{key}={unit[key]}\n" for key in wanted if key in unit))
        print("\n".join(blocks), end="")
        return 0
    assert "restart" in words
    for name in names:
        if name not in units:
            print(f"Failed to restart {name}: Unit {name} not found.", file=sys.stderr)
            return 5
        if said := units[name].get("denied"):
            print(f"Failed to restart {name}: {said}", file=sys.stderr)
            print(f"See system logs and 'systemctl status {name}' for details.", file=sys.stderr)
            return 4
    for name in names:
        failed = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "1"}
        units[name] |= failed if units[name].get("comes_up") == "failed" else running(0)
    (folder / "units.json").write_text(json.dumps(units))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
