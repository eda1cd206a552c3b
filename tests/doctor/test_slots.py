"""Slots of a PostgreSQL: tables of what is told, and a property that plays clients who take all that they may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.doctor.judgement import Level
from quell.doctor.slots import PER_PROCESS, Slots, judge, judge_capacity


def slots(**more: int | bool | None) -> Slots:
    told = {"role": "quell", "most": 100, "for_superusers": 3, "reserved": 0, "used": 10, "own": 2}
    return Slots(**{**told, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "left"),
    [
        (slots(), 87),
        (slots(used=97), 0),
        (slots(used=97, superuser=True), 3),
        (slots(used=95, reserved=5), 0),
        (slots(used=95, reserved=5, may_use_reserved=True), 2),
        (slots(own_limit=5), 3),
        (slots(own_limit=2), 0),
        (slots(own_limit=2, superuser=True), 90),
        (slots(most=2, for_superusers=3), 0),
    ],
)
def test_how_many_are_left(seen: Slots, left: int) -> None:
    assert seen.left == left


@st.composite
def servers(draw: st.DrawFn) -> tuple[Slots, list[int]]:
    """A server, and what each other role may take (-1: all that there is)."""
    others = draw(st.lists(st.integers(-1, 60), max_size=4))
    kept, reserved = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    return slots(
        most=draw(st.integers(kept + reserved + 1, 120)), for_superusers=kept, reserved=reserved, used=1, own=1,
        superuser=draw(st.booleans()), may_use_reserved=draw(st.booleans()),
        unlimited=sum(one < 0 for one in others), limited=sum(one for one in others if one >= 0),
    ), others  # fmt: skip


@given(servers())
def test_a_slot_that_stays_is_there_when_all_others_took_theirs(made: tuple[Slots, list[int]]) -> None:
    seen, others = made
    taken = 0
    for limit in others:
        taken += min(seen.ordinary - taken, seen.ordinary if limit < 0 else limit)
    if seen.stays:
        after = slots(
            most=seen.most, for_superusers=seen.for_superusers, reserved=seen.reserved, used=taken, own=0,
            superuser=seen.superuser, may_use_reserved=seen.may_use_reserved,
        )  # fmt: skip
        assert after.left >= 1


@pytest.mark.parametrize(
    ("seen", "advice"),
    [
        (slots(reserved=None), "give every other role a CONNECTION LIMIT, together below 97"),
        (slots(), "set reserved_connections = 3, restart it, grant pg_use_reserved_connections to quell; or give"),
        (slots(reserved=4), "grant pg_use_reserved_connections to quell; or give every other role"),
        (slots(may_use_reserved=True), "set reserved_connections = 3 and restart it; or give every other role"),
    ],
)
def test_none_stays(seen: Slots, advice: str) -> None:
    left, stays = judge("pg", seen)
    assert left.level is Level.OK
    assert stays.level is Level.WARNING
    assert stays.advice.startswith(advice)


@pytest.mark.parametrize(
    "seen",
    [
        slots(superuser=True), slots(reserved=2, may_use_reserved=True), slots(unlimited=0, limited=96),
    ],
)  # fmt: skip
def test_one_stays(seen: Slots) -> None:
    assert all(one.level is Level.OK for one in judge("pg", seen))


def test_few_left_is_a_warning() -> None:
    assert next(iter(judge("pg", slots(used=92)))).level is Level.WARNING


@given(st.integers(0, 300), st.integers(0, 100), st.integers(0, 60), st.integers(-1, 100))
def test_capacity_is_counted_in_processes(most: int, others: int, own: int, limit: int) -> None:
    seen = slots(most=most, used=others + own, own=own, own_limit=limit)
    judged = judge_capacity("own", seen)
    room = min(most - 3 - others, limit if limit >= 0 else most)
    assert (judged.level is Level.OK) == (room >= PER_PROCESS)
    assert f"room for {max(0, room) // PER_PROCESS} process" in judged.found
