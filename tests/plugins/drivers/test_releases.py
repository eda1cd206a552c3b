"""The releases driver on real folders and links."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.errors import Permanent
from quell.plugins.drivers.releases import Config, Releases


def make(root: Path, name: str, age: int, **note: object) -> Path:
    """A release folder deployed at epoch second ``1_000_000 - age``."""
    folder = root / "releases" / name
    folder.mkdir(parents=True)
    if note:
        (folder / "RELEASE.json").write_text(json.dumps(note))
    os.utime(folder, (1_000_000 - age, 1_000_000 - age))
    return folder


@pytest.fixture
def three(tmp_path: Path) -> Releases:
    make(tmp_path, "r10", 300)
    make(tmp_path, "r2", 200, version="2.0", deployed_at=1_000_000 - 200, migrations_reversible=True, by="ann")
    make(tmp_path, "r3", 100, deployed_at="1970-01-12T13:45:00+00:00", migrations_reversible=False)
    (tmp_path / "current").symlink_to(tmp_path / "releases" / "r3")
    return driver(tmp_path)


def driver(root: Path) -> Releases:
    return Releases(Config(path=root / "releases", current=root / "current"), "payment")


def test_releases_come_oldest_first_with_what_they_say(three: Releases, tmp_path: Path) -> None:
    first, second, third = asyncio.run(three.releases())
    assert [(one.version, one.current) for one in (first, second, third)] == [
        ("r10", False), ("2.0", False), ("r3", True),
    ]  # fmt: skip
    assert (second.by, second.migrations_reversible, first.migrations_reversible) == ("ann", True, None)
    assert second.at == datetime.fromtimestamp(1_000_000 - 200, UTC)
    assert third.live_since == datetime.fromtimestamp((tmp_path / "current").lstat().st_mtime, UTC)
    assert first.live_since is None


@pytest.mark.parametrize("to", ["2.0", "r2"])
def test_rollback_by_version_or_folder(three: Releases, tmp_path: Path, to: str) -> None:
    said = asyncio.run(three.rollback(to))
    assert (tmp_path / "current").resolve() == tmp_path / "releases" / "r2"
    assert said.endswith("leads to r2, before to r3")
    assert "already" in asyncio.run(three.rollback(to))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_relative_link_stays_relative(three: Releases, tmp_path: Path) -> None:
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("releases/r3")
    asyncio.run(three.rollback("r10"))
    assert os.readlink(tmp_path / "current") == "releases/r10"


def test_a_reader_always_sees_a_release(three: Releases, tmp_path: Path) -> None:
    seen: set[str] = set()
    stop = threading.Event()
    failures: list[OSError] = []

    def read() -> None:
        while not stop.wait(0.0001):
            try:
                seen.add(os.readlink(tmp_path / "current"))
            except OSError as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(100):
            asyncio.run(three.rollback("r2" if number % 2 else "r3"))
    finally:
        stop.set()
        reader.join()
    assert not failures
    assert {Path(path).name for path in seen} <= {"r2", "r3"}


@pytest.mark.parametrize(
    ("to", "error_class"),
    [
        ("../../etc", "denied"),
        ("..", "denied"),
        ("/etc", "denied"),
        ("r2/../r3", "denied"),
        ("r2\n", "denied"),
        ("", "denied"),
        ("-f", "denied"),
        ("outside", "denied"),
        ("r4", "missing"),
    ],
)
def test_a_target_that_is_not_a_release_folder_is_refused(
    three: Releases, tmp_path: Path, to: str, error_class: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "releases" / "outside").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Permanent) as failure:
        asyncio.run(three.rollback(to))
    assert failure.value.error_class == error_class
    assert (tmp_path / "current").resolve().name == "r3"


@given(st.text(max_size=40))
def test_no_name_leads_out_of_the_folder(tmp_path_factory: pytest.TempPathFactory, to: str) -> None:
    root = tmp_path_factory.mktemp("any")
    make(root, "r1", 1)
    (root / "current").symlink_to(root / "releases" / "r1")
    with contextlib.suppress(Permanent):
        asyncio.run(driver(root).rollback(to))
    assert (root / "current").resolve() == root / "releases" / "r1"


def test_two_folders_of_one_version_are_ambiguous(tmp_path: Path) -> None:
    make(tmp_path, "a", 2, version="1")
    make(tmp_path, "b", 1, version="1")
    with pytest.raises(Permanent) as failure:
        asyncio.run(driver(tmp_path).rollback("1"))
    assert failure.value.error_class == "ambiguous"


def test_a_current_that_is_a_folder_is_never_replaced(tmp_path: Path) -> None:
    make(tmp_path, "r1", 1)
    (tmp_path / "current").mkdir()
    with pytest.raises(Permanent, match="not a symbolic link"):
        asyncio.run(driver(tmp_path).rollback("r1"))
    assert not (tmp_path / "current").is_symlink()


def test_without_a_link_no_release_is_current_and_one_can_be_activated(tmp_path: Path) -> None:
    make(tmp_path, "r1", 1)
    assert [one.current for one in asyncio.run(driver(tmp_path).releases())] == [False]
    asyncio.run(driver(tmp_path).rollback("r1"))
    assert [one.current for one in asyncio.run(driver(tmp_path).releases())] == [True]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"deployed_at": "soon", "version": [1]}', "[" * 10_000, '"x"'])
def test_a_release_note_that_cannot_be_read_is_no_note(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path, "r1", 5)
    (folder / "RELEASE.json").write_text(text)
    os.utime(folder, (999_995, 999_995))
    (release,) = asyncio.run(driver(tmp_path).releases())
    assert (release.version, release.at) == ("r1", datetime.fromtimestamp(999_995, UTC))


def test_a_missing_folder_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Permanent) as failure:
        asyncio.run(driver(tmp_path).releases())
    assert failure.value.error_class == "missing"


def test_what_it_cannot_do_is_denied(three: Releases) -> None:
    with pytest.raises(Permanent) as failure:
        asyncio.run(three.restart())
    assert failure.value.error_class == "denied"
