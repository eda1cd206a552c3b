"""Every kind of event has a documented payload, and a payload that does not fit is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from quell.incident.event import SHAPES, EventKind, NewEvent


def test_every_kind_has_a_shape() -> None:
    assert set(SHAPES) == set(EventKind)
    assert all(not shape.needs & shape.may for shape in SHAPES.values())


@pytest.mark.parametrize("kind", list(EventKind))
def test_a_payload_has_what_its_kind_needs_and_nothing_unknown(kind: EventKind) -> None:
    full = dict.fromkeys(SHAPES[kind].needs, "x")
    assert NewEvent(kind=kind, payload=full).payload == full
    assert NewEvent(kind=kind, payload={**full, **dict.fromkeys(SHAPES[kind].may, None)})
    with pytest.raises(ValidationError, match="surprise"):
        NewEvent(kind=kind, payload={**full, "surprise": 1})
    for name in full:
        with pytest.raises(ValidationError, match=name):
            NewEvent(kind=kind, payload={key: value for key, value in full.items() if key != name})


@given(st.sampled_from(EventKind), st.dictionaries(st.text(max_size=8), st.none(), max_size=5))
def test_no_other_payload_gets_through(kind: EventKind, payload: dict[str, None]) -> None:
    shape = SHAPES[kind]
    fits = shape.needs <= set(payload) <= shape.needs | shape.may
    try:
        NewEvent(kind=kind, payload=payload)
    except ValidationError:
        assert not fits
    else:
        assert fits
