"""Does a command fit one of the shapes that the guardrails allow? Pure: words and shapes in, yes or where it fails out.

A command is read from left to right, as its program will read it; where two programs would read a word in two ways
(``-o=json``) it is refused. Never does: use a shell's rules, look a program up, correct or shorten a command.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quell.errors import Refused
from quell.ports import Command
from quell.respond.shapes import END, ArgumentRule, Shape
from quell.runbook.vocabulary import nearest

_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Misfit:
    """Where a command leaves the shape that it fits longest. ``at``: which word, the program is 0; the number of words
    for what is missing or stands around them. ``found`` is safe to show: look-alikes as their numbers."""

    at: int
    place: str
    found: str
    wrong: str
    expected: str
    shape: str = ""
    nearest: str | None = None

    @property
    def says(self) -> str:
        shape = f" (nearest shape: {self.shape})" if self.shape else ""
        hint = f"; did you mean {self.nearest!r}?" if self.nearest else ""
        what = " ".join(part for part in (self.place, self.found, self.wrong) if part)
        return f"{what}; expected {self.expected}{shape}{hint}"


@dataclass(frozen=True, slots=True)
class Read:
    """A command that fits: its arguments by position, and its flags with their values, as they are spelled."""

    arguments: tuple[str, ...] = ()
    flags: tuple[tuple[str, str | None], ...] = ()


def shown(word: str) -> str:
    """In quotes, nothing that looks like something else, and not too much of it."""
    return ascii(word if len(word) <= _SHOWN else word[: _SHOWN - 3] + "...")


def refused(commands: Iterable[Command], shapes: Sequence[Shape] | None) -> Refused | None:
    """The refusal of the first command that fits no shape; None when each may run. ``shapes`` None: any may."""
    if shapes is None:
        return None
    for command in commands:
        if wrong := misfit(command, shapes):
            return Refused("command", f"a command fits no shape of the guardrails: {wrong.says}",
                           value=wrong.found, limit=wrong.expected)  # fmt: skip
    return None


def misfit(command: Command, shapes: Sequence[Shape]) -> Misfit | None:
    """None when it fits one of them, else where it leaves the nearest."""
    alike = [shape for shape in shapes if _begins(command, shape)]
    furthest: Misfit | None = None
    for shape in alike:
        found = read(command, shape)
        if isinstance(found, Read):
            return None
        if furthest is None or found.at > furthest.at:
            furthest = found
    return furthest or _unknown(command, shapes)


def _begins(command: Command, shape: Shape) -> bool:
    if command.line is not None:
        return shape.line == command.line
    return shape.run is not None and tuple(command.argv[:1]) == (shape.run,)


def _unknown(command: Command, shapes: Sequence[Shape]) -> Misfit:
    """No shape is about it at all."""
    if command.line is not None:
        lines = [shape.line for shape in shapes if shape.line is not None]
        expected = "a list of arguments" + (", or a line that a shape names letter by letter" if lines else "")
        return Misfit(0, "the shell line", shown(command.line), "is none that a shape names", expected,
                      nearest=nearest(command.line, lines))  # fmt: skip
    programs = sorted({shape.run for shape in shapes if shape.run is not None})
    found = command.argv[0] if command.argv else ""
    expected = f"one of {', '.join(programs)}" if programs else "no program at all"
    return Misfit(0, "the program", shown(found), "is none that may run", expected, nearest=nearest(found, programs))


def read(command: Command, shape: Shape) -> Read | Misfit:
    """A command by a shape of its program or line."""
    found = Read() if command.line is not None else _Reader(command.argv, shape).read()
    if isinstance(found, Misfit):
        return found
    return _around(command, shape) or found


def _around(command: Command, shape: Shape) -> Misfit | None:
    """Variables and folder: with LD_PRELOAD or KUBECONFIG the same words do something else. No value is shown."""
    at = len(command.argv)
    for name, value in command.env.items():
        rule = shape.env.get(name)
        if rule is None:
            known = sorted(shape.env)
            expected = f"one of {', '.join(known)}" if known else "none"
            return Misfit(at, "the variable", shown(name), "may not be given", expected, shape.shown,
                          nearest(name, known))  # fmt: skip
        if wrong := rule.broken_by(value, apart=False):
            return Misfit(at, "the value of the variable", shown(name), wrong, rule.shown, shape.shown)
    if command.cwd is None:
        return None
    if shape.cwd is None:
        return Misfit(at, "the folder", shown(command.cwd), "may not be given", "none", shape.shown)
    wrong = shape.cwd.broken_by(command.cwd, apart=False)
    return Misfit(at, "the folder", shown(command.cwd), wrong, shape.cwd.shown, shape.shown) if wrong else None


class _Reader:
    """One reading of the words behind the program."""

    def __init__(self, words: Sequence[str], shape: Shape) -> None:
        self.words, self.shape = words, shape
        self.at, self.ended = 1, False
        self.arguments: list[str] = []
        self.flags: list[tuple[str, str | None]] = []

    def read(self) -> Read | Misfit:
        if len(self.words) > self.shape.most:
            self.at = self.shape.most
            return self._no("word", self.words[self.at], "is one too many", f"at most {self.shape.most} words")
        while self.at < len(self.words):
            word = self.words[self.at]
            is_flag = not self.ended and len(word) > 1 and word[0] == "-" and word != END
            if wrong := self._flag(word) if is_flag else self._argument(word):
                return wrong
        return self._missing() or Read(tuple(self.arguments), tuple(self.flags))

    def _argument(self, word: str) -> Misfit | None:
        number = len(self.arguments)
        rule = self.shape.argument(number)
        if rule is None:
            return self._no(f"argument {number + 1}", word, "is one too many", f"at most {number}")
        ends = not self.ended and word == END
        if wrong := rule.broken_by(word, apart=True) or ("ends the flags" if ends and rule.one_of != (END,) else None):
            return self._no(f"argument {number + 1}", word, wrong, rule.shown)
        self.ended = self.ended or ends
        self.arguments.append(word)
        self.at += 1
        return None

    def _flag(self, word: str) -> Misfit | None:
        name, sign, value = word.partition("=")
        if len(self.arguments) < self.shape.flags_after:
            rule = self.shape.argument(len(self.arguments))
            return self._no("the flag", word, "stands too early", rule.shown if rule else "an argument")
        if not sign and name in self.shape.spelled:
            return self._alone(name)
        if sign:
            glued = name + sign if name + sign in self.shape.spelled else name
            if glued in self.shape.spelled and (glued != name or len(name) > 2):
                return self._take(glued, value, 1, apart=False)
        return self._unknown(name, word) if word.startswith("--") else self._cluster(word)

    def _alone(self, name: str) -> Misfit | None:
        """A flag that stands by itself: its value, if it takes one, is the next word."""
        if self.shape.spelled[name].rule is None:
            self.flags.append((name, None))
            self.at += 1
            return None
        if self.at + 1 == len(self.words):
            return self._no("the flag", name, "lacks its value", self._rule(name))
        return self._take(name, self.words[self.at + 1], 2, apart=True)

    def _cluster(self, word: str) -> Misfit | None:
        """Short flags in one word; the first that takes a value takes what is left, or else the next word."""
        for number, letter in enumerate(word[1:], 2):
            name = "-" + letter
            if name not in self.shape.spelled:
                return self._unknown(name, word)
            if self.shape.spelled[name].rule is None:
                self.flags.append((name, None))
            elif not (rest := word[number:]):
                return self._alone(name)
            elif rest[0] == "=":  # to one program the sign is a part of the value, to another it is not
                return self._no("the flag", word, "may be read in two ways", f"{name} and its value as two words")
            else:
                return self._take(name, rest, 1, apart=False)
        self.at += 1
        return None

    def _take(self, name: str, value: str, words: int, *, apart: bool) -> Misfit | None:
        rule: ArgumentRule | None = self.shape.spelled[name].rule
        bare = name.rstrip("=")
        if rule is None:
            return self._no("the flag", self.words[self.at], "takes no value", f"{bare} alone")
        if wrong := rule.broken_by(value, apart=apart):
            self.at += words - 1
            return self._no(f"the value of {bare}", value, wrong, rule.shown)
        self.flags.append((name, value))
        self.at += words
        return None

    def _missing(self) -> Misfit | None:
        number = len(self.arguments)
        if number < len(self.shape.fixed):
            return self._no(f"argument {number + 1}", "", "is missing", self.shape.fixed[number].shown)
        given = {self.shape.spelled[name].name for name, _ in self.flags}
        lacks = next((name for name in self.shape.needs if self.shape.spelled[name].name not in given), None)
        return self._no("the flag", lacks, "is missing", self._rule(lacks)) if lacks else None

    def _unknown(self, name: str, word: str) -> Misfit:
        known = list(self.shape.flags)
        expected = f"one of {', '.join(known)}" if known else "no flag"
        return self._no("the flag", word, "is unknown", expected, nearest(name, self.shape.spelled))

    def _rule(self, name: str) -> str:
        rule = self.shape.spelled[name].rule
        return name if rule is None else f"{name} {rule.shown}"

    def _no(self, place: str, word: str, wrong: str, expected: str, near: str | None = None) -> Misfit:
        return Misfit(self.at, place, shown(word) if word else "", wrong, expected, self.shape.shown, near)
