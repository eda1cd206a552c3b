"""The shapes that a command of a runbook may have, as they are written: program, arguments by position, flags.

What is short in YAML becomes one typed rule here: ``get|describe``, ``[get, describe]``, ``/[a-z]+/``. A pattern is
matched in linear time and as a whole. Never does: take a command apart (``commands`` does), guess what was meant.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from quell.respond.limits import Rule
from quell.runbook.expr.pattern import MAX_SUBJECT, Pattern, compile_pattern

END, REST = "--", "..."
_MARK = re.compile(r"[;|&<>`]|\$[({]|[\x00-\x1f\x7f]")
_FLAG = re.compile(r"-[A-Za-z0-9?@#]=?|--?[A-Za-z0-9][A-Za-z0-9_.:-]*=?")
_SHOWN = 120


def mark_in(text: str) -> str | None:
    """What no argument holds unless the rule is ``raw``: a redirection, a separator, an expansion, a control
    character, and whatever is not ASCII, since it may look like any of these."""
    if found := _MARK.search(text):
        return ascii(found[0])
    if text.isascii():
        return None
    odd = next(char for char in text if not char.isascii())
    return f"U+{ord(odd):04X} ({unicodedata.name(odd, 'which has no name')})"


def _word(value: Any) -> Any:
    """A number in YAML is its text; ``true`` is not, since nobody knows how it was written."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool) or value is None:
        raise ValueError("a text is expected here; write it in quotes")
    return value


