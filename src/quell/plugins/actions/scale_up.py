"""Gives a service more replicas: ``by`` so many, or up ``to`` so many.

```yaml
action: {type: scale_up, config: {service: payment-service, by: 2, max: 8}}
guard: {max_added: 3}
revert: {after: 4h, ask: oncall}
```

More than ``max`` replicas, or ``max_added`` new ones, is refused, never cut down. The undo goes back to the count of
before, unless somebody has set another one since. Never does: take replicas away by itself.
"""

from __future__ import annotations

from typing import Self

from pydantic import AliasChoices, Field, model_validator

from quell.errors import Permanent
from quell.plugins.actions import _fleet
from quell.plugins.actions._fields import Seconds, ServiceParams, check_place
from quell.ports import Effect, Fleet, Preview, Probe, Reading, Risk

RISK = Risk.MEDIUM
IDEMPOTENT = False  # "by" twice adds twice
ALIASES = ("scale", "scale_out")
FACTS = _fleet.FACTS
POSTCONDITION = "ready_count == total_count && !rolling"
POSTCONDITION_WITHIN_S = 180.0
LIMITS = {"max": "the most replicas the service may have afterwards", "max_added": "the most replicas added at once"}


class Params(ServiceParams):
    """Just one of ``by`` (also ``instances``) and ``to`` (also ``replicas``)."""

    by: int | None = Field(default=None, ge=1, validation_alias=AliasChoices("by", "instances"))
    to: int | None = Field(default=None, ge=1, validation_alias=AliasChoices("to", "replicas"))
    max: int | None = Field(default=None, ge=1)
    """More replicas than this afterwards are refused."""
    max_added: int | None = Field(default=None, ge=1)
    """More new replicas than this are refused."""
    ready_within: Seconds = 120.0
    """How long the new replicas may take."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.by is None) == (self.to is None):
            raise ValueError("say either by (how many more) or to (how many in all)")
        return self


async def _counts(params: Params, fleet: Fleet) -> tuple[int, int]:
    """Replicas now and wanted. Raises ``Permanent`` (refused)."""
    fleet.driver("scale")
    now = _fleet.total_of(await fleet.state())
    wanted = params.to if params.to is not None else now + (params.by or 0)
    if wanted < now:
        raise Permanent(f"{fleet.title} has {now} replicas; scale_up does not go down to {wanted}", "refused")
    _fleet.check_limit(f"replicas of {fleet.title}", wanted, params.max)
    _fleet.check_limit(f"new replicas of {fleet.title}", wanted - now, params.max_added)
    return now, wanted


async def dry_run(params: Params, probe: Probe) -> Preview:
    check_place(params, probe)
    fleet = _fleet.fleet_of(params, probe)
    now, wanted = await _counts(params, fleet)
    return Preview(
        call=f"scale {fleet.title} to {wanted} replicas",
        targets=(fleet.path,),
        before=f"{now} replicas",
        after=f"{wanted} replicas",
        magnitude=wanted - now,
        undo=f"scale {fleet.title} back to {now} replicas",
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Permanent`` (refused) over a limit, (timeout) when the new replicas do not get ready."""
    check_place(params, probe)
    fleet = _fleet.fleet_of(params, probe)
    now, wanted = await _counts(params, fleet)
    if wanted == now:
        return Effect(summary=f"{fleet.title} has {now} replicas already", changed=False)
    witness = _fleet.Witness(fleet)
    with witness.telling():
        await witness.fleet().scale(wanted, ready_within_s=params.ready_within)
    return Effect(
        summary=f"scaled {fleet.title} from {now} to {wanted} replicas",
        output={"before": now, "after": wanted},
        undo={"before": now, "after": wanted},
    )


async def undo(params: Params, effect: Effect, probe: Probe) -> Effect:
    """Back to the count of before. Raises ``Permanent`` (refused) when somebody scaled in the meantime."""
    if not effect.undo:
        return Effect(summary="nothing to undo", changed=False)
    fleet = _fleet.fleet_of(params, probe)
    before, after = int(effect.undo["before"]), int(effect.undo["after"])
    now = _fleet.total_of(await fleet.state())
    if now == before:
        return Effect(summary=f"{fleet.title} has {before} replicas already", changed=False)
    if now != after:
        raise Permanent(
            f"{fleet.title} was left with {after} replicas and has {now}: somebody scaled it since", "refused"
        )
    said = await fleet.driver("scale").scale(before)
    return Effect(summary=f"scaled {fleet.title} back to {before} replicas", output={"said": said[:200]})


async def observe(params: Params, probe: Probe) -> Reading:
    return await _fleet.observe_fleet(params, probe)
