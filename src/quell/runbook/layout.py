"""Where everything of a drawn Plan goes: checks in layers, ``decide``, one lane per decision, verification, the ends.

Layered drawing after Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11(2), 1981): longest-path layers, a waypoint in each
layer an edge passes, and the order within a layer by barycentres. Never does: know colours or states; write SVG.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from quell.runbook.glyphs import width, wrap
from quell.runbook.plan import DECIDE, Act, Approve, Check, Decision, Node, Notify, Plan
from quell.runbook.quantities import spoken

MARGIN = 14.0
BOX_WIDTH = 150.0
GAP_X = 18.0
GAP_Y = 40.0
LANE_PAD = 10.0
MOST_IN_A_ROW = 6
_STATUS_IS = re.compile(r"""\b(?:diagnostics\.)?([\w-]+)\.status\s*={2,3}\s*['"](\w+)['"]""")
TITLE_SIZE, NOTE_SIZE, CODE_SIZE = 13.0, 11.0, 10.5
LINE = 15.0
PAD_X, PAD_Y = 12.0, 9.0

Kind = Literal["start", "check", "decide", "act", "approve", "notify", "verify", "resolved", "escalated", "wait"]
Point = tuple[float, float]


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


@dataclass(frozen=True, slots=True)
class Line:
    """From box to box through points. ``curved``: a curve through them, else straight with round corners."""

    source: str
    target: str
    points: tuple[Point, ...]
    lane: str = ""
    label: str = ""
    label_at: Point | None = None
    curved: bool = True
    faint: bool = False


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


@dataclass(frozen=True, slots=True)
class Layout:
    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    lanes: tuple[Lane, ...]


def lay_out(plan: Plan) -> Layout:
    """The whole drawing, its origin at the top left."""
    return _Page(plan).layout()


