"""Ask a database one read-only question: PostgreSQL, MySQL, MariaDB or a SQLite file.

    - id: leak
      type: database_query
      config:
        database: payments-reserved        # a connection; its type says which kind of server
        query: select usename, count(*) n from pg_stat_activity where datname = :db group by 1 order by 2 desc limit 5
        params: {db: payments}             # bound, never pasted
      interpret: {healthy: row_count == 0, warning: first.n >= 1, critical: first.n >= 10}

``from`` asks from several places at once: each name is a connection, or an entry in the option ``vantages`` of the
connection ``database`` (place → address). A server ``reached`` is one that spoke, even to refuse: only refused,
timed out or unreachable connections count as not reached, and a place that could not look makes ``reached`` unknown.
The role should be able to do no more than read: a read-only transaction stops mistakes, not a role that may write.
Never does: write, run more than one statement, read more than ``max_rows`` or ``max_bytes``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from quell import ports
from quell.errors import Permanent, Transient
from quell.plugins.checks import _databases
from quell.plugins.checks._durations import Bytes
from quell.plugins.checks._sql import Asked, Rows, unbound
from quell.ports import Connection, Connects, FactSpec, Missing, Observation, Probe, Reading

_OF_ROWS = ("row_count", "rows", "first", "value", "columns", "truncated", "duration")
_NOT_REACHED = frozenset({"refused", "timeout", "unreachable"})
_COULD_NOT_LOOK = frozenset({"dns", "invalid", "internal", "tls"})
_SHOWN = 5
_RESERVE = 0.1
"""The part of the check's time kept back, so that a server that hangs is reported by name."""

FACTS: Mapping[str, FactSpec] = {
    "row_count": "number", "rows": "list<record>", "first": "record", "value": "any", "columns": "list<string>",
    "truncated": "bool", "reached": "number", "answered": "number", "total_count": "number", "connected": "bool",
    "duration": "duration:ms", "error": "string", "error_class": "string",
}  # fmt: skip

Scalar = str | int | float | bool | None


