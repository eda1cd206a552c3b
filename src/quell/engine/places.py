"""How many runs work at once in a process. A run that waits, for an answer or a time, holds no place.

So an approval that waits all night keeps no new P1 from beginning. A run that goes on after a wait takes its place back
at once, even beyond the limit: what was agreed to is not put off. Never does: choose who is next; the queue does.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar

FORGOTTEN_AFTER_S = 60.0
"""What was to begin and has not by then was rolled back, or begins elsewhere."""


class Place:
    """Of one run and of whatever it waits for in this process. ``left`` while that waits in its turn."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._waits = 0
        self._over = False
        places.take()

    def end(self) -> None:
        """The run has ended; what it had called for may outlive it, and has no place then."""
        if not self._waits:
            self._places.give_back()
        self._over = True

    @contextlib.contextmanager
    def left(self) -> Iterator[None]:
        """While something of the run waits."""
        self._waits += 1
        if self._waits == 1 and not self._over:
            self._places.give_back()
        try:
            yield
        finally:
            self._waits -= 1
            if not self._waits and not self._over:
                self._places.take()


class Places:
    """Of one process. Changed by the event loop, and by the threads that claim work for it."""

    def __init__(self, limit: int) -> None:
        """``limit``: at least 1."""
        self._limit = limit
        self._taken = 0
        self._promised: dict[str, float] = {}
        self._wanted = False
        self.on_free: Callable[[], None] = lambda: None
        """Called in the event loop when a place is free again that was wanted."""

    @property
    def free(self) -> int:
        """How many more may begin; what was claimed and has not begun counts as if it had."""
        young = time.monotonic() - FORGOTTEN_AFTER_S
        for name in [name for name, since in list(self._promised.items()) if since < young]:
            self._promised.pop(name, None)
        return max(0, self._limit - self._taken - len(self._promised))

    @property
    def taken(self) -> int:
        """How many work now."""
        return self._taken

    def promise(self, names: Iterable[str]) -> None:
        """These were claimed for this process, and are about to begin."""
        self._promised |= dict.fromkeys(names, time.monotonic())

    def want(self) -> None:
        """There may be more to do than there are places for: ``on_free`` is to be called."""
        self._wanted = True

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[Place]:
        """A place, from the first step of a run to its last."""
        self._promised.pop(name, None)
        place = Place(self)
        try:
            yield place
        finally:
            place.end()

    def take(self) -> None:
        self._taken += 1

    def give_back(self) -> None:
        self._taken -= 1
        if self._wanted and self.free:
            self._wanted = False
            self.on_free()


_place: ContextVar[Place | None] = ContextVar("_place", default=None)
"""Of the workflow that runs here; None for one that needs none."""
_lent: ContextVar[Place | None] = ContextVar("_lent", default=None)
"""Of whoever waits for the workflow that is about to begin here: it works in the place of that one."""


@contextlib.contextmanager
def working(places: Places, name: str, *, own: bool) -> Iterator[None]:
    """Around one execution: in the place of whoever called for it; else in its ``own``, if it needs one."""
    lent = _lent.get()
    _lent.set(None)
    if lent is None and own:
        with places.held(name) as place:
            _place.set(place)
            yield
    else:
        _place.set(lent)
        yield


@contextlib.contextmanager
def lending() -> Iterator[None]:
    """What is begun in here in this process works in the place of the workflow that runs."""
    token = _lent.set(_place.get())
    try:
        yield
    finally:
        _lent.reset(token)


def place_left() -> contextlib.AbstractContextManager[None]:
    """While the workflow that runs here waits for somebody or something else."""
    place = _place.get()
    return contextlib.nullcontext() if place is None else place.left()
