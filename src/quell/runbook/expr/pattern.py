"""Regular expressions for ``matches``, in time linear in the text: the part of RE2's syntax without surprises.

CEL asks for RE2 because a backtracking matcher can be made to run for years. This one parses the pattern, unrolls
counts, compiles to a small nondeterministic automaton (Thompson 1968) and remembers the sets of states it met, so a
text costs one step per character. It reads literals, ``.``, ``[]``, ``\\d \\w \\s``, ``^ $ \\b``, ``|``, ``() (?:)``,
``* + ? {m,n}`` and a leading ``(?i)``; syntax: github.com/google/re2/wiki/Syntax.
Never does: backtrack, capture, look around, or refer back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

MAX_PATTERN = 256
"""Characters of a pattern."""
MAX_SUBJECT = 16_384
"""Characters of a text that ``matches`` reads."""
MAX_STATES = 500
"""States of its automaton, after counts are unrolled."""
_MAX_REPEAT = 100
_MAX_GROUPS = 32
_MAX_MEMORY = 2000

_DIGITS = (("0", "9"),)
_WORD = (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z"))
_SPACES = ((" ", " "), ("\t", "\n"), ("\f", "\r"))
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _SPACES}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a"}
_HEX = re.compile(r"[0-9a-fA-F]{2}")
_EDGES = {"b", "B", "A", "z"}


@dataclass(frozen=True, slots=True)
class _Set:
    """Characters in (or, negated, not in) the ranges."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False

    def has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) is not self.negated


@dataclass(frozen=True, slots=True)
class _Edge:
    """A place between characters: ``^ $ b B``."""

    kind: str

    def holds(self, before: str, after: str) -> bool:
        if self.kind == "^":
            return before == ""
        if self.kind == "$":
            return after == ""
        return (_is_word(before) is not _is_word(after)) is (self.kind == "b")


@dataclass(frozen=True, slots=True)
class _Sequence:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Either:
    options: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    inner: _Node
    least: int
    most: int | None


_Node = _Set | _Edge | _Sequence | _Either | _Repeat
_ANY_CHARACTER = _Set((("\n", "\n"),), negated=True)


def _is_word(char: str) -> bool:
    return char != "" and any(low <= char <= high for low, high in _WORD)


def _side(char: str) -> str:
    """The three kinds of neighbour that an edge can tell apart: nothing, a word character, another."""
    return "0" if char == "" else "w" if _is_word(char) else "-"


@lru_cache(maxsize=512)
def compile_pattern(text: str) -> Pattern:
    """The automaton of a pattern. Raises ValueError saying what is wrong with it."""
    if len(text) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    fold = text.startswith("(?i)")
    return Pattern(_Reader(text.removeprefix("(?i)"), fold).whole())


