"""Runs the author's own remedy: a SQL statement on a named database, or a program with its arguments.

```yaml
action:
  type: run_script
  config:
    database: payments-reserved
    sql: 'ALTER ROLE {role} CONNECTION LIMIT 20'
    identifiers: {role: '${leak.first.usename}'}
    undo_sql: 'ALTER ROLE {role} CONNECTION LIMIT {captured.limit}'
---
action: {type: run_script, config: {command: [/opt/ops/rotate, --quick], args: ['${disk.first.mount}']}}
```

``script`` is SQL unless it is a path (``/…`` or ``./…``). Several statements in a list run in one transaction.
What may vary goes into ``args``, ``params``, ``identifiers`` or ``env``: one of ``args`` that looks like an option is
refused unless ``options`` names it. A program gets ``QUELL_KEY``, the idempotency key. What it acts on is ``target``;
unsaid, it is the script itself (``/opt/fix.py`` of ``python /opt/fix.py --now``), or the objects that the SQL names on
its connection, else the statement whatever its values: two runs of one script never overlap.
Never does: use a shell, take a statement for harmless because it explains or rolls back well: the dry run shows it and
touches nothing.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AliasChoices, Field, model_validator

from quell.errors import Permanent
from quell.plugins.actions import _database, _program, _sql
from quell.ports import Command, Connects, Effect, Preview, Probe, Risk, at_fault
from quell.ports import Params as PortParams

RISK = Risk.HIGH
IDEMPOTENT = False  # nobody knows what it does
ALIASES = ("script", "sql")
_PATH = re.compile(r"\.{0,2}/\S*")
_LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")


class Params(PortParams):
    """Just one of ``sql`` (or ``script`` with SQL) and ``command`` (or ``script`` with a path)."""

    service: str | None = None
    """The catalogue's service this is about; by default the incident's."""
    target: str | None = Field(default=None, min_length=1, max_length=500)
    """What it acts on, if not the script or what the SQL names: one run at a time, and what a ``rate`` counts."""
    database: Annotated[str | None, Connects(tuple(_sql.DIALECTS), unless=("command",))] = None
    """The connection that the SQL runs on; may be left out when there is only one."""
    sql: tuple[str, ...] = Field(default=(), max_length=20)
    undo_sql: tuple[str, ...] = Field(default=(), max_length=20, validation_alias=AliasChoices("undo_sql", "undoSql"))
    """What takes the SQL back; ``{captured.NAME}`` is what was captured before."""
    params: dict[str, Any] = Field(default_factory=dict)
    """The values of ``:name`` in the SQL, bound."""
    identifiers: dict[str, str] = Field(default_factory=dict)
    """The names of ``{name}`` in the SQL, quoted."""
    captured: dict[str, Any] = Field(default_factory=dict)
    """Values of ``{captured.NAME}``, given by hand."""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    """Added to the command; none may look like an option."""
    options: tuple[str, ...] = ()
    """Those of ``args`` that may look like an option."""
    env: dict[str, str] = Field(default_factory=dict)
    """Environment variables of the program."""
    secrets: dict[str, str] = Field(default_factory=dict)
    """Environment variables whose values are references, masked in all that is shown."""
    cwd: str | None = None
    """The folder to run in."""
    expected_exit: tuple[int, ...] = (0,)
    """Exit codes that mean it went well."""

    @model_validator(mode="before")
    @classmethod
    def _script_is_sql_or_path(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"script": value}
        if not isinstance(value, Mapping):
            return value
        given = dict(value)
        for key in ("sql", "undo_sql", "undoSql"):
            if isinstance(given.get(key), str):
                given[key] = (given[key],)
        script = given.pop("script", None)
        if script is None:
            return given
        if not isinstance(script, str) or given.get("sql") or given.get("command"):
            raise ValueError("script is a text, and stands alone: without sql and command")
        is_path = bool(_PATH.fullmatch(script.strip())) and not given.get("database")
        return {**given, **({"command": (script.strip(),)} if is_path else {"sql": (script,)})}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.sql) == bool(self.command):
            raise ValueError("say either sql (or script with SQL) or command (or script with a path)")
        if not all(text.strip() for text in (*self.sql, *self.undo_sql)):
            raise ValueError("a statement is empty")
        for key, texts in (("sql", self.sql), ("undo_sql", self.undo_sql)):
            for text in texts:
                if wrong := _sql.unbound(text, self.params, self.identifiers):
                    raise at_fault((key,), wrong)
        return self


async def dry_run(params: Params, probe: Probe) -> Preview:
    """Shows the statement or command as it would run. Raises ``Permanent``: invalid, missing."""
    if params.command:
        argv = _argv(params)
        target = params.target or _program.script_of(argv, params.cwd)
        return Preview(call=shlex.join(argv), targets=(target,), after="as the program does it")
    connection, dialect = _database.sql_connection(probe, params.database)
    bound = [_bind(params, dialect, text, params.captured) for text in params.sql]
    return Preview(
        call="; ".join(statement.shown for statement in bound) + f"  -- on {connection.name}",
        targets=(params.target,) if params.target else _objects(connection.name, params.sql, bound),
        after="in one transaction" if len(bound) > 1 else "",
        undo=_undo_text(params, dialect),
    )


async def execute(params: Params, probe: Probe) -> Effect:
    """Raises ``Permanent`` (failed) with the exit code or the server's words."""
    if params.command:
        return await _run_program(params, probe)
    return await _run_sql(params, probe, params.sql, params.captured)


