"""Regular expressions that cannot run away: the regular part of the language, and no repeat inside a repeat.

What Google's RE2 cannot do (back-references, looking around) is refused, because such patterns are what makes
matching take exponential time. What is left may still be slow on a hostile text, so it runs in a process of its own,
which cancellation kills. Never does: match on the event loop what may take long.
"""

from __future__ import annotations

import json
import re
import sys
from functools import lru_cache
from re import _constants as words  # type: ignore[attr-defined]
from re import _parser as grammar  # type: ignore[attr-defined]
from typing import Any

from quell.errors import Transient
from quell.plugins.checks import _process

LONGEST_PATTERN = 1000
_CHILD = (
    "import json, re, sys; data = sys.stdin.buffer.read(); head, _, text = data.partition(b'\\n'); "
    "sys.exit(0 if re.search(json.loads(head), text.decode('utf-8', 'replace'), re.MULTILINE) else 3)"
)
_INLINE_BYTES = 16 * 1024
_MANY = 64
"""A repeat that may happen more often than this counts as without end."""
_MOST_OPEN = 6
_REFUSED = {words.GROUPREF: "a back-reference", words.GROUPREF_EXISTS: "a back-reference",
            words.ASSERT: "looking around", words.ASSERT_NOT: "looking around"}  # fmt: skip
_REPEATS = (words.MAX_REPEAT, words.MIN_REPEAT, words.POSSESSIVE_REPEAT)


@lru_cache(maxsize=512)
def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """Raises ValueError saying what is wrong with the pattern, or what is refused."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"the pattern is longer than {LONGEST_PATTERN} characters")
    try:
        tree = grammar.parse(pattern, flags)
        if _open_repeats(tree, inside=False) > _MOST_OPEN:
            raise ValueError(f"the pattern has more than {_MOST_OPEN} repeats without end")
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None


async def found(pattern: str, body: bytes) -> bool:
    """Whether the pattern matches somewhere in a text. Raises ``Transient`` (failed) when the matching broke."""
    expression = compiled(pattern, re.MULTILINE)
    if len(body) <= _INLINE_BYTES and not _repeats(grammar.parse(pattern)):
        return expression.search(body.decode("utf-8", "replace")) is not None
    data = json.dumps(pattern).encode() + b"\n" + body
    ran = await _process.run([sys.executable, "-I", "-S", "-c", _CHILD], max_bytes=4096, stdin=data)
    if ran.exit_code not in (0, 3):
        raise Transient(f"matching the pattern failed (exit code {ran.exit_code})", "failed")
    return ran.exit_code == 0


def _repeats(tree: Any) -> bool:
    """Any repeat at all: ``(?:a|aa){60}`` has an end, and reaches it in 2**60 steps."""
    return "MAX_REPEAT" in (said := repr(tree)) or "MIN_REPEAT" in said or "POSSESSIVE_REPEAT" in said


def _open_repeats(tree: Any, *, inside: bool) -> int:
    count = 0
    for kind, value in tree:
        if kind in _REFUSED:
            raise ValueError(f"the pattern uses {_REFUSED[kind]}, which can take without end")
        if kind in _REPEATS:
            _, most, inner = value
            endless = most > _MANY
            if inside and endless:
                raise ValueError("the pattern repeats a repeat, which can take without end")
            count += endless + _open_repeats(inner, inside=inside or most > 1)
        elif kind is words.SUBPATTERN:
            count += _open_repeats(value[-1], inside=inside)
        elif kind is words.ATOMIC_GROUP:
            count += _open_repeats(value, inside=inside)
        elif kind is words.BRANCH:
            count += sum(_open_repeats(branch, inside=inside) for branch in value[1])
    return count
