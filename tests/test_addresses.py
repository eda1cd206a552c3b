"""What is wrong with an address, and that no sentence about it holds a part of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.addresses import flaw, shown
from quell.errors import InvalidInput, QuellError
from quell.plugins.drivers.supervisord import Config
from quell.ports import Connection, Service
from quell.registry import Registry
from quell.settings import Settings
from tests.plugins.world import probe_over

WRONG = ["hush/er", "hush#er", "hush?er", "hush@er", "hush[er", "hush]er", "hush%zzer", "hush er", "12/hush", "9?hush"]
"""Passwords with characters that an address gives another meaning."""
KINDS = {"postgresql": "postgresql", "mysql": "mysql", "redis": "redis", "prometheus": "http", "loki": "http"}


def wrong_urls() -> Iterator[tuple[str, str]]:
    for kind, scheme in KINDS.items():
        for password in WRONG:
            yield kind, f"{scheme}://app:{password}@127.0.0.1:1/db"
    yield "postgresql", "host=127.0.0.1 password=hush hush2 port=1"


@pytest.mark.parametrize(
    "url",
    ["postgresql://app:s%2Fcr%40t@db.example.org:5432/shop?sslmode=require", "postgresql:///shop", "sqlite:///a b.db",
     "redis://:x@127.0.0.1:6379/0", "unix:///run/redis.sock", "http://u:p@[::1]:80/@x", "https://example.org/@team/x",
     "/var/lib/shop.db", "", "quell.db"],
)  # fmt: skip
def test_addresses_that_say_what_they_mean(url: str) -> None:
    assert flaw(url) is None or url.startswith("sqlite")


@pytest.mark.parametrize(("kind", "url"), list(wrong_urls()))
def test_a_wrong_address_is_told_when_the_settings_load(kind: str, url: str) -> None:
    if url.startswith(("http://app:12/", "http://app:9?")):
        return  # a host, a port and a path or query, as good as any
    settings = Settings.model_validate({"connections": {"shop": {"type": kind, "url": url}}})
    with pytest.raises(InvalidInput) as caught:
        settings.resolved_connections()
    (problem,) = caught.value.problems
    assert problem.path == "connections.shop.url"
    assert "'shop'" in problem.message
    assert "hush" not in str(caught.value)


def test_the_places_to_ask_from_and_the_database_of_quell_itself_are_looked_at_too() -> None:
    url = "postgresql://app:hu/sh@127.0.0.1/db"
    options = {"vantages": {"az-a": url}}
    settings = Settings.model_validate({"connections": {"p": {"type": "postgresql", "options": options}}})
    with pytest.raises(InvalidInput) as caught:
        settings.resolved_connections()
    assert [problem.path for problem in caught.value.problems] == ["connections.p.options.vantages.az-a"]
    with pytest.raises(ValueError, match="the address of the database"):
        Settings.model_validate({"database": url})


CALLS = {
    "postgresql": (("check", "database_query", {"query": "select 1"}), ("action", "run_script", {"sql": "select 1"})),
    "mysql": (("check", "database_query", {"query": "select 1"}), ("action", "run_script", {"sql": "select 1"})),
    "redis": (("check", "redis", {}), ("action", "flush_cache", {"pattern": "a:*"})),
    "prometheus": (("check", "prometheus_query", {"query": "up"}),),
    "loki": (("check", "log_search", {"query": '{a="b"}'}),),
}


@pytest.mark.parametrize(("kind", "url"), list(wrong_urls()))
def test_no_error_holds_a_part_of_a_wrong_address(kind: str, url: str) -> None:
    """As a library would be handed it, past the settings."""

    async def call(of: str, name: str, config: dict[str, object]) -> str:
        plugin = Registry().check(name) if of == "check" else Registry().action(name)
        async with probe_over(Connection("shop", kind, url), timeout_s=3) as probe, asyncio.timeout(5):
            with pytest.raises(QuellError) as caught:
                await (plugin.run if of == "check" else plugin.execute)(plugin.params.model_validate(config), probe)
        return str(caught.value)

    for of, name, config in CALLS[kind]:
        assert "hush" not in asyncio.run(call(of, name, config))


def test_a_driver_does_not_show_the_login_of_its_address() -> None:
    async def state(url: str) -> str:
        config = Config.model_validate({"url": url, "group": "payment"})
        async with probe_over() as probe:
            driver = Registry().driver("supervisord").connect(config, Service(name="payment"), probe)
            with pytest.raises(QuellError) as caught:
                await driver.state()
        return str(caught.value)

    for password in ("hush", *WRONG):
        assert "hush" not in asyncio.run(state(f"http://app:{password}@127.0.0.1:1"))


@given(st.text(max_size=30), st.sampled_from(["postgresql", "http", "redis"]))
def test_what_is_shown_and_said_is_fixed(secret: str, scheme: str) -> None:
    said = flaw(f"{scheme}://app:{secret}@127.0.0.1:1/db")
    assert said is None or said == flaw(f"{scheme}://app:{secret}@127.0.0.2:1/db")
    assert shown(f"{scheme}://app:S3CRET@127.0.0.1:1/db?x=y") == f"{scheme}://127.0.0.1:1/db"
