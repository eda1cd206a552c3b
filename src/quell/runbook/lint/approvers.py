"""Whose yes a runbook asks for, held against the groups and schedules that there are.

Never does: know who is on call.
"""

from __future__ import annotations

from collections.abc import Iterator

from quell.runbook.lint.addresses import looks_like_one
from quell.runbook.lint.remark import Remark
from quell.runbook.plan import Act, Approve, Plan
from quell.runbook.vocabulary import Vocabulary, nearest

OF_THE_SERVICE = ("oncall", "owner")


def approvers(plan: Plan, vocabulary: Vocabulary) -> Iterator[Remark]:
    """A warning only: any name may be a person's, and ``from`` may only say whom to tell."""
    circles = vocabulary.circles
    if not circles:
        return
    known = sorted({*circles, *OF_THE_SERVICE})
    for node in plan.nodes:
        if not isinstance(node, Act | Approve):
            continue
        for number, name in enumerate(node.approval.approvers):
            near = nearest(name, known)
            if name not in known and near is not None:
                said = f"no group or schedule is called {name!r}; it is taken for a person's name"
                place = ("approval", "approvers", number)
                yield Remark(node.origin, place, said, "unknown-approver", "warning", name, nearest=near)
        asked = node.approval.ask
        named = vocabulary.notifiers or {}
        if asked not in known and asked not in named and not looks_like_one(asked, vocabulary):
            said = f"no group or schedule is called {asked!r}: anybody who may approve can say yes"
            expected = f"one of {', '.join(known)}, or an address"
            yield Remark(
                node.origin, ("approval", "from"), said, "unknown-approver", "warning", asked, expected,
                nearest(asked, known),
            )  # fmt: skip
