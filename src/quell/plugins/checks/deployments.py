"""Look at what was deployed: the current release, its age, the one before it, and how many came lately.

    - id: deploy
      type: deployments
      config:
        service: payment-service       # from the catalogue: whoever knows its releases (Kubernetes, folders)
        # or database: deploys-db, table: deployments, where: payment-service
        # or path: /srv/payment/releases, current: /srv/payment/current
        window: 1h                     # what count_recent and no_recent_deploy look at
      interpret: {healthy: age > 60m, warning: age <= 60m, critical: age <= 10m}

``age`` and ``started_at`` are of the moment the current release went live. ``previous`` is the release before it, in
the order of deployment; after a rollback there is none (``exists`` is false), because how far to go back a second time
is for a person to say. The flags ``deploy_within_30m`` and
their like are whether ``age`` is at most that. Where nobody knows, facts are missing with the reason.
Never does: deploy, roll back, write a row.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, Field, field_validator, model_validator

from quell import ports
from quell.errors import Permanent
from quell.fleet import Fleet, Release, previous_of
from quell.plugins.checks import _databases
from quell.plugins.checks._durations import Seconds, moment, seconds
from quell.plugins.checks._sql import Asked
from quell.plugins.drivers import _folders
from quell.ports import Connects, FactSpec, Missing, Probe, Reading

WITHIN = ("5m", "10m", "15m", "30m", "60m", "1h", "2h", "24h")
_RELEASE: Mapping[str, FactSpec] = {
    "version": "string", "at": "time", "current": "bool", "by": "string", "note": "string",
}  # fmt: skip
SIGNAL = False
"""It tells what was deployed, which no remediation makes healthy."""
FACTS: Mapping[str, Any] = {
    "age": "duration:s", "started_at": "time", "version": "string", "by": "string",
    "previous": {"exists": "bool", **_RELEASE}, "migrations_reversible": "bool",
    "rolling": "bool", "count_recent": "number", "releases": [_RELEASE], "no_recent_deploy": "bool",
    **{f"deploy_within_{span}": "bool" for span in WITHIN},
}  # fmt: skip

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?")
_COLUMNS = ("version", "deployed_at", "deployed_by", "service")
_MAX_ROWS = 200
_MAX_BYTES = 1024 * 1024
_SHOWN = 20
_OF_AGE = ("age", "started_at", "no_recent_deploy", *(f"deploy_within_{span}" for span in WITHIN))


class Params(ports.Params):
    """One place: ``service``, ``database`` with ``table``, or ``path`` with ``current``.

    ``columns`` renames the table's columns (``version``, ``deployed_at``, ``deployed_by``, ``service``, and
    ``migrations_reversible``, which is read only when named here); an empty name is a column the table lacks.
    ``where`` keeps the rows of one service.
    """

    service: str | None = None
    region: str | None = None
    """Of the service, when its regions have drivers of their own; by default the region that was deployed to last."""
    database: Annotated[str | None, Connects(_databases.KINDS, default=False)] = None
    table: str = "deployments"
    columns: Mapping[str, str] = Field(default_factory=dict)
    where: str | None = Field(default=None, max_length=200)
    path: str | None = Field(default=None, validation_alias=AliasChoices("path", "releases"))
    current: str | None = None
    window: Annotated[Seconds, Field(gt=0)] = 3600.0
    """How far back ``count_recent`` and ``no_recent_deploy`` look."""

    @field_validator("table")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not _IDENTIFIER.fullmatch(value):
            raise ValueError(f"{value!r} is not a plain name of a table")
        return value

    @field_validator("columns")
    @classmethod
    def _known(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, column in value.items():
            if name not in (*_COLUMNS, "migrations_reversible"):
                raise ValueError(f"no column {name!r}; known: {', '.join(_COLUMNS)}, migrations_reversible")
            if column and not _IDENTIFIER.fullmatch(column):
                raise ValueError(f"{column!r} is not a plain name of a column")
        if not value.get("version", "version") or not value.get("deployed_at", "deployed_at"):
            raise ValueError("version and deployed_at are needed")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Params:
        if sum(place is not None for place in (self.service, self.database, self.path)) != 1:
            raise ValueError("give one of service, database, path")
        if self.region is not None and self.service is None:
            raise ValueError("region goes with service")
        if self.where is not None and not self.columns.get("service", "service"):
            raise ValueError("where needs the column service")
        if (self.path is None) != (self.current is None):
            raise ValueError("path and current go together")
        return self


@dataclass(frozen=True, slots=True)
class _Known:
    """The releases, oldest first, when something went live, and what else the place knows."""

    releases: Sequence[Release]
    activations: Sequence[datetime]
    rolling: bool | None
    evidence: Mapping[str, Any]


async def run(params: Params, probe: Probe) -> Reading:
    """Raises what the drivers or the database raise; ``Permanent`` (invalid) for a table that does not fit."""
    known = await _look(params, probe)
    now = probe.now()
    facts, missing = _facts(known, params.window, now)
    age = f", live for {facts['age']:.0f} s" if "age" in facts else ""
    where = f" in {known.evidence['region']}" if "region" in known.evidence else ""
    return Reading(
        facts, missing=missing, summary=f"{facts.get('version', 'no current release')}{where}{age}", observed_at=now,
        evidence={**known.evidence, "window": params.window},
    )  # fmt: skip


async def _look(params: Params, probe: Probe) -> _Known:
    if params.database is not None:
        return await _from_table(params, probe)
    if params.path is not None and params.current is not None:
        places = Path(params.path), Path(params.current)
        releases = await asyncio.to_thread(_folders.listed, *places, _MAX_ROWS)
        return _Known(releases, _activations(releases), None, {"path": params.path, "current": params.current})
    assert params.service is not None
    entry = probe.service(params.service)
    everywhere = entry.driver_regions if all(choice.region for choice in entry.drivers) else ()
    regions = (params.region,) if params.region else everywhere or (None,)
    known = await asyncio.gather(*(_from_fleet(probe.fleet(params.service, region)) for region in regions))
    return max(known, key=lambda one: max((at.timestamp() for at in one.activations), default=0.0))


async def _from_fleet(fleet: Fleet) -> _Known:
    releases = tuple(sorted(await fleet.releases(), key=lambda one: one.at.timestamp() if one.at else 0.0))
    rolling = (await fleet.state()).rolling if fleet.can("state") else None
    where = {"service": fleet.service, **({"region": fleet.region} if fleet.region else {})}
    return _Known(releases, _activations(releases), rolling, where)


def _activations(releases: Sequence[Release]) -> list[datetime]:
    """When each release went live: the current one lately, of the others only the first time is known."""
    return [found for one in releases if (found := (one.live_since if one.current else None) or one.at)]


async def _from_table(params: Params, probe: Probe) -> _Known:
    """A table of deployments: one row each time something went live, a rollback included."""
    connection = probe.connection(params.database, *_databases.KINDS)
    columns = {name: params.columns.get(name, name) for name in _COLUMNS}
    wanted = {
        "version": columns["version"],
        "deployed_at": columns["deployed_at"],
        "deployed_by": columns["deployed_by"],
    }
    wanted["migrations_reversible"] = params.columns.get("migrations_reversible", "")
    selected = ", ".join(f"{column} as {name}" for name, column in wanted.items() if column)
    condition = f" where {columns['service']} = :service" if params.where is not None else ""
    query = f"select {selected} from {params.table}{condition} order by {columns['deployed_at']} desc limit {_MAX_ROWS}"
    values = {"service": params.where} if params.where is not None else {}
    rows = await _databases.ask(connection, Asked(query, values, _MAX_ROWS, _MAX_BYTES, probe.timeout_s * 0.9))
    read = [_row(record, params.table) for record in reversed(rows.records)]
    evidence = {"database": connection.name, "query": query, "rows": rows.records[:_SHOWN]}
    return _Known(_versions(read), [one.at for one in read if one.at], None, evidence)


def _row(record: Mapping[str, Any], table: str) -> Release:
    try:
        at = datetime.fromtimestamp(moment(record["deployed_at"]), UTC)
    except (ValueError, OverflowError, OSError):
        raise Permanent(f"{table}: {str(record.get('deployed_at'))[:80]!r} is not a moment", "invalid") from None
    reversible = record.get("migrations_reversible")
    return Release(
        str(record["version"]), at, by=str(record.get("deployed_by") or ""),
        migrations_reversible=None if reversible is None else bool(reversible),
    )  # fmt: skip


def _versions(rows: Sequence[Release]) -> list[Release]:
    """Each version once, by its first row; the one of the last row is current, and live since that."""
    first: dict[str, Release] = {}
    for row in rows:
        first.setdefault(row.version, row)
    return [
        replace(one, current=True, live_since=rows[-1].at, by=rows[-1].by) if one.version == rows[-1].version else one
        for one in first.values()
    ]


def _facts(known: _Known, window: float, now: datetime) -> tuple[dict[str, Any], dict[str, Missing]]:
    missing: dict[str, Missing] = {}
    facts: dict[str, Any] = {
        "count_recent": sum(0 <= (now - one).total_seconds() <= window for one in known.activations),
        "releases": [_record(one) for one in reversed(known.releases)][:_SHOWN],
    }
    if known.rolling is None:
        missing["rolling"] = Missing("nobody here knows whether a change is under way")
    else:
        facts["rolling"] = known.rolling
    place = next((index for index, one in enumerate(known.releases) if one.current), None)
    if place is None:
        reason = Missing("no release is known" if not known.releases else "none of the releases is the current one")
        names = ("version", "by", "previous", "migrations_reversible", *_OF_AGE)
        return facts, missing | dict.fromkeys(names, reason)
    current = known.releases[place]
    facts |= {"version": current.version, "by": current.by, "previous": _previous(known.releases)}
    if current.migrations_reversible is None:
        missing["migrations_reversible"] = Missing(f"release {current.version} does not say")
    else:
        facts["migrations_reversible"] = current.migrations_reversible
    started = current.live_since or current.at
    if started is None:
        return facts, missing | dict.fromkeys(_OF_AGE, Missing(f"nobody says when {current.version} went live"))
    age = max(0.0, (now - started).total_seconds())
    facts |= {"age": age, "started_at": started.timestamp(), "no_recent_deploy": age > window}
    facts |= {f"deploy_within_{span}": age <= seconds(span) for span in WITHIN}
    return facts, missing


def _previous(releases: Sequence[Release]) -> dict[str, Any]:
    try:
        return {"exists": True, **_record(previous_of(releases))}
    except Permanent as error:
        return {"exists": False, "note": str(error)}


def _record(release: Release) -> dict[str, Any]:
    at = {"at": release.at.timestamp()} if release.at else {}
    return {"version": release.version, "current": release.current, "by": release.by, "note": release.note, **at}
