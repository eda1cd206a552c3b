"""Answers and failures → reach."""

import pytest

from quell.doctor.asked import Failure
from quell.doctor.connections import Reached, judge, known_types, unknown
from quell.doctor.judgement import Level
from quell.errors import ERROR_CLASSES


@pytest.mark.parametrize("error_class", sorted(ERROR_CLASSES))
def test_each_failure_says_what_to_do(error_class: str) -> None:
    judged = judge("redis cache", Failure(error_class, "because"), place="connections.cache")
    assert (judged.level, judged.found) == (Level.ERROR, "because")
    assert judged.advice
    assert "{" not in judged.advice


@pytest.mark.parametrize(
    ("seen", "level", "found"),
    [
        (Reached(0.012, "PostgreSQL 15"), Level.OK, "PostgreSQL 15 in 12 ms"),
        (Reached(0.012), Level.OK, "answers in 12 ms"),
        (Reached(1.5, "PostgreSQL 15"), Level.WARNING, "PostgreSQL 15 in 1500 ms"),
        (Reached(0.1, trouble="answers HTTP 503"), Level.WARNING, "answers HTTP 503, in 100 ms"),
    ],
)
def test_an_answer(seen: Reached, level: Level, found: str) -> None:
    judged = judge("postgresql ledger", seen, place="connections.ledger")
    assert (judged.level, judged.found) == (level, found)


def test_a_type_that_nobody_uses() -> None:
    types = known_types([("slack",), ("webhook", "http")])
    assert {"slack", "webhook", "redis", "loki"} <= types
    judged = unknown("cache", "rediss", types)
    assert (judged.level, judged.advice) == (Level.WARNING, "did you mean 'redis'?")
