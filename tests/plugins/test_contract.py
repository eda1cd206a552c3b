"""Every shipped plug-in keeps the promises that `quell.testing` asks of anybody's."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from redis import Redis as Client

from quell import plugins
from quell.registry import Registry
from quell.testing import KINDS, Play, Promise, promises, unique_names
from tests.plugins.plays import AT_HOME, LOCAL, MORE_PLAYS, PLAYS, on_redis
from tests.servers.redis import Redis


def _shipped() -> Iterator[tuple[str, str]]:
    for kind in KINDS:
        package = importlib.import_module(f"{plugins.__name__}.{kind}")
        yield from ((kind, one.name) for one in pkgutil.iter_modules(package.__path__) if not one.name.startswith("_"))


SHIPPED = list(_shipped())
PLAYED = [(kind, name) for kind, name in SHIPPED if kind in ("checks", "actions", "notifiers", "schedules")]


def _promises() -> Iterator[Promise]:
    for kind, name in SHIPPED:
        module = importlib.import_module(f"{plugins.__name__}.{kind}.{name}")
        yield from promises(kind, module, play=PLAYS.get((kind, name)))
        said = {promise.text for promise in promises(kind, module)}
        for place, play in MORE_PLAYS.items():
            if place[:2] == (kind, name):
                more = promises(kind, module, play=play, name=f"{name} ({place[2]})")
                yield from (promise for promise in more if promise.text not in said)


@pytest.mark.parametrize("promise", list(_promises()), ids=str)
def test_it_keeps_its_promises(promise: Promise) -> None:
    promise.keep()


def _dry_run(kind: str, name: str, play: Play) -> Promise:
    module = importlib.import_module(f"{plugins.__name__}.{kind}.{name}")
    (promise,) = (one for one in promises(kind, module, play=play) if one.text == "dry_run: changes nothing")
    return promise


@pytest.mark.parametrize(("kind", "name"), AT_HOME, ids=[name for _, name in AT_HOME])
def test_a_dry_run_leaves_every_byte(kind: str, name: str) -> None:
    _dry_run(kind, name, AT_HOME[kind, name]).keep()


@pytest.mark.parametrize(
    ("name", "config"),
    [("drain_queue", {"queue": "jobs"}), ("flush_cache", {"pattern": "page:*"})],
    ids=["drain", "flush"],
)
def test_a_dry_run_leaves_every_key(name: str, config: dict[str, str], redis_server: Redis) -> None:
    with redis_server.client() as client:
        client.rpush("jobs", "a", "b")
        client.set("page:1", "cached")

        def state() -> dict[str, bytes]:
            with Client.from_url(redis_server.url()) as raw:
                return {str(key): raw.dump(key) for key in sorted(raw.keys("*"))}

        _dry_run("actions", name, on_redis(redis_server.url(), config, state)).keep()


def test_names_are_given_once() -> None:
    unique_names(Registry()).keep()


@pytest.mark.parametrize(("kind", "name"), PLAYED, ids=[name for _, name in PLAYED])
def test_it_is_called_against_a_hostile_server_or_talks_to_no_network(kind: str, name: str) -> None:
    assert ((kind, name) in PLAYS) != ((kind, name) in LOCAL), "say in plays.py how it is led there, or what it touches"


def test_no_play_is_left_over() -> None:
    assert {*PLAYS, *LOCAL, *((kind, name) for kind, name, _ in MORE_PLAYS)} <= set(SHIPPED)
