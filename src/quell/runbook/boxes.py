"""The boxes of a drawn Plan: what is written in each, wrapped to fit, and how large that makes it.

Never does: know where a box stands, colours, SVG.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from quell.runbook.glyphs import width, wrap
from quell.runbook.plan import DECIDE, Act, Approve, Check, Decision, Node, Notify, Plan
from quell.runbook.quantities import spoken

BOX_WIDTH = 150.0
LANE_PAD = 10.0
TITLE_SIZE, NOTE_SIZE, CODE_SIZE = 13.0, 11.0, 10.5
LINE = 15.0
PAD_X, PAD_Y = 12.0, 9.0
_WIDEST_START = 260.0
_STATUS_IS = re.compile(r"""\b(?:diagnostics\.)?([\w-]+)\.status\s*={2,3}\s*['"](\w+)['"]""")

Kind = Literal["start", "check", "decide", "act", "approve", "notify", "verify", "resolved", "escalated", "wait"]


@dataclass(slots=True)
class Text:
    """Lines of one style, wrapped to fit."""

    lines: list[str]
    style: Literal["title", "note", "code"]


@dataclass(slots=True)
class Box:
    """``x`` is the centre, ``y`` the top. ``lane`` is the decision a box belongs to, empty when to none."""

    node: str
    kind: Kind
    about: str
    texts: list[Text] = field(default_factory=list)
    lane: str = ""
    width: float = BOX_WIDTH
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0

    @property
    def bottom(self) -> float:
        return self.y + self.height


@dataclass(slots=True)
class Lane:
    """A decision's column. ``x`` is its left edge."""

    decision: str
    head: Box
    steps: list[Box]
    x: float = 0.0
    y: float = 0.0
    width: float = BOX_WIDTH + 2 * LANE_PAD
    height: float = 0.0

    @property
    def pages(self) -> bool:
        """Whether it ends with a person taking over, so that nothing is left to verify."""
        return bool(self.steps) and self.steps[-1].kind == "notify"


def _fill(box: Box, texts: Iterable[tuple[str, Literal["title", "note", "code"], int]]) -> Box:
    room = box.width - 2 * PAD_X
    sizes = {"title": TITLE_SIZE, "note": NOTE_SIZE, "code": CODE_SIZE}
    for text, style, most in texts:
        lines = wrap(text, room, sizes[style], most, bold=style == "title", mono=style == "code")
        if lines:
            box.texts.append(Text(lines, style))
    box.height = 2 * PAD_Y + LINE * sum(len(text.lines) for text in box.texts)
    return box


def start_box(plan: Plan) -> Box:
    trigger = plan.triggers[0] if plan.triggers else None
    words = {"alert": "Alert", "manual": "A person asks", "metric_threshold": "Metric over its threshold"}
    name = (trigger.alert_name or ", ".join(trigger.matchers) or words[trigger.type]) if trigger else plan.name
    more = f"and {len(plan.triggers) - 1} more" if len(plan.triggers) > 1 else ""
    room = min(_WIDEST_START, max(BOX_WIDTH, width(name, TITLE_SIZE, bold=True) + 2 * PAD_X + 2))
    return _fill(Box("start", "start", f"Starts on {name}", width=room), [(name, "title", 2), (more, "note", 1)])


def check_box(plan: Plan, name: str) -> Box:
    check = plan.by_id[name]
    assert isinstance(check, Check)
    about = f"Check {check.name}: {check.call.type}"
    return _fill(Box(name, "check", about), [(name, "title", 2), (check.call.type, "note", 1)])


def decide_box() -> Box:
    return Box(DECIDE, "decide", "Decide", [Text(["Decide"], "title")], width=112.0, height=56.0)


def lane_of(plan: Plan, decision: Decision) -> Lane:
    number = next(index for index, known in enumerate(plan.decisions, 1) if known is decision)
    condition = decision.when if decision.when is not None else "otherwise"
    head = Box(decision.id, "decide", f"Decision {number}: {condition}", lane=decision.id)
    shown = _STATUS_IS.sub(r"\1 is \2", condition)
    _fill(head, [(f"{number}", "title", 1), (shown, "code", 4), (decision.description, "note", 2)])
    steps = [_step(plan.by_id[name], decision.id) for name in dict.fromkeys(decision.then)]
    return Lane(decision.id, head, steps)


def _step(node: Node, lane: str) -> Box:
    if isinstance(node, Act):
        notes = [node.call.type]
        if node.for_each:
            notes.append(f"each {', '.join(node.for_each.values)}, {node.for_each.batch} at a time")
        if node.requires_approval:
            notes.append(f"asks {node.approval.ask}")
        undo = "cannot be undone" if node.undo.never else f"undone on {' or '.join(node.undo.on)}"
        box = Box(node.id, "act", f"Act {node.name}: {', '.join(notes)}; {undo}", lane=lane)
        return _fill(box, [(node.id, "title", 2), *((note, "note", 2) for note in notes)])
    if isinstance(node, Approve):
        box = Box(node.id, "approve", f"By a person: {node.name}", lane=lane)
        return _fill(box, [(node.id, "title", 2), ("by a person", "note", 1)])
    if isinstance(node, Notify):
        box = Box(node.id, "notify", f"{'Page' if node.escalate else 'Tell'}: {node.name}", lane=lane)
        return _fill(box, [(node.id, "title", 2), ("pages a person" if node.escalate else "tells", "note", 1)])
    return _fill(Box(node.id, "wait", node.name, lane=lane), [(node.id, "title", 2), (node.kind, "note", 1)])


def verify_box(plan: Plan) -> Box:
    verify = plan.verify
    signals = ", ".join(verify.signals)
    notes = f"stable for {spoken(verify.stable_for_s)}, within {spoken(verify.within_s)}"
    return _fill(
        Box("verify", "verify", f"Verify by {signals}: {notes}", width=BOX_WIDTH + 2 * LANE_PAD),
        [("Verify", "title", 1), (signals, "note", 2), (notes, "note", 2)],
    )


def end_box(kind: Literal["resolved", "escalated"], title: str, about: str) -> Box:
    return _fill(Box(kind, kind, about, width=108.0), [(title, "title", 1)])
