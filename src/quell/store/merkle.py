"""The hash tree of RFC 6962 (section 2.1): one root for many leaves, and a short proof that one of them is among them.

With it a signed checkpoint over all streams can be shown to whoever may know of one of them only. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence


def leaf(data: bytes) -> bytes:
    """The hash of what a leaf holds."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """Over hashes of leaves, in their order."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        self._levels = [list(leaves)]
        while len(below := self._levels[-1]) > 1:
            pairs = zip(below[::2], below[1::2], strict=False)
            rest = below[-1:] if len(below) % 2 else []  # who has no sister goes up as it is
            self._levels.append([_node(left, right) for left, right in pairs] + rest)

    @property
    def root(self) -> bytes:
        return self._levels[-1][0] if self._levels[-1] else hashlib.sha256().digest()

    def path(self, index: int) -> list[bytes]:
        """The sisters on the way up from this leaf. Raises ``IndexError``."""
        if not 0 <= index < len(self._levels[0]):
            raise IndexError(index)
        found = []
        for level in self._levels[:-1]:
            if (sister := index ^ 1) < len(level):
                found.append(level[sister])
            index //= 2
        return found


def climbed(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that this proof leads to, of a tree with ``size`` leaves; None when it is no proof of such a tree."""
    if not 0 <= index < size:
        return None
    node, last, sisters = leaf, size - 1, iter(path)
    while last:
        if index % 2 or index < last:
            sister = next(sisters, None)
            if sister is None:
                return None
            node = _node(sister, node) if index % 2 else _node(node, sister)
        index, last = index // 2, last // 2
    return node if next(sisters, None) is None else None
