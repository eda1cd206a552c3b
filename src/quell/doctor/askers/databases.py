"""PostgreSQL, MySQL/MariaDB and SQLite, asked through the check ``database_query``: read only, one statement each.

Never does: open a connection by itself, judge what comes back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from quell.doctor.asked import Failure, bounded
from quell.doctor.clocks import span
from quell.doctor.connections import Reached
from quell.doctor.rights import Rights, of_mysql, of_postgres
from quell.doctor.slots import Slots
from quell.probe import World

CHECK = "database_query"
_POSTGRES = ("postgresql", "postgres")
_NOW = {
    "postgresql": "select extract(epoch from clock_timestamp())::float8 as now,"
    " 'PostgreSQL ' || current_setting('server_version') as version",
    "mysql": "select unix_timestamp(sysdate(6)) as now, concat('MySQL ', version()) as version",
    "sqlite": "select 'SQLite ' || sqlite_version() as version",
}
_ROLE = """
select current_user::text as role, r.rolsuper as superuser, r.rolcreaterole as createrole, r.rolcreatedb as createdb,
  r.rolreplication as replication, r.rolbypassrls as bypassrls,
  has_database_privilege(current_database(), 'CREATE') as creates, t.writable, t.example,
  (select string_agg(p.rolname, ', ' order by p.rolname) from pg_roles p
    where pg_has_role(current_user, p.oid, 'usage') and p.rolname in
      ('pg_write_all_data', 'pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files')) as powers
from pg_roles r, (
  select count(*) as writable, min(c.oid::regclass::text) as example
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_t'
    and has_schema_privilege(n.oid, 'USAGE')
    and has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) t
where r.rolname = current_user
"""
_SLOTS = """
select current_user::text as role, current_setting('max_connections')::int as most,
  current_setting('superuser_reserved_connections')::int as for_superusers,
  nullif(current_setting('reserved_connections', true), '')::int as reserved,
  r.rolsuper as superuser, r.rolconnlimit as own_limit, s.used, s.own, o.unlimited, o.limited,
  exists (select 1 from pg_roles p where p.rolname = 'pg_use_reserved_connections'
    and pg_has_role(current_user, p.oid, 'usage')) as may_use_reserved
from pg_roles r,
  (select count(*) as used, count(*) filter (where usename = current_user) as own from pg_stat_activity
    where datid is not null and coalesce(backend_type, 'client backend') = 'client backend') s,
  (select count(*) filter (where rolconnlimit < 0) as unlimited,
    coalesce(sum(rolconnlimit) filter (where rolconnlimit >= 0), 0)::int as limited
    from pg_roles where rolcanlogin and not rolsuper and rolname <> current_user) o
where r.rolname = current_user
"""


async def reached(world: World, name: str, kind: str, timeout_s: float) -> Reached | Failure:
    """Its version and its clock. The client library is loaded and warm when the time is taken."""
    query = _NOW[_family(kind)]

    async def look() -> Reached:
        await _rows(world, name, query, timeout_s)
        before, started = time.time(), time.monotonic()
        (row,) = await _rows(world, name, query, timeout_s)
        took = time.monotonic() - started
        theirs = row.get("now")
        clock = span(float(theirs), before, before + took) if theirs is not None else None
        return Reached(took, str(row["version"]), clock)

    return await bounded(look(), timeout_s)


async def rights(world: World, name: str, kind: str, timeout_s: float) -> Rights | Failure | None:
    """None for a kind that has no roles."""

    async def look() -> Rights | None:
        if _family(kind) == "postgresql":
            (row,) = await _rows(world, name, _ROLE, timeout_s)
            return of_postgres(row)
        if _family(kind) == "mysql":
            (who,) = await _rows(world, name, "select current_user() as role", timeout_s)
            lines = await _rows(world, name, "show grants", timeout_s)
            return of_mysql(str(who["role"]), [str(next(iter(line.values()), "")) for line in lines])
        return None

    return await bounded(look(), timeout_s)


async def slots(world: World, name: str, kind: str, timeout_s: float) -> Slots | Failure | None:
    """None for what is no PostgreSQL."""

    async def look() -> Slots | None:
        if _family(kind) != "postgresql":
            return None
        (row,) = await _rows(world, name, _SLOTS, timeout_s)
        return Slots(**row)

    return await bounded(look(), timeout_s)


def _family(kind: str) -> str:
    return "postgresql" if kind in _POSTGRES else "sqlite" if kind == "sqlite" else "mysql"


async def _rows(world: World, name: str, query: str, timeout_s: float) -> Sequence[dict[str, Any]]:
    check = world.registry.check(CHECK)
    params = check.params.model_validate({"query": query, "database": name, "max_rows": 1000})
    reading = await check.run(params, world.probe(timeout_s=timeout_s))
    found: Sequence[dict[str, Any]] = reading.facts["rows"]
    return found
