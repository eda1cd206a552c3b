"""Requests by their key: claimed once, answered once, forgotten after a day; on both databases."""

from __future__ import annotations

from quell.store import requests
from quell.store.database import Database
from quell.store.requests import AT_ONCE, DELIVERY_KEPT_US, KEPT_US, Answer, Kept

NOW = 1_795_867_200_000_000
YES = Answer(201, {"content-type": "application/json"}, b'{"a": "\xc3\xbc"}')


def test_a_key_is_claimed_once_for_each_tenant(database: Database) -> None:
    with database.engine.begin() as connection:
        assert requests.claim(connection, "acme", "k", "f", NOW)
        assert not requests.claim(connection, "acme", "k", "f", NOW + 1)
        assert not requests.claim(connection, "acme", "k", "other", NOW + 1)
        assert requests.claim(connection, "other", "k", "f", NOW)
        assert requests.find(connection, "acme", "k", NOW) == Kept("f", None, None)
        assert requests.find(connection, "acme", "l", NOW) is None


def test_what_it_led_to_and_the_first_answer_are_kept(database: Database) -> None:
    with database.engine.begin() as connection:
        assert not requests.answered(connection, "acme", "k", YES)
        requests.claim(connection, "acme", "k", "f", NOW)
        requests.led_to(connection, "acme", "k", "{}")
        assert requests.find(connection, "acme", "k", NOW) == Kept("f", "{}", None)
        assert requests.answered(connection, "acme", "k", YES)
        assert not requests.answered(connection, "acme", "k", Answer(404))
        assert requests.find(connection, "acme", "k", NOW) == Kept("f", "{}", YES)


def test_after_a_day_it_is_free_again(database: Database) -> None:
    with database.engine.begin() as connection:
        requests.claim(connection, "acme", "k", "f", NOW)
        requests.led_to(connection, "acme", "k", "{}")
        assert requests.find(connection, "acme", "k", NOW + KEPT_US - 1) is not None
        assert not requests.claim(connection, "acme", "k", "g", NOW + KEPT_US - 1)
        assert requests.find(connection, "acme", "k", NOW + KEPT_US) is None
        assert requests.claim(connection, "acme", "k", "g", NOW + KEPT_US)
        assert requests.find(connection, "acme", "k", NOW + KEPT_US) == Kept("g", None, None)


def test_so_many_at_once_are_forgotten_and_none_that_is_good(database: Database) -> None:
    with database.engine.begin() as connection:
        for number in range(AT_ONCE + 2):
            requests.claim(connection, "acme", str(number), "f", NOW + number)
        last = NOW + AT_ONCE + KEPT_US
        assert requests.forget(connection, last) == AT_ONCE
        assert requests.forget(connection, last) == 1
        assert requests.forget(connection, last) == 0
        assert requests.find(connection, "acme", str(AT_ONCE + 1), last) is not None


def test_a_delivery_is_known_for_two_days_beside_keys_that_are_forgotten_after_one(database: Database) -> None:
    key = requests.delivery("pagerduty", "an id")
    assert key not in (requests.delivery("opsgenie", "an id"), requests.delivery("pagerduty", "another"))
    with database.engine.begin() as connection:
        requests.claim(connection, "acme", key, "", NOW)
        requests.claim(connection, "acme", "k", "f", NOW)
        assert requests.forget(connection, NOW + KEPT_US) == 1
        assert requests.forget(connection, NOW + DELIVERY_KEPT_US - 1) == 0
        assert requests.find(connection, "acme", key, NOW + DELIVERY_KEPT_US - 1) is not None
        assert not requests.claim(connection, "acme", key, "", NOW + DELIVERY_KEPT_US - 1)
        assert requests.find(connection, "acme", key, NOW + DELIVERY_KEPT_US) is None
        assert requests.forget(connection, NOW + DELIVERY_KEPT_US) == 1
        assert requests.claim(connection, "acme", key, "", NOW + DELIVERY_KEPT_US)
