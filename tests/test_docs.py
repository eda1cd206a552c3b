"""The documentation is what the code says: made pages are fresh, links lead somewhere, examples are right.

Never does: reach an address outside this folder.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from docs import generate
from docs.generator.models import nested, unexplained
from docs.generator.prose import anchor
from quell.registry import Registry
from quell.runbook.compile import compile_text
from quell.runbook.dialects._native_schema import EscalationText, RunbookText
from quell.runbook.source import load
from quell.settings import Settings, parse_settings
from quell.vocabulary_of import vocabulary_of

ROOT = generate.ROOT
PAGES = sorted({*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")})
_FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_the_reference_is_fresh() -> None:
    stale = [_name(page) for page in generate.stale()]
    assert not stale, "run python docs/generate.py"


def test_every_promise_names_tests_that_exist() -> None:
    rows = [line for line in (ROOT / "docs/promises.md").read_text().splitlines() if line.startswith("| ")]
    promised = [row for row in rows if not row.startswith(("| promise", "| ---"))]
    assert len(promised) >= 20
    for row in promised:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row)
        assert named, f"nothing shows it: {row}"
        for file, name in named:
            text = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
            assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{file}::{name} is not there"


def test_stale_pages_are_noticed(tmp_path: Path) -> None:
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / "checks.md").write_text("old")
    (tmp_path / "gone.md").write_text("nothing makes this")
    assert {page.name for page in generate.stale(tmp_path)} == {"checks.md", "gone.md"}
    assert generate.main(["--check"], tmp_path) == 1


def _models() -> Iterator[type[BaseModel]]:
    registry = Registry()
    kinds = (registry.checks, registry.actions, registry.notifiers, registry.sources, registry.schedules)
    roots = [kind.params for shelf in kinds for kind in shelf.values()]
    roots += [kind.config for kind in registry.drivers.values()]
    for root in (*roots, Settings, RunbookText):
        yield root
        yield from nested(root)


@pytest.mark.parametrize("model", dict.fromkeys(_models()), ids=lambda model: f"{model.__module__}.{model.__name__}")
def test_every_key_is_explained(model: type[BaseModel]) -> None:
    assert not unexplained(model), "write a docstring under the field"


# Links.


def _links(page: Path) -> list[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    text = re.sub(r"`[^`\n]*`", "", text)
    return [first or second for first, second in _LINK.findall(text)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = [link for link in _links(page) if not _leads(page, link)]
    assert not broken


def _leads(page: Path, link: str) -> bool:
    if re.match(r"[a-z][a-z0-9+.-]*:", link):
        return True
    path, _, place = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists() or not target.is_relative_to(ROOT):
        return False
    return not place or target.suffix != ".md" or place in _anchors(target)


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {anchor(re.sub(r"[`*]", "", title)) for title in _HEADING.findall(text)}


# Examples.


def _examples() -> Iterator[tuple[str, str, set[str]]]:
    """Every YAML block with where it is and its keys."""
    for page in PAGES:
        for number, (info, block) in enumerate(_FENCE.findall(page.read_text(encoding="utf-8")), 1):
            for text in re.split(r"^---$", block, flags=re.MULTILINE) if info == "yaml" else ():
                yield f"{_name(page)}[{number}]", text, set(re.findall(r"^([a-z_]+):", text, re.MULTILINE))


RUNBOOKS = [(place, text) for place, text, keys in _examples() if {"id", "triggers"} <= keys]
SECTIONS = set(Settings.model_fields) - {"escalation"}
CONFIGURATIONS = [
    (place, text) for place, text, keys in _examples() if keys & SECTIONS and keys <= {*SECTIONS, "escalation"}
]
ESCALATIONS = [(place, text) for place, text, keys in _examples() if keys == {"escalation"}]


@pytest.mark.parametrize(("place", "text"), RUNBOOKS, ids=[place for place, _ in RUNBOOKS])
def test_a_runbook_in_the_documentation_has_no_problems(place: str, text: str) -> None:
    compiled = compile_text(text, place, vocabulary_of(Registry()))
    assert not [str(problem) for one in compiled for problem in one.problems]


@pytest.mark.parametrize(("place", "text"), CONFIGURATIONS, ids=[place for place, _ in CONFIGURATIONS])
def test_a_configuration_in_the_documentation_is_valid(place: str, text: str) -> None:
    settings = parse_settings(text, place, ROOT)
    for name, source in settings.sources.items():
        Registry().source(source.type or name).params.model_validate(source.params)


@pytest.mark.parametrize(("place", "text"), ESCALATIONS, ids=[place for place, _ in ESCALATIONS])
def test_an_escalation_in_the_documentation_is_valid(place: str, text: str) -> None:
    for document in load(text, place):
        EscalationText.model_validate(document.data["escalation"])


def test_the_plugin_of_the_howto_keeps_its_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of its Python blocks are run as they stand."""
    page = (ROOT / "docs" / "howto" / "write-a-plugin.md").read_text(encoding="utf-8")
    plugin, test = (text for info, text in _FENCE.findall(page) if info == "python")
    package, module = ModuleType("acme_quell"), ModuleType("acme_quell.nats_lag")
    monkeypatch.setitem(sys.modules, "acme_quell", package)
    monkeypatch.setitem(sys.modules, "acme_quell.nats_lag", module)
    exec(compile(plugin, "nats_lag.py", "exec", dont_inherit=True), module.__dict__)
    package.__dict__["nats_lag"] = module
    made: dict[str, Any] = {}
    exec(compile(test, "test_nats_lag.py", "exec", dont_inherit=True), made)
    kept = made["promises"]("checks", module, play=made["play"])
    assert len(kept) > 8
    for promise in kept:
        promise.keep()


def test_there_are_examples() -> None:
    assert RUNBOOKS
    assert CONFIGURATIONS
