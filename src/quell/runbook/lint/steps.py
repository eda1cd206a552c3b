"""What a remediation says around its action: the targets of ``for_each``, what is captured, statuses that exist.

Never does: look at parameters, which are their plug-in's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from quell.runbook.lint.calls import acts, calls
from quell.runbook.lint.remark import Place, Remark
from quell.runbook.names import names_of
from quell.runbook.plan import Act, ForEach, Plan
from quell.runbook.scope import captured_names, decision_scope
from quell.runbook.template import check as check_template
from quell.runbook.template import has_template
from quell.runbook.vocabulary import Vocabulary, nearest

_CAPTURED = re.compile(r"(?<![$\{])\{captured\.([A-Za-z_][A-Za-z0-9_]*)\}")


def targets(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """``for_each`` runs over a list, or over what a template gives, under a name that nothing else has."""
    scope = decision_scope(plan)
    for act in acts(plan):
        if act.for_each is None:
            continue
        for name, value in act.for_each.values.items():
            place: Place = ("for_each", name)
            for flaw in check_template(value, scope):
                yield Remark(
                    act.origin, place, flaw.message, "template", found=flaw.found, expected=flaw.expected,
                    nearest=flaw.nearest,
                )  # fmt: skip
            if name in plan.by_id:
                yield Remark(act.origin, place, f"{name!r} is the id of a step or check", "duplicate-id", found=name)
            yield from _values(act, place, value, act.for_each)


def _values(act: Act, place: Place, value: Any, given: ForEach) -> Iterator[Remark]:
    is_list = isinstance(value, list | tuple)
    if not is_list and not (isinstance(value, str) and value):
        yield Remark(
            act.origin, place, "for_each needs the values to run over", "wrong-value", found=repr(value),
            expected="a list, or a template that gives one",
        )  # fmt: skip
    elif is_list and not value:
        yield Remark(act.origin, place, f"there is no {place[-1]} to act on", "wrong-value", found="[]")
    elif is_list and given.quorum and given.quorum > len(value) and not has_template(list(value)):
        yield Remark(
            act.origin, ("for_each", "quorum"), f"{given.quorum} of {len(value)} can never be done", "wrong-value",
            found=str(given.quorum), expected=f"at most {len(value)}",
        )  # fmt: skip


def captures(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """``{captured.NAME}`` in SQL names something that was captured; before acting nothing is yet."""
    known = captured_names(plan)
    expected = "one of " + ", ".join(sorted(known)) if known else "capture: {NAME: QUERY}"
    for asked in calls(plan, vocabulary):
        own = {key: value for key, value in asked.call.config.items() if key not in asked.inherited}
        for place, text in _texts(own, ()):
            for name in _CAPTURED.findall(text):
                if name not in known:
                    yield Remark(
                        asked.origin, asked.at(place), f"nothing is captured as {name!r}", "unknown-capture",
                        found=f"captured.{name}", expected=expected, nearest=nearest(name, known),
                    )  # fmt: skip
    for act in acts(plan):
        for path in sorted(names_of(act.precondition)):
            if path.startswith("captured.") and path.split(".")[1] in act.capture:
                yield Remark(
                    act.origin, ("precondition",), "nothing is captured yet when the precondition is asked",
                    "unknown-capture", found=path, expected="a postcondition, or an undo",
                )  # fmt: skip


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, str):
        if "{captured." in value:
            yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*place, index))


def looks_once(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A verification that waits longer between two looks than it lasts sees one moment."""
    verify = plan.verify
    if plan.decisions and verify.every_s >= verify.within_s:
        yield Remark(
            plan.origin, ("verify", "every"), "it looks once, so nothing can be seen to stay well", "verify-too-short",
            found=f"{verify.every_s:g}s", expected=f"less than within, which is {verify.within_s:g}s",
        )  # fmt: skip
