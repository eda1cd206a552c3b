"""Guesses are slowed down per address, and no number of addresses fills the memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.web.answers import Overloaded, headers_of, status_of
from quell.web.throttle import ROOM, Throttle


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_after_so_many_none_is_looked_at_for_a_while() -> None:
    clock = Clock()
    throttle = Throttle(3, 60.0, clock)
    for _ in range(3):
        throttle.check("192.0.2.1")
        throttle.failed("192.0.2.1")
        clock.now += 1
    with pytest.raises(Overloaded) as told:
        throttle.check("192.0.2.1")
    assert status_of(told.value) == 429
    assert headers_of(told.value) == {"Retry-After": "57"}
    throttle.check("192.0.2.2")
    clock.now = 60.0
    throttle.check("192.0.2.1")
    throttle.failed("192.0.2.1")
    with pytest.raises(Overloaded):
        throttle.check("192.0.2.1")


def test_one_network_of_version_6_is_one_address() -> None:
    throttle = Throttle(1)
    throttle.failed("2001:db8::1")
    with pytest.raises(Overloaded):
        throttle.check("2001:db8::ffff:2")
    throttle.check("2001:db8:0:1::1")


@given(st.lists(st.text(max_size=5), max_size=50))
def test_whatever_an_address_is_it_is_counted(addresses: list[str]) -> None:
    throttle = Throttle(1)
    for address in addresses:
        throttle.failed(address)
        with pytest.raises(Overloaded):
            throttle.check(address)


def test_it_remembers_so_many_and_no_more() -> None:
    throttle = Throttle()
    for number in range(ROOM + 50):
        throttle.failed(f"client {number}")
    assert len(throttle) == ROOM
