"""What was pruned, as every face says it."""

from datetime import UTC, datetime

from quell.store.sweeps import PLANS, SWEEPS
from quell.telling.pruned import WORDS, kept, listed, sentence

AT = datetime(2026, 8, 1, 12, tzinfo=UTC)


def test_each_kind_has_its_words() -> None:
    assert listed({"incidents": 1, "payloads": 1, "pauses": 0}) == "1 incident, 1 payload of an event"
    assert listed({"incidents": 3, "payloads": 41, "quarantined": 2}) == (
        "3 incidents, 41 payloads of events, 2 quarantined alerts"
    )


def test_the_sentence_says_whether_it_is_done() -> None:
    erased = {"incidents": 2}
    assert sentence(erased, AT, dry_run=True) == "Would erase from before 2026-08-01 12:00 UTC: 2 incidents."
    assert sentence(erased, AT, dry_run=False) == "Erased from before 2026-08-01 12:00 UTC: 2 incidents."
    assert sentence({}, AT, dry_run=True) == "Nothing is left to erase from before 2026-08-01 12:00 UTC."


def test_what_stays_is_told_with_its_reason() -> None:
    told = kept({"an action has no outcome": 2, "a change is kept for now": 1})
    assert told == ["1 old incident, since a change is kept for now", "2 old incidents, since an action has no outcome"]


def test_whatever_is_erased_has_words() -> None:
    assert {sweep.what for sweep in (*SWEEPS, PLANS)} | {"incidents", "workflows"} == set(WORDS)
