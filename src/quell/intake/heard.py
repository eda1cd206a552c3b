"""What came of each source since it was last written down, in memory: a webhook costs no transaction for it.

Never does: write, know more names than there are sources.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class News:
    """Of one source. ``came``: when it was last read; ``lives``: when that was a sign of life; by the clock of whoever
    heard it."""

    deliveries: int = 0
    alerts: int = 0
    refused: int = 0
    came: float | None = None
    lives: float | None = None

    def before(self, later: News) -> News:
        """Both as one."""
        return News(
            self.deliveries + later.deliveries, self.alerts + later.alerts, self.refused + later.refused,
            later.came if later.came is not None else self.came,
            later.lives if later.lives is not None else self.lives,
        )  # fmt: skip


class Heard:
    """``clock``: seconds that only go forward."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._news: dict[str, News] = {}

    def came(self, source: str, alerts: int, *, alive: bool) -> None:
        """A delivery that was read."""
        news = self._news.setdefault(source, News())
        news.deliveries += 1
        news.alerts += alerts
        news.came = self.clock()
        if alive:
            news.lives = news.came

    def lived(self, source: str) -> None:
        """What was counted when it came turns out to be a sign of life."""
        news = self._news.setdefault(source, News())
        news.came = news.lives = self.clock()

    def refused(self, source: str) -> None:
        self._news.setdefault(source, News()).refused += 1

    def lives(self, source: str) -> bool:
        """Whether a sign of life waits to be written down."""
        news = self._news.get(source)
        return news is not None and news.lives is not None

    def take(self) -> dict[str, News]:
        """All of it; whoever cannot write it down puts it back."""
        news, self._news = self._news, {}
        return news

    def put_back(self, news: dict[str, News]) -> None:
        for source, one in news.items():
            self._news[source] = one.before(self._news.get(source, News()))
