"""Slows down whoever guesses: so many wrong guesses from an address, then none is looked at for a while.

Only what can be guessed counts: a token of ours and a session are 256 random bits, so a stranger's guesses from the
same address lock nobody out who has one. Never does: remember more than so many addresses.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from quell.web.answers import Overloaded

MOST = 10
WITHIN_S = 60.0
ROOM = 1024


class Throttle:
    """``clock``: seconds that only go forward."""

    def __init__(
        self, most: int = MOST, within_s: float = WITHIN_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._within_s, self._clock = most, within_s, clock
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises ``Overloaded`` (429) when this address has guessed too often."""
        times = self._failed.get(_network(address))
        if times is None or len(times) < self._most:
            return
        left = times[0] + self._within_s - self._clock()
        if left > 0:
            raise Overloaded("too many wrong tokens; try again later", status=429, retry_after=left)

    def failed(self, address: str) -> None:
        """One wrong guess more."""
        name = _network(address)
        times = self._failed.setdefault(name, deque(maxlen=self._most))
        times.append(self._clock())
        self._failed.move_to_end(name)
        while len(self._failed) > ROOM:
            self._failed.popitem(last=False)

    def __len__(self) -> int:
        return len(self._failed)


def _network(address: str) -> str:
    """Whoever has one IPv6 address has all of its network."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((known, 64), strict=False)) if known.version == 6 else address
