"""Tokens to a tree: CEL's grammar by precedence climbing.

From loose to tight: ``?:``, ``||``, ``&&``, the word NOT, comparisons (which do not chain), ``+ -``, ``* / %``,
``! -``, then ``.name [index] (call)``. The word NOT stands above comparisons, as in SQL and Python:
``NOT a == b`` is ``!(a == b)``, while ``!a == b`` is ``(!a) == b`` as in CEL.
Grammar: github.com/google/cel-spec, doc/langdef.md. Never does: resolve names; that is ``check``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from quell.runbook.expr.flaws import ExprSyntaxError, Flaw, nearest
from quell.runbook.expr.functions import FUNCTIONS
from quell.runbook.expr.lex import Token, tokens
from quell.runbook.expr.pattern import compile_pattern
from quell.runbook.expr.tree import (
    RELATIONS,
    Binary,
    Call,
    Choice,
    Expr,
    Index,
    Items,
    Literal,
    Logic,
    Path,
    Unary,
    walk,
)

MAX_NODES = 1024
"""Nodes of one expression."""
MAX_DEPTH = 64
"""Nodes on the longest way from the root to a leaf."""

_OR, _AND, _RELATION, _SUM, _PRODUCT = range(1, 6)
_BINDING = {
    "||": _OR, "&&": _AND, **dict.fromkeys(RELATIONS, _RELATION),
    "+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT,
}  # fmt: skip
# Where reading goes on after a mistake: the places that separate one clause from the next.
_LANDMARKS = frozenset({"&&", "||", "?", ":", ",", ")", "]", "end"})
_SIGNED = frozenset({"number", "duration", "percent", "bytes"})
_MISSING = Literal(None, "unknown")


def parse(text: str) -> Expr:
    """The tree of ``text``. Raises ExprSyntaxError with every flaw found. Trees are frozen, so they are shared."""
    return _parse(text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Expr:
    read, flaws = tokens(text)
    if flaws and len(read) == 1:
        raise ExprSyntaxError(text, flaws)
    parser = _Parser(read, flaws)
    try:
        tree = parser.whole()
    except RecursionError:
        # The caller's own stack was nearly used up; say it as what it is to the author.
        raise ExprSyntaxError(text, [_too_deep(read[-1])]) from None
    if not flaws:
        _measure(tree, read[-1], flaws)
    if flaws:
        raise ExprSyntaxError(text, flaws)
    return tree


def _measure(tree: Expr, last: Token, flaws: list[Flaw]) -> None:
    nodes = depth = 0
    for _, level in walk(tree):
        nodes, depth = nodes + 1, max(depth, level)
    if nodes > MAX_NODES:
        flaws.append(Flaw(1, last.end + 1, f"the expression has {nodes} parts, at most {MAX_NODES} are read"))
    if depth > MAX_DEPTH:
        flaws.append(_too_deep(last))


def _too_deep(last: Token) -> Flaw:
    return Flaw(1, last.end + 1, f"nested too deeply, at most {MAX_DEPTH} levels are read")


class _TooDeepError(Exception):
    """Leaves the parser at once: behind it nothing can be read sensibly."""


class _Parser:
    def __init__(self, read: list[Token], flaws: list[Flaw]) -> None:
        self.tokens, self.flaws = read, flaws
        self.at = 0
        self.level = 0
        # One flaw per place: whatever follows from a mistake at the same token is noise.
        self.flawed = {flaw.column - 1 for flaw in flaws}

    # --- moving ---

    @property
    def now(self) -> Token:
        return self.tokens[self.at]

    def next(self) -> Token:
        token = self.tokens[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def take(self, kind: str) -> bool:
        if self.now.kind == kind:
            self.next()
            return True
        return False

    def flaw(self, token: Token, message: str, **more: str | None) -> None:
        if token.start in self.flawed:
            return
        self.flawed.add(token.start)
        self.flaws.append(Flaw(token.start + 1, max(token.end, token.start + 1) + 1, message, token.text, **more))

    def expect(self, kind: str, opening: Token | None = None) -> int:
        """Consumes ``kind``; returns where it ends."""
        if self.now.kind == kind:
            return self.next().end
        what = "the expression ends" if self.now.kind == "end" else f"unexpected {self.now.text!r}"
        where = f" for the {opening.text!r} at column {opening.start + 1}" if opening else ""
        self.flaw(self.now, f"{what}, {kind!r} is missing{where}", expected=kind)
        self.skip()
        if self.now.kind == kind:
            self.next()
        return self.now.start

    def skip(self) -> None:
        """On to the next landmark, over whole brackets."""
        open_brackets = 0
        while self.now.kind != "end" and (open_brackets or self.now.kind not in _LANDMARKS):
            open_brackets += {"(": 1, "[": 1, ")": -1, "]": -1}.get(self.now.kind, 0)
            self.next()

    # --- the grammar ---

    def whole(self) -> Expr:
        try:
            tree = self.expression()
            while self.now.kind != "end":
                if not self.flaws:
                    self.flaw(self.now, f"unexpected {self.now.text!r}", expected="an operator or the end")
                self.next()
                if self.now.kind != "end":
                    self.expression()
        except _TooDeepError:
            self.flaws.append(_too_deep(self.tokens[-1]))
            return _MISSING
        return tree

    def expression(self) -> Expr:
        self.enter()
        condition = self.binary(_OR)
        if self.take("?"):
            then = self.expression()
            self.expect(":")
            otherwise = self.expression()
            condition = Choice(condition, then, otherwise, start=condition.start, end=otherwise.end)
        self.level -= 1
        return condition

    def enter(self) -> None:
        self.level += 1
        if self.level > MAX_DEPTH:
            raise _TooDeepError

    def binary(self, least: int) -> Expr:
        left = self.negation() if self.now.kind == "not" else self.unary()
        compared = False
        while (binding := _BINDING.get(self.now.kind, 0)) >= least:
            op = self.next()
            if binding == _RELATION and compared:
                self.flaw(op, "comparisons do not chain", expected="a < b && b < c, or parentheses")
            compared = compared or binding == _RELATION
            right = self.binary(binding + 1)
            if binding <= _AND:
                left, compared = _joined(op.kind, left, right), False
            else:
                left = Binary(op.kind, left, right, start=left.start, end=right.end)
            if binding < _RELATION:
                compared = False
        return left

    def negation(self) -> Expr:
        word = self.next()
        self.enter()
        operand = self.binary(_RELATION)
        self.level -= 1
        return Unary("!", operand, start=word.start, end=operand.end)

    def unary(self) -> Expr:
        signs: list[Token] = []
        while self.now.kind in {"!", "-"}:
            signs.append(self.next())
        signed = bool(signs) and signs[-1].kind == "-" and self.now.literal in _SIGNED
        operand = self.postfix(self.primary())
        if signed and isinstance(operand, Literal):
            # A minus right before a number is part of it: limits and list indexes may be negative constants.
            start = signs.pop().start
            operand = replace(operand, value=-operand.value, text="-" + operand.text, start=start)
        for sign in reversed(signs):
            operand = Unary(sign.kind, operand, start=sign.start, end=operand.end)
        return operand

    def postfix(self, target: Expr) -> Expr:
        while True:
            if self.now.kind == ".":
                target = self.member(target)
            elif self.now.kind == "[":
                opening = self.next()
                key = self.expression()
                target = _indexed(target, key, self.expect("]", opening))
            else:
                return target

    def member(self, target: Expr) -> Expr:
        self.next()
        name = self.now
        if name.kind != "name":
            self.flaw(name, "a name is missing after '.'", expected="a field or a method")
            return target
        self.next()
        if self.now.kind == "(":
            return self.call(name, target)
        return _indexed(target, Literal(name.text, "string", start=name.start, end=name.end), name.end)

    def primary(self) -> Expr:
        token = self.now
        match token.kind:
            case "literal":
                self.next()
                return Literal(token.value, token.literal, token.text, start=token.start, end=token.end)
            case "reference":
                self.next()
                return Path(*token.value, start=token.start, end=token.end)
            case "name":
                self.next()
                if self.now.kind == "(":
                    return self.call(token, None)
                return Path(token.text, start=token.start, end=token.end)
            case "(":
                self.next()
                inner = self.expression()
                self.expect(")", token)
                return inner
            case "[":
                self.next()
                items, end = self.listed("]", token)
                return Items(items, start=token.start, end=end)
        return self.nothing(token)

    def nothing(self, token: Token) -> Expr:
        before = self.tokens[self.at - 1].text if self.at else ""
        message = f"unexpected {token.text!r}"
        if token.kind == "end":
            message = f"the expression ends after {before!r}" if before else "the expression is empty"
        self.flaw(token, message, expected="a value, a name or '('")
        if token.kind not in _LANDMARKS:
            self.next()
            self.skip()
        return _MISSING

    def listed(self, closing: str, opening: Token) -> tuple[tuple[Expr, ...], int]:
        items: list[Expr] = []
        while self.now.kind not in {closing, "end"}:
            items.append(self.expression())
            if not self.take(","):
                break
        return tuple(items), self.expect(closing, opening)

    def call(self, name: Token, receiver: Expr | None) -> Expr:
        opening = self.next()
        arguments, end = self.listed(")", opening)
        if receiver is not None:
            arguments = (receiver, *arguments)
        known = FUNCTIONS.get(name.text)
        if known is None:
            self.flaw(name, f"no function {name.text!r}", nearest=nearest(name.text, FUNCTIONS))
        else:
            method = receiver is not None
            if method and not known.method:
                self.flaw(name, f"{name.text} is not a method", expected=known.usage)
            elif not method and not known.function:
                self.flaw(name, f"{name.text} is a method", expected=known.usage)
            elif not known.least <= len(arguments) <= known.most:
                self.flaw(name, f"{name.text} takes other arguments", expected=known.usage)
            else:
                self.arguments(name, arguments)
        start = receiver.start if receiver is not None else name.start
        return Call(name.text, arguments, receiver is not None, start=start, end=end)

    def arguments(self, name: Token, arguments: tuple[Expr, ...]) -> None:
        """What two functions ask of the form of their arguments."""
        if name.text == "has" and not isinstance(arguments[0], Path | Index):
            self.flaw(name, "has() asks for a name", expected="has(a.path)")
        if name.text == "matches":
            pattern = arguments[1]
            if not isinstance(pattern, Literal) or pattern.kind != "string":
                self.flaw(name, "the pattern must be a constant string", expected="x.matches('…')")
                return
            try:
                compile_pattern(pattern.value)
            except ValueError as error:
                self.flaw(name, f"not a pattern: {error}")


def _joined(op: str, left: Expr, right: Expr) -> Logic:
    """One flat Logic, so that a long list of clauses is not a deep tree."""
    parts: list[Any] = []
    for side in (left, right):
        parts.extend(side.parts if isinstance(side, Logic) and side.op == op else (side,))
    return Logic(op, tuple(parts), start=left.start, end=right.end)


def _indexed(target: Expr, key: Expr, end: int) -> Expr:
    plain = isinstance(key, Literal) and (key.kind == "string" or (key.kind == "number" and isinstance(key.value, int)))
    if isinstance(target, Path) and isinstance(key, Literal) and plain:
        return Path(target.root, (*target.steps, key.value), start=target.start, end=end)
    return Index(target, key, start=target.start, end=end)
