"""Whose turn it is: limits hold, the most severe goes first, nobody is held up by a limit that is not theirs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.respond.concurrency import MOST, Share, Shares, State, Turn, asked_of, moves, overdue, why_queued
from quell.runbook.plan import Plan, RateLimit

S = 1_000_000
TURN = Turn("i", 1, "default", "down", State.QUEUED, 3, 0, 0, 60 * S, 2, 3)

LIMITS = {"down": (1, 2), "slow": (3, 0), "full": (MOST, 5)}
"""Runbook → how many work, how many wait."""


@st.composite
def _turn(draw: st.DrawFn, number: int) -> Turn:
    runbook = draw(st.sampled_from(sorted(LIMITS)))
    most, size = LIMITS[runbook]
    return Turn(
        f"i{number}", 1, "default", runbook, draw(st.sampled_from(State)), draw(st.integers(1, 4)),
        draw(st.integers(0, 5)), 0, 60 * S, most, size,
    )  # fmt: skip


TURNS = st.integers(0, 30).flatmap(lambda count: st.tuples(*(_turn(number) for number in range(count))))
SHARES = st.none() | st.builds(Share, max_concurrent=st.none() | st.integers(1, 8), queue_size=st.integers(0, 8))


@given(TURNS, SHARES)
def test_no_more_begin_than_may(turns: tuple[Turn, ...], share: Share | None) -> None:
    """Of a runbook and of the tenant; whoever came back from waiting works on, even beyond that."""
    todo = moves(turns, share)
    works, begun = Counter(one.runbook for one in turns if one.works), Counter(one.runbook for one in todo.begin)
    for runbook, (most, _) in LIMITS.items():
        assert begun[runbook] <= max(0, most - works[runbook])
    if share and share.max_concurrent:
        assert begun.total() <= max(0, share.max_concurrent - works.total())


@given(TURNS, SHARES)
def test_whoever_is_left_out_could_not_begin(turns: tuple[Turn, ...], share: Share | None) -> None:
    """One more of those that wait would break a limit: no place stays empty."""
    todo = moves(turns, share)
    after = [replace(one, state=State.WORKING) if one in todo.begin else one for one in turns]
    works = Counter(one.runbook for one in after if one.works)
    for one in after:
        if one.state is State.QUEUED:
            full = works[one.runbook] >= one.most
            assert full or (share and share.max_concurrent and works.total() >= share.max_concurrent)


@given(TURNS, SHARES)
def test_the_most_severe_goes_first_and_the_last_of_the_queue_has_no_place(
    turns: tuple[Turn, ...], share: Share | None
) -> None:  # fmt: skip
    todo = moves(turns, share)
    full = [one for one, _ in todo.full]
    waits = [one for one in turns if one.state is State.QUEUED and one not in todo.begin and one not in full]
    for runbook, (_, size) in LIMITS.items():
        own = [one for one in waits if one.runbook == runbook]
        assert len(own) <= size
        for first in (one for one in todo.begin if one.runbook == runbook):
            assert all((first.priority, first.since) <= (one.priority, one.since) for one in own)
    if share and share.max_concurrent:
        assert len(waits) <= share.queue_size
    assert not set(full) & set(todo.begin)
    assert all(one.state is State.QUEUED for one in (*todo.begin, *full))


def test_a_runbook_that_is_full_holds_up_no_other() -> None:
    busy = [replace(TURN, incident=f"w{number}", state=State.WORKING) for number in range(2)]
    other = replace(TURN, incident="o", runbook="else", priority=4, since=9)
    assert moves([*busy, TURN, other], None).begin == (other,)


def test_why_somebody_waits_and_why_there_is_no_place() -> None:
    busy = [replace(TURN, incident=f"w{number}", state=State.WORKING) for number in range(2)]
    assert why_queued(TURN, busy, None) == "2 incidents of runbook down are worked on, which is the most"
    before = replace(TURN, incident="a", priority=1)
    assert why_queued(TURN, [*busy, before], None).endswith("which is the most; 1 waits before it")
    elsewhere = [replace(one, runbook="else") for one in busy]
    assert why_queued(TURN, elsewhere, Share(max_concurrent=2)) == (
        "2 incidents of tenant default are worked on, which is the most"
    )
    queue = [replace(TURN, incident=f"q{number}", since=number) for number in range(4)]
    assert [(turn.incident, why) for turn, why in moves([*busy, *queue], None).full] == [
        ("q3", "the queue of runbook down is full: 2 of its incidents are worked on, and 3 wait")
    ]
    assert [(turn.incident, why) for turn, why in moves(queue[:2], Share(max_concurrent=1, queue_size=0)).full] == [
        ("q1", "the queue of tenant default is full: 1 of its incidents is worked on, and 0 wait")
    ]


@pytest.mark.parametrize(
    ("turn", "now", "is_over"),
    [
        (TURN, 60 * S, False),
        (TURN, 60 * S + 1, True),
        (replace(TURN, state=State.WORKING, since=50 * S, worked=30 * S), 80 * S, False),
        (replace(TURN, state=State.WORKING, since=50 * S, worked=30 * S), 80 * S + 1, True),
        (replace(TURN, state=State.AWAY), 900 * S, False),
        (replace(TURN, state=State.OVER), 900 * S, False),
    ],
)
def test_when_its_time_is_over(turn: Turn, now: int, is_over: bool) -> None:
    """What waits for a person has all the time there is, and what is over is so once."""
    assert overdue(turn, now) is is_over


def test_what_limits_a_run() -> None:
    plan = Plan(id="down", name="Down", nodes=())
    assert asked_of(plan, None) is None
    own = plan.model_copy(update={"rate_limit": RateLimit(max_concurrent=3, queue_size=10, timeout_seconds=1800)})
    both = asked_of(own, Shares(max_concurrent=9, timeout_seconds=60))
    assert both is not None
    assert (both.most, both.size, both.timeout) == (3, 10, 60 * S)
    tenant = asked_of(plan, Share(max_concurrent=9))
    assert tenant is not None
    assert (tenant.most, tenant.size, tenant.timeout) == (MOST, MOST, 1800 * S)


def test_a_tenants_own_share_is_in_place_of_everybodys() -> None:
    shares = Shares.model_validate(
        {"max_concurrent": 5, "tenants": {"acme": {"max_concurrent": 1, "timeout_seconds": "5m"}}}
    )
    assert (shares.of("acme").max_concurrent, shares.of("acme").timeout_seconds) == (1, 300.0)
    assert shares.of("other").max_concurrent == 5
