"""The runbooks of a house: good ones load, broken ones are kept with their problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.errors import NotFound
from quell.library import files_of, load_library
from quell.registry import Registry
from quell.vocabulary_of import vocabulary_of
from tests.app import do, runbook

WORDS = vocabulary_of(Registry())
GOOD = runbook(
    "- {condition: state.critical, then: [fix]}", f"- {{id: fix, type: automated, action: {do('fix', 0)}}}"
).replace("@/", "/srv/")
UNREAD = "- {id: idle, type: shell_command, config: {command: [date]}}\n"


def test_good_and_broken_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yml").write_text(GOOD)
    (tmp_path / "c.json").write_text("{")
    (tmp_path / "d.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "e.yaml").write_text("")
    (tmp_path / "notes.txt").write_text("not ours")
    library = load_library([tmp_path, tmp_path / "missing.yaml"], WORDS)
    assert list(library.plans) == ["down"]
    broken = {Path(one.file).name: one.problems[0].rule for one in library.broken}
    assert set(broken) == {"b.yml", "c.json", "d.yaml", "e.yaml", "missing.yaml"}
    assert broken["b.yml"] == "duplicate-id"


def test_folders_are_read_in_order_and_deeply(tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    for name in ("z/1.yaml", "b.yaml", "a.json"):
        (tmp_path / name).write_text("")
    assert [path.name for path in files_of([tmp_path])] == ["a.json", "b.yaml", "1.yaml"]


def test_a_name_that_is_not_there_has_a_nearest(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    library = load_library([tmp_path], WORDS)
    assert library.plan("down").id == "down"
    with pytest.raises(NotFound) as lost:
        library.plan("dwon")
    assert lost.value.nearest == "down"


def test_a_window_too_short_for_its_signal_is_an_error(tmp_path: Path) -> None:
    """``rate[5m]`` stays above 1 % for minutes after the errors have stopped."""
    book = GOOD.replace(
        "- {id: state, type: shell_command, config: {command: [cat, /srv/state]}",
        "- {id: state, type: prometheus_query, config: {query: 'sum(rate(errors[5m]))', connection: p}",
    ).replace("within: 1.5s", "within: 2m")
    (tmp_path / "a.yaml").write_text(book)
    library = load_library([tmp_path], WORDS)
    assert "verify-too-short" in {problem.rule for one in library.entries for problem in one.problems}


def test_every_runbook_has_a_state(tmp_path: Path) -> None:
    step = "then: [fix]"
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("id: down", "id: lost").replace(step, "then: [fix, fxi]"))
    (tmp_path / "c.yaml").write_text(
        GOOD.replace("id: down", "id: odd").replace("decision_tree:", f"{UNREAD}decision_tree:")
    )
    (tmp_path / "d.yaml").write_text(GOOD)
    (tmp_path / "e.yaml").write_text("nothing: here\n")
    library = load_library([tmp_path], WORDS)
    states = {Path(one.file).stem: (one.state, one.runbook, one.runs) for one in library.entries}
    assert states == {
        "a": ("ok", "down", True), "b": ("problems", "lost", True), "c": ("warnings", "odd", True),
        "d": ("broken", "down", False), "e": ("broken", None, False),
    }  # fmt: skip
    assert library.entry("down").state == "ok", "the one that runs, not the one that would shadow it"
    assert [problem.rule for problem in library.entry("lost").problems] == ["undefined-remediation", "same-trigger"]
    with pytest.raises(NotFound, match="did you mean 'lost'"):
        library.entry("lsot")
