"""Canonical JSON: the fast writer writes what RFC 8785 says, or is not asked."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from quell.store import canonical
from tests.store.test_events import JSON

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)


@given(JSON | st.dictionaries(TEXT, TEXT | NUMBERS | st.floats(allow_nan=False, allow_infinity=False)))
def test_the_same_bytes_as_the_standard(value: Any) -> None:
    assert canonical.canonical(value) == rfc8785.dumps(value)
    text = orjson.dumps(value).decode()
    assert canonical.is_payload(text, canonical.digest(orjson.loads(text)))
    assert not canonical.is_payload(text, canonical.digest({"other": value}))


def test_every_character_is_written_the_same() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(every), 4096):
        text = "".join(every[start : start + 4096])
        assert orjson.dumps(text) == rfc8785.dumps(text)


@given(st.dictionaries(st.sampled_from(canonical._COVERED[2]), TEXT | NUMBERS | st.none()))
def test_an_envelope_follows_its_own_hash(envelope: dict[str, Any]) -> None:
    assert canonical.follows("x", envelope, canonical.link("x", envelope))
    assert not canonical.follows("y", envelope, canonical.link("x", envelope))


@pytest.mark.parametrize("value", ["\ud800", 2**53, object(), b"bytes"])
def test_what_cannot_be_hashed_follows_nothing(value: Any) -> None:
    assert not canonical.follows("", {"actor": value}, "0" * 64)


@pytest.mark.parametrize("text", ["", "{", b"\xff", '{"a":1,"a":2}', '{"a":3, "a" : 2}', '{"a":[],"a":2}'])
def test_what_readers_read_differently_is_no_payload(text: Any) -> None:
    assert not canonical.is_payload(text, canonical.digest({"a": 2}))


@pytest.mark.parametrize("text", ['{"a":2}', '{ "a" : 2 }', '{"a":2.0}'])
def test_another_spelling_is_the_same_payload(text: str) -> None:
    assert canonical.is_payload(text, canonical.digest({"a": 2}))
