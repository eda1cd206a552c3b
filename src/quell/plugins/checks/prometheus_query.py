"""Ask Prometheus (or what speaks its HTTP API) for a number now, over a range, or one per label set.

    - id: errors
      type: prometheus_query
      config:
        query: sum by (region) (rate(http_errors_total[5m])) / sum by (region) (rate(http_requests_total[5m]))
        per: region          # one finding for each region
        unit: ratio          # value < 1% reads as written
        max_age: 1m          # older samples are no data
      interpret: {healthy: value < 1%, warning: value >= 1%, critical: value >= 5%}

Several series where one ``value`` is asked are an error, unless ``reduce`` says how they become one or ``per`` which
labels tell them apart; the series of a recording rule named ``level:metric:operations`` are told apart by the label
``level`` when they have it. With ``range`` the query runs over that time up to now, and ``reduce`` says what becomes
of each series' samples; ``reduce: [p95, max]`` says both. ``hint`` is about ``value``: conditions that only read
counts need no warning. Sources: prometheus.io/docs/prometheus/latest/querying/api.
Never does: judge, pick a series by chance, take a stale or missing sample for a zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from quell import ports
from quell.errors import QuellError
from quell.plugins.checks import _prometheus_api as api
from quell.plugins.checks import _promql
from quell.plugins.checks._durations import Moment, Seconds, seconds_or_none
from quell.plugins.checks._series import Sample, group, measure
from quell.ports import Connects, FactSpec, Missing, Observation, Probe, Reading

Reducer = Literal["last", "min", "max", "avg", "sum", "count", "p95", "delta", "rate"]
ACROSS = ("max", "min", "sum", "avg", "count")
UNITS: Mapping[str, FactSpec] = {
    "": "number", "percent": "percent:bare", "ratio": "ratio", "seconds": "duration:s", "milliseconds": "duration:ms",
    "bytes": "bytes:bare",
}  # fmt: skip
_MOST_TARGETS = 500
_MOST_POINTS = 11_000
"""Prometheus itself refuses more points than this for one series."""
_POINTS = 240
_INLINE_POINTS = 1000
"""More points than this are worked on in a thread, so that one big answer does not hold up the other checks."""
_SHOWN = 5
_SHOWN_TEXT = 100


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class Params(ports.Params):
    """``at`` is the moment to look at instead of now; ``max_series`` bounds the answer."""

    query: str = Field(min_length=1, max_length=20_000)
    """PromQL. It should give one series, unless ``reduce`` or ``per`` is said."""
    range: Seconds | None = None
    """Query over this time up to now, instead of one moment."""
    step: Seconds | None = None
    """The distance of the samples in the range."""
    reduce: Annotated[tuple[Reducer, ...], BeforeValidator(_listed)] = ()
    """How samples of a range, or several series, become one ``value``; two words say both."""
    per: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Labels that tell series apart: one finding for each."""
    unit: Literal["", "percent", "ratio", "seconds", "milliseconds", "bytes"] = ""
    """What ``value`` is measured in, so that conditions can name units."""
    max_age: Seconds | None = None
    """An older sample is no data."""
    ready_value: float = 1.0
    """The value of a series that counts as ready in ``ready_count``."""
    connection: Annotated[str | None, Connects(("prometheus",))] = None
    """The Prometheus to ask; may be left out when there is only one."""
    at: Moment | None = None
    max_series: int = Field(default=10_000, ge=1, le=50_000)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(self.reduce) > 2:
            raise ValueError("reduce takes one word, or two: over time, then across series")
        if len(self.reduce) == 2 and (self.range is None or self.reduce[1] not in ACROSS):
            raise ValueError(f"two words in reduce need a range, and the second is one of {', '.join(ACROSS)}")
        if self.range is None and self.reduce and self.reduce[0] not in ACROSS:
            raise ValueError(f"reduce: {self.reduce[0]} needs a range; without one: {', '.join(ACROSS)}")
        if self.step is not None and (self.range is None or self.step <= 0):
            raise ValueError("step goes with a range, and is more than nothing")
        if self.range is not None and self.step is not None and self.range / self.step > _MOST_POINTS:
            raise ValueError(f"more than {_MOST_POINTS} steps in the range; make step larger")
        return self

    @property
    def over_time(self) -> str:
        return self.reduce[0] if self.reduce and self.range is not None else "last"

    @property
    def across(self) -> str | None:
        """How several series become one; None when nobody said."""
        word = self.reduce[-1] if self.reduce else None
        return word if word in ACROSS else None


