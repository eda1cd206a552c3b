"""What a fault cost, from logs that are written down here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quell.demo.score import RIGHT, Score, Users, score
from quell.demo.world.faults import FAULTS
from quell.incident.event import Event, EventKind, Stream

K = EventKind
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
BACK = Users(1.0, 0.6, 0.995)


def log(*rows: tuple[float, EventKind] | tuple[float, EventKind, dict[str, Any]]) -> list[Event]:
    """Seconds after the injection, the kind, and what of the payload is read."""
    return [
        Event(
            tenant="t", stream=Stream.INCIDENT, stream_id="i1", seq=number, at=BEGAN + timedelta(seconds=row[0]),
            kind=row[1], actor="quell", payload=row[2] if len(row) > 2 else {},
        )
        for number, row in enumerate(rows, 1)
    ]  # fmt: skip


def handled(*actions: str, users: Users = BACK, fault: str = "bad_deploy_5xx", outcome: str = "resolved") -> Score:
    deeds = [
        row
        for number, name in enumerate(actions)
        for row in ((5.0 + number, K.ACTION_INTENDED), (5.5 + number, K.ACTION_FINISHED, {"action": name}))
    ]
    rows = log(
        (1.0, K.OPENED, {"runbook": "payment"}), (1.5, K.CHECK_FINISHED), (2.0, K.CHECK_FINISHED),
        (2.25, K.DECIDED, {"chosen": ["d1"]}), (2.5, K.APPROVAL_REQUESTED), (4.5, K.APPROVAL_ANSWERED), *deeds,
        (8.0, K.VERIFICATION_STARTED), (9.0, K.VERIFICATION_FINISHED), (9.25, K.RESOLVED),
        (9.5, K.RUN_ENDED, {"outcome": outcome}),
    )  # fmt: skip
    return score(fault, BEGAN.timestamp(), rows, users)


def test_every_second_belongs_to_one_phase() -> None:
    told = handled("rollback")
    assert (told.detect_s, told.diagnose_s, told.decide_s, told.wait_s) == (1.0, 1.0, 0.5, 2.0)
    assert (told.act_s, told.verify_s, told.mttr_s) == (1.0, 3.75, 9.25)
    phases = (told.detect_s, told.diagnose_s, told.decide_s, told.wait_s, told.act_s, told.verify_s)
    assert sum(phases) == pytest.approx(told.mttr_s)
    assert (told.runbook, told.incident, told.decisions) == ("payment", "i1", ("d1",))


@pytest.mark.parametrize(
    ("told", "repaired"),
    [
        (handled("rollback"), True),
        (handled("restart_service"), False),
        (handled(), False),
        (handled("rollback", "rollback"), False),
        (handled("rollback", outcome="escalated"), False),
        (handled("rollback", users=Users(1.0, 0.6, 0.98)), False),
        (handled("rollback", users=Users(1.0, 0.6, None)), False),
        (handled("restart_service", "rollback", fault="bad_deploy_slow"), True),
        (handled("rollback", fault="bad_deploy_slow"), False),
        (score("pool_leak", BEGAN.timestamp(), [], BACK), False),
    ],
)
def test_only_the_right_remediation_counts_and_only_when_users_are_back(told: Score, repaired: bool) -> None:
    assert told.repaired is repaired


def test_what_nobody_noticed_has_no_times() -> None:
    told = score("pool_leak", BEGAN.timestamp(), [], Users(None, None, None))
    assert (told.detect_s, told.mttr_s, told.incident, told.outcome) == (None, None, None, "none")


def test_every_fault_has_a_right_answer() -> None:
    assert set(RIGHT) == set(FAULTS)