class Params(ports.Params):
    """``database`` may be left out when there is only one connection to a database."""

    query: str = Field(min_length=1, max_length=50_000)
    """One statement that reads. Values are named ``:name`` and bound."""
    database: Annotated[str | None, Connects(_databases.KINDS, unless=("vantages",))] = None
    params: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    """The values of ``:name`` in the query."""
    max_rows: int = Field(default=100, ge=1, le=10_000)
    """Rows read at most. When there were more, ``row_count`` is known as "at least" only, and ``rows`` not at all."""
    max_bytes: Annotated[Bytes, Field(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024
    """Bytes read at most."""
    vantages: Annotated[tuple[str, ...], Connects(_databases.KINDS, default=False, option=("database", "vantages"))] = (
        Field(default=(), alias="from", max_length=20)
    )
    """Ask from each of these places: connections, or names in the connection's option ``vantages``."""

    @model_validator(mode="after")
    def _bound(self) -> Self:
        if wrong := unbound(self.query, self.params):
            raise ports.at_fault(*wrong)
        return self


@dataclass(frozen=True, slots=True)
class _Look:
    """What one place saw: rows, or why not."""

    place: str
    duration_s: float
    rows: Rows | None = None
    error: Permanent | Transient | None = None

    @property
    def reached(self) -> bool:
        return self.error is None or self.error.error_class not in _NOT_REACHED


async def run(params: Params, probe: Probe) -> Reading:
    """Raises ``Transient`` or ``Permanent`` by what the server says; with ``from``, failures are facts instead."""
    asked = Asked(
        query=params.query.strip().rstrip(";"), params=_lists(params.params), max_rows=params.max_rows,
        max_bytes=params.max_bytes, timeout_s=probe.timeout_s * (1 - _RESERVE),
    )  # fmt: skip
    if params.vantages:
        looks = await asyncio.gather(*(_look(place, _from(place, params, probe), asked) for place in params.vantages))
        return _joined(params, list(looks))
    connection = probe.connection(params.database, *_databases.KINDS)
    look = await _look(connection.name, connection, asked)
    if look.error is not None:
        raise look.error
    found, missing = _facts(look)
    found |= {"reached": 1, "answered": 1, "total_count": 1, "connected": True}
    return Reading(found, missing=missing, summary=_summary(look), evidence=_evidence(params, [look]))


def _lists(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in params.items()}


def _from(place: str, params: Params, probe: Probe) -> Connection:
    """Raises ``Permanent`` (missing) for a place that nobody has described."""
    if params.database is not None:
        connection = probe.connection(params.database, *_databases.KINDS)
        vantages = connection.options.get("vantages")
        if isinstance(vantages, Mapping) and place in vantages:
            return replace(connection, name=f"{connection.name} from {place}", url=str(vantages[place]))
    return probe.connection(place, *_databases.KINDS)


async def _look(place: str, connection: Connection, asked: Asked) -> _Look:
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(asked.timeout_s):
            rows = await _databases.ask(connection, asked)
        return _Look(place, loop.time() - started, rows)
    except (Permanent, Transient) as error:
        return _Look(place, loop.time() - started, error=error)
    except TimeoutError:
        late = Transient(f"{connection.name}: no answer within {asked.timeout_s:.3g} s", "timeout")
        return _Look(place, loop.time() - started, error=late)


def _facts(look: _Look) -> tuple[dict[str, Any], dict[str, Missing]]:
    missing: dict[str, Missing] = {}
    if look.rows is None:
        assert look.error is not None
        reason = Missing(str(look.error), look.error.error_class)
        missing |= dict.fromkeys(_OF_ROWS, reason)
        found = {"connected": look.reached, "error": str(look.error), "error_class": look.error.error_class}
        return found, missing
    records, columns = look.rows.records, look.rows.columns
    found = {"truncated": look.rows.truncated, "duration": look.duration_s, "connected": True}
    missing |= dict.fromkeys(("error", "error_class"), Missing("there is no error"))
    if look.rows.truncated:
        # The row that was one too many is there too.
        cut = f"the answer was cut off after {len(records)} rows; count in the query, or raise max_rows and max_bytes"
        missing |= {"row_count": Missing(cut, at_least=len(records) + 1), "rows": Missing(cut)}
    else:
        found |= {"row_count": len(records), "rows": records}
    if columns:
        found["columns"] = list(columns)
    else:
        missing["columns"] = Missing("the query gives no rows")
    if records:
        found["first"] = records[0]
    else:
        missing["first"] = Missing(
            "the first row is larger than max_bytes" if look.rows.truncated else "the query gives no rows"
        )
    if len(records) != 1 or len(columns) != 1 or look.rows.truncated:
        what = f"{len(records)} rows of {len(columns)} columns"
        missing["value"] = Missing(f"{what}: value needs one of each", "ambiguous" if records else None)
    elif records[0][columns[0]] is None:
        missing["value"] = Missing("the value is null")
    else:
        found["value"] = records[0][columns[0]]
    return found, missing


def _joined(params: Params, looks: list[_Look]) -> Reading:
    """Several places as one reading: the rows are those of the first place that got any."""
    best = next((look for look in looks if look.rows is not None), looks[0])
    found, missing = _facts(best)
    found |= {
        "total_count": len(looks), "answered": sum(look.rows is not None for look in looks),
        "connected": all(look.reached for look in looks),
    }  # fmt: skip
    blind = next((look for look in looks if look.error and look.error.error_class in _COULD_NOT_LOOK), None)
    if blind is None:
        found["reached"] = sum(look.reached for look in looks)
    else:
        assert blind.error is not None
        reason = Missing(f"from {blind.place} nobody could look: {blind.error}", blind.error.error_class)
        missing |= {"reached": reason, "connected": reason}
        del found["connected"]
    targets = []
    for look in looks:
        own, lacking = _facts(look)
        targets.append(Observation(look.place, own, {"from": look.place}, lacking, _summary(look)))
    summary = f"reached from {sum(look.reached for look in looks)} of {len(looks)}"
    return Reading(found, tuple(targets), missing, summary, evidence=_evidence(params, looks))


def _summary(look: _Look) -> str:
    if look.rows is None:
        return str(look.error)
    return f"{len(look.rows.records)} rows{' and more' if look.rows.truncated else ''}"


def _evidence(params: Params, looks: list[_Look]) -> dict[str, Any]:
    rows = next((look.rows.records for look in looks if look.rows is not None), [])
    return {
        "query": params.query, "params": _lists(params.params), "database": params.database,
        "from": [look.place for look in looks], "rows": rows[:_SHOWN],
    }  # fmt: skip