def facts(config: Mapping[str, Any]) -> dict[str, FactSpec]:
    """``value`` and what is made like it have the type of the unit; counts are numbers."""
    unit = config.get("unit")
    kind = UNITS.get(unit, "number") if isinstance(unit, str) else "number"
    reduce = config.get("reduce")
    words = tuple(reduce) if isinstance(reduce, list | tuple) else (reduce,)
    return {
        "value": "number" if "count" in words else kind,
        **dict.fromkeys(("min", "max", "avg", "sum", "first"), kind),
        **dict.fromkeys(("value_count", "series_count", "total_count", "ready_count"), "number"),
        "all_ready": "bool",
        "labels": "record",
        "text": "string",
        "age": "duration:s",
    }


def lag(config: Mapping[str, Any], scrape_s: float) -> float:
    """Seconds until the query can show a change in full: the longest time it looks back, and one scrape."""
    query = config.get("query")
    shape = _promql.read(query) if isinstance(query, str) else None
    return (shape.back_s if shape else 0.0) + (seconds_or_none(config.get("range")) or 0.0) + scrape_s


def hint(config: Mapping[str, Any]) -> str | None:
    """Why ``value`` may not be what is meant: a ratio of raw series, or several series; None when neither."""
    query = config.get("query")
    shape = _promql.read(query) if isinstance(query, str) else None
    if shape is None:
        return None
    if shape.ratios:
        return _raw_ratio(shape)
    if shape.single or config.get("per") or config.get("reduce") or _promql.level_of(str(query)):
        return None
    return "the query may give several series where one value is asked; aggregate it, or say reduce or per"


def gate(config: Mapping[str, Any]) -> str | None:
    """Why a series may not mean yes: the query gives one whatever its value, or divides raw series."""
    query = config.get("query")
    shape = _promql.read(query) if isinstance(query, str) else None
    if shape is None:
        return None
    if not shape.may_be_empty:
        return "the query compares nothing, so it gives a series whatever the value; say how much is enough (… > 5)"
    return _raw_ratio(shape) if shape.ratios else None


def _raw_ratio(shape: _promql.Shape) -> str:
    return (
        f"a ratio without aggregation ({shape.ratios[0]}): series that do not match fall out, and each match gives "
        "its own ratio; sum both sides first, or say on(…) / ignoring(…)"
    )


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Transient`` or ``Permanent``, with Prometheus' own words where it has any."""
    connection = probe.connection(params.connection, "prometheus")
    client = api.Client(probe, connection, params.at, params.max_series)
    at = params.at if params.at is not None else probe.now().timestamp()
    if params.range is None:
        result, ages = await asyncio.gather(client.instant(params.query), _ages(params, client))
    else:
        step = params.step or max(1.0, params.range / _POINTS)
        result = await client.over(params.query, at - params.range, at, step)
        ages = None
    if len(result.traces) * max(1, len(result.traces[0].points) if result.traces else 0) <= _INLINE_POINTS:
        return _judgeable(params, connection.name, at, result, ages)
    return await asyncio.to_thread(_judgeable, params, connection.name, at, result, ages)


def _judgeable(
    params: Params, connection: str, at: float, result: api.Result, ages: Mapping[str, float] | None
) -> Reading:
    if params.range is not None:
        ages = {api.identity(trace.labels): max(0.0, at - trace.points[-1][0]) for trace in result.traces}
    scale = 0.001 if params.unit == "milliseconds" else 1.0
    samples = [measure(trace, params.over_time, scale) for trace in result.traces]
    samples, stale = _refuse_old(samples, ages, params.max_age)
    age = max(ages.values(), default=None) if ages else None
    return _reading(params, connection, at, result, samples, age, stale)


async def _ages(params: Params, client: api.Client) -> Mapping[str, float] | None:
    """Seconds since the samples behind the answer, by series for one bare selector, else by selector.

    An instant query stamps its answer with the time of asking, so the age of what it selects is asked separately.
    None when the query does not let it be known.
    """
    shape = _promql.read(params.query)
    if shape is None or shape.moved or not shape.selectors:
        return None
    try:
        return await client.ages(params.query) if shape.bare else await client.oldest(shape.selectors)
    except QuellError:
        if params.max_age is not None:
            raise
        return None  # the age is a bonus here: the query's own failure is what should be told