class _Reader:
    """The pattern's text to its tree."""

    def __init__(self, text: str, fold: bool) -> None:
        self.text, self.fold = text, fold
        self.at = 0
        self.groups = 0

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> bool:
        if self.text.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def char(self) -> str:
        if self.at >= len(self.text):
            raise ValueError("the pattern ends in the middle")
        self.at += 1
        return self.text[self.at - 1]

    def whole(self) -> _Node:
        tree = self.either()
        if self.at < len(self.text):
            raise ValueError("a ')' too many")
        return tree

    def either(self) -> _Node:
        options = [self.sequence()]
        while self.take("|"):
            options.append(self.sequence())
        return _Either(tuple(options)) if len(options) > 1 else options[0]

    def sequence(self) -> _Node:
        parts: list[_Node] = []
        while self.peek() not in {"", "|", ")"}:
            parts.append(self.repeated(self.atom()))
        return _Sequence(tuple(parts))

    def repeated(self, inner: _Node) -> _Node:
        count = self.count()
        if count is None:
            return inner
        if isinstance(inner, _Edge):
            raise ValueError("an anchor is not repeated")
        self.take("?")  # lazy or greedy is the same when only asking whether it matches
        if self.peek() in {"*", "+"} or self.count() is not None:
            raise ValueError("a repetition of a repetition; put it into a group")
        return _Repeat(inner, *count)

    def count(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                return bounds
        close = self.text.find("}", self.at) if self.peek() == "{" else -1
        if close < 0:
            return None
        low, comma, high = self.text[self.at + 1 : close].partition(",")
        if not (low.isdecimal() and low.isascii() and (high == "" or (high.isdecimal() and high.isascii()))):
            return None
        self.at = close + 1
        least, most = int(low[:6]), int(high[:6]) if high else (None if comma else int(low[:6]))
        if max(least, most or 0) > _MAX_REPEAT or (most is not None and most < least):
            raise ValueError(f"a count goes from low to high, at most {_MAX_REPEAT}")
        return least, most

    def atom(self) -> _Node:
        char = self.char()
        match char:
            case "(":
                return self.group()
            case "[":
                return self.set()
            case ".":
                return _ANY_CHARACTER
            case "^" | "$":
                return _Edge(char)
            case "\\":
                return self.escape()
            case "*" | "+" | "?":
                raise ValueError(f"nothing stands before {char!r}")
        return self.literal(char)

    def literal(self, char: str) -> _Set:
        variants = {char, char.lower(), char.upper()} if self.fold else {char}
        return _Set(tuple((one, one) for one in sorted(variants) if len(one) == 1))

    def group(self) -> _Node:
        self.groups += 1
        if self.groups > _MAX_GROUPS:
            raise ValueError(f"a pattern has at most {_MAX_GROUPS} groups")
        if self.peek() == "?" and not self.take("?:"):
            raise ValueError("of the (?…) forms only (?:…) and a leading (?i) are read")
        inner = self.either()
        if not self.take(")"):
            raise ValueError("a '(' is not closed")
        return inner

    def escape(self) -> _Node:
        char = self.char()
        if char in _EDGES:
            return _Edge({"A": "^", "z": "$"}.get(char, char))
        if char.lower() in _CLASSES:
            return _Set(_CLASSES[char.lower()], negated=char.isupper())
        return self.literal(self.escaped(char))

    def escaped(self, char: str) -> str:
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "x" and (code := _HEX.match(self.text, self.at)):
            self.at += 2
            return chr(int(code[0], 16))
        if char.isalnum():
            raise ValueError(f"no escape \\{char}")
        return char

    def set(self) -> _Node:
        negated = self.take("^")
        ranges: list[tuple[str, str]] = []
        first = True
        while first or self.peek() != "]":
            first = False
            low = self.member(ranges)
            if low is None:
                continue
            high: str | None = low
            if self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in {"]", ""}:
                self.at += 1
                high = self.member(ranges)
            if high is None or high < low:
                raise ValueError("a range goes from a low to a high character")
            ranges.append((low, high))
        self.at += 1
        if self.fold:
            ranges += [(low.swapcase(), high.swapcase()) for low, high in ranges if low.isalpha() and high.isalpha()]
        return _Set(tuple(ranges), negated)

    def member(self, ranges: list[tuple[str, str]]) -> str | None:
        """One character of a set; None when a class such as ``\\d`` was added instead."""
        char = self.char()
        if char != "\\":
            return char
        char = self.char()
        if char in _CLASSES:
            ranges.extend(_CLASSES[char])
            return None
        return self.escaped(char)


class Pattern:
    """An automaton. States are numbers; each has a test on one character, an edge test, or free moves."""

    def __init__(self, tree: _Node) -> None:
        self._moves: list[tuple[_Set | _Edge | None, tuple[int, ...]]] = []
        self._accept = self._state(None)
        self._start = self._build(tree, self._accept)
        self._memory: dict[tuple[frozenset[int], str, str], frozenset[int]] = {}
        self._edged = any(isinstance(test, _Edge) for test, _ in self._moves)

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in ``text``."""
        states: frozenset[int] = frozenset()
        before = ""
        for at in range(len(text) + 1):
            after = text[at : at + 1]
            states = self._closed(states | {self._start}, before, after)
            if self._accept in states:
                return True
            states = self._step(states, after)
            before = after
        return False

    def whole(self, text: str) -> bool:
        """Whether the pattern matches all of ``text``."""
        states, memory, edged = self._closed(frozenset((self._start,)), "", text[:1]), self._memory, self._edged
        for at, char in enumerate(text, 1):
            key = (states, char, text[at : at + 1] if edged else "")
            known = memory.get(key)
            states = self._remember(key, partial(self._after, *key)) if known is None else known
        return self._accept in states

    def _after(self, states: frozenset[int], char: str, after: str) -> frozenset[int]:
        return self._closed(self._step(states, char), char, after)

    def _closed(self, states: frozenset[int], before: str, after: str) -> frozenset[int]:
        """All states that can be reached between two characters; their sides matter only to edges."""
        sides = _side(before) + _side(after) if self._edged else "--"
        return self._remember((states, "close", sides), lambda: self._close(states, before, after))

    def _close(self, states: frozenset[int], before: str, after: str) -> frozenset[int]:
        reached = set(states)
        stack = list(states)
        while stack:
            test, targets = self._moves[stack.pop()]
            if test is None or (isinstance(test, _Edge) and test.holds(before, after)):
                fresh = set(targets) - reached
                reached |= fresh
                stack.extend(fresh)
        return frozenset(reached)

    def _step(self, states: frozenset[int], char: str) -> frozenset[int]:
        def advance() -> frozenset[int]:
            moves = (self._moves[state] for state in states)
            return frozenset(
                target for test, targets in moves if isinstance(test, _Set) and test.has(char) for target in targets
            )

        return self._remember((states, "step", char), advance) if char else states

    def _remember(self, key: tuple[frozenset[int], str, str], compute: Callable[[], frozenset[int]]) -> frozenset[int]:
        known = self._memory.get(key)
        if known is None:
            known = compute()
            if len(self._memory) >= _MAX_MEMORY:  # bounded: forgetting costs time, never a wrong answer
                self._memory.clear()
            self._memory[key] = known
        return known

    def _state(self, test: _Set | _Edge | None, *targets: int) -> int:
        if len(self._moves) >= MAX_STATES:
            raise ValueError("the pattern is too large once its counts are written out")
        self._moves.append((test, targets))
        return len(self._moves) - 1

    def _build(self, node: _Node, after: int) -> int:
        """Adds the states of ``node`` before the state ``after``; returns where they start."""
        match node:
            case _Sequence(parts):
                for part in reversed(parts):
                    after = self._build(part, after)
                return after
            case _Either(options):
                return self._state(None, *(self._build(option, after) for option in options))
            case _Repeat(inner, least, most):
                return self._repeat(inner, least, most, after)
            case _:
                return self._state(node, after)

    def _repeat(self, inner: _Node, least: int, most: int | None, after: int) -> int:
        if most is None:
            loop = self._state(None, after)
            self._moves[loop] = (None, (after, self._build(inner, loop)))
            after = loop
        else:
            end = after
            for _ in range(most - least):
                after = self._state(None, self._build(inner, after), end)
        for _ in range(least):
            after = self._build(inner, after)
        return after