async def undo(params: Params, effect: Effect, probe: Probe) -> Effect:
    """Runs ``undo_sql`` with what was captured (``effect.undo['captured']``). Raises ``Permanent`` (refused)."""
    if not params.undo_sql:
        raise Permanent("run_script has no undo_sql, so it cannot be undone", "refused")
    captured = {**params.captured, **((effect.undo or {}).get("captured") or {})}
    return await _run_sql(params, probe, params.undo_sql, captured)


async def capture(params: Params, queries: Mapping[str, str], probe: Probe) -> dict[str, Any]:
    """The first value of each read-only query. Raises ``Permanent``: missing when one gives no row, too_large or
    invalid for a value that could not be written back as it is.

    What is an identifier in the statement is a value in a catalogue: ``:role`` reads ``identifiers`` too.
    """
    connection, dialect = _database.sql_connection(probe, params.database)
    values: dict[str, Any] = {}
    known = params.model_copy(update={"params": {**params.identifiers, **params.params}})
    async with _database.session(connection) as session:
        for name, text in queries.items():
            statement = _bind(known, dialect, text, {})
            if dialect == _sql.POSTGRESQL:
                await session.run(_sql.plain("BEGIN READ ONLY"))
            elif dialect == _sql.MYSQL:
                await session.run(_sql.plain("START TRANSACTION READ ONLY"))
            else:
                await session.run(_sql.plain("PRAGMA query_only = ON"))
            answer = await session.run(statement, limit=2)
            if dialect != _sql.SQLITE:
                await session.run(_sql.plain("ROLLBACK"))
            if len(answer.rows) != 1:
                how_many = "no row" if not answer.rows else "more than one row"
                raise Permanent(f"capture {name}: the query gives {how_many}", "missing")
            try:
                values[name] = _sql.kept(dialect, _database.first_values(answer.rows)[0])
            except Permanent as error:
                raise Permanent(f"capture {name}: {error}", error.error_class) from None
    return values


def service_of(params: Params) -> str | None:
    return params.service


def commands_of(params: Params) -> tuple[Command, ...]:
    if not params.command:
        return ()
    return (Command((*params.command, *params.args), env={**params.env, **params.secrets}, cwd=params.cwd),)


def _bind(params: Params, dialect: str, text: str, captured: Mapping[str, Any]) -> _sql.Statement:
    return _sql.bind(dialect, text, params.params, params.identifiers, captured)


def _objects(connection: str, texts: tuple[str, ...], bound: Sequence[_sql.Statement]) -> tuple[str, ...]:
    """What the SQL names; else the statement by its digest, the same for every value that may be in it."""
    names = dict.fromkeys(name for statement in bound for name in statement.objects)
    if names:
        return tuple(f"{connection}/{name}" for name in names)
    alike = "; ".join(" ".join(_LITERAL.sub("?", text).split()).rstrip("; ").casefold() for text in texts)
    return (f"{connection}/sql-{hashlib.sha256(alike.encode()).hexdigest()[:12]}",)


def _undo_text(params: Params, dialect: str) -> str | None:
    if not params.undo_sql:
        return None
    # Values are captured just before acting: the dry run cannot know them yet.
    text = "; ".join(params.undo_sql)
    for name, value in params.identifiers.items():
        text = text.replace("{" + name + "}", _sql.quote_identifier(dialect, value))
    return text


async def _run_sql(params: Params, probe: Probe, texts: tuple[str, ...], captured: Mapping[str, Any]) -> Effect:
    connection, dialect = _database.sql_connection(probe, params.database)
    bound = [_bind(params, dialect, text, captured) for text in texts]
    answers = []
    async with _database.session(connection) as session:
        if len(bound) > 1:
            await session.begin()  # a failure closes the connection, and that rolls back
        for statement in bound:
            answers.append(await session.run(statement))
        if len(bound) > 1:
            await session.commit()
    last = answers[-1]
    return Effect(
        summary=f"ran on {connection.name}: {bound[-1].shown[:200]}",
        output={"row_count": last.count, "rows": _database.shown_rows(last)},
        undo={"captured": dict(captured)} if params.undo_sql else None,
    )


def _argv(params: Params) -> list[str]:
    strange = [item for item in params.args if item.startswith("-") and item not in params.options]
    if strange:
        raise Permanent(
            f"the argument {strange[0][:60]!r} looks like an option; name it in options to allow it", "invalid"
        )
    if any("\0" in item for item in (*params.command, *params.args)):
        raise Permanent("an argument has a NUL in it", "invalid")
    return [*params.command, *params.args]


async def _run_program(params: Params, probe: Probe) -> Effect:
    argv = _argv(params)
    secrets = {name: probe.secret(reference) for name, reference in params.secrets.items()}
    ended = await _program.run(argv, {**params.env, "QUELL_KEY": probe.key}, secrets, params.cwd)
    if ended.code not in params.expected_exit:
        words = _program.tail(ended.stderr) or _program.tail(ended.stdout)
        raise Permanent(f"{argv[0]} {ended.how}: {words or 'it said nothing'}", "failed")
    return Effect(
        summary=f"ran {shlex.join(argv)[:200]}",
        output={
            "exit_code": ended.code, "stdout": ended.stdout[:8192], "stderr": ended.stderr[:8192],
            "cut": ended.cut or len(ended.stdout) > 8192 or len(ended.stderr) > 8192,
        },
    )  # fmt: skip