def _refuse_old(
    samples: list[Sample], ages: Mapping[str, float] | None, max_age: float | None
) -> tuple[list[Sample], str | None]:
    """The samples, those without values that are too old; and why none of them can be used at all."""
    if max_age is None or ages is None:
        return samples, None
    old = {name: age for name, age in ages.items() if age > max_age}
    known = {api.identity(sample.labels) for sample in samples}
    if samples and not ages:
        return samples, "nothing that the query selects has a recent sample"
    if any(name not in known for name in old):
        return samples, _too_old(max(old.values()), max_age)
    return [
        Sample(sample.labels, None, _too_old(old[name], max_age))
        if (name := api.identity(sample.labels)) in old
        else sample
        for sample in samples
    ], None


def _too_old(age: float, max_age: float) -> str:
    return f"the sample is {age:.0f} s old, older than max_age ({max_age:g} s)"


def _reading(
    params: Params, connection: str, at: float, result: api.Result, samples: list[Sample],
    age: float | None, stale: str | None,
) -> Reading:  # fmt: skip
    per = params.per or _told_apart(params, samples)
    found, missing = group(samples, params.across, params.ready_value, per)
    if result.text is not None:
        found["text"], missing["value"] = result.text, Missing("the query gives a text, not a number", "invalid")
    else:
        missing["text"] = Missing("the query gives numbers")
    if age is None:
        missing["age"] = Missing("the query does not say when its samples are from")
    else:
        found["age"] = round(age, 3)
    targets = _targets(samples, per, params)
    if stale:
        for name in [name for name in found if name not in ("age", "labels", "series_count")]:
            del found[name]
            missing[name] = Missing(stale)
        targets = tuple(
            Observation(one.target, {}, one.labels, dict.fromkeys(one.facts, Missing(stale))) for one in targets
        )
    evidence: dict[str, Any] = {
        "query": params.query, "connection": connection, "evaluated_at": _iso(at),
        "series": [{"labels": dict(sample.labels), "value": sample.value} for sample in samples[:_SHOWN]],
    }  # fmt: skip
    if params.range is not None:
        evidence["range_s"] = params.range
    if result.warnings:
        evidence["warnings"] = result.warnings
    observed = None if age is None else datetime.fromtimestamp(at - age, UTC)
    return Reading(found, targets, missing, _summary(found, targets), observed, evidence)


def _told_apart(params: Params, samples: list[Sample]) -> tuple[str, ...]:
    """The level of a recording rule, when every series has that label and no two have the same."""
    level = _promql.level_of(params.query)
    if level is None or params.across:
        return ()
    values = [sample.labels.get(level) for sample in samples]
    return (level,) if values and None not in values and len(set(values)) == len(values) else ()


def _targets(samples: list[Sample], per: tuple[str, ...], params: Params) -> tuple[Observation, ...]:
    """One observation for each label set, in the order of their names. Raises ``Permanent`` (too_large)."""
    if not per:
        return ()
    sets: dict[tuple[str, ...], list[Sample]] = {}
    for sample in samples:
        sets.setdefault(tuple(sample.labels.get(name, "") for name in per), []).append(sample)
    if len(sets) > _MOST_TARGETS:
        raise api.too_large(f"{len(sets)} label sets for per: {', '.join(per)}; at most {_MOST_TARGETS}")
    made = []
    for values, members in sorted(sets.items()):
        found, missing = group(members, params.across, params.ready_value, ())
        labels = dict(zip(per, values, strict=True))
        name = values[0] if len(per) == 1 else ",".join(f"{key}={value}" for key, value in labels.items())
        made.append(Observation(name or "(none)", found, labels, missing, _summary(found, ())))
    return tuple(made)


def _summary(found: Mapping[str, Any], targets: tuple[Observation, ...]) -> str:
    """What was seen. Why there is no one value is not said here: it matters only to a condition that asks for it."""
    if targets:
        return f"{len(targets)} targets"
    if "value" in found:
        return f"value {found['value']:g}"
    if "text" in found:
        return f"text {found['text'][:_SHOWN_TEXT]!r}"
    if "min" in found and "max" in found:
        return f"values from {found['min']:g} to {found['max']:g}"
    return ""


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
