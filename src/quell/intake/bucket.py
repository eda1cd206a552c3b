"""A token bucket: so many in so long, and so many at once. Pure. Never does: read a clock, take half of what comes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """``most`` in ``per_s`` seconds; ``burst``: how many it holds, and holds at first."""

    most: int
    per_s: float
    burst: int
    refused: int = 0
    """How many were not taken so far."""
    _level: float = field(init=False)
    _at: float | None = None

    def __post_init__(self) -> None:
        self._level = float(self.burst)

    def take(self, count: int, now: float) -> float:
        """0 when all of them are taken; else none is, and in so many seconds they would be.

        What is more than the bucket holds is taken when it is full, and leaves less than nothing in it: such a delivery
        would never get in otherwise.
        """
        gone = max(0.0, now - self._at) if self._at is not None else 0.0
        self._level = min(float(self.burst), self._level + gone * self.most / self.per_s)
        self._at = now
        needed = min(count, self.burst)
        # Adding up seconds loses the last digit of what they bring.
        if self._level + 1e-6 >= needed:
            self._level -= count
            return 0.0
        self.refused += count
        return (needed - self._level) * self.per_s / self.most
