"""Choosing: in order, never the same twice, never on what is not known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.respond.decide import choose
from quell.runbook.expr import Absent
from quell.runbook.plan import Decision, Plan


def plan(*conditions: str | None, mode: str = "first") -> Plan:
    decisions = tuple(Decision(id=f"d{n}", when=when, then=("s",)) for n, when in enumerate(conditions, 1))
    return Plan.model_validate(
        {"id": "p", "name": "p", "nodes": [], "decisions": [one.model_dump() for one in decisions],
         "variables": {"x": 0, "y": 0}, "decision_mode": mode}
    )  # fmt: skip


ENV = {"x": 5, "y": 0}
THREE = plan("x > 1", "y > 1", "x > 2", None)


@pytest.mark.parametrize(
    ("tried", "chosen"),
    [((), ("d1",)), (("d1",), ("d3",)), (("d3",), ("d1",)), (("d1", "d3"), ("d4",)), (("d1", "d3", "d4"), ())],
)
def test_in_order_each_once_then_otherwise_then_nobody(tried: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    choice = choose(THREE, ENV, tried)
    assert (choice.recommended, choice.chosen) == (("d1", "d3"), chosen)


def test_all_that_hold_at_once() -> None:
    everything = plan("x > 1", "y > 1", "x > 2", None, mode="all")
    assert choose(everything, ENV, ()).chosen == ("d1", "d3")
    assert choose(everything, ENV, ("d1",)).chosen == ("d3",)
    assert choose(everything, ENV, ("d1", "d3")).chosen == ("d4",)


def test_it_says_why_there_is_no_choice() -> None:
    assert choose(plan("x > 1"), ENV, ("d1",)).reason == "every decision that holds has been tried"
    assert choose(plan("x > 9"), ENV, ()).reason == "no decision holds"


def test_the_reason_is_the_clause_with_its_value() -> None:
    choice = choose(THREE, ENV, ())
    assert "5" in choice.reason
    assert [one.holds for one in choice.explained] == [True, False, True, False]


@pytest.mark.parametrize(
    "condition", ["x > 1", "!(x > 1)", "x == x", "x != 1", "x > 1 || x <= 1", "!(x == 1) && x != 2"]
)
def test_what_is_not_known_never_holds(condition: str) -> None:
    for env in ({"y": 0}, {"x": Absent("it did not answer", "timeout"), "y": 0}):
        choice = choose(plan(condition), env, ())
        assert (choice.recommended, choice.chosen, choice.explained[0].holds) == ((), (), None)


def test_a_condition_that_cannot_be_read_holds_for_nobody() -> None:
    choice = choose(plan("x >", "no.such > 1", "x > 1"), ENV, ())
    assert choice.chosen == ("d3",)
    assert [one.holds for one in choice.explained] == [None, None, True]


@given(st.integers(-3, 3) | st.none(), st.integers(-3, 3), st.sets(st.sampled_from(["d1", "d2", "d3", "d4"])))
def test_nothing_is_chosen_that_does_not_hold_or_was_tried(x: int | None, y: int, tried: set[str]) -> None:
    env: dict[str, Any] = {"y": y} if x is None else {"x": x, "y": y}
    choice = choose(THREE, env, tried)
    holds = {"d1": x is not None and x > 1, "d2": y > 1, "d3": x is not None and x > 2}
    assert list(choice.recommended) == [name for name, yes in holds.items() if yes]
    assert not set(choice.chosen) & tried
    assert set(choice.chosen) <= {*choice.recommended, "d4"}
    if "d4" in choice.chosen:
        assert set(choice.recommended) <= tried


def test_otherwise_is_no_answer_to_what_nobody_knows() -> None:
    """The metrics are away, so no condition can be told: nothing is changed blindly, a page is fine."""
    act = {"kind": "act", "id": "s", "call": {"type": "run_script"}}
    page = {"kind": "notify", "id": "s", "escalate": True}
    blind = {"x": Absent("no answer"), "y": 0}
    for node, chosen in ((act, ()), (page, ("d2",))):
        given = plan("x > 1", None).model_dump()
        choice = choose(Plan.model_validate({**given, "nodes": [node]}), blind, ())
        assert choice.chosen == chosen
    assert (
        "cannot tell whether d1 holds"
        in choose(Plan.model_validate({**plan("x > 1", None).model_dump(), "nodes": [act]}), blind, ()).reason
    )
