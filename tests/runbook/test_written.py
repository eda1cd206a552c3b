"""What is found to be wrong only later still has its line."""

from quell.errors import Problem
from quell.runbook.source import load
from quell.runbook.written import Written

TEXT = """\
sources:
  prod:
    type: alertmanager
    labels: {a.b: x}
rules:
- {action: restart}
- {action: scale}
"""


def placed(path: str) -> tuple[str, int, int]:
    (problem,) = WRITTEN.located([Problem("wrong", path=path)])
    return problem.file, problem.line, problem.column


WRITTEN = Written.of(load(TEXT, "quell.yaml")[0])


def test_it_has_the_place_of_what_is_wrong() -> None:
    assert placed("sources.prod.type") == ("quell.yaml", 3, 11)
    assert placed("rules[1].action") == ("quell.yaml", 7, 12)
    assert placed("sources.prod.labels.a.b") == ("quell.yaml", 4, 19)


def test_or_of_the_closest_part_around_it() -> None:
    assert placed("sources.prod.expect.every") == ("quell.yaml", 3, 5)
    assert placed("rules[1].parameters[3].name")[1] == 7
    assert placed("nothing.like.it") == ("quell.yaml", 0, 0)
    assert placed("") == ("quell.yaml", 0, 0)


def test_a_place_that_is_known_stays_and_without_a_file_there_is_none() -> None:
    known = Problem("wrong", file="book.yaml", line=9, path="sources.prod.type")
    assert WRITTEN.located([known]) == [known]
    unplaced = Problem("wrong", path="sources.prod.type")
    assert Written().located([unplaced]) == [unplaced]
