"""Brings a service back to an earlier release, replica by replica.

```yaml
action: {type: rollback, config: {service: payment-service, to: '${deploy.previous}'}}
```

``to`` is a version, a record with a ``version`` (what the check ``deployments`` gives), or ``previous``. After a
rollback nothing is ``previous``: to go back further, ``to`` must name the release. A release
whose migrations cannot be reversed is not left unless ``despite_migrations`` says so. Never does: offer an undo,
because that would deploy the suspect again; go to a release that the service does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from quell.errors import Permanent
from quell.plugins.actions import _fleet
from quell.plugins.actions._fields import Seconds, ServiceParams, check_place
from quell.ports import Effect, FactSpec, Fleet, Missing, Preview, Probe, Reading, Release, Risk

RISK = Risk.HIGH
IDEMPOTENT = False  # "previous" twice goes two releases back
ALIASES = ("rollback_deploy", "rollback_deployment")
FACTS: dict[str, FactSpec] = {**_fleet.FACTS, "wanted": "string"}
POSTCONDITION = "version == wanted && ready_count == total_count"
SETTLES = True
POSTCONDITION_WITHIN_S = 300.0
PREVIOUS = "previous"


class Params(ServiceParams):
    """``batch``: how many replicas may be away at once."""

    to: str = Field(default=PREVIOUS, min_length=1)
    """A version, a release record, or ``previous``."""
    batch: int = Field(default=1, ge=1, le=1000)
    ready_within: Seconds = 60.0
    """How long a replica may take to be ready again."""
    despite_migrations: bool = False
    """Leave a release although its migrations cannot be reversed."""

    @field_validator("to", mode="before")
    @classmethod
    def _version_of_a_record(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return value.get("version")
        return getattr(value, "version", value)


async def _ways(params: Params, fleet: Fleet) -> tuple[Release, Release]:
    """The current release and the wanted one. Raises ``Permanent`` (missing, refused)."""
    fleet.driver("rollback")
    releases = await fleet.releases()
    current = next((release for release in releases if release.current), None)
    if current is None:
        raise Permanent(f"service {fleet.title!r} does not tell its current release", "missing")
    if params.to == PREVIOUS:
        wanted = await fleet.previous()
    else:
        known = {release.version: release for release in releases}
        if params.to not in known:
            have = ", ".join(sorted(known)[:20]) or "none"
            raise Permanent(f"service {fleet.title!r} has no release {params.to!r}; it has {have}", "missing")
        wanted = known[params.to]
    if current.migrations_reversible is False and wanted != current and not params.despite_migrations:
        raise Permanent(
            f"release {current.version} changed data in a way that cannot be reversed; "
            f"{wanted.version} may not run on it (despite_migrations overrides)",
            "refused",
        )
    return current, wanted


async def dry_run(params: Params, probe: Probe) -> Preview:
    """``facts.wanted`` is the version that ``previous`` stands for now; afterwards it would stand for another.

    ``facts.release_age_s``: how long ago the current release was deployed first, which guardrails limit. Not how long
    it has been live: a rollback would make an old release young.
    """
    check_place(params, probe)
    fleet = _fleet.fleet_of(params, probe)
    current, wanted = await _ways(params, fleet)
    state = await fleet.state()
    same = wanted.version == current.version
    age = {"release_age_s": max(0.0, (probe.now() - current.at).total_seconds())} if current.at else {}
    return Preview(
        call=f"roll back {fleet.title} from {current.version} to {wanted.version}",
        targets=tuple(_fleet.target_of(fleet, replica) for replica in state.replicas) or (fleet.path,),
        before=f"{current.version}, {state.ready} of {_fleet.total_of(state)} ready",
        after=f"{wanted.version} on every replica" + (" (it is there already)" if same else ""),
        magnitude=len(state.replicas),
        radius=_fleet.radius_of(state, state, params.batch, rolls_by_itself=fleet.driver("rollback").rolls_by_itself),
        undo=None,
        facts={"wanted": wanted.version, "version": current.version, "rolling": state.rolling, **age},
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Permanent`` (missing) without an earlier release, (timeout) when a replica does not get ready."""
    check_place(params, probe)
    fleet = _fleet.fleet_of(params, probe)
    current, wanted = await _ways(params, fleet)
    reading = await _fleet.observe_fleet(params, probe)
    if wanted.version == current.version and reading.facts.get("version") == wanted.version:
        return Effect(summary=f"{fleet.title} is on {wanted.version} already", changed=False)
    witness = _fleet.Witness(fleet)
    with witness.telling():
        said = await witness.fleet().rollback(wanted.version, batch=params.batch, ready_within_s=params.ready_within)
    return Effect(
        summary=f"rolled {fleet.title} back from {current.version} to {wanted.version}",
        output={"from": current.version, "to": wanted.version, "said": [line[:200] for line in said[:100]]},
    )


async def observe(params: Params, probe: Probe) -> Reading:
    """With ``to: previous`` the fact ``wanted`` is the dry run's: after the act, "previous" means another release."""
    reading = await _fleet.observe_fleet(params, probe)
    if params.to == PREVIOUS:
        missing = {**reading.missing, "wanted": Missing("the dry run says which version previous stood for")}
        return Reading(reading.facts, reading.targets, missing, reading.summary, reading.observed_at)
    facts = {**reading.facts, "wanted": params.to}
    return Reading(facts, reading.targets, reading.missing, reading.summary, reading.observed_at)
