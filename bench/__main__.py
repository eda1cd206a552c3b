"""``make bench``: every figure, beside what it must be, as a table; ``--write`` puts it into docs/benchmarks.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import audit, conditions, guard, install, startup
from tests.servers.postgres import Postgres
from tests.servers.process import MissingProgramError

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
MARK = "<!-- figures -->"
ROUNDS = 4
"""A machine that others share is twice as slow in one minute as in the next; what Quell costs is the same."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value and the bound it must keep."""

    name: str
    value: float
    unit: str
    bound: float
    at_least: bool = False

    @property
    def kept(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def row(self) -> str:
        sign, kept = "≥" if self.at_least else "≤", "yes" if self.kept else "NO"
        return f"| {self.name} | {self.value:g} {self.unit} | {sign} {self.bound:g} {self.unit} | {kept} |"


def of_loop(databases: Iterable[str], name: str, resolved: float) -> list[Figure]:
    """The loop in a process of its own, so that the databases do not share one; the quietest of a few rounds."""
    rounds = []
    for database in databases:
        command = [sys.executable, "-m", "bench.loop", "--runs", "200", *(["--database", database] if database else [])]
        rounds.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    told = min(rounds, key=lambda one: one["resolved_ms"]["p50"])
    first, ended = told["first_check_ms"], told["resolved_ms"]
    return [
        Figure(f"webhook → first check started, p50 ({name})", first["p50"], "ms", 20),
        Figure(f"webhook → first check started, p99 ({name})", first["p99"], "ms", 80),
        Figure(f"5 checks, decision, action, verified, resolved, p50 ({name})", ended["p50"], "ms", resolved),
        Figure(f"50 checks of 1 s side by side ({name})", told["fifty_checks_of_1s_s"], "s", 1.35),
    ]


def of_conditions() -> list[Figure]:
    told = conditions.measure()
    return [
        Figure(f"conditions `{conditions.TEXT}`", told["evaluations_per_s"] / 1000, "k/s", 500, at_least=True),
        Figure("guard: one decision, every kind of rule configured", guard.measure()["decision_us"], "µs", 50),
    ]


def of_audit() -> list[Figure]:
    told = audit.measure()
    return [Figure("events verified by an audit, one core", told["events_per_s"] / 1000, "k/s", 50, at_least=True)]


def of_startup() -> list[Figure]:
    told = startup.measure()
    return [
        Figure("`quell --version`", told["version_s"], "s", 0.2),
        Figure("`quell lint` of one file", told["lint_one_s"], "s", 0.6),
        Figure("`quell lint` of 1,000 runbooks", told["lint_thousand_s"], "s", 5),
        Figure("`quell serve` to first accepted alert", told["serve_to_first_alert_s"], "s", 1.9),
        Figure("idle memory of `quell serve`", told["idle_memory_mb"], "MB", 119),
    ]


def of_demo() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "demo.json")
        command = [*startup.QUELL, "demo", "--pace", "fast", "--json", str(figures)]
        subprocess.run(command, check=True, capture_output=True)
        told: list[dict[str, Any]] = json.loads(figures.read_text())
    return [
        Figure(
            "demo: median seconds from injection to verified (fast)",
            statistics.median(o["mttr_s"] for o in told),
            "s",
            6,
        ),
        Figure(
            "demo: faults repaired by the right remediation", sum(o["repaired"] for o in told), "", 6, at_least=True
        ),
    ]


def of_install() -> list[Figure]:
    told = install.measure()
    return [
        Figure("default install, without bytecode", told["installed_mb"], "MB", 230),
        Figure("`make demo ARGS='--pace fast'` in a fresh clone, packages cached", told["demo_fast_s"], "s", 60),
        Figure("`make demo` in a fresh clone, packages cached", told["demo_s"], "s", 150),
    ]


@contextlib.contextmanager
def postgres_databases(given: str) -> Iterator[list[str]]:
    """The given one, or one for each round on a server of our own that syncs to disk as a real one does; none where
    there is no PostgreSQL."""
    if given:
        yield [given]
        return
    safe = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(Postgres(settings=safe))
        except MissingProgramError as error:
            print(f"PostgreSQL is left out: {error}", file=sys.stderr)
            yield []
            return
        yield [server.url(stack.enter_context(server.fresh_database())) for _ in range(ROUNDS)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    given = os.environ.get("QUELL_BENCH_POSTGRES", "")
    parser.add_argument("--postgres", default=given, help="URL of an empty database; default: a server of its own")
    options = parser.parse_args()
    with postgres_databases(options.postgres) as postgres:
        return report(postgres, write=options.write)


def report(postgres: list[str], *, write: bool) -> int:
    parts: list[tuple[str, Callable[[], list[Figure]]]] = [
        ("the loop on SQLite", lambda: of_loop([""] * ROUNDS, "SQLite", 120)),
        ("conditions", of_conditions),
        ("the audit", of_audit),
        ("start-up", of_startup),
        ("the demo", of_demo),
        ("a fresh clone", of_install),
    ]
    if postgres:
        parts.insert(1, ("the loop on PostgreSQL", lambda: of_loop(postgres, "PostgreSQL", 100)))
    figures: list[Figure] = []
    for name, measure in parts:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        figures += measure()
    table = "\n".join(
        ["| figure | measured | bound | kept |", "| --- | --- | --- | --- |", *(one.row() for one in figures)]
    )
    print(table)
    if write:
        head, _, tail = PAGE.read_text().partition(MARK)
        _, _, after = tail.partition(MARK)
        machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}."
        PAGE.write_text(f"{head}{MARK}\n{machine}\n\n{table}\n{MARK}{after}")
    return 0 if all(one.kept for one in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
