"""What a source was sent, and what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from quell.delivery import Delivery, Letter, Receipt
from quell.incident.alert import Alert, AlertStatus


def alert(name: str) -> Alert:
    received = datetime(2026, 1, 2, tzinfo=UTC)
    return Alert(source="am", name=name, status=AlertStatus.FIRING, fingerprint=name, received_at=received)


def test_a_letter_is_what_was_stored() -> None:
    letter = Letter("default", "am", 3, 1_790_000_000_000_001, "bearer token", b"\0{}")
    assert Letter.of({"id": 7, **letter.row}) == letter


@pytest.mark.parametrize(
    ("delivery", "more"),
    [
        (Delivery("am", [], signs=[alert("Watchdog")], beats=True), False),
        (Delivery("am", [alert("Down")], signs=[alert("Watchdog")], beats=True), True),
        (Delivery("am", [], [("odd", {})], signs=[alert("Watchdog")], beats=True), True),
        (Delivery("am", []), True),
    ],
)
def test_what_says_no_more_than_that_its_source_lives(delivery: Delivery, more: bool) -> None:
    assert delivery.says_no_more is not more


def test_signs_of_life_are_among_what_was_accepted() -> None:
    beat = Delivery("am", [alert("Down")], signs=[alert("Watchdog")], beats=True)
    told = beat.told(Receipt(1, ("i",), fingerprints=("Down",)))
    assert (told.accepted, told.heartbeats, told.fingerprints) == (2, 1, ("Watchdog", "Down"))
    assert Delivery("am", []).told(Receipt(0, ())) == Receipt(0, ())
