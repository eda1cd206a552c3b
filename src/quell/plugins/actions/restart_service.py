"""Restarts a service's replicas, one batch after the other, each ready again before the next.

```yaml
action: {type: restart_service, config: {deployment: payment-service, batch: 1, ready_within: 60s}}
```

A replica behind a balancer is drained first and put back when it is ready. Stops at the first replica that does not
get ready. Never does: restart two batches at once, count a replica as back that is not ready.
"""

from __future__ import annotations

from pydantic import Field

from quell.plugins.actions import _fleet
from quell.plugins.actions._fields import Seconds, ServiceParams, check_place
from quell.ports import Effect, Preview, Probe, Reading, Risk

RISK = Risk.MEDIUM
IDEMPOTENT = False  # twice is two interruptions
ALIASES = ("restart", "restart_pods")
FACTS = _fleet.FACTS
POSTCONDITION = "ready_count == total_count && !rolling"
POSTCONDITION_WITHIN_S = 120.0
LIMITS = {"max_replicas": "the most replicas that one run of it may restart"}


class Params(ServiceParams):
    """``replicas``: just these, by name; all when empty. ``batch``: how many may be away at once."""

    replicas: tuple[str, ...] = ()
    batch: int = Field(default=1, ge=1, le=1000)
    ready_within: Seconds = 60.0
    """How long a replica may take to be ready again."""
    max_replicas: int | None = Field(default=None, ge=1)
    """More than these are refused."""


async def dry_run(params: Params, probe: Probe) -> Preview:
    """Raises ``Permanent``: refused (over the limit, other place), missing, denied."""
    check_place(params, probe)
    fleet = _fleet.fleet_of(params, probe)
    driver = fleet.driver("restart")
    state = await fleet.state()
    chosen = _fleet.only(state, params.replicas, fleet.title) if params.replicas else state
    count = len(chosen.replicas)
    _fleet.check_limit("replicas to restart", count, params.max_replicas)
    way = "as its own system does it" if driver.rolls_by_itself else f"{params.batch} at a time"
    drained = ", drained first" if fleet.can("drain") and not driver.rolls_by_itself else ""
    return Preview(
        call=f"restart {fleet.title}: {', '.join(replica.name for replica in chosen.replicas) or 'all'}, {way}",
        targets=tuple(_fleet.target_of(fleet, replica) for replica in chosen.replicas) or (fleet.path,),
        before=f"{state.ready} of {_fleet.total_of(state)} ready",
        after=f"{count} restarted{drained}, each ready within {params.ready_within:g} s",
        magnitude=count,
        radius=_fleet.radius_of(state, chosen, params.batch, rolls_by_itself=driver.rolls_by_itself),
        undo=None,
        facts={"ready_count": state.ready, "total_count": _fleet.total_of(state), "rolling": state.rolling},
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Permanent`` (timeout) naming what was restarted when a replica does not get ready."""
    check_place(params, probe)
    fleet = _fleet.fleet_of(params, probe)
    state = await fleet.state()
    chosen = _fleet.only(state, params.replicas, fleet.title) if params.replicas else state
    _fleet.check_limit("replicas to restart", len(chosen.replicas), params.max_replicas)
    witness = _fleet.Witness(fleet, params.replicas)
    with witness.telling():
        said = await witness.fleet().restart(batch=params.batch, ready_within_s=params.ready_within)
    names = [replica.name for replica in chosen.replicas]
    return Effect(
        summary=f"restarted {fleet.title}: {', '.join(names) or 'all replicas'}",
        output={"replicas": names[:100], "said": [line[:200] for line in said[:100]]},
    )


async def observe(params: Params, probe: Probe) -> Reading:
    return await _fleet.observe_fleet(params, probe)
