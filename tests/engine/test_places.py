"""Places: who works holds one, who waits holds none, and a place that was wanted is told when it is free."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quell.engine import places as module
from quell.engine.places import Place, Places


def test_whoever_works_holds_one_and_whoever_waits_none() -> None:
    places = Places(2)
    with places.held("one") as one, places.held("other"):
        assert (places.free, places.taken) == (0, 2)
        with one.left():
            assert places.free == 1
            with one.left():  # a second thing of the same run waits too
                assert places.free == 1
            assert places.free == 1, "the first still waits"
        assert places.free == 0
    assert (places.free, places.taken) == (2, 0)


def test_what_outlives_the_run_that_called_for_it_takes_no_place() -> None:
    places = Places(1)
    with places.held("one") as one:
        waiting = one.left()
        waiting.__enter__()
    assert places.free == 1, "given back once"
    waiting.__exit__(None, None, None)
    assert places.free == 1
    with one.left():
        assert places.free == 1


def test_whoever_goes_on_after_a_wait_is_not_put_off() -> None:
    places = Places(1)
    with places.held("one") as one:
        waiting = one.left()
        waiting.__enter__()
        with places.held("other"):
            waiting.__exit__(None, None, None)
            assert (places.taken, places.free) == (2, 0)
        assert places.free == 0


def test_a_free_place_is_told_when_somebody_wanted_one() -> None:
    told: list[int] = []
    places = Places(1)
    places.on_free = lambda: told.append(places.free)
    with places.held("one"):
        pass
    assert told == []
    with places.held("one"):
        places.want()
    assert told == [1]
    with places.held("one"):
        pass
    assert told == [1], "once"


def test_what_is_promised_counts_until_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(3)
    places.promise(["one", "other"])
    assert (places.free, places.taken) == (1, 0)
    with places.held("one"):
        assert places.free == 1
    assert places.free == 2
    monkeypatch.setattr(module, "FORGOTTEN_AFTER_S", -1.0)
    assert places.free == 3, "what never began is forgotten"


class Story(RuleBasedStateMachine):
    """Whatever begins, waits and ends: the places that are taken are those of who works."""

    def __init__(self) -> None:
        super().__init__()
        self.places = Places(3)
        self.runs: list[tuple[object, Place, list[object]]] = []
        self.outlived: list[object] = []

    @rule()
    def begin(self) -> None:
        held = self.places.held("run")
        self.runs.append((held, held.__enter__(), []))

    @precondition(lambda self: self.runs)
    @rule(n=st.integers(0, 99))
    def wait(self, n: int) -> None:
        _, place, waits = self.runs[n % len(self.runs)]
        waiting = place.left()
        waiting.__enter__()
        waits.append(waiting)

    @precondition(lambda self: self.runs)
    @rule(n=st.integers(0, 99))
    def go_on(self, n: int) -> None:
        _, _, waits = self.runs[n % len(self.runs)]
        if waits:
            waits.pop().__exit__(None, None, None)  # type: ignore[attr-defined]

    @precondition(lambda self: self.runs)
    @rule(n=st.integers(0, 99))
    def end(self, n: int) -> None:
        held, _, waits = self.runs.pop(n % len(self.runs))
        held.__exit__(None, None, None)  # type: ignore[attr-defined]
        self.outlived += waits

    @precondition(lambda self: self.outlived)
    @rule()
    def end_what_outlived(self) -> None:
        self.outlived.pop().__exit__(None, None, None)  # type: ignore[attr-defined]

    @invariant()
    def taken_are_those_who_work(self) -> None:
        assert self.places.taken == sum(not waits for _, _, waits in self.runs)


TestStory = Story.TestCase
