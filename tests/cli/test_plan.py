"""``quell plan``: text, JSON, drawing; where they go; what is wrong goes to stderr."""

from __future__ import annotations

from xml.etree import ElementTree

import orjson
import pytest

from quell.runbook.plan import Plan
from tests.cli.terminal import ROOT, quell
from tests.cli.test_lint import FAILS, GOOD

EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.*") if path.suffix in {".yaml", ".json"})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_have_a_plan(path):
    said = quell("plan", path)
    assert (said.code, said.err) == (0, "")
    assert "sha256:" in said.out


def test_json_is_the_plan_that_runs_and_its_hash():
    said = quell("plan", "--json", EXAMPLES[0])
    plan = Plan.model_validate({name: value for name, value in said.json.items() if name != "hash"})
    assert plan.hash == said.json["hash"]


def test_the_drawing_stands_alone():
    said = quell("plan", "--svg", EXAMPLES[0])
    root = ElementTree.fromstring(said.out)
    assert root.tag.endswith("svg")
    assert "<style>" in said.out


@pytest.mark.parametrize("form", [[], ["--json"], ["--svg"]])
def test_into_a_file(form, tmp_path):
    target = tmp_path / "out"
    said = quell("plan", EXAMPLES[0], *form, "--output", target)
    assert (said.code, said.out) == (0, "")
    assert target.read_text() == quell("plan", EXAMPLES[0], *form).out


def test_what_is_wrong_goes_to_stderr_and_what_runs_is_shown(tmp_path):
    (tmp_path / "a.yaml").write_text(FAILS)
    said = quell("plan", "--json", "a.yaml", cwd=tmp_path)
    assert said.code == 0  # it runs: a step nobody wrote is a page
    assert "undefined-remediation" in said.err
    assert orjson.loads(said.out)["id"] == "api-errors"


def test_what_cannot_run_is_1(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("any_unreachable", "any_unreachible"))
    assert quell("plan", "a.yaml", cwd=tmp_path).code == 1
    (tmp_path / "b.yaml").write_text("id: x\ntriggers: 1\n")
    said = quell("plan", "b.yaml", cwd=tmp_path)
    assert (said.code, said.out) == (1, "")
    assert "b.yaml:2:11: error" in said.err


def test_stdin():
    assert quell("plan", "-", stdin=GOOD).out.startswith("api-errors\n")


def test_several_in_one_file(tmp_path):
    (tmp_path / "a.yaml").write_text(f"{GOOD}---\n{GOOD.replace('api-errors', 'other')}")
    assert len(quell("plan", "--json", "a.yaml", cwd=tmp_path).json) == 2
    assert quell("plan", "--json", "--id", "other", "a.yaml", cwd=tmp_path).json["id"] == "other"
    said = quell("plan", "--svg", "a.yaml", cwd=tmp_path)
    assert (said.code, said.out) == (1, "")
    assert "expected --id with one of api-errors, other" in said.err
    said = quell("plan", "--id", "othr", "a.yaml", cwd=tmp_path)
    assert (said.code, said.err) == (1, "quell: error: no runbook 'othr'; did you mean 'other'?\n")


def test_both_forms_are_wrong_usage():
    assert quell("plan", "--json", "--svg", EXAMPLES[0]).code == 2


def test_a_place_that_cannot_be_written(tmp_path):
    said = quell("plan", EXAMPLES[0], "-o", tmp_path / "no" / "where")
    assert said.code == 1
    assert "No such file or directory" in said.err
    assert "Traceback" not in said.err
