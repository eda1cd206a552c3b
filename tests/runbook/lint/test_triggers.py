"""What a trigger asks of alerts that none can have: each with its place, and nothing told of what may be right."""

from __future__ import annotations

import pytest

from quell.errors import Problem
from quell.registry import Registry
from quell.runbook.compile import compile_text, same_triggers
from quell.runbook.plan import Plan
from quell.vocabulary_of import vocabulary_of
from tests.runbook.words import WORDS

BOOK = "id: down\ntriggers:\n- {type: manual}\n- {type: alert, ASKED}\nescalation: {primary: 'log:'}\n"
RULES = {"unknown-severity", "unknown-source", "matchers", "never-matches", "matches-all", "idle-key", "wrong-value"}


def problems(asked: str, sources: tuple[str, ...] | None = ("prod", "grafana-eu")) -> list[Problem]:
    (one,) = compile_text(BOOK.replace("ASKED", asked), "a.yaml", vocabulary_of(Registry(), sources=sources))
    return [problem for problem in one.problems if problem.rule in RULES]


@pytest.mark.parametrize(
    "asked",
    ["severity: P1", "severity: [critical, Warning, p3]", "source: prod", "source: [prod, alertmanager]",
     "source: metric_threshold, alert_name: Down", "matchers: 'env=~\"prod|stage\", team!=core'",
     "matchers: ['env=prod', 'env=~\"p.*\"', 'env!=dev']", "labels: {env: prod}, matchers: 'env!=dev'",
     "alert_name: Down, matchers: 'env!=dev'", "alert_name: HighLatency, matchers: 'alertname=~\"High.*\"'",
     "matchers: 'zone=\"\", env=prod'"],
)  # fmt: skip
def test_what_may_be_asked(asked: str) -> None:
    assert problems(asked) == []


@pytest.mark.parametrize(
    ("asked", "rule", "path", "found", "near"),
    [
        ("severity: critcal", "unknown-severity", "triggers[1].severity", "'critcal'", "critical"),
        ("severity: [P1, P5]", "unknown-severity", "triggers[1].severity[1]", "'P5'", None),
        ("source: prd", "unknown-source", "triggers[1].source", "'prd'", "prod"),
        ("source: [prod, grafana-us]", "unknown-source", "triggers[1].source[1]", "'grafana-us'", "grafana-eu"),
        ("matchers: 'env==prod'", "matchers", "triggers[1].matchers", "env==prod", None),
        ("matchers: ['env=prod', 'team=~\"a(\"']", "matchers", "triggers[1].matchers[1]", 'team=~"a("', None),
        ("matchers: 'env=~\"(?=a)\"'", "matchers", "triggers[1].matchers", 'env=~"(?=a)"', None),
        ("labels: {env: prod}, matchers: 'env=dev'", "never-matches", "triggers[1].matchers", None, None),
        ("labels: {env: prod}, matchers: ['a=b', 'env!~\"p.*\"']", "never-matches", "triggers[1].matchers[1]", None, None),
        ("matchers: ['env=prod', 'env=dev']", "never-matches", "triggers[1].matchers[1]", None, None),
        ("matchers: ['env=~\"d.*\"', 'env=prod']", "never-matches", "triggers[1].matchers[1]", None, None),
        ("alert_name: Down, matchers: 'alertname=~\"Up.*\"'", "never-matches", "triggers[1].matchers", None, None),
        ("source: prod, matchers: 'source=dev'", "never-matches", "triggers[1].matchers", None, None),
    ],
)  # fmt: skip
def test_what_no_alert_can_have(asked: str, rule: str, path: str, found: str | None, near: str | None) -> None:
    (one,) = problems(asked)
    assert (one.rule, one.path, one.found, one.nearest, one.severity) == (rule, path, found, near, "error")
    assert (one.file, one.line) == ("a.yaml", 4)
    assert one.column > len("- {type: alert, ")


def test_what_means_nearly_every_alert_is_a_warning() -> None:
    (one,) = problems("matchers: ['env!=dev', 'zone=~\".*\"']")
    assert (one.rule, one.path, one.severity) == ("matches-all", "triggers[1].matchers", "warning")


def test_without_a_configuration_any_source_may_be_there() -> None:
    assert problems("source: prd", None) == []
    assert [one.rule for one in problems("severity: P7", None)] == ["unknown-severity"]


def test_nothing_starts_a_manual_trigger_by_its_severity() -> None:
    text = BOOK.replace("{type: manual}", "{type: manual, severity: P1, matchers: a=b, source: x}").replace(
        "ASKED", "alert_name: A"
    )
    (one,) = compile_text(text, "a.yaml", WORDS)
    assert [(told.rule, told.path, told.severity) for told in one.problems] == [
        ("idle-key", f"triggers[0].{key}", "warning") for key in ("severity", "matchers", "source")
    ]


def test_a_source_that_is_away_breaks_no_runbook_and_a_word_that_means_nothing_does() -> None:
    words = vocabulary_of(Registry(), sources=())
    (one,) = compile_text(BOOK.replace("ASKED", "source: prd"), "a.yaml", words)
    assert one.runnable
    (one,) = compile_text(BOOK.replace("ASKED", "severity: urgent"), "a.yaml", words)
    assert not one.runnable
    (one,) = compile_text(BOOK.replace("ASKED", "matchers: urgent"), "a.yaml", words)
    assert not one.runnable


# All of them together.


def book(name: str, asked: str, more: str = "") -> Plan:
    text = BOOK.replace("id: down", f"id: {name}\n{more}").replace("ASKED", asked)
    (one,) = compile_text(text, f"{name}.yaml", vocabulary_of(Registry()))
    assert one.plan is not None
    return one.plan


ASKED = "alert_name: Down, labels: {a: b, c: d}, matchers: ['x=y', 'z!=y'], severity: [P1, warning]"
LIKE = "severity: [P3, critical], matchers: ['z!=y', 'x=y'], labels: {c: d, a: b}, alert_name: Down"


def test_two_that_only_their_ids_tell_apart_are_told_with_both_places() -> None:
    for plans in ([book("a", ASKED), book("b", LIKE)], [book("b", LIKE), book("a", ASKED)]):
        (one,) = same_triggers(plans)
        assert (one.rule, one.severity, one.file, one.line, one.path) == (
            "same-trigger",
            "warning",
            "b.yaml",
            5,
            "triggers[1]",
        )
        assert one.message == "the same alerts mean runbook 'a' (a.yaml:1); only that its id sorts first decides"


@pytest.mark.parametrize(
    ("asked", "more"),
    [(LIKE.replace("x=y", "x=z"), ""), (LIKE, "priority: 1"), (LIKE, "service: shop"), (LIKE.replace("P3", "P4"), ""),
     (LIKE + ", source: prod", "")],
)  # fmt: skip
def test_any_other_difference_is_one(asked: str, more: str) -> None:
    assert same_triggers([book("a", ASKED), book("b", asked, more)]) == []
