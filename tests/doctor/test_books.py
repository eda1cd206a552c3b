"""Runbooks that cannot be meant, cannot run, or may not act; held against how alerts are really routed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.doctor.books import judge, shadow
from quell.doctor.judgement import Judgement
from quell.incident.alert import Alert, AlertStatus
from quell.incident.service import Service, names_of
from quell.intake.route import route
from quell.library import Entry, Library, load_library
from quell.registry import Registry
from quell.respond.limits import Ownership
from quell.runbook.plan import Act, Call, Plan, Trigger
from quell.vocabulary_of import vocabulary_of
from tests.doctor.house import book, shelve

CATALOGUE = {
    "shop": Service(name="shop", aliases=("store",), owner="team-shop"),
    "bank": Service(name="bank", owner="team-bank"),
}
PLACES: list[tuple[str, ...]] = [(), *(names_of(CATALOGUE.values(), name) for name in CATALOGUE)]


def judged(folder: Path, *books: dict[str, Any], **more: Any) -> list[Judgement]:
    library = load_library([Path(shelve(folder, *books))], vocabulary_of(Registry()))
    given_ = {"catalogue": CATALOGUE, "sources": ["alertmanager"], "ownership": Ownership(), **more}
    return list(judge(library, **given_))


def told(found: list[Judgement], check: str) -> list[tuple[str, str, str]]:
    return [(one.looked_at, str(one.level), one.found) for one in found if one.check == check]


PLANS = st.builds(
    lambda name, service, triggers, priority: Plan(
        id=name, name=name, nodes=(), service=service, triggers=tuple(triggers), priority=priority
    ),
    st.sampled_from("abcd"), st.sampled_from([None, "shop", "store", "bank", "ghost"]),
    st.lists(
        st.builds(
            lambda name, labels, matchers: Trigger(type="alert", alert_name=name, labels=labels, matchers=matchers),
            st.sampled_from([None, "Down"]), st.sampled_from([{}, {"region": "eu"}]),
            st.sampled_from([(), ('region=~"eu|us"',), ('region!="us"',), ('region="eu"',)]),
        ), min_size=1, max_size=2,
    ),
    st.sampled_from([0, 0, 5]),
)  # fmt: skip
ALERTS = [
    Alert(source="s", name=name, status=AlertStatus.FIRING, fingerprint="f", labels=labels, received_at=datetime.now(UTC))
    for name in ("Down", "Up")
    for labels in ({}, {"region": "eu"}, {"region": "us"})
]  # fmt: skip


@given(st.lists(PLANS, max_size=4, unique_by=lambda plan: plan.id), st.booleans())
def test_what_is_called_shadowed_is_never_chosen(plans: list[Plan], catalogued: bool) -> None:
    catalogue = CATALOGUE if catalogued else {}
    dead = {one.id for one in plans if all(shadow(one, trigger, plans, catalogue) for trigger in one.triggers)}
    for alert in ALERTS:
        for about in PLACES if catalogued else [()]:
            chosen = route(alert, plans, about).plan
            assert chosen is None or chosen.id not in dead


def test_twins_are_seen(tmp_path: Path) -> None:
    trigger = {"triggers": [{"type": "alert", "alert_name": "Down"}]}
    found = told(judged(tmp_path, book("first", **trigger), book("second", **trigger)), "trigger")
    assert found == [("second", "warning", "first is meant by every alert that it is for")]
    # One that goes first by its priority is not first by its id.
    found = told(judged(tmp_path, book("first", **trigger), book("second", priority=1, **trigger)), "trigger")
    assert found == [("first", "warning", "second is meant by every alert that it is for")]
    # For services of their own they are two.
    other = book("second", service="bank", **trigger)
    ((_, level, _),) = told(judged(tmp_path, book("first", **trigger), other), "trigger")
    assert level == "ok"


def test_a_service_that_nobody_knows_and_no_trigger(tmp_path: Path) -> None:
    found = judged(tmp_path, book("one", service="shpo"), book("two", triggers=[{"type": "manual"}]))
    assert told(found, "trigger") == [
        ("one", "warning", "its service 'shpo' is not in the catalogue: no alert about a known service is for it")
    ]
    assert [one.advice for one in found if one.check == "trigger"] == ["did you mean 'shop'?"]


def test_no_source_and_no_runbook(tmp_path: Path) -> None:
    ((_, level, said),) = told(judged(tmp_path, book("one"), sources=[]), "source")
    assert (level, said) == ("warning", "no source is configured, and alerts start one")
    empty = tmp_path / "empty"
    empty.mkdir()
    ((_, level, said),) = told(judged(empty), "runbook")
    assert (level, said) == ("warning", "there is none")


def test_broken_ones_and_those_with_problems(tmp_path: Path) -> None:
    unsound = book("unsound", decision_tree=[{"condition": "up.critical", "then": ["pgae"]}])
    shelf = Path(shelve(tmp_path, book("sound"), unsound))
    (shelf / "broken.yaml").write_text("id: [")
    (shelf / "remarks.json").write_text(json.dumps({"id": "remarks", "triggers": [{"type": "manual"}]}))
    found = {name: level for name, level, _ in told(judged(tmp_path), "runbook")}
    assert found[str(shelf / "broken.yaml")] == "error"
    assert found["unsound"] == "warning"
    assert found["runbooks"] == "ok"


@pytest.mark.parametrize(
    ("owner", "service", "target", "more", "refused"),
    [
        ("team-shop", "shop", None, {}, ""),
        ("", "shop", None, {}, ""),
        ("team-bank", "shop", None, {}, "it is a runbook of team-bank, and shop is team-shop's"),
        ("team-shop", "shop", "bank", {}, "it is a runbook of team-shop, and bank is team-bank's"),
        ("", None, "bank", {}, "it has no owner, and bank is team-bank's"),
        ("team-shop", "shop", "${alert.service}", {}, ""),
        ("team-shop", "shop", "bank", {"also": {"team-shop": ("bank",)}}, ""),
        ("team-bank", "shop", None, {"enforced": False}, ""),
    ],
)
def test_whose_runbook_may_act(
    owner: str, service: str | None, target: str | None, more: dict[str, Any], refused: str
) -> None:
    config = {"service": target} if target else {}
    act = Act(id="restart", call=Call(type="restart_service", config=config))
    plan = Plan(id="fix", name="fix", nodes=(act,), owner=owner, service=service, triggers=(Trigger(type="manual"),))
    entry = Entry("fix.yaml", "fix", (), plan, runs=True)
    found = list(judge(Library({"fix": plan}, (entry,)), CATALOGUE, [], Ownership(**more)))
    errors = [one for one in found if one.check == "owner" and one.level == "error"]
    assert [one.found.partition(": every")[0] for one in errors] == ([refused] if refused else [])
