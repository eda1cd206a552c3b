"""Where everything of a drawn Plan goes: checks in layers, ``decide``, one lane per decision, verification, the ends.

Layered drawing after Sugiyama, Tagawa and Toda (IEEE Trans. SMC 11(2), 1981): longest-path layers, a waypoint in each
layer an edge passes, and the order within a layer by barycentres. Never does: know colours or states; write SVG.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from quell.runbook.boxes import (
    BOX_WIDTH,
    LANE_PAD,
    Box,
    Lane,
    check_box,
    decide_box,
    end_box,
    lane_of,
    start_box,
    verify_box,
)
from quell.runbook.plan import DECIDE, Check, Plan

MARGIN = 14.0
GAP_X = 18.0
GAP_Y = 40.0
MOST_IN_A_ROW = 6

Point = tuple[float, float]


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
        self.lanes = [lane_of(plan, decision) for decision in plan.decisions]

    def layout(self) -> Layout:
        rows, start = _rows(self.plan), start_box(self.plan)
        widest = max([_row_width(row) for row in rows] + [self._lanes_width(), start.width])
        middle = MARGIN + widest / 2
        self._add(start, middle, MARGIN)
        bottom = self._checks(rows, middle, start)
        decide = self._add(decide_box(), middle, bottom + GAP_Y)
        for row in rows:
            for box in (b for b in row if isinstance(b, Box)):
                if not _targets(self.plan, box.node):
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
        passed = {(c.node, level): c for level, row in enumerate(rows) for c in row if isinstance(c, _Waypoint)}
        checks = {cell.node: (number, cell) for number, row in enumerate(rows) for cell in row if isinstance(cell, Box)}
        for name, (number, box) in checks.items():
            sources = [edge.source for edge in self.plan.edges if edge.target == name and edge.source in checks]
            for source in sources:
                first, upper = checks[source]
                between = [passed.get((source, level)) for level in range(first + 1, number)]
                self._join(upper, box, via=_through(between))
            if not sources:
                between = [passed.get((start.node, level)) for level in range(number)]
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
            down = ((decide.x, decide.bottom), (lane.head.x, lane.y))
            self.lines.append(Line(decide.node, lane.head.node, down, lane.decision))
            for upper, lower in pairwise(lane.steps):
                self._join(upper, lower, lane=lane.decision)
        return bottom + (LANE_PAD if self.lanes else 0)

    # The ends.

    def _ends(self, decide: Box, bottom: float) -> float:
        """Verification, resolved, escalated; gives the right edge of everything."""
        acting = [lane for lane in self.lanes if not lane.pages]
        paging = [lane for lane in self.lanes if lane.pages]
        sides = [lane.x + lane.width for lane in self.lanes] + [box.x + box.width / 2 for box in self.boxes]
        right = max(sides + [x for line in self.lines for x, _ in line.points])
        escalated = end_box(
            "escalated", "Escalated", f"A person takes over: {self.plan.escalation.primary or 'nobody is named'}"
        )
        top = bottom + GAP_Y
        if acting:
            verify = self._add(verify_box(self.plan), sum(lane.head.x for lane in acting) / len(acting), top)
            side = verify.x + verify.width / 2
            free = [lane.head.x for lane in paging if lane.head.x - escalated.width / 2 > side]
            under = verify.bottom + GAP_Y
            resolved = end_box("resolved", "Resolved", "The signals recovered and stayed so")
            self._add(resolved, verify.x, under)
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


def _targets(plan: Plan, name: str) -> list[str]:
    """Checks that wait for this one. Only one without any has an edge to ``decide``: the others get there by theirs."""
    return [edge.target for edge in plan.edges if edge.source == name and edge.target in plan.by_id
            and isinstance(plan.by_id[edge.target], Check)]  # fmt: skip


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
            rows.append([check_box(plan, name) for name in part])
    for name, level in level_of.items():
        targets = [level_of[target] for target in _targets(plan, name)]
        for row in rows[level + 1 : max(targets, default=len(rows))]:
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
    for above, row in pairwise(rows):
        place = {cell.node: (index + 0.5) / len(above) for index, cell in enumerate(above)}

        def centre(cell: Box | _Waypoint, place: dict[str, float] = place) -> float:
            sources = [cell.node] if isinstance(cell, _Waypoint) else needs[cell.node]
            known = [place[source] for source in sources if source in place]
            return sum(known) / len(known) if known else 0.5

        row.sort(key=centre)
    return rows
