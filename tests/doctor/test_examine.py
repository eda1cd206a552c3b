"""The use case as a whole: what is wrong is told all at once, and what is right leaves nothing to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.doctor.judgement import Judgement, Level, Report, listed
from tests.doctor.house import book, of, report, said, shelve


def test_nothing_configured_is_examined_too(tmp_path: Path) -> None:
    told = report(tmp_path)
    assert told.is_sound()
    assert "none yet" in said(told, "reach")[0][1]
    assert not list(tmp_path.iterdir())


def test_connections_that_cannot_even_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAD_URL", "postgresql://u:hun/ter2@host/x")
    told = report(
        tmp_path,
        connections={
            "unset": {"type": "postgresql", "url": "postgresql://x", "password": "env:NOT_SET_AT_ALL"},
            "unread": {"type": "postgresql", "url": "env:BAD_URL"},
            "strange": {"type": "mongodb", "url": "mongodb://x"},
        },
    )
    levels = {one.looked_at: str(one.level) for one in of(told, "reach")}
    assert levels["postgresql unset"] == levels["postgresql unread"] == "error"
    assert levels["connection strange"] == "warning"
    assert "ter2" not in str(told)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    told = report(tmp_path, runbooks="gone", database=str(tmp_path / "nowhere" / "quell.db"))
    lacking = [(level, found) for level, found in said(told, "disk") if "free" not in found]
    assert lacking == [("error", "there is no such folder")] * 2


def test_checkpoints_will_be_written_where_their_folder_will_be(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o500)
    told = report(tmp_path, audit={"folder": "kept/audit"})
    assert [one.looked_at for one in of(told, "disk")] == [str(tmp_path), str(tmp_path / "kept")]


def test_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AM_TOKEN", "s3cret")
    told = report(
        tmp_path, runbooks=shelve(tmp_path, book("one")), services={"shop": {}}, escalation="log:",
        sources={"alertmanager": {"token": "env:AM_TOKEN"}},
    )  # fmt: skip
    odd = [one for one in told.judgements if one.level is not Level.OK and one.check not in ("disk", "address")]
    assert odd == []
    assert told.is_sound()
    assert not told.is_sound(strict=True)  # the log reaches nobody


def test_a_report_counts() -> None:
    told = Report(tuple(Judgement("c", "x", level, "f") for level in (Level.OK, Level.WARNING, Level.WARNING)))
    assert (told.count(Level.WARNING), told.is_sound(), told.is_sound(strict=True)) == (2, True, False)
    assert listed("abcdef") == "a, b, c, d and 2 more"
