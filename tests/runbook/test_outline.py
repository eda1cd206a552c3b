"""The plans of our examples as text, against golden files; ``GOLDEN=write`` writes them anew for a person to read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quell.runbook.compile import compile_text
from quell.runbook.outline import WIDTH, outline
from tests.runbook.test_compile import FULL, plan_of
from tests.runbook.test_lint import GOOD
from tests.runbook.words import WORDS

EXAMPLES = [
    Path("examples", name)
    for name in (
        "checkout-bad-deploy.yaml", "ledger-connections.yaml", "mail-queue.yaml", "orders-primary-failover.yaml",
        "search-slow.json",
    )
]  # fmt: skip
GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_what_was_read_and_approved(path):
    (compiled,) = compile_text(path.read_text(), str(path), WORDS)
    assert compiled.plan is not None, compiled.problems
    assert not compiled.errors, compiled.errors
    text = outline(compiled.plan)
    golden = GOLDEN / f"{path.stem}.txt"
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


def test_there_is_no_golden_file_without_its_example():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == {path.stem for path in EXAMPLES}


def test_it_says_when_a_verdict_can_first_be_true():
    # rate over 2m, 15s scrape; the trigger: for 30s and 15s.
    assert "earliest    2m45s after the action: 2m15s until a change shows, then 30s stable" in outline(plan_of(GOOD))


@pytest.mark.parametrize(
    "line",
    [
        "starts on   alert ApiErrors {team=\"core\"}, for 30s", "            api_errors > 5",
        "for each    region in ${errors.critical}, 2 at a time, stops on worse",
        "approval    asked: dba, 2 people, within 10m; silence means no",
        "guard       service one of [\"api\"]; max_magnitude 3; at most 1 in 1h",
        "done when   all_ready, within 2m", "undo        never: a point of no return",
        "revert      after 4h, asking owner", "if unknown  stop", "timeout     10s, tried 2 times, 1s apart",
        "improved    page", "secondary   log, 5m later without an answer",
        "Decisions (all that hold, then verification, at most 2 rounds)",
    ],
)  # fmt: skip
def test_it_leaves_nothing_out(line):
    assert line in outline(plan_of(FULL))


def test_lines_fit_and_end_clean():
    long = GOOD.replace("name: The API fails", f"name: {'many words ' * 40}")
    for line in outline(plan_of(long)).splitlines()[1:]:
        assert len(line) <= WIDTH
        assert line == line.rstrip()


def test_what_a_trigger_asks_of_alerts():
    text = FULL.replace(
        "labels: {team: core}, for: 30s}",
        "labels: {team: core}, matchers: ['env=~\"prod|stage\"'], severity: [P1, P2], source: prod}",
    ).replace("service: api\n", "service: api\npriority: 10\n", 1)
    told = " ".join(outline(plan_of(text)).split())
    assert 'alert ApiErrors {team="core", env=~"prod|stage"} of severity P1 or P2 from prod' in told
    assert "priority 10, among runbooks that an alert means equally" in told
