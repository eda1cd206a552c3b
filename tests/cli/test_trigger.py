"""`quell trigger`: a runbook on a running server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Served, served, times_done, write_runbook


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    write_runbook(tmp_path, variables={"limit": 3})
    with served(tmp_path, "--runbooks", "fix.json") as running:
        yield running


def test_started_and_told_where_to_look(server: Served) -> None:
    done = server.ask("trigger", "fix", "--context", "limit=9")
    assert done.returncode == 0, done.stderr
    assert "1 diagnostics run, 1 actions recommended" in done.stdout
    incident = done.stdout.split()[1].rstrip(":")
    server.wait_for(incident, "resolved")


def test_waiting_ends_with_the_outcome(server: Served) -> None:
    done = server.ask("trigger", "fix", "--wait")
    assert done.returncode == 0, done.stderr
    assert "recovered: level: critical → healthy" in done.stdout
    assert times_done(server.folder) == 1
    write_runbook(server.folder, fix="true")
    assert server.ask("reload").returncode == 0
    assert server.ask("trigger", "fix", "--wait", "--json").returncode == 2


def test_unknown_runbook(server: Served) -> None:
    done = server.ask("trigger", "fixx")
    assert done.returncode == 1
    assert "'fixx'" in done.stderr
    assert "did you mean 'fix'?" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [(["--context", "limit"], "expected NAME=VALUE"), (["--context", "a={"], "--context a")],
)
def test_mistakes_are_told_in_words(server: Served, words: list[str], says: str) -> None:
    done = server.ask("trigger", "fix", *words)
    assert done.returncode == 1
    assert says in done.stderr
