"""Writes docs/reference from the code: `python docs/generate.py`; with `--check` it only says whether that is needed.

Exits 1 when something is stale under `--check`. Never does: touch a page that it does not make.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs.generator import plugins, words  # noqa: E402
from docs.generator.commands import cli  # noqa: E402
from docs.generator.dialect import conditions, runbook  # noqa: E402
from docs.generator.problems import errors  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"
MARK = "<!-- Made from the code by docs/generate.py; edit the code, then run it again. -->\n\n"
PAGES: dict[str, Callable[[], str]] = {
    "runbook.md": runbook,
    "conditions.md": conditions,
    "checks.md": plugins.checks,
    "actions.md": plugins.actions,
    "drivers.md": plugins.drivers,
    "notifiers.md": plugins.notifiers,
    "sources.md": plugins.sources,
    "schedules.md": plugins.schedules,
    "configuration.md": words.configuration,
    "cli.md": cli,
    "events.md": words.events,
    "incident-states.md": words.states,
    "errors.md": errors,
}


def pages(folder: Path = REFERENCE) -> dict[Path, str]:
    """Every page with the text it should have."""
    return {folder / name: MARK + make() for name, make in PAGES.items()}


def stale(folder: Path = REFERENCE) -> list[Path]:
    """The pages that are not what the code says, and those that nothing makes any more."""
    made = pages(folder)
    found = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return found + sorted(path for path in folder.glob("*.md") if path not in made)


def main(argv: Sequence[str], folder: Path = REFERENCE) -> int:
    """Returns the exit code."""
    if "--check" in argv:
        old = stale(folder)
        for path in old:
            sys.stdout.write(f"stale: {path.name}; run python docs/generate.py\n")
        return 1 if old else 0
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in pages(folder).items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
