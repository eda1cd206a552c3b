"""Conditions per second, on one core, against plain Python saying the same."""

from __future__ import annotations

import time
from typing import Any

from quell.runbook.expr import compile, parse_type

TEXT = "value >= 70 && value < 90"


def rate(work: Any, seconds: float = 0.5) -> float:
    """Calls per second, the best of five rounds."""
    best = 0.0
    for _ in range(5):
        count, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds / 5:
            for _ in range(1000):
                work()
            count += 1000
        best = max(best, count / spent)
    return best


def measure() -> dict[str, Any]:
    program = compile(TEXT, {"value": parse_type("number")})
    env = {"value": 80.0}
    ours = rate(lambda: program.holds(env))
    python = rate(lambda: 70 <= env["value"] < 90)
    return {"evaluations_per_s": round(ours), "ratio_to_plain_python": round(ours / python, 2)}
