"""Documents with a mark where a problem is expected: ``¦`` stands right before the place, and is taken out.

Never pretends: the place is where the mark stood, not what the code under test says.
"""

from __future__ import annotations

MARK = "¦"


def marked(text: str) -> tuple[str, tuple[int, int]]:
    """The text without its mark, and the line and column (from 1) where it was."""
    before, found, after = text.partition(MARK)
    assert found, "no mark"
    assert MARK not in after, "two marks"
    return before + after, (before.count("\n") + 1, len(before) - before.rfind("\n"))
