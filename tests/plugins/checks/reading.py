"""Runs a check plug-in as production does, and holds every reading to what all of them promise."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from quell.errors import ERROR_CLASSES
from quell.incident.finding import Finding, Health
from quell.ports import Connection, FactSpec, Reading
from quell.respond.judge import judge
from quell.runbook.expr.types import parse_type
from quell.runbook.plan import Call, Check, Interpret
from tests.plugins.world import probe_over


async def read_async(check: ModuleType, config: dict[str, Any], *connections: Connection, **options: Any) -> Reading:
    """The reading of one call, within the probe's time limit as the engine enforces it (by cancelling)."""
    async with probe_over(*connections, **options) as probe, asyncio.timeout(probe.timeout_s):
        reading: Reading = await check.run(check.Params.model_validate(config), probe)
    keep_promises(check, config, reading)
    return reading


def read(check: ModuleType, config: dict[str, Any], *connections: Connection, **options: Any) -> Reading:
    return asyncio.run(read_async(check, config, *connections, **options))


def judged(reading: Reading, **conditions: str) -> Finding:
    """What a runbook with these conditions (``healthy="value > 0"``) makes of a reading."""
    check = Check(id="c", call=Call(type="t"), interpret=Interpret(**conditions), facts={"...": "any"})
    return judge(check, None, reading, {})


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """How many calls this thread makes meanwhile, as the only item: what other threads do does not count."""
    steps = [0]

    def count(*_: Any) -> None:
        steps[0] += 1

    sys.setprofile(count)
    try:
        yield steps
    finally:
        sys.setprofile(None)


def declared(check: ModuleType, config: dict[str, Any]) -> dict[str, FactSpec]:
    return dict(check.FACTS if hasattr(check, "FACTS") else check.facts(config))


def keep_promises(check: ModuleType, config: dict[str, Any], reading: Reading) -> None:
    """Only declared facts, each there or missing for a reason; strict JSON; known words for errors."""
    kinds = {name: parse_type(spec) for name, spec in declared(check, config).items()}
    for facts, missing in (
        (reading.facts, reading.missing),
        *((one.facts, one.missing) for one in reading.targets),
    ):
        assert set(facts) | set(missing) <= set(kinds)
        assert not set(facts) & set(missing)
        for absent in missing.values():
            assert absent.reason
            assert absent.error_class is None or absent.error_class in ERROR_CLASSES
    assert set(reading.facts) | set(reading.missing) == set(kinds)
    shown = [reading.facts, reading.evidence, *(one.facts for one in reading.targets)]
    json.dumps(shown, allow_nan=False)


def health(reading: Reading, **interpret: str) -> Health:
    """What a runbook with these conditions would say of the reading."""
    check = Check(id="c", call=Call(type="t"), interpret=Interpret(**interpret), facts={"...": "any"})
    return judge(check, None, reading, {}).status


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
