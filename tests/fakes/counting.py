"""Actions that count what they do, and a check that reads what they achieved: somebody else's package, installed.

``once`` may not be repeated, ``again`` may. Each effect is a line that is on the disk before it goes on, and so is its
end. How much they would do, and to what, is what files of their folder say at that moment. Never does: act for a
process that is dead: that is asked of ``is_dead``, and whoever is stays where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from quell import registry
from quell.errors import Permanent
from quell.ports import Effect, Preview, Probe, Radius, Reading, Risk
from quell.ports import Params as PortParams
from tests.fakes.effects import EffectLog

REPLICAS = 3
"""How many a service has; all of them are healthy."""


class Lives:
    """Whose effects count: ``is_dead`` is asked at each moment at which a process may be gone, ``acts`` is told of
    each effect while it is on the way."""

    is_dead: Callable[[], bool] = staticmethod(lambda: False)
    acts: Callable[[], None] = staticmethod(lambda: None)
    number = 0


class Params(PortParams):
    folder: str
    service: str | None = None
    level: str = "low"
    """How boldly."""
    region: str = "eu"
    lasts_ms: int = 0
    leaves: int = 0
    """What the service's state is afterwards."""
    fails: bool = False
    """It does what it does, and then says that it failed."""


def size_of(folder: str, service: str) -> int:
    return _said(folder, f"size-{service}", 1)


def targets_of(folder: str, service: str) -> tuple[str, ...]:
    return tuple(f"{service}/{number}" for number in range(_said(folder, f"parts-{service}", 1)))


def _said(folder: str, name: str, unsaid: int) -> int:
    path = Path(folder, name)
    return int(path.read_text()) if path.exists() else unsaid


async def dry_run(params: Params, probe: Probe) -> Preview:
    service = params.service or ""
    targets, size = targets_of(params.folder, service), size_of(params.folder, service)
    radius = Radius(at_once=len(targets), of=REPLICAS, healthy=REPLICAS, healthy_left=REPLICAS - len(targets))
    return Preview(
        call=f"touch {service} ({params.level})", targets=targets, before=f"size {size}", magnitude=size, radius=radius,
        undo="touch it back",
    )  # fmt: skip


async def _alive() -> None:
    if Lives.is_dead():
        await asyncio.Event().wait()


async def _does(action: str, params: Params, probe: Probe, *, undoes: bool) -> Effect:
    log = EffectLog(Path(params.folder, "effects"))
    await _alive()
    log.append({
        "key": probe.key, "at": time.time_ns() // 1000, "life": Lives.number, "action": action, "undoes": undoes,
        "params": params.model_dump(mode="json"),
    })  # fmt: skip
    Lives.acts()
    await asyncio.sleep(params.lasts_ms / 1000)
    await _alive()
    Path(params.folder, f"state-{params.service}").write_text(str(50 if undoes else params.leaves))
    log.append({"key": probe.key, "ends": time.time_ns() // 1000, "life": Lives.number})
    if params.fails and not undoes:
        raise Permanent("it says that it failed", "failed")
    return Effect(summary=f"{action} {params.service}", undo={"what": action})


def _action(name: str, *, idempotent: bool, risk: Risk) -> ModuleType:
    async def execute(params: Params, probe: Probe) -> Effect:
        return await _does(name, params, probe, undoes=False)

    async def undo(params: Params, effect: Effect, probe: Probe) -> Effect:
        return await _does(name, params, probe, undoes=True)

    return _module(
        name, Params=Params, RISK=risk, IDEMPOTENT=idempotent, dry_run=dry_run, execute=execute, undo=undo,
        service_of=lambda params: params.service,
    )  # fmt: skip


class Looks(PortParams):
    folder: str
    service: str = ""


async def run(params: Looks, probe: Probe) -> Reading:
    return Reading({"value": _said(params.folder, f"state-{params.service}", 50)})


def _module(name: str, **parts: Any) -> ModuleType:
    module = ModuleType(name, f"{name}, for tests.")
    module.__dict__.update(parts)
    return module


RISKS = {"once": "medium", "again": "high"}
ONCE = _action("once", idempotent=False, risk=Risk(RISKS["once"]))
AGAIN = _action("again", idempotent=True, risk=Risk(RISKS["again"]))
STATE = _module("counted", Params=Looks, FACTS={"value": "number"}, run=run)

_ENTRIES = """
[quell.plugins.checks]
counted = tests.fakes.counting:STATE
[quell.plugins.actions]
once = tests.fakes.counting:ONCE
again = tests.fakes.counting:AGAIN
"""


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """As a package whose entry points name them."""
    package = folder / "counting-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(_ENTRIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        _forget()
        yield
    _forget()


def _forget() -> None:
    for known in (registry._names, registry._installed):
        known.cache_clear()
