"""What cannot be meant although the form is right: names, needs, keys that do nothing, guards that guard nothing.

Each rule is one function over the text of a runbook, giving problems with places. Never does: look at conditions or
templates, make a Plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from quell.errors import Problem
from quell.runbook import plan as words
from quell.runbook.dialects._native_schema import RunbookText, TriggerText
from quell.runbook.dialects._native_steps import RemediationText
from quell.runbook.quantities import rate, spoken
from quell.runbook.scope import ROOTS
from quell.runbook.source import Document, Path, snake
from quell.runbook.template import has_template
from quell.runbook.vocabulary import Vocabulary, nearest

_OF_FOR_EACH = ("batch", "stop_on", "quorum")
_OF_ACTIONS = ("for_each", "capture", "guard", "precondition", "postcondition", "undo", "revert")
_A_MINUTE = 60.0


def flaws(document: Document, text: RunbookText, vocabulary: Vocabulary) -> Iterator[Problem]:
    """All of them."""
    yield from _ids(document, text)
    yield from _needs(document, text)
    yield from _twice(document, text)
    for index, trigger in enumerate(text.triggers):
        yield from _idle_clauses(document, ("triggers", index), trigger)
    for index, step in enumerate(text.remediations):
        path: Path = ("remediations", index)
        yield from _idle(document, path, step)
        yield from _for_each(document, path, step)
        yield from _capture(document, path, step, vocabulary)
        for place in (("approval", "expires"), ("revert", "after")):
            yield from _bare(document, (*path, *place), document.at((*path, *place)))


def _ids(document: Document, text: RunbookText) -> Iterator[Problem]:
    seen: dict[str, str] = dict.fromkeys((words.DECIDE, *ROOTS), "the house")
    checks, steps = [check.id for check in text.diagnostics], [step.id for step in text.remediations]
    for section, names in (("diagnostics", checks), ("remediations", steps)):
        for index, name in enumerate(names):
            if name in seen:
                message = f"id {name!r} is taken by {seen[name]}"
                yield document.problem((section, index, "id"), message, rule="duplicate-id", found=name)
            seen.setdefault(name, f"{section}[{index}]")


def _needs(document: Document, text: RunbookText) -> Iterator[Problem]:
    checks, steps = [check.id for check in text.diagnostics], [step.id for step in text.remediations]
    for section, all_needs, own, kind in (
        ("diagnostics", [check.needs for check in text.diagnostics], checks, "diagnostic"),
        ("remediations", [step.needs for step in text.remediations], steps, "remediation"),
    ):
        for index, needs in enumerate(all_needs):
            for position, need in enumerate(needs):
                place = (section, index, "needs", position)
                if need == own[index]:
                    yield document.problem(place, f"{need!r} needs itself", rule="cycle", found=need)
                elif need not in own:
                    told = "; checks are done before any remediation" if own is steps and need in checks else ""
                    yield document.problem(
                        place, f"needs {need!r}, which is not a {kind}{told}", rule="unknown-step", found=need,
                        expected=f"the id of a {kind}", nearest=nearest(need, own),
                    )  # fmt: skip


def _twice(document: Document, text: RunbookText) -> Iterator[Problem]:
    for index, entry in enumerate(text.decision_tree):
        for position, name in enumerate(entry.then):
            if name in entry.then[:position]:
                yield document.problem(
                    ("decision_tree", index, "then", position), f"{name!r} is named twice; it runs once",
                    rule="repeated-step", severity="warning",
                )  # fmt: skip


def _idle_clauses(document: Document, path: Path, trigger: TriggerText) -> Iterator[Problem]:
    """What is asked of an alert, where none starts it."""
    for key in () if trigger.type == "alert" else ("matchers", "severity", "source"):
        if key in trigger.model_fields_set:
            yield document.problem(
                (*path, key), f"{key} does nothing here: no alert starts a {trigger.type} trigger", rule="idle-key",
                found=key, expected="type: alert", severity="warning",
            )  # fmt: skip


def _idle(document: Document, path: Path, step: RemediationText) -> Iterator[Problem]:
    """A guard on what a person does by hand guards nothing."""
    acts = step.action is not None and step.action.type != "notify"
    kind = "notify" if step.action is not None else step.type
    for key in () if acts else _OF_ACTIONS:
        if key in step.model_fields_set and not (key == "undo" and step.undo.none):
            yield document.problem(
                (*path, key),
                f"{key} does nothing here: a {kind} step changes no system",
                rule="idle-key",
                found=key,
                severity="warning",
            )
    if "to" in step.model_fields_set and step.type != "escalate":
        yield document.problem(
            (*path, "to"), f"to does nothing here: only an escalate step has it, this is {step.type}", rule="idle-key",
            found="to", expected="type: escalate", severity="warning",
        )  # fmt: skip


def _for_each(document: Document, path: Path, step: RemediationText) -> Iterator[Problem]:
    """One variable; what is beside it is a key, and may be misspelt."""
    names, keys = variables_of(step), {name: nearest(name, _OF_FOR_EACH) for name in _beside(step)}
    for name, near in keys.items():
        yield document.problem(
            (*path, "for_each", name), f"unknown key {name!r}", rule="unknown-key", found=name,
            expected="one of " + ", ".join(_OF_FOR_EACH), nearest=near,
        )  # fmt: skip
    for name in names[1:]:
        yield document.problem(
            (*path, "for_each", name), f"for_each names exactly one variable, and {names[0]!r} is it",
            rule="wrong-value", found=name,
        )  # fmt: skip
    for name in names[:1]:
        if not name.isidentifier() or name in ROOTS:
            yield document.problem(
                (*path, "for_each", name), f"{name!r} cannot be the name of a variable", rule="wrong-value", found=name,
                expected="letters, digits and _, and no name that is there already",
            )  # fmt: skip


def variables_of(step: RemediationText) -> list[str]:
    """The variables of a ``for_each``: one is right."""
    names = list(step.for_each.model_extra or {}) if step.for_each else []
    return [name for name in names if name not in _beside(step)]


def _beside(step: RemediationText) -> list[str]:
    """Names beside the variable that are a key of ``for_each`` but for a letter."""
    names = list(step.for_each.model_extra or {}) if step.for_each else []
    return [name for name in names if nearest(snake(name).lower(), _OF_FOR_EACH)] if len(names) > 1 else []


def _capture(document: Document, path: Path, step: RemediationText, vocabulary: Vocabulary) -> Iterator[Problem]:
    word = vocabulary.actions.get(step.action.type) if step.action else None
    if step.capture and word is not None and not word.can_capture:
        yield document.problem((*path, "capture"), f"{word.name} cannot capture values", rule="unknown-capture")
    for name, query in step.capture.items():
        place = (*path, "capture", name)
        if not name.isidentifier():
            yield document.problem(
                place, f"{name!r} cannot be read as captured.NAME", rule="wrong-value", found=name,
                expected="letters, digits and _",
            )  # fmt: skip
        if not query.strip():
            yield document.problem(place, f"the query of {name!r} is empty", rule="wrong-value")
        if has_template(query):
            yield document.problem(
                place, f"a template in the query of {name!r} is not filled", rule="template", found=query[:80],
                expected=":name, bound to what params or identifiers say",
            )  # fmt: skip


def _bare(document: Document, path: Path, value: Any) -> Iterator[Problem]:
    """``after: 24`` is 24 seconds, and nobody means that of what people wait for."""
    text = str(value)
    if not isinstance(value, bool) and text.replace(".", "", 1).isdigit() and 0 < float(text) < _A_MINUTE:
        yield document.problem(
            path, f"{text} without a unit is {spoken(float(text))}", rule="bare-number", severity="warning",
            found=text, expected=f"{text}s, {text}m or {text}h",
        )  # fmt: skip


def guard_of(
    document: Document, path: Path, given: Mapping[str, Any], call: words.Call, own: Mapping[str, str]
) -> tuple[words.Guard, list[Problem]]:
    """The guard of a remediation, and what of it would guard nothing. ``own``: the action type's guard keys."""
    allow: dict[str, list[Any]] = {}
    limits: dict[str, Any] = {}
    count = per_s = None
    problems: list[Problem] = []
    for key, value in given.items():
        name, place = snake(key), (*path, key)
        if name == "rate":
            try:
                count, per_s = rate(value)
            except ValueError as error:
                problems.append(document.problem(place, str(error), rule="wrong-value", found=repr(value)))
            else:
                problems += _bare(document, place, str(value).partition("/")[2].strip())
        elif name in own or name == "max_magnitude":
            limits[name] = value
            problems += _limit(document, place, name, value)
        elif name in _bounded(call.config):
            allow[name] = value if isinstance(value, list) else [value]
            problems += _allowed(document, place, name, value)
        else:
            known = {*own, *_bounded(call.config), "rate", "max_magnitude"}
            problems.append(document.problem(
                place, f"{call.type} has no parameter or limit {key!r} here", rule="unknown-guard", found=key,
                expected="one of " + ", ".join(sorted(known)), nearest=nearest(name, known),
            ))  # fmt: skip
    return words.Guard(allow=allow, limits=limits, rate_count=count, rate_per_s=per_s), problems


def _limit(document: Document, place: Path, name: str, value: Any) -> Iterable[Problem]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "max_magnitude" and not (is_number and value >= 0):
        yield document.problem(
            place, "max_magnitude is a number, at least 0", rule="wrong-value", found=repr(value), expected="a number"
        )


def _allowed(document: Document, place: Path, name: str, value: Any) -> Iterable[Problem]:
    if value == []:
        yield document.problem(place, f"no value of {name!r} is allowed, so it can never run", rule="wrong-value")
    if has_template(value):
        yield document.problem(
            place, "a template in a guard is not filled, so it can never run", rule="template", found=str(value)[:80],
            expected="the values that are allowed",
        )  # fmt: skip


def _bounded(config: Mapping[str, Any]) -> set[str]:
    """A guard may bound a parameter, or one of the names inside ``identifiers`` and ``params``."""
    inside = [value for key in ("identifiers", "params") if isinstance(value := config.get(key), dict)]
    return {*config, *(name for group in inside for name in group)}
