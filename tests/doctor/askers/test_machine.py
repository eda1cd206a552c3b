"""This machine's disks, names and files; nothing is left behind."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from quell.doctor.asked import Failure
from quell.doctor.askers.machine import resolved, room, sqlite_file
from quell.doctor.room import Room


def test_a_disk_has_room(tmp_path: Path) -> None:
    seen = asyncio.run(room(tmp_path, 5.0))
    assert isinstance(seen, Room)
    assert 0 < seen.free <= seen.total
    assert seen.writable
    assert asyncio.run(room(tmp_path / "gone", 5.0)) == Room(False, 0, 0)


def test_a_file_is_a_database_or_not(tmp_path: Path) -> None:
    good = tmp_path / "quell.db"
    with sqlite3.connect(good) as session:
        session.execute("PRAGMA journal_mode=WAL")
        session.execute("create table t (n)")
    session.close()
    before = sorted(tmp_path.iterdir())
    assert asyncio.run(sqlite_file(good, 5.0)) == "a SQLite database"
    assert sorted(tmp_path.iterdir()) == before
    assert "none yet" in str(asyncio.run(sqlite_file(tmp_path / "new.db", 5.0)))
    (tmp_path / "notes").write_text("hello, this is no database")
    assert asyncio.run(sqlite_file(tmp_path / "notes", 5.0)) == Failure("invalid", "it is no SQLite database")
    assert asyncio.run(sqlite_file(tmp_path, 5.0)) == Failure("invalid", "it is no file")


def test_names_lead_to_addresses() -> None:
    found = asyncio.run(resolved(["localhost", "127.0.0.1", "localhost", "no host at all"], 5.0))
    assert "127.0.0.1" in found["localhost"]
    assert found["127.0.0.1"] == {"127.0.0.1"}
    assert "no host at all" not in found
