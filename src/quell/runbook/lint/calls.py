"""Every call of a plug-in in a Plan: its type, parameters, templates, and what its type hints at.

Never does: ask a plug-in; the Vocabulary says what lint must know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from quell.runbook.lint.remark import Place, Remark
from quell.runbook.names import names_of
from quell.runbook.plan import Act, Call, Notify, Origin, Plan
from quell.runbook.scope import decision_scope
from quell.runbook.template import check as check_template
from quell.runbook.template import has_template
from quell.runbook.vocabulary import ActionWord, CheckWord, Vocabulary, nearest

_INTERPRETER = re.compile(
    r"(ba|da|z|k|a|c|tc|fi)?sh|busybox|cmd(\.exe)?|powershell|pwsh|python[0-9.]*|perl|ruby|node|php|awk|ssh"
)
_READS_CODE = re.compile(r"-[A-Za-z]*[ceEr]|/[cC]|-Command|--eval|--command")


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: below which place of which node it is written, and what the Vocabulary knows of its type."""

    origin: Origin
    place: Place
    call: Call
    known: Mapping[str, CheckWord] | Mapping[str, ActionWord]
    told: bool = True
    """Whether an unknown type is told elsewhere: by the dialect, which needs the word to make a node."""
    inherited: frozenset[str] = frozenset()
    """Parameters that it has from another call, which is where they are judged."""

    @property
    def word(self) -> CheckWord | ActionWord | None:
        return self.known.get(self.call.type)

    def at(self, place: Place) -> Place:
        """Where a parameter is; one written without ``config`` around it is found as well."""
        return (*self.place, "config", *place)


def calls(plan: Plan, vocabulary: Vocabulary) -> Iterator[Asked]:
    """Those of checks, of actions and their undo, and the check that a verification requires."""
    for check in plan.checks:
        yield Asked(check.origin, (), check.call, vocabulary.checks)
    for act in acts(plan):
        yield Asked(act.origin, ("action",), act.call, vocabulary.actions)
        if (back := act.undo.call) is not None:
            same = back.type == act.call.type
            alike = {name for name, value in back.config.items() if same and act.call.config.get(name) == value}
            yield Asked(act.origin, ("undo",), back, vocabulary.actions, same, frozenset(alike))
    if plan.verify.require and plan.verify.require.check:
        yield Asked(plan.origin, ("verify", "require"), plan.verify.require.check, vocabulary.checks, told=False)


def acts(plan: Plan) -> Iterator[Act]:
    return (node for node in plan.nodes if isinstance(node, Act))


def types_known(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """What takes an action back is an action too, and what a verification requires a check."""
    for asked in calls(plan, vocabulary):
        if asked.word is None and not asked.told:
            name, kind = asked.call.type, "check" if asked.known is vocabulary.checks else "action"
            yield Remark(
                asked.origin, (*asked.place, "type"), f"unknown {kind} type {name!r}", f"unknown-{kind}", found=name,
                expected="one of " + ", ".join(sorted(asked.known)), nearest=nearest(name, asked.known),
            )  # fmt: skip


def templates(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """Every reference in a parameter names something that exists."""
    scope = decision_scope(plan)
    for asked in calls(plan, vocabulary):
        own = {name: value for name, value in asked.call.config.items() if name not in asked.inherited}
        for flaw in check_template(own, scope):
            yield Remark(
                asked.origin, asked.at((flaw.path,)), flaw.message, "template", found=flaw.found,
                expected=flaw.expected, nearest=flaw.nearest,
            )  # fmt: skip
    for note in (node for node in plan.nodes if isinstance(node, Notify)):
        for flaw in check_template(note.message, scope):
            yield Remark(note.origin, (), flaw.message, "template", found=flaw.found, nearest=flaw.nearest)


def shell_lines(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A value never becomes part of code: one string runs in a shell only when nothing is filled into it."""
    for asked in calls(plan, vocabulary):
        in_shell = asked.word.shell if asked.word else ()
        for name, value in asked.call.config.items():
            for place, code in _code(value, whole=name in in_shell):
                if has_template(code):
                    yield Remark(
                        asked.origin, asked.at((name, *place)), f"a template in a shell line: {code!r}",
                        "template-in-shell", expected="the value as an argument of its own, or through env",
                    )  # fmt: skip


def _code(command: object, *, whole: bool) -> Iterator[tuple[Place, str]]:
    """What an interpreter reads as code: the ``whole`` of a string that a shell runs, and what follows ``-c``."""
    if isinstance(command, str) and whole:
        yield (), command
    if not isinstance(command, list | tuple):
        return
    words = [str(word) for word in command]
    begins = next((n for n, word in enumerate(words) if _INTERPRETER.fullmatch(word.rpartition("/")[2])), len(words))
    for number in range(begins + 2, len(words)):
        if _READS_CODE.fullmatch(words[number - 1]):
            yield (number,), words[number]


def parameters(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """What each plug-in says of its own parameters."""
    for asked in calls(plan, vocabulary):
        for fault in asked.word.faults(asked.call.config) if asked.word else ():
            if not (fault.place and fault.place[0] in asked.inherited):
                yield Remark(
                    asked.origin, asked.at(fault.place), fault.message, "parameter", found=fault.found,
                    expected=fault.expected, nearest=fault.nearest,
                )  # fmt: skip


def commands(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A command that the site's guardrails would refuse, whatever the incident."""
    for asked in calls(plan, vocabulary):
        for fault in asked.word.misfits(asked.call.config) if asked.word else ():
            if not (fault.place and fault.place[0] in asked.inherited):
                yield Remark(
                    asked.origin, asked.at(fault.place), fault.message, "command", found=fault.found,
                    expected=fault.expected, nearest=fault.nearest,
                )  # fmt: skip


def require_tells(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """What is required is read as "it gives a series", unless the runbook says how to read it."""
    require = plan.verify.require
    if require is None or require.check is None or (word := vocabulary.checks.get(require.check.type)) is None:
        return
    place, said = ("verify", "require"), require.interpret.healthy if require.interpret else None
    facts = word.facts(require.check.config)
    if said is None and not {"series_count", "..."} & set(facts):
        yield Remark(
            plan.origin, place, f"nothing says when {require.check.type} is enough, so it never is",
            "require-unread", expected="interpret: {healthy: CONDITION}",
        )  # fmt: skip
    for hint in (word.gate(require.check.config) or "").split("\n") if said is None else ():
        if hint:
            yield Remark(plan.origin, (*place, "config", "query"), hint, "hint", "warning")


def hints(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """What a check type says of a config where one ``value`` is read: several series, a ratio without aggregation."""
    for check in plan.checks:
        word = vocabulary.checks.get(check.call.type)
        read = {name for text in check.interpret.model_dump().values() for name in names_of(text)}
        for hint in (word.hint(check.call.config) or "").split("\n") if word else ():
            if hint and "value" in read:
                yield Remark(check.origin, ("config",), hint, "hint", "warning")