def _is_pattern(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == "/"


def _short(value: Any) -> Any:
    """``a|b``, ``[a, b]`` and ``/pattern/`` as the rule that they stand for."""
    if isinstance(value, list | tuple):
        if strange := next((one for one in value if isinstance(one, str) and _is_pattern(one)), None):
            raise ValueError(f"{strange!r} among alternatives: write {{pattern: ...}}, or {{one_of: ...}} for the text")
        return {"one_of": value}
    if isinstance(value, Mapping | ArgumentRule):
        return value
    text = _word(value)
    if not isinstance(text, str):
        raise ValueError("a text, a list of texts, or a mapping with one_of or pattern is expected here")
    if _is_pattern(text):
        if "/|/" in text:
            raise ValueError("one pattern is expected here, such as /get|describe/")
        return {"pattern": text[1:-1]}
    return {"one_of": text.split("|")}


class ArgumentRule(Rule):
    """What an argument, or the value of a flag or variable, may be. Written short: `get`, `get|describe`,
    `[get, describe]` or `/[a-z0-9-]+/`."""

    one_of: tuple[Annotated[str, BeforeValidator(_word)], ...] = ()
    """Just these texts."""
    pattern: str | None = None
    """A regular expression that matches the whole of it."""
    most: Annotated[int, Field(ge=1, le=MAX_SUBJECT)] = 256
    """So many characters of what the pattern matches."""
    raw: bool = False
    """It may hold redirections, separators, expansions, control characters and what is not ASCII."""
    dash: bool = False
    """What the pattern matches may begin with `-` where it stands alone."""

    @cached_property
    def matcher(self) -> Pattern | None:
        """The pattern, read once. Raises ValueError."""
        return None if self.pattern is None else compile_pattern(self.pattern)

    @model_validator(mode="after")
    def _can_be_met(self) -> ArgumentRule:
        if not self.one_of and self.pattern is None:
            raise ValueError("say what it may be, by one_of or pattern")
        for text in self.one_of:
            if not text:
                raise ValueError("an alternative is empty")
            if "\0" in text:
                raise ValueError("an alternative holds NUL")
            if not self.raw and (mark := mark_in(text)):
                raise ValueError(f"{text!r} holds {mark}, which is refused without raw: true")
        try:
            _ = self.matcher
        except ValueError as error:
            raise ValueError(f"{self.pattern!r} is not a pattern: {error}") from None
        return self

    def broken_by(self, value: str, *, apart: bool) -> str | None:
        """What is wrong with a value, in words. ``apart``: it is a word of its own, so it must not look like a flag."""
        if "\0" in value:
            return "holds NUL"
        if value in self.one_of:
            return None
        if not self.raw and (mark := mark_in(value)):
            return f"holds {mark}"
        if self.matcher is None:
            return "is not that"
        if len(value) > self.most:
            return f"is longer than {self.most} characters"
        if apart and not self.dash and len(value) > 1 and value[0] == "-":
            return "begins with '-'"
        return None if self.matcher.whole(value) else "does not match"

    @property
    def shown(self) -> str:
        return "|".join([*self.one_of, *([] if self.pattern is None else [f"/{self.pattern}/"])])


Argument = Annotated[ArgumentRule, BeforeValidator(_short)]


def _value(value: Any) -> Any:
    return None if value is None else _short(value)


FlagValue = Annotated[ArgumentRule | None, BeforeValidator(_value)]
"""None: the flag takes no value."""


def _flag_names(text: str) -> str:
    for name in text.split("|"):
        if not _FLAG.fullmatch(name):
            raise ValueError(f"{name!r} is no flag such as -n, --name or --name=")
    return text


def _in_order(args: tuple[ArgumentRule, ...]) -> tuple[ArgumentRule, ...]:
    places = [number for number, one in enumerate(args) if one.one_of == (REST,)]
    if places and (places != [len(args) - 1] or len(args) < 2 or args[-2].one_of == (END,)):
        raise ValueError("... stands once, last, behind the argument that may be there again")
    if sum(one.one_of == (END,) for one in args) > 1:
        raise ValueError("-- ends the flags once")
    for one in args[: _flags_end(args)]:
        if strange := next((text for text in one.one_of if len(text) > 1 and text[0] == "-"), None):
            raise ValueError(f"{strange} is read as a flag where no -- stands before it; it belongs into flags")
    return args


def _flags_end(args: tuple[ArgumentRule, ...]) -> int:
    """At which argument the flags end: at the ``--``, else behind all."""
    return next((at for at, one in enumerate(args) if one.one_of == (END,)), len(args))


def _program(text: str) -> str:
    if mark_in(text) or text != text.strip() or text.startswith("-") or not text.strip("./"):
        raise ValueError(f"{text!r} is no program")
    if "/" not in text and " " in text:
        raise ValueError("run is the program alone; what stands behind it belongs into args")
    if "/" in text and (not text.startswith("/") or posixpath.normpath(text) != text or text.startswith("//")):
        raise ValueError("a program is a bare name, or the shortest absolute path")
    return text


class Flag(NamedTuple):
    """``name``: as the shape spells it, all its spellings. ``rule`` None: it takes no value."""

    name: str
    rule: ArgumentRule | None


class Shape(Rule):
    """One way in which a command may look: a program with what may stand behind it, or one shell line."""

    run: Annotated[str, AfterValidator(_program)] | None = None
    """The program as the runbook must write it: a bare name or an absolute path; the one never stands for the other."""
    line: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Instead of `run`: a shell line, letter by letter."""
    args: Annotated[tuple[Argument, ...], AfterValidator(_in_order)] = ()
    """The arguments by position. `--` stands where the flags must end; `...` last lets the one before it be there
    again."""
    flags: dict[Annotated[str, AfterValidator(_flag_names)], FlagValue] = Field(default_factory=dict)
    """Flag to what its value may be, nothing for none: `{-v: , '-n|--namespace': /[a-z]+/}`. A name that ends with `=`
    takes its value only behind that sign."""
    flags_after: Annotated[int, Field(ge=0, le=64)] = 0
    """Flags stand only behind so many arguments: 1 keeps them behind a sub-command."""
    needs: tuple[str, ...] = ()
    """Flags that must be there, by any of their names."""
    env: dict[str, Argument] = Field(default_factory=dict)
    """Environment variables that the runbook may give, with what they may be; a reference as it is written."""
    cwd: Argument | None = None
    """The folder in which the runbook may run it; without this it may name none."""
    most: Annotated[int, Field(ge=1, le=1024)] = 64
    """So many words, the program with them."""

    @model_validator(mode="after")
    def _is_one_way(self) -> Shape:
        if (self.run is None) is (self.line is None):
            raise ValueError("say either run, a program, or line, a whole shell line")
        if self.line is not None and (self.args or self.flags or self.needs):
            raise ValueError("a shell line is taken letter by letter: without args, flags and needs")
        problems = [*self._flags_read_one_way(), *self._needs_what_is_there()]
        if self.flags_after > min(_flags_end(self.args), len(self.fixed)):
            problems.append(f"flags_after: {self.flags_after} is behind the last argument")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _flags_read_one_way(self) -> Iterator[str]:
        names = [name for spelled in self.flags for name in spelled.split("|")]
        yield from (f"the flag {name} is there twice" for name in sorted({*names}) if names.count(name) > 1)
        for name in names:
            short, bare = name[:2], name.rstrip("=")
            if self.spelled[name].rule is None and name != bare:
                yield f"the flag {name} takes a value, and nothing says which"
            if len(bare) > 2 and short != "--" and (short in names or f"{short}=" in names):
                yield f"{name} may be read as {short} with more behind it: one of them"

    def _needs_what_is_there(self) -> Iterator[str]:
        for name in self.needs:
            if name not in self.spelled:
                yield f"needs names {name}, which is none of its flags"

    @cached_property
    def spelled(self) -> Mapping[str, Flag]:
        """Every flag by each of its names."""
        return {name: Flag(names, rule) for names, rule in self.flags.items() for name in names.split("|")}

    @cached_property
    def repeats(self) -> bool:
        """Whether the last argument may be there again."""
        return bool(self.args) and self.args[-1].one_of == (REST,)

    @cached_property
    def fixed(self) -> tuple[ArgumentRule, ...]:
        """The arguments that must be there."""
        return self.args[:-1] if self.repeats else self.args

    def argument(self, number: int) -> ArgumentRule | None:
        """The rule of an argument by position, from 0; None where there is none."""
        if number < len(self.fixed):
            return self.fixed[number]
        return self.fixed[-1] if self.repeats else None

    @property
    def shown(self) -> str:
        """On one line, as a person would say it."""
        flags = [f"[{names}{'' if rule is None else ' ' + rule.shown}]" for names, rule in self.flags.items()]
        text = self.line or " ".join([self.run or "", *(one.shown for one in self.args), *flags])
        return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _a_list(value: Any) -> Any:
    """``commands:`` with nothing behind it looks like nothing is allowed, and must not mean that all is."""
    if value is None:
        raise ValueError("a list is expected here: [] lets no command run, and left out any may")
    return value


Commands = Annotated[tuple[Shape, ...] | None, BeforeValidator(_a_list)]
