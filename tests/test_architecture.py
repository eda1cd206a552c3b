"""The rules of the house that an import linter cannot see. Never does: forgive without a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "quell"
FILES = sorted(SOURCE.rglob("*.py"))
MOST_LINES = 400
LONGER = re.compile(r"^Longer than \S.*", re.MULTILINE)
VAGUE = re.compile(r"(?:^|_)(?:utils?|helpers?|managers?|base|common|core|misc)(?:_|$)")


def _name(file: Path) -> str:
    return str(file.relative_to(SOURCE))


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_a_file_fits_on_a_desk(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").count("\n")
    reason = LONGER.search(ast.get_docstring(_tree(file)) or "")
    assert lines <= MOST_LINES or reason, 'over 400 lines: split it, or say why in a line "Longer than …"'
    assert lines > MOST_LINES or not reason, "it is not longer any more: take the reason out"


@pytest.mark.parametrize("file", [file for file in FILES if file.stat().st_size], ids=_name)
def test_a_module_says_what_it_is(file: Path) -> None:
    assert ast.get_docstring(_tree(file)), "no docstring"


@pytest.mark.parametrize("file", [*FILES, *(path for path in SOURCE.rglob("*") if path.is_dir())], ids=_name)
def test_a_name_says_something(file: Path) -> None:
    assert not VAGUE.search(file.stem), "utils, helpers, manager, base, common and core name nothing"


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_no_circle_is_hidden(file: Path) -> None:
    names = {node.id for node in ast.walk(_tree(file)) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(_tree(file)) if isinstance(node, ast.Attribute)}
    assert "TYPE_CHECKING" not in names


LATE_IMPORTS: dict[str, str] = {
    "housekeeping.py": "the audit: what signs takes 8 MB, which a server need not hold before its first checkpoint",
    "plugins/schedules/ical.py": "icalendar: 2 MB that a server need not hold before somebody asks who is on call",
    "retention.py": "as housekeeping",
    "store/migrate.py": "Alembic: most starts find nothing to migrate, and need not wait for it",
    "web/run.py": "uvloop, an optional extra",
}
"""Files outside ``cli/`` that import inside a function, and why they may."""


def _late_imports(file: Path) -> Iterator[str]:
    for function in ast.walk(_tree(file)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield f"line {node.lineno}"


@pytest.mark.parametrize("file", [one for one in FILES if one.parts[len(SOURCE.parts)] != "cli"], ids=_name)
def test_imports_stand_at_the_top(file: Path) -> None:
    late = sorted(set(_late_imports(file)))
    assert bool(late) == (_name(file) in LATE_IMPORTS), late or "it does not any more: take it out of the list"


# tests/ mirrors src/.

TESTED_ELSEWHERE: dict[str, tuple[str, str]] = {
    "app.py": (
        "tests/respond/test_interpreter.py",
        "as a whole house, by alerts that go in and incidents that come out",
    ),
    "cli/*": ("tests/cli", "as commands: arguments in, output and exit code out"),
    "demo/*": ("tests/cli/test_demo.py", "as the command that it is, with its real processes"),
    "doctor/facts.py": ("tests/doctor/test_examine.py", "words only"),
    "doctor/judged.py": ("tests/doctor/test_examine.py", "by the report of a whole configuration"),
    "doctor/judgement.py": ("tests/doctor/test_examine.py", "words only"),
    "doctor/site.py": ("tests/doctor/test_examine.py", "by the report of a whole configuration"),
    "engine/durable.py": ("tests/respond/test_restart.py", "by processes that are killed and go on"),
    "engine/retention.py": ("tests/test_retention.py", "by what is left of a house's workflows"),
    "engine/tables.py": ("tests/engine", "tables only"),
    "errors.py": ("tests/plugins", "words only"),
    "housekeeping.py": ("tests/test_retention.py", "by servers that nobody asks"),
    "incident/action.py": ("tests/plugins/actions", "words only"),
    "incident/finding.py": ("tests/plugins/checks", "words only"),
    "intake/*": ("tests/web/test_ingest.py", "through the webhook"),
    "life.py": ("tests/respond/test_interpreter.py", "with the app that it starts and ends"),
    "local.py": ("tests/cli/test_token.py", "with the commands that read what a server writes"),
    "library.py": ("tests/web/test_api.py", "through the API that lists runbooks"),
    "ports.py": ("tests/plugins/test_contract.py", "the sockets, by what is in them"),
    "probe.py": ("tests/plugins/world.py", "every plug-in's test is given one"),
    "registry.py": ("tests/plugins/test_contract.py", "every plug-in is found through it"),
    "respond/*": ("tests/respond/test_interpreter.py", "as a run, from the first check to the last event"),
    "runbook/boxes.py": ("tests/runbook/test_draw.py", "by the drawing"),
    "runbook/expr/*": ("tests/runbook/expr", "as the language: text in, values and flaws out"),
    "runbook/glyphs.py": ("tests/runbook/test_draw.py", "by the drawing"),
    "runbook/layout.py": ("tests/runbook/test_draw.py", "by the drawing"),
    "runbook/lint/*": ("tests/runbook/test_lint.py", "by a document that breaks each rule"),
    "runbook/names.py": ("tests/runbook/test_lint.py", "by the rules that ask it"),
    "runbook/secret.py": ("tests/runbook/test_template.py", "by the templates that make them"),
    "runbook/vocabulary.py": ("tests/runbook/words.py", "words only"),
    "settings.py": ("tests/test_docs.py", "by every configuration in the documentation"),
    "store/migrations/*": ("tests/store/test_migrate.py", "by migrating"),
    "store/prune.py": ("tests/test_retention.py", "by the use case, which is all that calls it"),
    "store/sweeps.py": ("tests/test_retention.py", "by the use case, which is all that calls it"),
    "store/queries.py": ("tests/web/test_api.py", "by what the API answers"),
    "store/sessions.py": ("tests/test_access.py", "with the tokens that begin them, on both databases"),
    "store/tokens.py": ("tests/test_access.py", "by the use cases, on both databases"),
    "store/schema.py": ("tests/store/test_migrate.py", "tables only"),
    "telling/card.py": ("tests/cli/test_follow.py", "by the rows of an approval request"),
    "telling/lines.py": ("tests/cli/test_follow.py", "by what a terminal shows of them"),
    "telling/rows.py": ("tests/cli/test_follow.py", "by what a terminal shows of them"),
    "testing/*": ("tests/testing/test_promises.py", "by plug-ins that break each promise"),
    "engine/turnstile.py": ("tests/engine/test_durable.py", "by runs that find no place"),
    "engine/patience.py": ("tests/engine/test_outage.py", "by a database that goes away"),
    "respond/naming.py": ("tests/test_app.py", "by the start, with rules of what there is not"),
    "engine/serial.py": ("tests/engine/test_durable.py", "by answers that are hard to keep"),
    "vocabulary_of.py": ("tests/runbook/test_lint.py", "by lint"),
    "web/*": ("tests/web", "over HTTP"),
    "store/bundle.py": ("tests/store/test_audit.py", "with what it is made from"),
    "store/checkpoint.py": ("tests/store/test_audit.py", "by what it alone shows"),
    "store/offline.py": ("tests/store/test_audit.py", "it must find what the audit of the database finds"),
    "store/readonly.py": ("tests/test_audit.py", "by the use cases, which read through it"),
}
"""Files without a test file of their own: where they are tested instead, and how. A plug-in's parts go with it."""


def _mirrors(file: Path) -> list[Path]:
    place = file.relative_to(SOURCE)
    folder = ROOT / "tests" / place.parent
    return [folder / f"test_{place.stem}.py", folder / f"test_{place.stem.lstrip('_')}.py"]


MIRRORED = [file for file in FILES if file.name != "__init__.py" and not file.name.startswith("_")]


@pytest.mark.parametrize("file", MIRRORED, ids=_name)
def test_it_has_a_test_of_its_own(file: Path) -> None:
    own = any(mirror.exists() for mirror in _mirrors(file))
    elsewhere = any(fnmatch(_name(file), pattern) for pattern in TESTED_ELSEWHERE)
    assert own or elsewhere, "write its test, or say in TESTED_ELSEWHERE where it is tested"


@pytest.mark.parametrize("pattern", TESTED_ELSEWHERE)
def test_elsewhere_is_a_place(pattern: str) -> None:
    assert (ROOT / TESTED_ELSEWHERE[pattern][0]).exists(), "the test it points to is gone"
    assert any(fnmatch(_name(file), pattern) for file in FILES), "nothing is called that any more: take it out"


def test_no_late_import_is_left_over() -> None:
    assert set(LATE_IMPORTS) <= {_name(file) for file in FILES}
