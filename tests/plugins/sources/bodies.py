"""What tests of sources share: bodies that nobody means, and an App that is posted two that somebody does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from quell.errors import InvalidInput
from tests.app import House, house

RECEIVED = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
Read = tuple[list[Any], list[tuple[str, Any]]]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
"""JSON as nobody would write it; also numbers and letters that JSON does not have."""


def sent(document: Any) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode("utf-8", "surrogatepass")


def or_refused(read: Callable[[], Read]) -> Read | None:
    """None when the body as a whole is refused; any other error goes through and fails the test."""
    try:
        found = read()
    except InvalidInput as error:
        return None if error.problems else pytest.fail("refused without a problem")
    assert all(reason for reason, _ in found[1])
    json.dumps([alert.model_dump(mode="json") for alert in found[0]], allow_nan=False)
    return found


def counts(module: Any, body: bytes, read: Read | None) -> None:
    """What a source counts is what it reads; of what it refuses it counts nothing."""
    assert module.count(body) == (None if read is None else len(read[0]) + len(read[1]))


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> bytes:
    """A body with some of its bytes replaced."""
    body = bytearray(sent(document))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(body) - 1))
        body[at : at + draw(st.integers(0, 9))] = draw(st.binary(max_size=4))
        body = body or bytearray(b" ")
    return bytes(body)


async def makes_and_ends_one_incident(
    folder: Path,
    source: str,
    firing: Any,
    resolved: Any,
    *,
    more: str = "",
    headers: Callable[[Any], dict[str, str]] = lambda body: {},
) -> None:
    """The firing body twice makes one incident, and the resolved one ends it."""
    async with house(folder, [], more=more) as home:
        first = await home.app.receive(source, headers(firing), sent(firing))
        again = await home.app.receive(source, headers(firing), sent(firing))
        assert (first.accepted, first.quarantined) == (1, ())
        (incident,) = {*first.incidents, *again.incidents}
        await _is(home, incident, "escalated")
        await home.app.receive(source, headers(resolved), sent(resolved))
        await _is(home, incident, "resolved")
        assert [one.id for one in await home.app.incidents()] == [incident]
        assert [row["source"] for row in await home.app.alerts()] == [source]


async def _is(home: House, incident: str, status: str) -> None:
    await home.until(incident, lambda now: now.status.value == status, status)
