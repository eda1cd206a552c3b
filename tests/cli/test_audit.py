"""`quell audit`: verify, export, checkpoint, key, report, on the log that a real run left."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.command import run_quell, told, write_runbook


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The database of one run."""
    folder = tmp_path_factory.mktemp("ran")
    write_runbook(folder)
    done = run_quell(folder, "run", "fix.json", "--db", "quell.db")
    assert done.returncode == 0, done.stdout + done.stderr
    with sqlite3.connect(folder / "quell.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "quell.db").read_bytes()


@pytest.fixture
def site(ran: bytes, tmp_path: Path) -> Path:
    (tmp_path / "quell.db").write_bytes(ran)
    return tmp_path


def change(site: Path, statement: str) -> None:
    connection = sqlite3.connect(site / "quell.db")
    with connection:
        assert connection.execute(statement).rowcount
    connection.close()


def incident(site: Path) -> str:
    connection = sqlite3.connect(site / "quell.db")
    (name,) = connection.execute("select id from quell_incidents").fetchone()
    connection.close()
    return str(name)


def test_a_good_log(site: Path) -> None:
    done = run_quell(site, "audit", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "everything holds" in done.stdout
    assert told(run_quell(site, "audit", "verify", "--json"))["ok"] is True
    assert not (site / "audit.key").exists()


def test_an_edited_event_is_named(site: Path) -> None:
    change(site, "update quell_events set actor = 'nobody' where stream = 'incident' and seq = 2")
    done = run_quell(site, "audit", "verify", "--json")
    assert done.returncode == 1
    (fault,) = told(done)["faults"]
    assert (fault["what"], fault["stream_id"], fault["seq"]) == ("edited", incident(site), 2)
    assert f"incident {incident(site)} event 2" in run_quell(site, "audit", "verify").stdout


def test_a_cut_tail_is_found_through_the_checkpoint(site: Path) -> None:
    done = run_quell(site, "audit", "checkpoint")
    assert done.returncode == 0, done.stderr
    assert (site / done.stdout.strip()).is_file()
    assert (site / "audit.key").stat().st_mode & 0o777 == 0o600
    assert told(run_quell(site, "audit", "verify", "--json"))["counts"]["checkpoints"] == 1
    change(site, "delete from quell_events where stream = 'incident' and seq > 3")
    change(site, "update quell_streams set seq = 3, hash = (select e.hash from quell_events e where e.seq = 3 and "
        "e.stream = 'incident') where stream = 'incident'")  # fmt: skip
    found = told(run_quell(site, "audit", "verify", "--json"))["faults"]
    assert [(fault["what"], fault["seq"]) for fault in found] == [("cut", 4)]
    (site / "audit.key").unlink()
    lost = run_quell(site, "audit", "verify")
    assert lost.returncode == 2
    assert "no key" in lost.stderr


def test_a_bundle_is_verified_elsewhere(site: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("away")
    name = incident(site)
    run_quell(site, "audit", "checkpoint")
    (away / "audit.pub").write_text(run_quell(site, "audit", "key").stdout)
    for words in ([], [name[:8]], ["--since", "7d"]):
        text = run_quell(site, "audit", "export", *words).stdout
        (away / "b.jsonl").write_text(text)
        done = run_quell(away, "audit", "verify", "--bundle", "b.jsonl", "--public-key", "audit.pub", "--json")
        assert done.returncode == 0, done.stdout
        assert told(done)["counts"]["checkpoints"] == 1
    (away / "b.jsonl").write_text(text.replace('"critical"', '"healthy"', 1))
    done = run_quell(away, "audit", "verify", "--bundle", "b.jsonl", "--public-key", "audit.pub")
    assert done.returncode == 1
    assert f"incident {name} event" in done.stdout


def test_a_file_is_not_written_over(site: Path) -> None:
    assert run_quell(site, "audit", "export", "-o", "all.jsonl").returncode == 0
    before = (site / "all.jsonl").read_bytes()
    done = run_quell(site, "audit", "export", "-o", "all.jsonl")
    assert (done.returncode, (site / "all.jsonl").read_bytes()) == (1, before)
    assert [json.loads(line)["type"] for line in before.splitlines()][-1] == "seal"


def test_the_key_is_the_same_next_time(site: Path) -> None:
    first = told(run_quell(site, "audit", "key", "--json"))
    assert told(run_quell(site, "audit", "key", "--json")) == first
    assert "PRIVATE" not in first["public_key"]


def test_the_execution_as_a_report(site: Path) -> None:
    report = told(run_quell(site, "audit", "report", incident(site)[:8], "--json"))
    assert [step["step"] for step in report["steps"]] == list(range(1, len(report["steps"]) + 1))
    timed = {step["event"]: step["duration_ms"] for step in report["steps"]}
    assert timed["check.finished"] > 0
    assert timed["action.finished"] > 0
    assert timed["verification.finished"] > 0
    summary = report["summary"]
    assert (summary["status"], summary["actions"], summary["human_intervention"]) == ("resolved", 1, False)
    text = run_quell(site, "audit", "report", incident(site)).stdout
    assert "repair" in text
    assert "resolved after" in text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["verify", "--db", "nowhere.db"], 2, "nowhere.db"),
        (["verify", "--bundle", "b.jsonl"], 2, "--public-key"),
        (["verify", "--public-key", "nowhere.pub", "--bundle", "nowhere.jsonl"], 2, "nowhere.jsonl"),
        (["export", "nope"], 1, "'nope'"),
        (["export", "--since", "soon"], 2, "not a duration"),
        (["report", "nope"], 1, "'nope'"),
    ],
)
def test_what_cannot_be_done(site: Path, words: list[str], code: int, said: str) -> None:
    done = run_quell(site, "audit", *words)
    assert done.returncode == code
    assert said in done.stderr
    assert not (site / "nowhere.db").exists()
