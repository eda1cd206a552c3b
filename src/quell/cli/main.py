"""The entry point of ``quell``. Never does: import anything heavy before it knows what was asked."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Sequence

from quell import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0 done, 1 an error or problems found, 2 wrong usage."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given in (["--version"], ["-V"]):
        print(f"quell {__version__}")
        return 0
    # What is imported stays: looking through it again and again took 7 % of a lint.
    gc.set_threshold(50_000, 10, 10)
    # httpx brings a command of its own, and with it rich, pygments and click: more than half of its loading time.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: "there is no such module"
    code: int = importlib.import_module("quell.cli.group").run(given)
    return code


if __name__ == "__main__":
    sys.exit(main())
