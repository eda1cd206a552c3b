"""What came of each source: counted, handed over once, and put back when it could not be written down."""

from __future__ import annotations

from quell.intake.heard import Heard, News


def test_it_is_counted_and_handed_over_once() -> None:
    now = 10.0
    heard = Heard(lambda: now)
    heard.came("prometheus", 2, alive=True)
    now = 11.0
    heard.came("prometheus", 1, alive=False)
    heard.refused("grafana")
    assert heard.lives("prometheus")
    assert not heard.lives("grafana")
    assert heard.take() == {"prometheus": News(2, 3, 0, 11.0, 10.0), "grafana": News(refused=1)}
    assert heard.take() == {}
    assert not heard.lives("prometheus")


def test_what_is_put_back_stands_before_what_came_meanwhile() -> None:
    now = 10.0
    heard = Heard(lambda: now)
    heard.came("a", 1, alive=True)
    heard.came("b", 1, alive=True)
    taken, now = heard.take(), 12.0
    heard.came("a", 5, alive=False)
    heard.put_back(taken)
    assert heard.take() == {"a": News(2, 6, 0, 12.0, 10.0), "b": News(1, 1, 0, 10.0, 10.0)}
