"""A Plan as a drawing: SVG that a page can colour by what happened, or that stands alone.

Each node is ``<g class="node KIND" data-node="ID" data-state="STATE">``, so that a stylesheet (``STYLE`` is one) and a
live page can say its state. There are no style attributes and no ids: it passes a strict content security policy and
may stand twice on one page. Never does: I/O, know what a state means.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from html import escape
from importlib.resources import files
from itertools import pairwise

from quell.runbook.boxes import CODE_SIZE, LINE, NOTE_SIZE, PAD_Y, TITLE_SIZE, Box, Lane, Text
from quell.runbook.glyphs import width
from quell.runbook.layout import Line, Point, lay_out
from quell.runbook.plan import Plan

STYLE = files("quell.runbook").joinpath("draw.css").read_text(encoding="utf-8")
"""Colours and fonts of the drawing, light and dark; a page may set the same custom properties otherwise."""

_SIZES = {"title": TITLE_SIZE, "note": NOTE_SIZE, "code": CODE_SIZE}
_CORNER = 10.0
_ARROW = 4.5
_BADGE = 9.5


def draw(
    plan: Plan, states: Mapping[str, str] | None = None, *, chosen: Collection[str] = (), standalone: bool = False
) -> str:
    """The drawing. ``states``: node id (or ``start``, ``verify``, ``resolved``, ``escalated``) → one word.

    ``chosen`` holds the ids of the decisions that were taken: the others step back, and steps that several decisions
    share show their state only there. ``standalone`` puts the stylesheet inside, and paper behind: a viewer has its own
    colour there, and it is not the one that the stylesheet reckons with.
    """
    page = lay_out(plan)
    states = states or {}
    alone = f'<style>{STYLE}</style><rect class="paper" width="100%" height="100%" rx="10"/>' if standalone else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plan" role="img" aria-label="{_quoted(_label(plan))}" '
        f'viewBox="0 0 {_n(page.width)} {_n(page.height)}" width="{_n(page.width)}" height="{_n(page.height)}">',
        f"<title>{escape(plan.name)}</title>{alone}",
        *(_lane(lane, chosen) for lane in page.lanes),
        *(_line(line, chosen) for line in page.lines),
        *(_box(box, states, chosen) for box in page.boxes),
        *(_note(line, chosen) for line in page.lines if line.label),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _label(plan: Plan) -> str:
    checks = sum(1 for _ in plan.checks)
    return f"Plan of {plan.name}: {checks} checks, {len(plan.decisions)} decisions, then verification"


def _classes(base: str, lane: str, chosen: Collection[str]) -> str:
    if not chosen or not lane:
        return base
    return f"{base} {'chosen' if lane in chosen else 'other'}"


def _lane(lane: Lane, chosen: Collection[str]) -> str:
    head = lane.head
    return (
        f'<g class="{_classes("lane", lane.decision, chosen)}" data-decision="{_quoted(lane.decision)}">'
        f"<title>{escape(head.about)}</title>"
        f'<rect x="{_n(lane.x)}" y="{_n(lane.y)}" width="{_n(lane.width)}" height="{_n(lane.height)}" rx="12"/>'
        f"{''.join(_texts(head.texts, head.x, head.y + PAD_Y))}</g>"
    )


def _box(box: Box, states: Mapping[str, str], chosen: Collection[str]) -> str:
    known = states.get(box.node, "") if not (chosen and box.lane and box.lane not in chosen) else ""
    state = f' data-state="{_quoted(known)}"' if known else ""
    title = box.about + (f" ({known.replace('_', ' ')})" if known else "")
    return (
        f'<g class="{_classes(f"node {box.kind}", box.lane, chosen)}" data-node="{_quoted(box.node)}"{state}>'
        f"<title>{escape(title)}</title>{_shape(box)}"
        f"{''.join(_texts(box.texts, box.x, box.y + (box.height - _height(box.texts)) / 2))}"
        f"{_badge(box, known)}</g>"
    )


def _shape(box: Box) -> str:
    left, half = box.x - box.width / 2, box.height / 2
    if box.kind == "decide":
        middle = box.y + half
        points = [(box.x, box.y), (box.x + box.width / 2, middle), (box.x, box.bottom), (left, middle)]
        return f'<polygon points="{" ".join(f"{_n(x)},{_n(y)}" for x, y in points)}"/>'
    radius = half if box.kind in ("start", "resolved", "escalated") else 8
    return f'<rect x="{_n(left)}" y="{_n(box.y)}" width="{_n(box.width)}" height="{_n(box.height)}" rx="{_n(radius)}"/>'


def _badge(box: Box, state: str) -> str:
    """The state in words on the lower edge: colour alone tells nothing to many people."""
    if not state:
        return ""
    word = state.replace("_", " ")
    wide = width(word, _BADGE, bold=True) + 12
    top = box.bottom - 8
    return (
        f'<g class="badge"><rect x="{_n(box.x - wide / 2)}" y="{_n(top)}" width="{_n(wide)}" height="16" rx="8"/>'
        f'<text x="{_n(box.x)}" y="{_n(top + 11.5)}">{escape(word)}</text></g>'
    )


def _height(texts: Iterable[Text]) -> float:
    return LINE * sum(len(text.lines) for text in texts)


def _texts(texts: Iterable[Text], x: float, top: float) -> Iterator[str]:
    for text in texts:
        for line in text.lines:
            base = top + LINE / 2 + _SIZES[text.style] * 0.36
            yield f'<text class="{text.style}" x="{_n(x)}" y="{_n(base)}">{escape(line)}</text>'
            top += LINE


def _line(line: Line, chosen: Collection[str]) -> str:
    path = _curve(line.points) if line.curved else _corners(line.points)
    classes = _classes("edge faint" if line.faint else "edge", line.lane, chosen)
    return (
        f'<g class="{classes}" data-from="{_quoted(line.source)}" data-to="{_quoted(line.target)}">'
        f'<path class="way" d="{path}"/><path class="tip" d="{_tip(line.points)}"/></g>'
    )


def _note(line: Line, chosen: Collection[str]) -> str:
    x, y = line.label_at or line.points[0]
    return f'<text class="{_classes("label", line.lane, chosen)}" x="{_n(x)}" y="{_n(y)}">{escape(line.label)}</text>'


def _curve(points: tuple[Point, ...]) -> str:
    """Leaves and arrives upright; passes a layer straight."""
    path = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for (x1, y1), (x2, y2) in pairwise(points):
        middle = (y1 + y2) / 2
        path += f" C{_n(x1)} {_n(middle)} {_n(x2)} {_n(middle)} {_n(x2)} {_n(y2)}"
    return path


def _corners(points: tuple[Point, ...]) -> str:
    """Straight pieces with round corners."""
    path = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        enter, leave = _towards(here, before), _towards(here, after)
        path += f" L{_n(enter[0])} {_n(enter[1])} Q{_n(here[0])} {_n(here[1])} {_n(leave[0])} {_n(leave[1])}"
    return f"{path} L{_n(points[-1][0])} {_n(points[-1][1])}"


def _towards(here: Point, there: Point) -> Point:
    dx, dy = there[0] - here[0], there[1] - here[1]
    length = max(abs(dx) + abs(dy), 1e-9)
    reach = min(_CORNER, length / 2)
    return here[0] + dx / length * reach, here[1] + dy / length * reach


def _tip(points: tuple[Point, ...]) -> str:
    """An arrow head: down, or to the left when the last piece goes there."""
    (x0, y0), (x, y) = points[-2], points[-1]
    if abs(y - y0) < 0.01 and x < x0:
        return f"M{_n(x)} {_n(y)} l{_n(1.6 * _ARROW)} {_n(-_ARROW)} v{_n(2 * _ARROW)} z"
    return f"M{_n(x)} {_n(y)} l{_n(-_ARROW)} {_n(-1.6 * _ARROW)} h{_n(2 * _ARROW)} z"


def _n(number: float) -> str:
    return f"{number:.1f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return escape(text, quote=True)
