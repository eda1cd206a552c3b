"""Metrics that runbooks watch themselves, asked of a server that speaks Prometheus' protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from quell.incident.alert import Alert, AlertStatus
from quell.intake.thresholds import AGAIN_S, Place, Thresholds
from quell.ports import Connection
from quell.probe import World, make_client
from quell.registry import Registry
from quell.runbook.plan import Plan, Trigger
from tests.fakes.serving import Reply
from tests.fakes.sink import FakeSink

pytestmark = pytest.mark.anyio

PLAN = Plan(
    id="slow", name="Slow", service="shop", nodes=(),
    triggers=(Trigger(type="metric_threshold", metric_query="latency", operator=">", threshold=1.0, for_s=10.0),),
)  # fmt: skip
FIRING, RESOLVED = AlertStatus.FIRING, AlertStatus.RESOLVED


class Watched:
    """A metric, a clock that the test moves, and what was sent on."""

    def __init__(self, server: FakeSink, *, firing: bool = False) -> None:
        self.server, self.firing = server, firing
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.sent: list[Alert] = []
        connections = {"p": Connection("p", "prometheus", server.url)}
        self.world = World(Registry(), make_client(), {}, connections, lambda: self.now)
        self.thresholds = Thresholds(self.world, Place(), self._fires, self._take_in)

    async def _fires(self, alert: str) -> bool:
        return self.firing

    async def _take_in(self, alerts: list[Alert]) -> None:
        self.sent += alerts

    async def look(self, value: float | None, after_s: float) -> list[AlertStatus]:
        """What is sent when the metric has this value that much later; None: nobody answers."""
        self.now += timedelta(seconds=after_s)
        result = [{"metric": {}, "value": [self.now.timestamp(), str(value)]}]
        document = {"status": "success", "data": {"resultType": "vector", "result": result}}
        reply = Reply.of({}, 503) if value is None else Reply.of(document)
        self.server.reply = reply
        before = len(self.sent)
        await self.thresholds.look([PLAN])
        return [alert.status for alert in self.sent[before:]]


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    with FakeSink() as server:
        one = Watched(server)
        yield one
        await one.world.close()


async def test_it_fires_once_it_was_crossed_for_long_enough_and_resolves(watched: Watched) -> None:
    assert await watched.look(5, 0) == []
    assert await watched.look(5, 9) == []
    assert await watched.look(0.5, 1) == []
    assert await watched.look(5, 1) == []
    assert await watched.look(5, 10) == [FIRING]
    assert await watched.look(0.5, 1) == [RESOLVED]
    assert await watched.look(0.5, 1) == []


async def test_what_stays_crossed_is_said_again_and_at_most_once_a_minute(watched: Watched) -> None:
    """Its incident may have ended meanwhile, and nobody else would open another."""
    await watched.look(5, 0)
    assert await watched.look(5, 10) == [FIRING]
    assert await watched.look(5, AGAIN_S / 2) == []
    assert await watched.look(5, AGAIN_S / 2) == [FIRING]
    assert await watched.look(5, AGAIN_S - 1) == []
    assert await watched.look(0.5, 1) == [RESOLVED]
    assert len({alert.fingerprint for alert in watched.sent}) == 1


async def test_no_answer_says_nothing(watched: Watched) -> None:
    await watched.look(5, 0)
    assert await watched.look(5, 10) == [FIRING]
    assert await watched.look(None, 600) == []
    assert await watched.look(5, 1) == [FIRING]


async def test_what_fired_before_a_restart_is_said_again_or_resolved() -> None:
    for value, said in ((5.0, [FIRING]), (0.5, [RESOLVED])):
        with FakeSink() as server:
            watched = Watched(server, firing=True)
            first = await watched.look(value, 0)
            assert first + await watched.look(value, 10) == said
            await watched.world.close()
