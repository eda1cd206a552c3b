"""Whatever is configured, fires, is agreed to, taken, paused and dies: nothing runs that the guardrails forbid.

Stories are drawn (``stories``), played with real Apps over one database (``play``), and judged by somebody who knows
only the configuration, the effects and the log (``oracle``). A failure prints the shortest story that is left of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from quell.engine import ledger
from quell.respond import frame, guard
from quell.store import queries
from quell.store.database import Database
from tests.fakes.counting import installed
from tests.respond.oracle import judge
from tests.respond.play import Played, Player, told
from tests.respond.stories import STORIES, Act, Book, Step, Story
from tests.servers.postgres import Postgres


@pytest.fixture(scope="module", autouse=True)
def counting() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as folder, installed(Path(folder)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame, "LEASE_POLL_S", 0.05)
        yield


def play(story: Story, database: str = "") -> tuple[list[str], str]:
    """What is wrong with it, and all of it for a person."""
    with tempfile.TemporaryDirectory(prefix="quell-story-") as folder:
        Path(folder, "effects").touch()
        played = Player(story, Path(folder), database).play()
        wrong = judge(played)
        return wrong, "\n".join([*wrong, str(story), *_tales(played)]) if wrong else ""


def _tales(played: Played) -> Iterator[str]:
    database = Database(played.database)
    with database.engine.connect() as connection:
        for one in queries.recent_incidents(connection, "default", limit=500):
            yield f"{one.id} {one.title} of {one.service}: {one.status}, {one.outcome}"
            yield from told(queries.timeline(connection, one.tenant, one.id))
    database.close()


def is_safe(story: Story, database: str = "") -> None:
    wrong, tale = play(story, database)
    assert not wrong, tale


ALIKE: dict[str, Any] = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.timeout(900)  # a failure is made shorter, which takes its time
@settings(max_examples=12, derandomize=True, **ALIKE)
@given(STORIES)
def test_no_story_makes_an_action_run_that_the_guardrails_forbid(story: Story) -> None:
    is_safe(story)


@pytest.mark.long
@pytest.mark.timeout(7200)
@settings(max_examples=300, **ALIKE)
@given(STORIES)
def test_many_stories_on_sqlite(story: Story) -> None:
    is_safe(story)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_many_stories_on_postgresql(postgres_server: Postgres) -> None:
    @settings(max_examples=100, **ALIKE)
    @given(STORIES)
    def safe(story: Story) -> None:
        with postgres_server.fresh_database() as name:
            is_safe(story, postgres_server.url(name))

    safe()


# A rail that is broken is seen.


def _story(*steps: Step, act: Act | None = None, book: Book | None = None, rails: Any = None, **more: Any) -> Story:
    book = book or Book(acts=(act or Act(),))
    return Story(rails=rails or {}, books=(book, book), steps=steps, **more)


def _once(**rule: Any) -> dict[str, Any]:
    return {"actions": {"once": rule}}


FIRE = Step("fire", ("Down", "shop"))
AT_ONCE = Step("fire", ("Down", "shop"), soon=True)
AGAIN = (FIRE, Step("calm", ("Down", "shop")), FIRE)
PAUSE = Step("pause", ("all", "", 60.0))
RULE_ON, INTEND = guard.rule_on, ledger.intend


def _none(*_: Any, **__: Any) -> Iterator[Any]:
    return iter(())


def _without(**changes: Any) -> Callable[..., Any]:
    """The guard, told something else."""
    return lambda question, rails: RULE_ON(replace(question, **changes), rails)


def _unknown_keys(connection: Any, ask: Any, now_us: int) -> None:
    """A ledger that knows none of its keys: each attempt is another one."""
    INTEND(connection, replace(ask, key=f"{ask.key}{now_us}"), now_us)


BROKEN: dict[str, tuple[str, Callable[..., Any], Story]] = {
    "allowed": ("respond.frame.rule_on", _without(action="again"), _story(FIRE, rails=_once(allow=False))),
    "ownership": ("respond.guard._ownership", _none, _story(FIRE, book=Book(owner="post"))),
    "magnitude": ("respond.guard._magnitude", _none, _story(Step("grow", ("shop", 3)), FIRE, rails=_once(max_magnitude=2))),
    "rate": ("respond.permit._rates", lambda *_: (), _story(*AGAIN, rails=_once(rate="1/1h"))),
    "exclusive": ("engine.leases.take", lambda *_, **__: None,
                  _story(AT_ONCE, Step("fire", ("Slow", "shop")), act=Act(lasts_ms=300))),
    "periods": ("respond.guard._when", _none, _story(FIRE, freeze={"on": True, "ask": False})),
    "approval": ("respond.frame.rule_on", _without(approved=True), _story(FIRE, act=Act(people=1))),
    "once": ("respond.perform._told", lambda request, known: known.outcome,
             _story(Step("die_acting", soon=True), FIRE)),
    "paused": ("respond.permit.covering", lambda *_: None, _story(PAUSE, FIRE)),
    "ledger": ("engine.ledger.intend", _unknown_keys, _story(FIRE)),
}  # fmt: skip
"""For each rule what breaks it, and a story that shows it."""


@pytest.mark.parametrize("rule", BROKEN)
def test_what_keeps_a_rule_can_be_broken_and_that_is_seen(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, broken, story = BROKEN[rule]
    monkeypatch.setattr(f"quell.{place}", broken)
    wrong, _ = play(story)
    assert any(one.startswith(f"{rule}: ") for one in wrong), wrong


@pytest.mark.long
@pytest.mark.parametrize("rule", BROKEN)
def test_whole_it_keeps_the_same_rules(rule: str) -> None:
    is_safe(BROKEN[rule][2])
