"""From webhook to verified fix, without any real work in between: what Quell itself costs.

Five no-op checks, one decision, one no-op action, verified, resolved; each run its own incident, one after another,
through the same intake as a webhook. Of each, what the act frame took around its action: from the call of the frame to
its answer, with dry run, guard, lease, intent and permits, outcome, events and all that the engine keeps of it.
Prints milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from quell.app import App
from quell.incident.event import Event, EventKind
from quell.intake.rules import Correlation
from quell.ports import ActionType, CheckType, Effect, Params, Preview, Probe, Reading, Risk
from quell.registry import Registry
from quell.respond import frame
from quell.settings import parse_settings


class NoParams(Params):
    service: str | None = None


class Asked(Params):
    seconds: float = 0.0


async def _read(params: Asked, probe: Probe) -> Reading:
    STARTED.append(time.perf_counter())
    if params.seconds:
        await asyncio.sleep(params.seconds)
    return Reading({"value": 0 if DONE else 1})


DONE: list[str] = []
STARTED: list[float] = []
FRAMES: list[float] = []
"""How long each act frame took, in seconds."""


async def _preview(params: NoParams, probe: Probe) -> Preview:
    return Preview(call="nothing", targets=(probe.key,))


async def _act(params: NoParams, probe: Probe) -> Effect:
    DONE.append(probe.key)
    return Effect(summary="nothing was done")


class BenchRegistry(Registry):
    """The real one, and two plug-ins that do nothing."""

    @property
    def checks(self) -> Mapping[str, CheckType]:
        noop = CheckType("noop", Asked, lambda config: {"value": "number"}, _read)
        return {**super().checks, "noop": noop}

    @property
    def actions(self) -> Mapping[str, ActionType]:
        return {**super().actions, "noop": ActionType("noop", NoParams, Risk.LOW, True, _preview, _act)}


def runbook(name: str, checks: int, seconds: float) -> str:
    asked = "\n".join(
        f"- {{id: c{i}, type: noop, config: {{seconds: {seconds}}}, interpret: {{healthy: value == 0, critical: value > 0}}}}"  # noqa: E501
        for i in range(checks)
    )
    return f"""
id: {name}
service: shop
triggers: [{{type: alert, alert_name: {name}}}]
diagnostics:
{asked}
decision_tree: [{{condition: c0.critical, then: [fix]}}]
remediations: [{{id: fix, type: automated, action: {{type: noop}}}}]
verify: {{signals: [c1], stable_for: 0s, within: 5s}}
escalation: {{primary: 'log:'}}
"""


def webhook(name: str, number: int) -> bytes:
    labels = {"alertname": name, "service": "shop", "n": str(number)}
    alert = {"status": "firing", "labels": labels, "annotations": {}, "startsAt": "2026-01-01T00:00:00Z",
             "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": f"{name}{number}"}  # fmt: skip
    body = {"version": "4", "groupKey": "g", "status": "firing", "receiver": "quell", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "", "alerts": [alert]}  # fmt: skip
    return json.dumps(body).encode()


def timed(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The engine's call of a child workflow, and when that is an act frame, how long it took."""

    async def call_timed(workflow: str, *args: Any) -> Any:
        began = time.perf_counter()
        answer = await call(workflow, *args)
        if workflow == frame.WORKFLOW:
            FRAMES.append(time.perf_counter() - began)
        return answer

    return call_timed


class Clock:
    """Notes when each event of each incident was told."""

    def __init__(self) -> None:
        self.at: dict[tuple[str, str], float] = {}
        self.ended = asyncio.Event()

    def __call__(self, told: Sequence[Event]) -> None:
        for event in told:
            self.at.setdefault((event.stream_id, event.kind.value), time.perf_counter())
            if event.kind is EventKind.RUN_ENDED:
                self.ended.set()


async def measure(database: str, runs: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        book = Path(folder, "book")
        book.mkdir()
        (book / "loop.yaml").write_text(runbook("Loop", 5, 0.0))
        (book / "wide.yaml").write_text(runbook("Wide", 50, 1.0))
        # The breaker counts and never trips: hundreds of remediations of one service are what is measured.
        text = "services: {shop: {}}\nscrape_interval: 0s\nguardrails: {breaker: {after: 1000}}"
        settings = parse_settings(text, "bench", Path(folder))
        url = database or f"{folder}/bench.db"
        # Each alert is an incident of its own, however soon it comes after the last.
        settings = settings.model_copy(
            update={"database": url, "runbooks": (str(book),), "correlation": Correlation(reopen=0)}
        )
        clock = Clock()
        app = App(settings, registry=BenchRegistry(), on_events=clock)
        await app.start()
        setattr(app.durable, "call", timed(app.durable.call))  # noqa: B010
        try:
            return await _measure(app, clock, runs)
        finally:
            await app.stop()


async def _once(app: App, clock: Clock, name: str, number: int) -> list[float]:
    DONE.clear()
    STARTED.clear()
    clock.ended.clear()
    began = time.perf_counter()
    receipt = await app.receive("alertmanager", {}, webhook(name, number))
    await asyncio.wait_for(clock.ended.wait(), 60)
    incident = receipt.incidents[0]
    marks = (STARTED[0], clock.at[incident, "decision.made"], clock.at[incident, "run.ended"])
    return [(at - began) * 1000 for at in marks]


async def _measure(app: App, clock: Clock, runs: int) -> dict[str, Any]:
    for number in range(5):
        await _once(app, clock, "Loop", -1 - number)
    FRAMES.clear()
    marks = [await _once(app, clock, "Loop", number) for number in range(runs)]
    frames = [spent * 1000 for spent in FRAMES]
    assert len(frames) == runs
    _, wide, _ = await _once(app, clock, "Wide", 0)
    return {
        "first_check_ms": quantiles([first for first, _, _ in marks]),
        "resolved_ms": quantiles([ended for _, _, ended in marks]),
        "frame_ms": quantiles(frames),
        "fifty_checks_of_1s_s": round(wide / 1000, 3),
    }


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    return {"p50": round(statistics.median(ordered), 1), "p99": round(p99, 1), "n": len(ordered)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="", help="a PostgreSQL URL; default: a fresh SQLite file")
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    # Anything that is no URL would be the path of a SQLite file, and its figures told as PostgreSQL's.
    if options.database and not options.database.startswith(("postgres://", "postgresql://", "postgresql+")):
        parser.error(f"--database: {options.database!r} is no URL of a PostgreSQL database")
    print(json.dumps(asyncio.run(measure(options.database, options.runs)), indent=2))


if __name__ == "__main__":
    main()
