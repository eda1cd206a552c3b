"""What a configuration names is held against what there is, before the first incident."""

from __future__ import annotations

from pathlib import Path

import pytest

from quell.errors import InvalidInput
from quell.registry import Registry
from quell.respond.naming import schedules
from quell.settings import parse_settings


def configured(text: str, folder: Path) -> None:
    settings = parse_settings(text, "quell.yaml", folder)
    schedules(settings.schedules, Registry(), folder)


def test_every_fault_of_every_schedule_is_told_at_once(tmp_path: Path) -> None:
    text = """
schedules:
  one: {type: rotaton}
  two: {type: rotation, members: [ann], starts: 2026-11-02, every: 1w, timezon: UTC}
  three: {type: rotation, members: [ann], starts: 2026-11-02, every: sometimes}
"""
    with pytest.raises(InvalidInput) as said:
        configured(text, tmp_path)
    assert [(one.path, one.nearest) for one in said.value.problems] == [
        ("schedules.one.type", "rotation"), ("schedules.two.timezon", "timezone"), ("schedules.three.every", None),
    ]  # fmt: skip


def test_a_file_is_where_the_configuration_is(tmp_path: Path) -> None:
    settings = parse_settings("schedules: {shop: {type: ical, file: oncall.ics}}", "quell.yaml", tmp_path)
    found = schedules(settings.schedules, Registry(), tmp_path)
    assert found["shop"].params["file"] == str(tmp_path / "oncall.ics")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groups: {a: [b]}\nschedules: {a: {type: rotation}}", "share a name: a"),
        ("groups: {oncall: [b]}", "means what the catalogue says"),
        ("groups: {a: []}", "groups.a"),
    ],
)
def test_a_name_means_one_thing(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        parse_settings(text, "quell.yaml", tmp_path)
