"""Which notifier an address leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from quell.errors import NotFound, Permanent
from quell.respond.destination import destination


@dataclass(frozen=True)
class Kind:
    name: str
    prefixes: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()


@dataclass(frozen=True)
class One:
    type: str
    params: Mapping[str, Any] = field(default_factory=dict)


KINDS = (Kind("slack", ("slack:", "#"), ("slack",)), Kind("log", ("log:",)))
PAYMENTS = One("slack", {"connection": "work", "channel": "#payments", "mention": "@pay"})
SHOP = One("slack", {"connection": "work", "mention": "@shop"})


def asked(to: str, configured: Mapping[str, One] | None = None, connections: Mapping[str, One] | None = None) -> Any:
    return destination(to, KINDS, configured or {}, connections or {})


def test_a_configured_name_comes_first() -> None:
    assert asked("log", {"log": PAYMENTS}) == ("slack", PAYMENTS.params)


@pytest.mark.parametrize("to", ["log", "log:"])
def test_a_kind_that_needs_no_more(to: str) -> None:
    assert asked(to) == ("log", {"target": "log:"})


def test_what_is_behind_the_prefix_names_a_notifier_or_a_connection() -> None:
    both = {"payments": PAYMENTS, "shop": SHOP}
    assert asked("slack:payments", both) == (
        "slack", {"connection": "work", "mention": "@pay", "target": "slack:payments"}
    )  # fmt: skip
    assert asked("#oncall", both, {"oncall": One("slack")}) == ("slack", {"target": "#oncall"})
    assert asked("#oncall", {"shop": SHOP}, {"oncall": One("redis")}) == (
        "slack", {**SHOP.params, "target": "#oncall"}
    )  # fmt: skip


def test_the_only_one_is_meant_and_of_several_none() -> None:
    assert asked("#night", {"shop": SHOP}) == ("slack", {**SHOP.params, "target": "#night"})
    assert asked("#night", {"shop": SHOP, "same": SHOP}).params["mention"] == "@shop"
    with pytest.raises(Permanent, match="2 notifiers of type slack; name one of payments, shop"):
        asked("#night", {"payments": PAYMENTS, "shop": SHOP})


def test_nobody_is_there() -> None:
    for to in ("dba", "", "slacks:x"):
        with pytest.raises(NotFound):
            asked(to)
