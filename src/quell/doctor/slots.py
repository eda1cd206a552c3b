"""Connection slots of a PostgreSQL: how many are left, and whether one stays for Quell when clients take the rest.

The night that a runbook is needed for is the night on which clients have taken every slot. Pure. Never does: ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quell.doctor.judgement import Judgement, ok, warning

FEW = 5
FEW_SHARE = 0.1
PER_PROCESS = 45
"""What a process of Quell may take of its own database: its pools, and those of the engine."""


@dataclass(frozen=True, slots=True)
class Slots:
    """``used`` and ``own`` count this very question too. ``reserved`` None: a server before PostgreSQL 16.

    ``own_limit``: of the role, -1 without. ``unlimited``: other roles that may log in and have no limit of their own;
    ``limited``: what those that have one may take together.
    """

    role: str
    most: int
    for_superusers: int
    reserved: int | None
    used: int
    own: int
    own_limit: int = -1
    superuser: bool = False
    may_use_reserved: bool = False
    unlimited: int = 1
    limited: int = 0

    @property
    def ordinary(self) -> int:
        """Slots that anybody may take."""
        return max(0, self.most - self.for_superusers - (self.reserved or 0))

    @property
    def within_reach(self) -> int:
        """Slots that the server would give our role if nobody else took any."""
        if self.superuser:
            return self.most
        return max(0, self.most - self.for_superusers) if self.may_use_reserved else self.ordinary

    @property
    def open_to_us(self) -> int:
        """The same, as far as the role's own limit lets it."""
        limited = self.own_limit >= 0 and not self.superuser
        return min(self.within_reach, self.own_limit) if limited else self.within_reach

    def free(self, held: int) -> int:
        """How many our role could have if it held ``held`` of its own, and the others go on as they are."""
        others = self.used - self.own
        return max(0, min(self.within_reach - others, self.open_to_us) - held)

    @property
    def left(self) -> int:
        return self.free(self.own)

    @property
    def stays(self) -> str:
        """Why a slot is left for us when all others take what they may; empty when none is."""
        if self.superuser and self.for_superusers > 0:
            return f"{self.for_superusers} slots are kept for superusers"
        if self.may_use_reserved and self.reserved:
            return f"{self.reserved} slots are kept for roles such as this one (reserved_connections)"
        if not self.unlimited and self.limited < self.ordinary:
            return f"the limits of the other roles leave {self.ordinary - self.limited} of {self.ordinary} slots"
        return ""


def judge(looked_at: str, seen: Slots) -> Iterator[Judgement]:
    count = f"{seen.left} of {seen.open_to_us} slots are left"
    if seen.left < max(FEW, FEW_SHARE * seen.open_to_us):
        yield warning(
            "slots", looked_at, count, f"at least {max(FEW, round(FEW_SHARE * seen.open_to_us))} left",
            "end what holds them, put a pooler before it, or raise max_connections",
        )  # fmt: skip
    else:
        yield ok("slots", looked_at, count)
    if seen.stays:
        yield ok("slots", looked_at, f"a slot stays for Quell: {seen.stays}")
        return
    found = f"when clients take all {seen.ordinary} ordinary slots, none stays for the role {seen.role}"
    yield warning("slots", looked_at, found, "a slot that clients cannot take", _advice(seen))


def _advice(seen: Slots) -> str:
    limit = f"give every other role a CONNECTION LIMIT, together below {seen.ordinary}"
    if seen.reserved is None:
        return limit
    if seen.may_use_reserved:
        return f"set reserved_connections = 3 and restart it; or {limit}"
    grant = f"grant pg_use_reserved_connections to {seen.role}"
    return f"{grant}; or {limit}" if seen.reserved else f"set reserved_connections = 3, restart it, {grant}; or {limit}"


def judge_capacity(looked_at: str, seen: Slots) -> Judgement:
    """For Quell's own database: whether its processes find the connections that they may ask for."""
    others = seen.used - seen.own
    fit = seen.free(0) // PER_PROCESS
    found = f"max_connections {seen.most}, {others} taken by others: room for {fit} process{'' if fit == 1 else 'es'}"
    if fit:
        return ok("capacity", looked_at, found + " of Quell")
    return warning(
        "capacity", looked_at, found + " of Quell", f"{PER_PROCESS} connections for each process of Quell",
        f"raise max_connections, or the limit of the role {seen.role}, or give Quell a server of its own",
    )  # fmt: skip
