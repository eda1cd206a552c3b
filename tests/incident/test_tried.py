"""A rule that was tried, as it is stored and read again."""

from __future__ import annotations

from quell.incident.tried import Tried


def test_it_is_read_as_it_was_stored() -> None:
    one = Tried("silence 3f", True, "it matches")
    assert Tried.of(one.stored) == one


def test_older_versions_kept_sentences() -> None:
    assert Tried.of("no service is named") == Tried("", True, "no service is named")
