"""`quell prune`: told before it is done, asked at a terminal, refused where nobody can be asked."""

import os
import pty
import select
import sqlite3
import time
from pathlib import Path

import pytest

from quell.incident.event import EventKind, NewEvent, Stream
from quell.store import events
from quell.store.database import Database, now_us
from quell.store.migrate import migrate
from tests.cli.command import Served, run_quell, start_quell, told

DAY_US = 86_400 * 1_000_000
OLD = ("prune", "--older-than", "90d", "--db", "quell.db")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two incidents that ended 100 days ago, one that did yesterday, one that is open."""
    database = Database(str(tmp_path / "quell.db"))
    migrate(database.engine)
    opened = NewEvent(kind=EventKind.OPENED, payload={"title": "down", "severity": "P1"})
    resolved = NewEvent(kind=EventKind.RESOLVED, payload={"reason": "well"})
    for name, days, *more in (("01a", 100, resolved), ("01b", 100, resolved), ("01c", 1, resolved), ("01d", 100)):
        at = now_us() - days * DAY_US
        database.write_now(
            lambda c, name=name, at=at, more=more: events.append(
                c, "default", Stream.INCIDENT, name, [opened, *more], at_us=at
            )
        )
    database.close()
    return tmp_path


def left(site: Path) -> int:
    connection = sqlite3.connect(site / "quell.db")
    (count,) = connection.execute("select count(*) from quell_incidents").fetchone()
    connection.close()
    return int(count)


def test_a_dry_run_tells_and_erases_nothing(site: Path) -> None:
    done = run_quell(site, *OLD, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Would erase from before" in done.stdout
    assert "2 incidents, 4 payloads of events" in done.stdout
    assert "The oldest incident ended 20" in done.stdout
    assert left(site) == 4
    assert not (site / "audit").exists()


def test_done_in_somebodys_name(site: Path) -> None:
    done = run_quell(site, *OLD, "--yes", "--json", "--by", "Ines")
    assert (done.returncode, done.stderr) == (0, "")
    answer = told(done)
    assert (answer["erased"], answer["dry_run"]) == ({"incidents": 2, "payloads": 4}, False)
    assert answer["checkpoint"].endswith("checkpoint-00000001.json")
    assert left(site) == 2
    assert told(run_quell(site, "audit", "verify", "--db", "quell.db", "--json"))["counts"]["erased"] == 4
    report = run_quell(site, "audit", "report", "01a", "--db", "quell.db")
    assert report.returncode == 0
    assert "erased after" in report.stdout
    assert "Ines" in report.stdout
    steps = told(run_quell(site, "audit", "report", "01a", "--db", "quell.db", "--json"))["steps"]
    assert [(one["event"], one["detail"].split(" ")[0]) for one in steps] == [
        ("incident.opened", "erased"), ("incident.resolved", "erased"), ("incident.pruned", "Ines"),
    ]  # fmt: skip
    again = run_quell(site, *OLD, "--yes")
    assert "Nothing is left to erase" in again.stdout


def test_an_incident_says_that_it_was_pruned(site: Path) -> None:
    server = Served(site)
    try:
        assert run_quell(site, *OLD, "--yes").returncode == 0, "beside a server"
        env = {"QUELL_SERVER": f"http://127.0.0.1:{server.port}"}
        shown = run_quell(site, "incidents", "show", "01a", **env)
        assert shown.returncode == 1
        assert "incident '01a' was pruned at 20" in shown.stderr
        assert "was pruned" not in run_quell(site, "incidents", "show", "01x", **env).stderr
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("prune",), 2, "--older-than"),
        (("prune", "--older-than", "soon", "--yes"), 2, "not a duration"),
        (("prune", "--older-than", "23h", "--yes"), 1, "a day old"),
        (("prune", "--older-than", "0", "--yes"), 1, "a day old"),
        (OLD, 2, "nobody is there to be asked"),
        ((*OLD, "--yes", "--tenant", "defualt"), 1, "did you mean 'default'"),
        (("prune", "--older-than", "90d", "--db", "none.db", "--yes"), 1, "none.db"),
    ],
)
def test_nothing_is_pruned_by_accident(site: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = run_quell(site, *words, stdin="y\n")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert left(site) == 4
    assert not (site / "none.db").exists()


@pytest.mark.parametrize(("answer", "code", "after"), [("n\n", 1, 4), ("\n", 1, 4), ("y\n", 0, 2)])
def test_a_terminal_is_asked(site: Path, answer: str, code: int, after: int) -> None:
    ours, theirs = pty.openpty()
    child = start_quell(site, *OLD, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said, deadline = b"", time.monotonic() + 60
    while b"cannot be undone" not in said:
        assert time.monotonic() < deadline, said
        if select.select([ours], [], [], 0.1)[0]:
            said += os.read(ours, 4096)
    assert b"2 incidents" in said
    assert left(site) == 4, "it is told before it is done"
    os.write(ours, answer.encode())
    while select.select([ours], [], [], 30)[0]:
        try:
            said += os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
    assert child.wait(30) == code, said
    os.close(ours)
    assert left(site) == after


def test_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from quell.cli import prune

    now = iter([0.0, 0.5, 1.5, 2.0, 3.0])
    monkeypatch.setattr(prune.time, "monotonic", lambda: next(now))
    progress = prune._Progress()
    for count in (1, 2, 3, 4):
        progress({"incidents": count})
    assert capsys.readouterr().err.splitlines() == ["so far: 2 incidents", "so far: 4 incidents"]
