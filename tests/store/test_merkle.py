"""The hash tree: the same root as RFC 6962 computes, and proofs that hold for nothing else."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from quell.store.merkle import Tree, climbed, leaf

LEAVES = st.lists(st.binary(max_size=4), max_size=40)


def by_the_book(data: list[bytes]) -> bytes:
    """Section 2.1 as it is written."""
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = 1
    while k * 2 < len(data):
        k *= 2
    return hashlib.sha256(b"\x01" + by_the_book(data[:k]) + by_the_book(data[k:])).digest()


@given(LEAVES)
def test_the_root_is_that_of_the_standard(data: list[bytes]) -> None:
    assert Tree(map(leaf, data)).root == by_the_book(data)


def test_a_root_that_others_compute() -> None:
    # The first three of the leaves that Certificate Transparency's own implementations are tested with.
    data = [b"", b"\x00", b"\x10"]
    assert Tree(map(leaf, data)).root.hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"


@given(LEAVES.filter(bool))
def test_every_leaf_is_proved(data: list[bytes]) -> None:
    tree = Tree(map(leaf, data))
    for index, one in enumerate(data):
        assert climbed(leaf(one), index, len(data), tree.path(index)) == tree.root


@given(LEAVES.filter(bool), st.data())
def test_nothing_else_is_proved(data: list[bytes], draw: st.DataObject) -> None:
    tree = Tree(map(leaf, data))
    index = draw.draw(st.integers(0, len(data) - 1))
    path = tree.path(index)
    assert climbed(leaf(b"another leaf"), index, len(data), path) != tree.root
    assert climbed(leaf(data[index]), index, len(data), [*path, b"x" * 32]) is None
    assert climbed(leaf(data[index]), len(data), len(data), path) is None
    assert climbed(leaf(data[index]), -1, len(data), path) is None
    if path:
        assert climbed(leaf(data[index]), index, len(data), path[:-1]) is None
        assert climbed(leaf(data[index]), index, len(data), [b"y" * 32, *path[1:]]) != tree.root
