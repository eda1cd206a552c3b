"""Which service an alert is about: named, an alias, the best match of labels, or nobody's guess."""

from __future__ import annotations

import pytest

from quell.incident.service import Service, resolve_service

PAYMENT = Service(name="payment", aliases=("pay",), match=({"app": "payment"}, {"team": "money", "region": "eu"}))
LEDGER = Service(name="ledger", match=({"team": "money"}, {"app": "ledger"}))
SHOP = Service(name="shop", match=({},))
ALL = (PAYMENT, LEDGER, SHOP)


@pytest.mark.parametrize(
    ("labels", "named", "service"),
    [
        ({}, "payment", "payment"),
        ({}, "pay", "payment"),
        ({"service": "ledger"}, None, "ledger"),
        ({"service": "ledger"}, "shop", "shop"),
        ({"service": "nobody", "app": "ledger"}, "unheard-of", "ledger"),
        ({"app": "payment"}, None, "payment"),
        ({"team": "money"}, None, "ledger"),
        ({"team": "money", "region": "eu"}, None, "payment"),
        ({"app": "payment", "team": "money"}, None, None),
        ({"app": "Payment"}, None, None),
        ({}, None, None),
        ({}, "", None),
    ],
)
def test_resolution(labels: dict[str, str], named: str | None, service: str | None) -> None:
    assert resolve_service(ALL, labels, named)[0] == service
    assert resolve_service(reversed(ALL), labels, named)[0] == service


def test_it_says_why() -> None:
    assert "labels match" in resolve_service(ALL, {"app": "payment"}, None)[1]
    assert "ledger, payment" in resolve_service(ALL, {"app": "payment", "team": "money"}, None)[1]
    assert "no mapping rule" in resolve_service([], {"app": "payment"}, None)[1]


def test_an_empty_rule_matches_nothing() -> None:
    assert resolve_service([SHOP], {"app": "shop"}, None)[0] is None


def test_a_service_of_another_environment_is_not_meant() -> None:
    shop = Service(name="shop", environment="production")
    assert resolve_service([shop], {}, "shop", "production")[0] == "shop"
    assert resolve_service([shop], {}, "shop")[0] == "shop"
    assert resolve_service([shop], {}, "shop", "staging") == (None, "'shop' is not a service of environment 'staging'")


def test_a_name_that_the_catalogue_does_not_have_is_told() -> None:
    why = resolve_service([Service(name="api")], {"service": "apii"}, None)[1]
    said = (
        "the alert names 'apii', which is not in the catalogue, and no mapping rule of the catalogue matches the labels"
    )
    assert why == said
    assert resolve_service([Service(name="api")], {}, None)[1].startswith("no service is named and ")
