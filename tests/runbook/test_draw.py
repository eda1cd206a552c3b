"""The drawing: well-formed, every node once per lane, states as data, nothing a strict page forbids, texts that fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quell.runbook.boxes import LINE
from quell.runbook.compile import compile_text
from quell.runbook.draw import STYLE, draw
from quell.runbook.glyphs import width, wrap
from quell.runbook.layout import lay_out
from quell.runbook.plan import Plan
from tests.runbook.test_compile import FULL, plan_of
from tests.runbook.test_lint import GOOD
from tests.runbook.words import WORDS

SVG = "{http://www.w3.org/2000/svg}"
EXAMPLES = [
    compiled.plan
    for path in sorted(Path("examples").glob("*.*"))
    if path.suffix in {".yaml", ".json"}
    for compiled in compile_text(path.read_text(), path.name, WORDS)
    if compiled.plan
]
PLANS = [*EXAMPLES, plan_of(GOOD), plan_of(FULL)]


def wide(checks: int, decisions: int) -> Plan:
    """A runbook with this many of each."""
    names = [f"c{number}" for number in range(checks)]
    document = {
        "id": "many",
        "triggers": [{"type": "manual"}],
        "diagnostics": [
            {
                "id": name,
                "type": "log_search",
                "interpret": {"critical": "count > 1"},
                "needs": names[: max(0, at - 6)][-1:],
            }
            for at, name in enumerate(names)
        ],
        "decision_tree": [{"condition": f"c{n}.critical", "then": [f"a{n % 3}"]} for n in range(decisions)],
        "remediations": [
            {"id": f"a{n}", "type": "automated", "action": {"type": "notify"}} for n in range(min(3, decisions))
        ],
        "escalation": {"primary": "log"},
    }
    return plan_of(json.dumps(document))


def elements(svg: str, name: str, kind: str = "") -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg)
    return [one for one in root.iter(SVG + name) if kind in one.get("class", "").split() or not kind]


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.id)
def test_every_node_is_there_with_a_title(plan):
    groups = elements(draw(plan), "g", "node")
    drawn = [group.get("data-node") for group in groups]
    wanted = {check.id for check in plan.checks} | {step for entry in plan.decisions for step in entry.then}
    assert wanted | {"start", "decide", "escalated"} <= set(drawn)
    assert all((group.find(SVG + "title").text or "").strip() for group in groups)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.id)
def test_a_strict_page_can_hold_it(plan):
    svg = draw(plan, {"start": "firing", "decide": "done"})
    assert "style" not in svg
    assert " id=" not in svg
    assert "<script" not in svg
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "<style>" in draw(plan, standalone=True)
    assert ElementTree.fromstring(draw(plan, standalone=True)) is not None


def test_what_stands_alone_brings_its_paper_in_both_lights():
    plan = plan_of(GOOD)
    alone = draw(plan, standalone=True)
    assert elements(draw(plan), "rect", "paper") == []
    (paper,) = elements(alone, "rect", "paper")
    assert (paper.get("width"), paper.get("height")) == ("100%", "100%")
    assert alone.index('class="paper"') < alone.index('class="lane')
    light, dark = re.findall(r"--paper:(#[0-9a-f]+)", STYLE)
    assert light == "#fff"
    assert dark != light
    assert len(alone) - len(draw(plan)) < 4_000


def test_states_are_data_and_words():
    svg = draw(plan_of(GOOD), {"errors": "critical", "deploy": "no_data", "roll_back": "running"})
    states = {group.get("data-node"): group.get("data-state") for group in elements(svg, "g", "node")}
    assert states["errors"] == "critical"
    assert states["deploy"] == "no_data"
    assert states["page"] is None
    assert ">no data</text>" in svg
    assert "(critical)</title>" in svg


def test_the_chosen_decision_stands_out_and_shared_steps_show_their_state_only_there():
    plan = plan_of(GOOD.replace("then: [roll_back]", "then: [roll_back, page]"))
    svg = draw(plan, {"page": "done"}, chosen=["d1"])
    lanes = {lane.get("data-decision"): lane.get("class") for lane in elements(svg, "g", "lane")}
    assert lanes == {"d1": "lane chosen", "d2": "lane other"}
    pages = [group.get("data-state") for group in elements(svg, "g", "node") if group.get("data-node") == "page"]
    assert pages == ["done", None]


def test_what_an_author_writes_stays_text():
    plan = plan_of(GOOD).model_copy(update={"name": '<script>"&'})
    svg = draw(plan, {"errors": '"><x'})
    assert "<script>" not in svg
    assert "<x" not in svg
    ElementTree.fromstring(svg)


@pytest.mark.parametrize("plan", [*PLANS, wide(0, 0), wide(1, 1), wide(20, 6)], ids=lambda plan: plan.id)
def test_nothing_overlaps_or_leaves_the_page(plan):
    page = lay_out(plan)
    for number, one in enumerate(page.boxes):
        assert one.x - one.width / 2 >= 0
        assert one.x + one.width / 2 <= page.width
        assert one.bottom <= page.height
        for other in page.boxes[number + 1 :]:
            apart = abs(one.x - other.x) >= (one.width + other.width) / 2
            assert apart or one.bottom <= other.y or other.bottom <= one.y, (one.node, other.node)
    for line in page.lines:
        assert all(0 <= x <= page.width and 0 <= y <= page.height for x, y in line.points)


@pytest.mark.parametrize("plan", [*PLANS, wide(20, 6)], ids=lambda plan: plan.id)
def test_edges_go_down_and_meet_what_they_join(plan):
    page = lay_out(plan)
    for line in page.lines:
        assert line.points[0][1] <= line.points[-1][1]
        assert line.source != line.target
        ends = [box for box in page.boxes if box.node == line.target]
        lanes = [lane for lane in page.lanes if lane.decision == line.target]
        assert ends or lanes


def test_a_small_plan_fits_a_phone():
    assert lay_out(plan_of(GOOD)).width <= 390


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.id)
def test_texts_are_inside_their_boxes(plan):
    for box in lay_out(plan).boxes:
        assert box.height >= LINE * sum(len(text.lines) for text in box.texts)
        for text in box.texts:
            size = {"title": 13.0, "note": 11.0, "code": 10.5}[text.style]
            for line in text.lines:
                room = box.width if box.kind == "decide" and not box.lane else box.width - 12
                assert width(line, size, bold=text.style == "title", mono=text.style == "code") <= room


def test_no_text_in_the_drawing_is_a_bare_number_of_the_wrong_kind():
    assert not re.search(r"\d+\.\d{2,}|nan|inf\b", re.sub(r"<title>.*?</title>|>[^<]*</text>", "", draw(plan_of(FULL))))


@given(st.text(max_size=120), st.floats(30, 300), st.integers(1, 4), st.booleans())
def test_wrapping_keeps_within_room_and_loses_nothing_silently(text, room, most, bold):
    lines = wrap(text, room, 13.0, most, bold=bold)
    assert len(lines) <= most
    for line in lines:
        assert width(line.rstrip(), 13.0, bold=bold) <= room or len(line) <= 2
    shown = "".join("".join(lines).split())
    whole = "".join(text.split())
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))


def test_words_break_where_a_reader_would():
    assert wrap("check_db_connections", 126, 13.0, 2, bold=True) == ["check_db_", "connections"]
    assert wrap("PaymentServiceHighLatency", 150, 13.0, 3, bold=True)[0] == "PaymentService"
