"""Addresses in a config: found by what the parameters declare, and filled so that a value stays in its part."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.plugins.checks.http_check import Params
from quell.respond.look import Unfilled, params_of
from quell.runbook.places import climbs, in_url, url_places


def url_of(text: str, value: Any) -> str:
    params = params_of(Params, {"url": text}, {"alert": {"labels": {"id": value}}, "base": "http://h:1/api"})
    return str(params.targets[0].url)


def test_the_places_are_those_that_the_parameters_declare() -> None:
    config = {"url": "a", "urls": ["b", {"url": "c", "name": "d", "headers": {"url": "e"}}], "headers": {"url": "f"}}
    is_url = url_places(Params, config)
    assert [place for place in ("url", "urls[0]", "urls[1].url") if is_url(place)] == ["url", "urls[0]", "urls[1].url"]
    assert not any(map(is_url, ("urls[1].name", "urls[1].headers.url", "headers.url", "urls", "nothing")))


@pytest.mark.parametrize(
    ("text", "value", "filled"),
    [
        ("http://h/orders/${alert.labels.id}", "../admin?drop=1#", "http://h/orders/..%2Fadmin%3Fdrop%3D1%23"),
        ("http://h/?q=${alert.labels.id}&x=1", "a&b=c", "http://h/?q=a%26b%3Dc&x=1"),
        ("http://h/${alert.labels.id}", 7.0, "http://h/7"),
        ("http://${alert.labels.id}/health", "shop-1.local:8080", "http://shop-1.local:8080/health"),
        ("http://${alert.labels.id}/health", "evil.org/x?", "http://evil.org%2Fx%3F/health"),
        ("http://h@${alert.labels.id}/health", "evil.org@x", "http://h@evil.org%40x/health"),
        ("${alert.labels.id}", "http://h/a?b#c", "http://h/a?b#c"),
        ("${base}/orders/${alert.labels.id}", "a/b", "http://h:1/api/orders/a%2Fb"),
    ],
)
def test_a_value_stays_in_the_part_of_the_address_that_it_stands_in(text: str, value: Any, filled: str) -> None:
    assert url_of(text, value) == filled


@pytest.mark.parametrize("value", ["..", "."])
def test_a_value_that_would_climb_is_refused(value: str) -> None:
    with pytest.raises(Unfilled, match="url: a value would change the path"):
        url_of("http://h/orders/${alert.labels.id}/x", value)
    assert url_of("http://h/a/../b/${alert.labels.id}", "c") == "http://h/a/../b/c"


def test_other_parameters_are_filled_as_they_are() -> None:
    params = params_of(Params, {"url": "http://h", "headers": {"x": "a ${v}"}}, {"v": "b/c"})
    assert params.headers == {"x": "a b/c"}


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
def test_no_value_changes_another_part(value: str) -> None:
    url = httpx.URL("http://h:1/orders/" + in_url("http://h:1/orders/", value) + "/x?y=z")
    assert (url.host, url.port, url.query, url.fragment) == ("h", 1, b"y=z", "")
    assert climbs(f"http://h/orders/{in_url('http://h/orders/', value)}/x") or url.raw_path.count(b"/") == 3
