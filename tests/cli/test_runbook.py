"""``quell runbook new``: every template is clean, nothing is overwritten."""

from __future__ import annotations

import pytest

from quell.cli.runbook import Template, started
from tests.cli.terminal import quell

TEMPLATES = [template.value for template in Template]


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_template_is_clean_and_commented(template, tmp_path):
    said = quell("runbook", "new", "checkout", "--template", template, "--service", "shop", cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    linted = quell("lint", "--strict", "checkout.yaml", cwd=tmp_path)
    assert linted.code == 0, linted.out
    text = (tmp_path / "checkout.yaml").read_text()
    assert "__" not in text
    assert text.count("#") >= 5
    shown = quell("plan", "--json", "checkout.yaml", cwd=tmp_path).json
    assert (shown["id"], shown["service"]) == ("checkout", "shop")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "checkout.yaml").write_text("mine")
    said = quell("runbook", "new", "checkout", cwd=tmp_path)
    assert said.code == 1
    assert "is there already" in said.err
    assert (tmp_path / "checkout.yaml").read_text() == "mine"


def test_elsewhere_and_on_stdout(tmp_path):
    said = quell("runbook", "new", "checkout", "-t", "blank", "-o", "other.yaml", "--json", cwd=tmp_path)
    assert said.json == {"file": "other.yaml", "id": "checkout", "template": "blank"}
    assert (
        quell("runbook", "new", "checkout", "-t", "blank", "-o", "-", cwd=tmp_path).out
        == (tmp_path / "other.yaml").read_text()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["other.yaml"]


@pytest.mark.parametrize("words", [["1st"], ["a b"], ["../x"], ["ok", "--service", "a: b"], ["x" * 65]])
def test_names_are_names(words, tmp_path):
    said = quell("runbook", "new", *words, cwd=tmp_path)
    assert said.code == 1
    assert "expected at most 64" in said.err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_template_is_wrong_usage(tmp_path):
    assert quell("runbook", "new", "x", "-t", "nothing", cwd=tmp_path).code == 2


def test_the_name_stands_in_every_place_of_it():
    assert started(Template.ALERT, "my-id", "shop").count("shop") >= 4
