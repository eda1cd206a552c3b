"""``make bench``: every figure, beside what it must be, as a table; ``--write`` puts it into docs/benchmarks.md.

``--only waiting`` measures just the parts whose name holds that word (``--list`` names them).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from bench import audit, conditions, guard, install, startup, takeover, waiting, workers
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
        Figure(f"the act frame around one action, p50 ({name})", told["frame_ms"]["p50"], "ms", 25),
        Figure(f"50 checks of 1 s side by side ({name})", told["fifty_checks_of_1s_s"], "s", 1.35),
    ]


def of_waiting(database: str, name: str, count: int, resumed: float) -> list[Figure]:
    told = waiting.measure(database, count)
    beside = f"{count:,} incidents that wait for an approval"
    return [
        Figure(f"{beside}: CPU of one core ({name})", told["cpu_percent"], "%", 6),
        Figure(f"{beside}: memory above idle ({name})", told["more_mb"], "MB", 60),
        Figure(
            f"{beside}: P1 worked on at once, of {told['places']} places ({name})", told["p1_at_once"], "",
            told["places"], at_least=True,
        ),
        Figure(f"{beside}: approval → action begins, p99 ({name})", told["resumed_ms"]["p99"], "ms", resumed),
    ]  # fmt: skip


def of_takeover(database: str) -> list[Figure]:
    told = takeover.measure(database)
    bound = told["lease_s"] + 2
    return [
        Figure(f"taken over after kill -9, lease {told['lease_s']:g} s", max(told["killed_s"]), "s", bound),
        Figure(f"taken over from a process that hangs, lease {told['lease_s']:g} s", max(told["hung_s"]), "s", bound),
    ]


def of_workers(databases: Iterable[str]) -> list[Figure]:
    """One worker, then two, and again; the better pace of each, since whoever shares the machine slows either."""
    pace: dict[int, float] = {}
    for number, database in enumerate(databases):
        count = 1 + number % 2
        pace[count] = max(pace.get(count, 0.0), workers.measure(database, count))
    what = f"actions of 200 ms, places a worker: {workers.PLACES}"
    return [
        Figure(f"{what}: incidents/s of 2 workers to those of 1", round(pace[2] / pace[1], 2), "", 1.7, at_least=True)
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
def postgres(given: str) -> Iterator[Callable[[], str] | None]:
    """Makes empty databases on the given server, or on one of our own that syncs to disk as a real one does. None where
    there is no PostgreSQL."""
    safe = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
    with contextlib.ExitStack() as stack:
        if not given:
            try:
                given = stack.enter_context(Postgres(settings=safe, max_connections=200)).url()
            except MissingProgramError as error:
                print(f"PostgreSQL is left out: {error}", file=sys.stderr)
                yield None
                return
        server = stack.enter_context(psycopg.connect(given, autocommit=True))

        def fresh() -> str:
            name = f"quell_bench_{secrets.token_hex(6)}"
            server.execute(f"CREATE DATABASE {name}")
            stack.callback(server.execute, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            return sa.make_url(given).set(database=name).render_as_string(hide_password=False)

        yield fresh


Part = tuple[str, Callable[[], list[Figure]]]


def parts_of(fresh: Callable[[], str] | None) -> list[Part]:
    """Everything that is measured. ``fresh`` gives the address of an empty PostgreSQL database, where there is one."""
    parts: list[Part] = [
        ("the loop on SQLite", lambda: of_loop([""] * ROUNDS, "SQLite", 120)),
        ("conditions", of_conditions),
        ("the audit", of_audit),
        ("waiting on SQLite", lambda: of_waiting("", "SQLite", 200, 1200)),
        ("start-up", of_startup),
        ("the demo", of_demo),
        ("a fresh clone", of_install),
    ]
    if fresh is None:
        return parts
    parts[1:1] = [("the loop on PostgreSQL", lambda: of_loop([fresh() for _ in range(ROUNDS)], "PostgreSQL", 100))]
    parts[5:5] = [
        ("waiting on PostgreSQL", lambda: of_waiting(fresh(), "PostgreSQL", 1000, 200)),
        ("takeover", lambda: of_takeover(fresh())),
        ("workers", lambda: of_workers([fresh() for _ in range(4)])),
    ]
    return parts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--only", default="", metavar="WORD", help="only the parts whose name holds it")
    parser.add_argument("--list", action="store_true", help="name the parts, and measure nothing")
    given = os.environ.get("QUELL_BENCH_POSTGRES", "")
    parser.add_argument(
        "--postgres", default=given, help="URL of a server to make databases on; default: one of its own"
    )
    options = parser.parse_args()
    if options.only and options.write:
        parser.error("--write writes the whole table: leave out --only")
    if options.list:
        print("\n".join(name for name, _ in parts_of(str)))
        return 0
    with postgres(options.postgres) as fresh:
        parts = [part for part in parts_of(fresh) if options.only.lower() in part[0].lower()]
        if not parts:
            parser.error(f"--only: no part holds {options.only!r} in its name; --list names them")
        return report(parts, write=options.write)


def report(parts: Iterable[Part], *, write: bool) -> int:
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
