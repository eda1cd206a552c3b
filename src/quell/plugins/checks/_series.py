"""Series of a metric as facts: one number for each series, then facts for a set of them.

Never does: leave NaN or an infinity in a fact; take no series for zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quell.ports import Missing

_NO_SERIES = Missing("the query gives no series")
_NAN = "the result is NaN; a ratio without any traffic, say"
_KSM_STATES = frozenset({"true", "false", "unknown"})
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Trace:
    """One series: its labels and its samples as (epoch seconds, value), oldest first. ``flaw``: why it has none."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One series as one number; None with the reason when it is not one."""

    labels: Mapping[str, str]
    value: float | None
    flaw: str = ""


def _p95(values: Sequence[float]) -> float:
    """Linear between the closest ranks, as PromQL's quantile_over_time."""
    ranked = sorted(values)
    place = 0.95 * (len(ranked) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (ranked[high] - ranked[low]) * (place - low)


_OVER_VALUES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": lambda values: values[-1], "min": min, "max": max, "sum": math.fsum,
    "avg": lambda values: math.fsum(values) / len(values), "count": lambda values: float(len(values)), "p95": _p95,
    "delta": lambda values: values[-1] - values[0],
}  # fmt: skip


def measure(trace: Trace, over_time: str, scale: float) -> Sample:
    """A series' samples as one number. ``rate`` is the change per second; a counter that restarts needs PromQL's."""
    if trace.flaw:
        return Sample(trace.labels, None, trace.flaw)
    points = [point for point in trace.points if not math.isnan(point[1])]
    if not points:
        return Sample(trace.labels, None, _NAN if trace.points else "the series has no samples")
    values = [value for _, value in points]
    if over_time in ("delta", "rate") and len(points) < 2:
        return Sample(trace.labels, None, f"{over_time} needs two samples; there is one")
    if over_time == "rate":
        result = (values[-1] - values[0]) / (points[-1][0] - points[0][0])
    else:
        result = _OVER_VALUES[over_time](values)
    if not math.isfinite(result):
        return Sample(trace.labels, None, f"the result is {'+' if result > 0 else '-'}Inf; a division by zero, say")
    return Sample(trace.labels, result if over_time == "count" else result * scale)


def group(
    samples: Sequence[Sample], across: str | None, ready_value: float, per: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Missing]]:
    """The facts of a set of series, and why others are missing."""
    found: dict[str, Any] = {"series_count": len(samples), "value_count": len(samples), "labels": {}}
    missing: dict[str, Missing] = {}
    _count_ready(samples, ready_value, found, missing)
    if not samples:
        missing |= dict.fromkeys(("value", "first", "min", "max", "avg", "sum"), _NO_SERIES)
        return found, missing
    if len(samples) == 1:
        found["labels"] = dict(samples[0].labels)
    if samples[0].value is None:
        missing["first"] = Missing(samples[0].flaw)
    else:
        found["first"] = samples[0].value
    _spread(samples, found, missing)
    _single(samples, across, per, found, missing)
    return found, missing


def _spread(samples: Sequence[Sample], found: dict[str, Any], missing: dict[str, Missing]) -> None:
    """min, max, avg, sum over the series that have a value; one infinity spoils them all, NaN only itself."""
    values = [sample.value for sample in samples if sample.value is not None]
    spoiled = next((sample.flaw for sample in samples if sample.value is None and "NaN" not in sample.flaw), "")
    for name in ("min", "max", "avg", "sum"):
        if spoiled or not values:
            missing[name] = Missing(spoiled or samples[0].flaw)
        else:
            result = _OVER_VALUES[name](values)
            if math.isfinite(result):
                found[name] = result
            else:
                missing[name] = Missing("the sum is too large")


def _single(
    samples: Sequence[Sample], across: str | None, per: Sequence[str], found: dict[str, Any],
    missing: dict[str, Missing],
) -> None:  # fmt: skip
    if across == "count":
        found["value"] = float(len(samples))
    elif len(samples) == 1:
        only = samples[0]
        if only.value is None:
            missing["value"] = Missing(only.flaw)
        else:
            found["value"] = only.value
    elif across is not None:
        if across in found:
            found["value"] = found[across]
        else:
            missing["value"] = missing[across]
    elif per:
        missing["value"] = Missing(f"{len(samples)} series, told apart by {', '.join(per)}: each has its own value")
    else:
        missing["value"] = Missing(f"{len(samples)} series ({_differ(samples)}); say reduce or per", "ambiguous")


def _count_ready(
    samples: Sequence[Sample], ready_value: float, found: dict[str, Any], missing: dict[str, Missing]
) -> None:
    """How many have the value that means ready.

    kube-state-metrics gives each condition three series (true, false, unknown), one of them 1: of those only
    ``condition="true"`` tells whether a pod is ready, and the other two are not pods.
    """
    states = {sample.labels.get("condition") for sample in samples}
    if len(states) > 1 and states <= _KSM_STATES:
        samples = [sample for sample in samples if sample.labels["condition"] == "true"]
    found["total_count"] = len(samples)
    if not samples:
        missing |= dict.fromkeys(("ready_count", "all_ready"), _NO_SERIES)
        return
    known = [sample.value == ready_value for sample in samples if sample.value is not None]
    if not all(known):
        found["all_ready"] = False
    if len(known) < len(samples):
        unknown = Missing(next(sample.flaw for sample in samples if sample.value is None))
        missing |= {name: unknown for name in ("ready_count", "all_ready") if name not in found}
        return
    found["ready_count"], found["all_ready"] = sum(known), all(known)


def _differ(samples: Sequence[Sample]) -> str:
    """The labels in which the series differ, for a person who has to choose among them."""
    names = sorted({name for sample in samples for name in sample.labels})
    differing = [name for name in names if len({sample.labels.get(name) for sample in samples}) > 1]
    return "they differ in " + ", ".join(differing[:_NAMES_SHOWN]) if differing else "with the same labels"
