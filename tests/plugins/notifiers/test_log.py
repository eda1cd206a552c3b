"""The log notifier: one bounded event that always gets written."""

import pytest
from structlog.testing import capture_logs

from quell.plugins.notifiers import log
from quell.ports import Message
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
