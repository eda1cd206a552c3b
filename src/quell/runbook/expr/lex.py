"""Text to tokens, and the spellings that people write in runbooks to the ones of CEL.

``===`` and a single ``=`` become ``==``, ``!==`` becomes ``!=``, AND/OR/NOT in any case become operators, ``1h30m``
``0.1%`` ``2GiB`` become constants of their run-time unit, ``${a.b-c}`` becomes a reference.
Never does: stop at the first mistake; every flaw is collected and reading goes on behind it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from quell.runbook.expr.flaws import Flaw, nearest
from quell.runbook.expr.units import DURATION_UNITS, SIZE_UNITS, duration_seconds, size_bytes

MAX_TEXT = 4096
"""Characters of one expression."""
MAX_INT = 2**63 - 1
"""Integers are signed 64 bit, as in CEL."""


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is literal, name, reference, end, or an operator in CEL's spelling (``not`` for the word)."""

    kind: str
    text: str
    start: int
    end: int
    value: Any = None
    literal: str = ""


_SPACE = re.compile(r"(?:\s|//[^\n]*)*")
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_UNIT = re.compile(r"[A-Za-zµ_][A-Za-z0-9µ_]*(?:\.[0-9]+[a-zµ]+)*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRING = re.compile(r"""([rR]?)("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')""")
_RAW_STRING = re.compile(r"""[rR]("[^"\n]*"|'[^'\n]*')""")
_OPERATOR = re.compile(r"===|!==|==|!=|<=|>=|&&|\|\||[-+*/%<>!=?:.,()\[\]]")
_WRONG_OPERATOR = re.compile(r"<>|=<|=>|=~|!~|\*\*|//|[&|^~;{}@#\\≥≤≠×÷]")
_REFERENCE = re.compile(r"\$\{\s*([^{}\s'\"]*(?:\['[^'\n]*'\][^{}\s'\"]*)*)\s*\}")
_QUOTED_REFERENCE = re.compile(r"\$\{[A-Za-z_][\w.\-\[\]]*\}")
_OPERAND_AHEAD = re.compile(r"\s*(?!(?:and|or|in)\b)(?:[A-Za-z0-9_'\"(\[$]|\.[0-9])", re.IGNORECASE)
_REFERENCE_ROOT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*")
_REFERENCE_STEP = re.compile(
    r"\.([A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z0-9_]+)*)|\[(-?[0-9]{1,9})\]|\['((?:[^'\\]|\\.)*)'\]"
)

_SPELLINGS = {"===": "==", "=": "==", "!==": "!="}
_WORDS = {"and": "&&", "or": "||", "not": "not"}
_CONSTANTS: dict[str, tuple[Any, str]] = {"true": (True, "bool"), "false": (False, "bool"), "null": (None, "null")}
_MEANT = {
    "<>": "!=", "=<": "<=", "=>": ">=", "=~": "x.matches('…')", "!~": "!x.matches('…')", "&": "&&", "|": "||",
    "≥": ">=", "≤": "<=", "≠": "!=", "×": "*", "÷": "/",
}  # fmt: skip
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)


def path_steps(text: str) -> tuple[str, tuple[str | int, ...]] | None:
    """``a.b-c[0]`` → ``("a", ("b-c", 0))``; None when it is not a dotted path. Hyphens may join words."""
    root = _REFERENCE_ROOT.match(text)
    if root is None:
        return None
    steps: list[str | int] = []
    at = root.end()
    while at < len(text):
        step = _REFERENCE_STEP.match(text, at)
        if step is None:
            return None
        name, index, key = step.groups()
        if index is not None:
            steps.append(int(index))
        else:
            steps.append(name if name is not None else _unescape(key))
        at = step.end()
    return root[0], tuple(steps)


def tokens(text: str) -> tuple[list[Token], list[Flaw]]:
    """All tokens, the last of kind ``end``, and every flaw met on the way."""
    lexer = _Lexer(text)
    if len(text) > MAX_TEXT:
        message = f"the expression is {len(text)} characters long, at most {MAX_TEXT} are read"
        return [Token("end", "", 0, 0)], [Flaw(MAX_TEXT + 1, len(text) + 1, message)]
    lexer.run()
    return lexer.tokens, lexer.flaws


