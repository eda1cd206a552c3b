"""What the role of a connection may do beyond what Quell needs of it: a mistake in a runbook reaches as far as that.

Pure. Never does: ask, or take a right away.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from quell.doctor.asked import Failure
from quell.doctor.judgement import Judgement, listed, ok, warning

_GRANT = re.compile(r"^GRANT (.+?) ON (?:(?:TABLE|FUNCTION|PROCEDURE|PACKAGE|PACKAGE BODY) )?(\S+) TO ", re.IGNORECASE)
_COLUMNS = re.compile(r"\s*\([^)]*\)")
_EVERYWHERE = "*.*"
_MYSQL_ADMIN = frozenset({
    "SUPER", "CREATE USER", "FILE", "SHUTDOWN", "RELOAD", "CREATE ROLE", "DROP ROLE", "SET USER", "SYSTEM_USER",
    "ROLE_ADMIN", "SET_USER_ID", "FEDERATED ADMIN", "READ_ONLY ADMIN", "REPLICATION SLAVE ADMIN", "CREATE TABLESPACE",
    "SYSTEM_VARIABLES_ADMIN", "ENCRYPTION_KEY_ADMIN", "BINLOG_ADMIN", "BINLOG ADMIN", "CLONE_ADMIN",
})  # fmt: skip
_MYSQL_WRITES = frozenset({
    "ALL", "ALL PRIVILEGES", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "TRIGGER", "EVENT",
    "CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE", "DELETE HISTORY", "REFERENCES",
})  # fmt: skip
_REDIS_ADMIN = frozenset({
    "acl", "config", "shutdown", "debug", "replicaof", "slaveof", "failover", "module", "save", "bgsave", "monitor",
})  # fmt: skip
_REDIS_WRITES = frozenset({
    "set", "setex", "getset", "getdel", "mset", "append", "incr", "decr", "del", "unlink", "expire", "persist",
    "rename", "copy", "restore", "lpush", "rpush", "lpop", "rpop", "lset", "ltrim", "sadd", "srem", "spop", "zadd",
    "zrem", "hset", "hdel", "xadd", "xdel", "xtrim", "flushdb", "flushall", "eval", "fcall", "function",
})  # fmt: skip
_OF_ADMIN, _OF_WRITES = frozenset({"@all", "@dangerous", "@admin"}), frozenset({"@all", "@write"})


@dataclass(frozen=True, slots=True)
class Rights:
    """A role, the powers over the server that Quell never needs, and what it may write to."""

    role: str
    powers: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def judge(looked_at: str, seen: Rights | Failure, acted_on_by: Iterable[str] | None, advice: str) -> Judgement:
    """``acted_on_by``: runbooks whose actions use the connection; None: it may write whatever they do (Quell's own)."""
    if isinstance(seen, Failure):
        if seen.error_class == "denied":
            return ok("rights", looked_at, f"the role may not ask for its own rights: {seen.words}")
        expected = "it tells what the role may do"
        return warning("rights", looked_at, seen.words, expected, "look at the role's rights yourself")
    runbooks = None if acted_on_by is None else list(acted_on_by)
    excess = list(seen.powers)
    if seen.writes and runbooks == []:
        excess.append(f"may write ({listed(seen.writes)}), and no runbook acts on it")
    if excess:
        found = f"the role {seen.role}: {', '.join(excess)}"
        return warning("rights", looked_at, found, "a role that may do what its runbooks need, and no more", advice)
    if not seen.writes:
        return ok("rights", looked_at, f"the role {seen.role} only reads")
    whose = f", as {listed(runbooks)} does" if runbooks else ""
    return ok("rights", looked_at, f"the role {seen.role} may write{whose}, and has no power over the server")


def of_postgres(row: dict[str, object]) -> Rights:
    """From one row: the attributes of the role, the predefined roles it is in, and the tables it may change."""
    if row.get("superuser"):  # it has every other right anyway
        powers: tuple[str, ...] = ("superuser",)
    else:
        attributes = ("createrole", "createdb", "replication", "bypassrls")
        powers = tuple(name.upper() for name in attributes if row.get(name))
        powers += tuple(one for one in str(row.get("powers") or "").split(", ") if one)
    count = int(str(row.get("writable") or 0))
    writes = (f"{count} table{'' if count == 1 else 's'} such as {row.get('example')}",) if count else ()
    return Rights(str(row["role"]), powers, writes + (("new schemas",) if row.get("creates") else ()))


def of_mysql(role: str, grants: Iterable[str]) -> Rights:
    """From the lines of ``SHOW GRANTS``. What a role that was granted may do is in lines of its own."""
    powers: dict[str, None] = {}
    writes: dict[str, None] = {}
    for line in grants:
        found = _GRANT.match(line)
        if found is None:
            continue
        names = [name.strip().upper() for name in _COLUMNS.sub("", found[1]).split(",")]
        scope = found[2].replace("`", "")
        if scope == _EVERYWHERE:
            whole = any(name in ("ALL", "ALL PRIVILEGES") for name in names)
            powers |= dict.fromkeys(["ALL PRIVILEGES ON *.*"] if whole else [n for n in names if n in _MYSQL_ADMIN])
        if "WITH GRANT OPTION" in line.upper() or "GRANT OPTION" in names:
            powers[f"GRANT OPTION on {scope}"] = None
        changes = [name for name in names if name in _MYSQL_WRITES]
        writes |= dict.fromkeys([f"{', '.join(changes[:3])} on {scope}"] if changes else [])
    return Rights(role, tuple(powers), tuple(writes))


def of_redis(user: str, flags: Iterable[str], rules: str) -> Rights:
    """From ``ACL GETUSER``: the rules are applied in order, as the server applies them."""
    powers = [] if "nopass" not in set(flags) else ["needs no password"]
    if _allows(rules, _OF_ADMIN, _REDIS_ADMIN):
        powers.append("administrative commands")
    return Rights(user, tuple(powers), ("its keys",) if _allows(rules, _OF_WRITES, _REDIS_WRITES) else ())


def _allows(rules: str, covering: frozenset[str], commands: frozenset[str]) -> bool:
    """``covering``: the categories that give or take all of ``commands`` at once."""
    whole, some = False, set[str]()
    for rule in rules.lower().split():
        what = {"allcommands": "+@all", "nocommands": "-@all"}.get(rule, rule)
        gives, name = what.startswith("+"), what[1:]
        if name in covering:
            whole, some = gives, set()
        elif name in commands:
            some = some | {name} if gives else some - {name}
    return whole or bool(some)
