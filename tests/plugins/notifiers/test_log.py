"""The log notifier: one bounded event that always gets written."""

import pytest
from structlog.testing import capture_logs

from quell.plugins.notifiers import log
from quell.ports import Asked, Message
from tests.plugins.world import probe_over

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("kind", "level"), [("page", "error"), ("approval", "warning"), ("update", "info"), ("resolved", "info")]
)
async def test_the_message_is_one_event_at_the_level_of_its_kind(kind: str, level: str) -> None:
    message = Message(
        kind=kind,
        incident="inc-42",
        title="Payments fail",
        text="x" * 9000,
        severity="P1",
        service="payment",
        sections=(("Tried", ("restart",) * 90),),
        findings=({"check": "db", "status": "critical"},),
    )
    async with probe_over() as probe:
        with capture_logs() as events:
            assert await log.send(message, log.Params(target="log:oncall"), probe) == "written to the log"
    (event,) = events
    assert (event["log_level"], event["incident"], event["to"]) == (level, "inc-42", "log:oncall")
    assert len(event["text"]) == 2000
    assert len(event["sections"]["Tried"]) == 50
    assert event["findings"] == ["db: critical"]


async def test_what_is_asked_stands_in_it_line_by_line() -> None:
    asked = Asked(
        approval="a1", asks="approval", call="do it", targets=("payment", "ledger"), answer=("quell approve a1",)
    )
    message = Message(
        kind="approval", incident="i", title="t", text="Approval needed: do it", severity="P1", service="s", asked=asked
    )
    async with probe_over() as probe:
        with capture_logs() as events:
            await log.send(message, log.Params(), probe)
    assert events[0]["asked"] == {"Call": "do it", "Targets": "payment\nledger", "Answer": "quell approve a1"}