class _Lexer:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.tokens: list[Token] = []
        self.flaws: list[Flaw] = []

    def run(self) -> None:
        text = self.text
        while True:
            space = _SPACE.match(text, self.at)
            self.at = space.end() if space else self.at
            if self.at >= len(text):
                break
            char = text[self.at]
            if "0" <= char <= "9" or (char == "." and text[self.at + 1 : self.at + 2].isdecimal() and self._fresh()):
                self._number()
            elif char in "'\"" or (char in "rR" and text[self.at + 1 : self.at + 2] in {"'", '"'}):
                self._string()
            elif name := _NAME.match(text, self.at):
                self._name(name[0])
            elif text.startswith("${", self.at):
                self._reference()
            else:
                self._operator()
        self.tokens.append(Token("end", "", len(text), len(text)))

    def _fresh(self) -> bool:
        """Whether an operand may start here: ``.5`` is a number, ``x.5`` is not."""
        return not self.tokens or self.tokens[-1].kind not in {"name", "reference", "literal", ")", "]"}

    def _add(self, kind: str, end: int, value: Any = None, literal: str = "") -> None:
        self.tokens.append(Token(kind, self.text[self.at : end], self.at, end, value, literal))
        self.at = end

    def _flaw(self, end: int, message: str, *, expected: str | None = None, near: str | None = None) -> None:
        self.flaws.append(Flaw(self.at + 1, end + 1, message, self.text[self.at : end], expected, near))

    def _number(self) -> None:
        match = _NUMBER.match(self.text, self.at)
        if match is None:  # a digit of another script
            self._flaw(self.at + 1, f"unexpected character {self.text[self.at]!r}")
            self._add("literal", self.at + 1, 0, "number")
            return
        unit = _UNIT.match(self.text, match.end())
        if unit is not None:
            self._with_unit(self.text[self.at : unit.end()], unit)
            return
        value = self._plain(match)
        end = match.end()
        if self.text.startswith("%", end) and not _OPERAND_AHEAD.match(self.text, end + 1):
            self._add("literal", end + 1, float(value), "percent")
        else:
            self._add("literal", end, value, "number")

    def _plain(self, match: re.Match[str]) -> int | float:
        digits = match[0]
        if digits[:2] in {"0x", "0X"}:
            value: int | float = int(digits, 16)
        elif digits.isdecimal():
            # Bounded before int(): a long run of digits costs quadratic time.
            value = int(digits) if len(digits.lstrip("0")) <= 19 else MAX_INT + 1
        else:
            value = float(digits)
        if value > MAX_INT if isinstance(value, int) else not math.isfinite(value):
            self._flaw(match.end(), "the number is too large", expected=f"at most {MAX_INT}")
            return 0
        return value

    def _with_unit(self, text: str, unit: re.Match[str]) -> None:
        seconds = duration_seconds(text)
        size = size_bytes(text) if seconds is None else None
        if seconds is not None:
            self._add("literal", unit.end(), seconds, "duration")
        elif size is not None:
            self._add("literal", unit.end(), size, "bytes")
        else:
            near = nearest(unit[0], (*DURATION_UNITS, *SIZE_UNITS))
            self._flaw(
                unit.end(), f"no unit {unit[0]!r}", expected="ms s m h d w, %, or B kB MB GB KiB MiB GiB", near=near
            )
            self._add("literal", unit.end(), 0, "unknown")

    def _string(self) -> None:
        match = _RAW_STRING.match(self.text, self.at) or _STRING.match(self.text, self.at)
        if match is None:
            self._flaw(len(self.text), "the string is not closed", expected=f"a closing {self.text[self.at]}")
            self._add("literal", len(self.text), "", "string")
            return
        raw = match[0][0] in "rR"
        body = match[0][2:-1] if raw else match[0][1:-1]
        if inner := _QUOTED_REFERENCE.search(body):
            self._flaw(match.end(), f"{inner[0]} is not read inside quotes", expected=f"{inner[0]} without the quotes")
        try:
            value = body if raw else _unescape(body)
        except ValueError as error:
            self._flaw(match.end(), str(error))
            value = ""
        self._add("literal", match.end(), value, "string")

    def _name(self, name: str) -> None:
        end = self.at + len(name)
        if self.tokens and self.tokens[-1].kind == ".":  # a field may be called anything
            self._add("name", end)
        elif name in _CONSTANTS:
            value, kind = _CONSTANTS[name]
            self._add("literal", end, value, kind)
        elif name == "in":
            self._add("in", end)
        elif name.lower() in _WORDS:
            self._add(_WORDS[name.lower()], end)
        else:
            self._add("name", end)

    def _reference(self) -> None:
        match = _REFERENCE.match(self.text, self.at)
        if match is None:
            close = self.text.find("}", self.at)
            end = close + 1 if close >= 0 else len(self.text)
            self._flaw(end, "not a reference", expected="${a.path}, dotted, with indexes [0]")
            self._add("reference", end, ("_", ()))
            return
        path = path_steps(match[1])
        if path is None:
            self._flaw(match.end(), f"{match[1]!r} is not a dotted path", expected="${a.path}")
        self._add("reference", match.end(), path or ("_", ()))

    def _operator(self) -> None:
        wrong = _WRONG_OPERATOR.match(self.text, self.at)
        match = _OPERATOR.match(self.text, self.at)
        longer = wrong is not None and (match is None or wrong.end() > match.end())
        if longer or match is None:
            end = wrong.end() if wrong else self.at + 1
            found = self.text[self.at : end]
            self._flaw(end, f"unexpected {found!r}", expected=_MEANT.get(found))
            meant = _MEANT.get(found, "")
            if meant in {"!=", "<=", ">=", "&&", "||", "*", "/"}:  # go on as if it had been written well
                self._add(meant, end)
            self.at = end
            return
        self._add(_SPELLINGS.get(match[0], match[0]), match.end())


def _unescape(body: str) -> str:
    if "\\" not in body:
        return body

    def one(match: re.Match[str]) -> str:
        byte, short, long, octal, char = match.groups()
        if code := byte or short or long:
            number = int(code, 16)
            if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
                raise ValueError(f"\\{match[0][1:]} is not a character")
            return chr(number)
        if octal:
            return chr(int(octal, 8))
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char in "\\'\"`?":
            return char
        raise ValueError(f"no escape \\{char} in a string; write \\\\ for a backslash")

    return _ESCAPE.sub(one, body)