class _Page:
    """One drawing in the making, from top to bottom."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.boxes: list[Box] = []
        self.lines: list[Line] = []
        self.lanes = [_lane(plan, decision) for decision in plan.decisions]

    def layout(self) -> Layout:
        rows, start = _rows(self.plan), _start(self.plan)
        widest = max([_row_width(row) for row in rows] + [self._lanes_width(), start.width])
        middle = MARGIN + widest / 2
        self._add(start, middle, MARGIN)
        bottom = self._checks(rows, middle, start)
        decide = self._add(_decide(), middle, bottom + GAP_Y)
        for row in rows:
            for box in (b for b in row if isinstance(b, Box)):
                self._to_decide(box, rows, decide)
        if not rows:
            self._join(start, decide)
        right = self._ends(decide, self._lane_columns(decide, middle))
        return Layout(right + MARGIN, max(box.bottom for box in self.boxes) + MARGIN, tuple(self.boxes),
                      tuple(self.lines), tuple(self.lanes))  # fmt: skip

    def _add(self, box: Box, x: float, y: float) -> Box:
        box.x, box.y = x, y
        self.boxes.append(box)
        return box

    def _join(self, upper: Box, lower: Box, *, via: Sequence[Point] = (), lane: str = "", label: str = "") -> None:
        points = ((upper.x, upper.bottom), *via, (lower.x, lower.y))
        at = ((points[0][0] + points[-1][0]) / 2, (points[0][1] + points[-1][1]) / 2) if label else None
        self.lines.append(Line(upper.node, lower.node, points, lane, label, at))

    # Checks.

    def _checks(self, rows: list[list[Box | _Waypoint]], middle: float, start: Box) -> float:
        bottom = start.bottom
        for row in rows:
            left = middle - _row_width(row) / 2
            top = bottom + GAP_Y
            for cell in row:
                cell.x, cell.y = left + cell.width / 2, top
                left += cell.width + GAP_X
            boxes = [cell for cell in row if isinstance(cell, Box)]
            self.boxes += boxes
            bottom = max((box.bottom for box in boxes), default=top)
            for waypoint in (cell for cell in row if isinstance(cell, _Waypoint)):
                waypoint.height = bottom - top
        cells = {(type(cell), cell.node, number): cell for number, row in enumerate(rows) for cell in row}
        checks = {cell.node: (number, cell) for number, row in enumerate(rows) for cell in row if isinstance(cell, Box)}
        for name, (number, box) in checks.items():
            sources = [edge.source for edge in self.plan.edges if edge.target == name and edge.source in checks]
            for source in sources:
                first, upper = checks[source]
                between = [cells.get((_Waypoint, source, level)) for level in range(first + 1, number)]
                self._join(upper, box, via=_through(between))
            if not sources:
                between = [cells.get((_Waypoint, start.node, level)) for level in range(number)]
                self._join(start, box, via=_through(between))
        return bottom

    def _to_decide(self, box: Box, rows: list[list[Box | _Waypoint]], decide: Box) -> None:
        level = next(number for number, row in enumerate(rows) if box in row)
        below = [
            next((cell for cell in row if isinstance(cell, _Waypoint) and cell.node == box.node), None)
            for row in rows[level + 1 :]
        ]
        self._join(box, decide, via=_through(below))

    # Lanes.

    def _lanes_width(self) -> float:
        return len(self.lanes) * (BOX_WIDTH + 2 * LANE_PAD) + max(0, len(self.lanes) - 1) * GAP_X

    def _lane_columns(self, decide: Box, middle: float) -> float:
        left, top = middle - self._lanes_width() / 2, decide.bottom + GAP_Y
        bottom = decide.bottom
        head = max([lane.head.height for lane in self.lanes], default=0.0)
        for lane in self.lanes:
            lane.x, lane.y = left, top
            centre = left + lane.width / 2
            lane.head.x, lane.head.y = centre, top
            below = top + head
            for step in lane.steps:
                self._add(step, centre, below)
                below = step.bottom + GAP_Y * 0.7
            left += lane.width + GAP_X
            bottom = max(bottom, lane.steps[-1].bottom if lane.steps else below)
        for lane in self.lanes:
            lane.height = bottom + LANE_PAD - lane.y
            self.lines.append(Line(decide.node, lane.head.node, ((decide.x, decide.bottom), (lane.head.x, lane.y)), lane.decision))  # fmt: skip
            for upper, lower in zip(lane.steps, lane.steps[1:], strict=False):
                self._join(upper, lower, lane=lane.decision)
        return bottom + (LANE_PAD if self.lanes else 0)

    # The ends.

    def _ends(self, decide: Box, bottom: float) -> float:
        """Verification, resolved, escalated; gives the right edge of everything."""
        acting = [lane for lane in self.lanes if not lane.pages]
        paging = [lane for lane in self.lanes if lane.pages]
        right = max([lane.x + lane.width for lane in self.lanes] + [box.x + box.width / 2 for box in self.boxes])
        escalated = _end(
            "escalated", "Escalated", f"A person takes over: {self.plan.escalation.primary or 'nobody is named'}"
        )
        top = bottom + GAP_Y
        if acting:
            verify = self._add(_verify(self.plan), sum(lane.head.x for lane in acting) / len(acting), top)
            side = verify.x + verify.width / 2
            free = [lane.head.x for lane in paging if lane.head.x - escalated.width / 2 > side]
            under = verify.bottom + GAP_Y
            resolved = self._add(_end("resolved", "Resolved", "The signals recovered and stayed so"), verify.x, under)
            self._add(escalated, free[-1] if free else side + GAP_X + escalated.width / 2, under)
            self._join(verify, resolved, label="recovered")
            beside = verify.y + verify.height / 2
            corner = ((side, beside), (escalated.x, beside), (escalated.x, escalated.y))
            at = ((side + escalated.x) / 2, beside - 6)
            self.lines.append(Line("verify", "escalated", corner, "", "else", at, curved=False))
            for lane in acting:
                self._join(lane.steps[-1], verify, lane=lane.decision)
        else:
            self._add(escalated, sum(lane.head.x for lane in paging) / len(paging) if paging else decide.x, top)
        for lane in paging:
            self._page(lane, escalated, bottom)
        right = max(right, escalated.x + escalated.width / 2)
        if not any(decision.when is None for decision in self.plan.decisions):
            right = self._none_holds(decide, escalated, right)
        return right

    def _page(self, lane: Lane, escalated: Box, bottom: float) -> None:
        """Down from its lane; one that is not above the end goes there between the lanes and verification."""
        last, bus = lane.steps[-1], bottom + GAP_Y * 0.35
        if abs(last.x - escalated.x) < 1:
            points: tuple[Point, ...] = ((last.x, last.bottom), (escalated.x, escalated.y))
        else:
            points = ((last.x, last.bottom), (last.x, bus), (escalated.x, bus), (escalated.x, escalated.y))
        self.lines.append(Line(last.node, escalated.node, points, lane.decision, curved=False))

    def _none_holds(self, decide: Box, escalated: Box, right: float) -> float:
        """When no decision holds, a person is asked; around everything on the right."""
        side = right + GAP_X
        middle, start = escalated.y + escalated.height / 2, decide.x + decide.width / 2
        across = decide.y + decide.height / 2
        points = ((start, across), (side, across), (side, middle), (escalated.x + escalated.width / 2, middle))
        label = "none holds" if self.lanes else ""
        self.lines.append(
            Line(decide.node, escalated.node, points, "", label, (start + 36, across - 5), curved=False, faint=True)
        )
        return side


@dataclass(slots=True)
class _Waypoint:
    """Where an edge passes a layer it does not stop in."""

    node: str
    x: float = 0.0
    y: float = 0.0
    width: float = 10.0
    height: float = 0.0


def _through(cells: Iterable[_Waypoint | None]) -> list[Point]:
    return [point for cell in cells if cell for point in ((cell.x, cell.y), (cell.x, cell.y + cell.height))]


def _row_width(row: Sequence[Box | _Waypoint]) -> float:
    return sum(cell.width for cell in row) + GAP_X * max(0, len(row) - 1)


def _rows(plan: Plan) -> list[list[Box | _Waypoint]]:
    """Checks by layer, each with its waypoints, ordered so that edges cross little."""
    needs = {c.id: [e.source for e in plan.edges if e.target == c.id and e.source != DECIDE] for c in plan.checks}
    layer = _longest_paths(needs)
    rows: list[list[Box | _Waypoint]] = []
    level_of: dict[str, int] = {}
    for depth in sorted(set(layer.values())):
        names = [name for name in needs if layer[name] == depth]
        for begin in range(0, len(names), MOST_IN_A_ROW):
            part = names[begin : begin + MOST_IN_A_ROW]
            level_of |= dict.fromkeys(part, len(rows))
            rows.append([_check(plan, name) for name in part])
    for name, level in level_of.items():
        for row in rows[level + 1 :]:
            row.append(_Waypoint(name))
        if not needs[name]:
            for row in rows[:level]:
                if not any(isinstance(cell, _Waypoint) and cell.node == "start" for cell in row):
                    row.append(_Waypoint("start"))
    return _ordered(rows, needs)


def _longest_paths(needs: dict[str, list[str]]) -> dict[str, int]:
    """The layer of each check; a circle, which lint refuses, ends after as many rounds as there are checks."""
    layer = dict.fromkeys(needs, 0)
    for _ in needs:
        for name, sources in needs.items():
            layer[name] = min(len(needs), max([layer[source] + 1 for source in sources if source in layer], default=0))
    return layer


def _ordered(rows: list[list[Box | _Waypoint]], needs: dict[str, list[str]]) -> list[list[Box | _Waypoint]]:
    """Each layer by the mean place of what its members come from (a few sweeps are enough for runbooks)."""
    for above, row in zip(rows, rows[1:], strict=False):
        place = {cell.node: (index + 0.5) / len(above) for index, cell in enumerate(above)}

        def centre(cell: Box | _Waypoint, place: dict[str, float] = place) -> float:
            sources = [cell.node] if isinstance(cell, _Waypoint) else needs[cell.node]
            known = [place[source] for source in sources if source in place]
            return sum(known) / len(known) if known else 0.5

        row.sort(key=centre)
    return rows


# Boxes.


def _fill(box: Box, texts: Iterable[tuple[str, Literal["title", "note", "code"], int]]) -> Box:
    room = box.width - 2 * PAD_X
    sizes = {"title": TITLE_SIZE, "note": NOTE_SIZE, "code": CODE_SIZE}
    for text, style, most in texts:
        lines = wrap(text, room, sizes[style], most, bold=style == "title", mono=style == "code")
        if lines:
            box.texts.append(Text(lines, style))
    box.height = 2 * PAD_Y + LINE * sum(len(text.lines) for text in box.texts)
    return box


def _start(plan: Plan) -> Box:
    trigger = plan.triggers[0] if plan.triggers else None
    words = {"alert": "Alert", "manual": "A person asks", "metric_threshold": "Metric over its threshold"}
    name = (trigger.alert_name or words[trigger.type]) if trigger else plan.name
    more = f"and {len(plan.triggers) - 1} more" if len(plan.triggers) > 1 else ""
    room = min(260.0, max(BOX_WIDTH, width(name, TITLE_SIZE, bold=True) + 2 * PAD_X + 2))
    return _fill(Box("start", "start", f"Starts on {name}", width=room), [(name, "title", 2), (more, "note", 1)])


def _check(plan: Plan, name: str) -> Box:
    check = plan.by_id[name]
    assert isinstance(check, Check)
    about = f"Check {check.name}: {check.call.type}"
    return _fill(Box(name, "check", about), [(name, "title", 2), (check.call.type, "note", 1)])


def _decide() -> Box:
    return Box(DECIDE, "decide", "Decide", [Text(["Decide"], "title")], width=112.0, height=56.0)


def _lane(plan: Plan, decision: Decision) -> Lane:
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


def _verify(plan: Plan) -> Box:
    verify = plan.verify
    signals = ", ".join(verify.signals)
    notes = f"stable for {spoken(verify.stable_for_s)}, within {spoken(verify.within_s)}"
    return _fill(
        Box("verify", "verify", f"Verify by {signals}: {notes}", width=BOX_WIDTH + 2 * LANE_PAD),
        [("Verify", "title", 1), (signals, "note", 2), (notes, "note", 2)],
    )


def _end(kind: Literal["resolved", "escalated"], title: str, about: str) -> Box:
    return _fill(Box(kind, kind, about, width=108.0), [(title, "title", 1)])
