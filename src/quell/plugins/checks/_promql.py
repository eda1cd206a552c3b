"""Reads PromQL far enough to say how far back it looks, whether it can give one value, and what it selects.

The grammar follows prometheus.io/docs/prometheus/latest/querying/basics and /operators; rule names follow
prometheus.io/docs/practices/rules (``level:metric:operations``). Never does: check a query, which is the server's
work; raise: what it cannot read is ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from quell.plugins.checks._durations import seconds_or_none

AGGREGATES = frozenset({
    "sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile",
    "limitk", "limit_ratio",
})  # fmt: skip
_MANY = frozenset({"count_values", "bottomk", "topk", "limitk", "limit_ratio"})
_ALONE = frozenset({"scalar", "vector", "time", "pi", "absent", "absent_over_time"})
_TIMES = frozenset({"minute", "hour", "day_of_month", "day_of_week", "day_of_year", "days_in_month", "month", "year"})
_POWER = {
    "or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "+": 4, "-": 4,
    "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_COMPARE = frozenset({"==", "!=", "<", "<=", ">", ">="})
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<hole>\$\{[^}]*\})
      | (?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<range>\[[^\]]*\])
      | (?P<number>(?:\d+(?:ms|[smhdwy]))+\b|0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
      | (?P<mark>==|!=|<=|>=|=~|!~|[-+*/%^(){},<>=@])""",
    re.VERBOSE,
)
_RULE_WINDOW = re.compile(r"[a-z](\d+(?:s|m|h|d|w))(?:_|$)")
_RULE_NAME = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*):[a-zA-Z0-9_:]+\s*+(?:\{[^{}]*\})?\s*+(?:@\s*+\S+\s*)?")
_LONGEST_QUERY = 20_000
_DEEPEST = 60


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of one part of a query.

    ``kind``: number, text, vector. ``single``: at most one series for sure. ``summed``: an aggregate made it, so
    dividing it is meant; ``by_le``: it keeps nothing but the buckets' ``le``. ``back_s``: how far back it looks.
    ``selectors``: what it selects, without ranges. ``moved``: an offset or @ somewhere. ``bare``: nothing but one
    selector. ``ratios``: divisions of raw series. ``may_be_empty``: somewhere a comparison or a set operation leaves
    series out by what they are.
    """

    kind: str = "vector"
    single: bool = False
    summed: bool = False
    by_le: bool = False
    back_s: float = 0.0
    selectors: tuple[str, ...] = ()
    moved: bool = False
    bare: bool = False
    ratios: tuple[str, ...] = ()
    may_be_empty: bool = False


class _Unreadable(Exception):
    pass


@lru_cache(maxsize=1024)
def read(query: str) -> Shape | None:
    """The shape of a whole query; None when it cannot be read (it may still be a good query)."""
    if len(query) > _LONGEST_QUERY:
        return None
    try:
        reader = _Reader(query)
        shape = reader.expression(0)
        return shape if reader.word() == "" else None
    except _Unreadable:
        return None


def level_of(query: str) -> str | None:
    """``region`` for the recording rule ``region:payment_errors:pct2m``: by convention its series differ in it."""
    match = _RULE_NAME.fullmatch(query) if len(query) <= _LONGEST_QUERY else None
    return match[1] if match else None


def _rule_window(name: str) -> float:
    """``job:requests:rate5m`` was computed over five minutes; a plain metric over none."""
    if ":" not in name:
        return 0.0
    found = _RULE_WINDOW.findall(name.rpartition(":")[2])
    return max((seconds_or_none(text) or 0.0 for text in found), default=0.0)


class _Reader:
    def __init__(self, query: str) -> None:
        self.query, self.at, self.depth = query, 0, 0
        self.tokens = list(self._tokens())

    def _tokens(self) -> Iterator[tuple[str, str, int, int]]:
        place = 0
        while place < len(self.query):
            match = _TOKEN.match(self.query, place)
            if match is None:
                raise _Unreadable
            place = match.end()
            if match.lastgroup != "space":
                yield match.lastgroup or "", match[0], match.start(), place

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def word(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        word = self.word()
        if not word or (wanted and word not in wanted):
            raise _Unreadable
        self.at += 1
        return word

    def took(self, *wanted: str) -> bool:
        if self.word().lower() in wanted:
            self.at += 1
            return True
        return False

    def expression(self, power: int) -> Shape:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Unreadable
        self.took("-", "+")
        left = self.modified(self.operand())
        while (operator := self.word().lower()) in _POWER and _POWER[operator] > power:
            self.at += 1
            always = self.took("bool")
            matched = self.matching()
            right = self.expression(_POWER[operator] - (operator == "^"))
            leaves_out = (operator in _COMPARE and not always) or operator in ("and", "unless")
            left = _joined(operator, left, right, matched=matched)
            left = replace(left, may_be_empty=left.may_be_empty or leaves_out)
        self.depth -= 1
        return left

    def matching(self) -> bool:
        """``on (…)``, ``ignoring (…)``, ``group_left (…)``: the author said how the sides belong together."""
        said = False
        while self.word().lower() in ("on", "ignoring", "group_left", "group_right"):
            grouping = self.take().lower().startswith("group")
            if not grouping or self.word() == "(":
                self.labels()
            said = True
        return said

    def labels(self) -> list[str]:
        self.take("(")
        names = []
        while not self.took(")"):
            names.append(self.take())
            self.took(",")
        return names

    def operand(self) -> Shape:
        kind = self.kind()
        if kind == "number":
            self.take()
            return Shape("number", single=True)
        if kind == "text":
            self.take()
            return Shape("text", single=True)
        if kind == "hole":
            self.take()
            return Shape(may_be_empty=True)
        if self.took("("):
            inner = self.expression(0)
            self.take(")")
            return replace(inner, bare=False)
        if self.word() == "{":
            return self.selector(self.at)
        if kind != "name":
            raise _Unreadable
        return self.named()

    def named(self) -> Shape:
        start, name = self.at, self.take()
        lower = name.lower()
        if lower in ("inf", "nan") and self.word() not in ("(", "{"):
            return Shape("number", single=True)
        if lower in AGGREGATES and self.word().lower() in ("by", "without", "("):
            return self.aggregate(lower)
        if self.word() == "(":
            return self.call(lower)
        return self.selector(start)

    def aggregate(self, name: str) -> Shape:
        kept = self.grouping()
        shape = self.arguments()
        kept = kept or self.grouping()
        single = not kept and name not in _MANY
        return replace(shape, kind="vector", single=single, summed=True, by_le=kept == ["le"], bare=False)

    def grouping(self) -> list[str]:
        """The labels by which several series are kept; a ``without`` keeps some that are not named."""
        if self.took("by"):
            return self.labels()
        if self.took("without"):
            return ["...", *self.labels()]
        return []

    def call(self, name: str) -> Shape:
        shape = self.arguments()
        alone = name in _ALONE or (name in _TIMES and not shape.selectors)
        alone = alone or (name == "histogram_quantile" and shape.by_le)
        kind = "number" if name in ("scalar", "time", "pi") else "vector"
        empty = shape.may_be_empty or name in ("absent", "absent_over_time")
        return replace(
            shape, kind=kind, single=alone or shape.single, summed=alone or shape.summed, bare=False, may_be_empty=empty
        )

    def arguments(self) -> Shape:
        """What the arguments say together: the last vector is the one that counts for its series."""
        self.take("(")
        merged = Shape("number", single=True)
        while not self.took(")"):
            merged = _merged(merged, self.expression(0))
            self.took(",")
        return merged

    def selector(self, start: int) -> Shape:
        name = "" if self.word() == "{" and self.at == start else self.tokens[start][1]
        if self.took("{"):
            while not self.took("}"):
                self.take()
        text = self.query[self.tokens[start][2] : self.tokens[self.at - 1][3]]
        return Shape(back_s=_rule_window(name), selectors=(text,), bare=True)

    def modified(self, shape: Shape) -> Shape:
        while True:
            if self.kind() == "range":
                span, _, _ = self.take()[1:-1].partition(":")
                shape = replace(shape, back_s=shape.back_s + (seconds_or_none(span.strip()) or 0.0), bare=False)
            elif self.took("offset"):
                sign = -1 if self.took("-") else 1
                shift = seconds_or_none(self.take()) or 0.0
                shape = replace(shape, back_s=max(0.0, shape.back_s + sign * shift), moved=True)
            elif self.took("@"):
                self.took("-")
                if self.take() in ("start", "end"):
                    self.labels()
                shape = replace(shape, moved=True)
            else:
                return shape


def _merged(left: Shape, right: Shape) -> Shape:
    return Shape(
        kind="vector" if "vector" in (left.kind, right.kind) else left.kind,
        single=left.single and right.single,
        summed=right.summed if right.kind == "vector" else left.summed,
        by_le=right.by_le,
        back_s=max(left.back_s, right.back_s),
        selectors=tuple(dict.fromkeys((*left.selectors, *right.selectors))),
        moved=left.moved or right.moved,
        ratios=left.ratios + right.ratios,
        may_be_empty=left.may_be_empty or right.may_be_empty,
    )


def _joined(operator: str, left: Shape, right: Shape, *, matched: bool) -> Shape:
    both = _merged(left, right)
    vectors = left.kind == "vector" and right.kind == "vector"
    raw = vectors and not matched and not (left.summed and right.summed)
    ratio = (f"{_first(left)} / {_first(right)}",) if operator == "/" and raw else ()
    # One series matched with many gives at most one, so a single side is enough where both must match.
    single = (left.single or right.single) if vectors and operator != "or" else both.single
    summed = (left.summed and right.summed) if vectors else (left.summed or right.summed)
    return replace(both, single=single, summed=summed, ratios=both.ratios + ratio)


def _first(shape: Shape) -> str:
    return shape.selectors[0] if shape.selectors else "…"
