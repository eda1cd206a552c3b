"""The ledger, the leases and the breaker as a careful person would keep them: lists and loops, no database.

Each piece of work says what it does to the tables and, beside that, what it does here. Never does: share a rule with
what it is held against; whatever is counted is counted anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa

from quell.engine import breaker, leases, ledger
from quell.engine.ledger import Ask, Rate
from quell.errors import Refused

S = 1_000_000
ENDS = {"intended": ("done", "failed", "unknown"), "unknown": ("done", "failed"), "done": (), "failed": ()}


class No(NamedTuple):
    """A refusal, with what people are told."""

    rule: str
    value: Any
    limit: Any


class Known(NamedTuple):
    """An intent that is there."""

    state: str
    outcome: dict[str, Any] | None
    action: str
    executor: str
    at: int


class Spent(NamedTuple):
    """A permit: by the execution, or by the node's visit for the service as a whole."""

    key: str
    target: str
    tenant: str
    action: str
    at: int


class Lease(NamedTuple):
    holder: str
    owner: str
    until: int


@dataclass
class Model:
    """All that is known. ``asks``: how each execution was asked for, for as long as it is remembered."""

    intents: dict[str, Known] = field(default_factory=dict)
    asks: dict[str, Ask] = field(default_factory=dict)
    permits: list[Spent] = field(default_factory=list)
    leases: dict[tuple[str, str], Lease] = field(default_factory=dict)
    resets: dict[tuple[str, str], int] = field(default_factory=dict)

    def holds(self, key: str, now: int) -> bool:
        return any(one.holder == key and one.until > now for one in self.leases.values())

    def counted(self, ask: Ask, target: str, rate: Rate, now: int) -> int:
        """Permits that stand in the way; a visit's own never does."""
        mine = [one for one in self.permits if (one.tenant, one.action) == (ask.tenant, ask.action)]
        return sum(one.target == target and one.key != ask.batch and now - one.at < rate.per_s * S for one in mine)

    def refusal(self, ask: Ask, now: int) -> No | None:
        busy = [one for key, one in self.asks.items()
                if key != ask.key and self.intents[key].state == "intended" and self.holds(key, now)]  # fmt: skip
        regions, tenants = {ask.region, *(one.region for one in busy)}, {ask.tenant, *(one.tenant for one in busy)}
        if ask.most_regions is not None and len(regions) > ask.most_regions:
            return No("blast_regions", len(regions), ask.most_regions)
        if ask.most_tenants is not None and len(tenants) > ask.most_tenants:
            return No("blast_tenants", len(tenants), ask.most_tenants)
        for rate in ask.rates:
            for target in (*ask.targets, *ask.shared):
                if (count := self.counted(ask, target, rate, now)) >= rate.count:
                    return No(rate.rule, count, rate.count)
        return None

    def remedied(self, tenant: str, service: str, since: int, counts: set[str], but: str) -> int:
        """Runs that repaired the service since then, by how they ended."""
        since = max(since, self.resets.get((tenant, service), 0))
        visits = {one.key for one in self.permits if (one.tenant, one.target) == (tenant, service) and one.at > since}
        runs: dict[str, dict[bool, set[str]]] = {}
        for key, ask in self.asks.items():
            if ask.batch in visits and ask.request["risk"] != "none":
                run, node, *_ = key.split("/")
                back = node.endswith((".undo", ".revert"))
                runs.setdefault(run, {}).setdefault(back, set()).add(self.intents[key].state)
        found = 0
        for run, states in runs.items():
            did, took_back = states.get(False, set()), states.get(True, set())
            how = "undone" if "done" in took_back else "done" if did == {"done"} else "failed"
            found += bool(did) and run != but and how in counts
        return found

    def prune(self, tenant: str, before: int) -> None:
        """What no limit counts any more. What nobody knows the end of stays."""
        for key, known in list(self.intents.items()):
            if self.asks[key].tenant == tenant and known.state in ("done", "failed") and known.at < before:
                del self.intents[key], self.asks[key]
        self.permits = [one for one in self.permits if one.tenant != tenant or one.at >= before]
        self.leases = {of: one for of, one in self.leases.items() if of[0] != tenant or one.until >= before}
        self.resets = {of: at for of, at in self.resets.items() if of[0] != tenant or at >= before}


# Pieces of work, each as it is done and as it is meant.


class Take(NamedTuple):
    tenant: str
    targets: tuple[str, ...]
    holder: str
    for_s: int

    def real(self, connection: sa.Connection, now: int) -> Any:
        owner = f"incident of {self.holder}"
        try:
            with connection.begin_nested():
                leases.take(connection, self.tenant, self.targets, self.holder, owner, now, self.for_s * S)
        except leases.Busy as busy:
            return busy.by
        return {}

    def meant(self, model: Model, now: int) -> Any:
        wanted = [(self.tenant, target) for target in self.targets]
        busy = {of: one for of in wanted if (one := model.leases.get(of)) and one.holder != self.holder}
        if told := {of[1]: one.owner for of, one in busy.items() if one.until > now}:
            return told
        model.leases |= dict.fromkeys(
            wanted, Lease(self.holder, f"incident of {self.holder}", now + self.for_s * S)
        )  # fmt: skip
        return {}


class Release(NamedTuple):
    tenant: str
    holder: str

    def real(self, connection: sa.Connection, now: int) -> Any:
        return leases.release(connection, self.tenant, self.holder)

    def meant(self, model: Model, now: int) -> Any:
        mine = [of for of, one in model.leases.items() if (of[0], one.holder) == self]
        for of in mine:
            del model.leases[of]
        return len(mine)


class Begin(NamedTuple):
    """The lease and the intent in one transaction, as before an action; without the lease where ``for_s`` is 0."""

    ask: Ask
    for_s: int

    @property
    def lease(self) -> Take:
        return Take(self.ask.tenant, (*self.ask.targets, *self.ask.shared), self.ask.key, self.for_s)

    def real(self, connection: sa.Connection, now: int) -> Any:
        if self.for_s and (busy := self.lease.real(connection, now)):
            raise Refused("target_busy", f"{busy}", value=busy)
        known = ledger.intend(connection, self.ask, now)
        return known and Known(known.state, known.outcome, known.action, known.executor, known.intended_at)

    def meant(self, model: Model, now: int) -> Any:
        ask = self.ask
        if self.for_s and (busy := self.lease.meant(model, now)):
            return No("target_busy", busy, None)
        if ask.key in model.intents:
            return model.intents[ask.key]
        if (no := model.refusal(ask, now)) is not None:
            return no
        model.intents[ask.key], model.asks[ask.key] = Known("intended", None, ask.action, ask.executor, now), ask
        spent = [(ask.key, one) for one in ask.targets] + [(ask.batch, one) for one in ask.shared]
        there = {(one.key, one.target) for one in model.permits}
        model.permits += [Spent(*one, ask.tenant, ask.action, now) for one in spent if one not in there]
        return None


class Settle(NamedTuple):
    key: str
    state: str

    def real(self, connection: sa.Connection, now: int) -> Any:
        return ledger.settle(connection, self.key, self.state, {"as": self.state, "at": now}, now)

    def meant(self, model: Model, now: int) -> Any:
        known = model.intents.get(self.key)
        if known is None or self.state not in ENDS[known.state]:
            return False
        outcome = {"as": self.state, "at": now}
        model.intents[self.key] = known._replace(state=self.state, outcome=outcome)
        return True


class Reset(NamedTuple):
    tenant: str
    service: str

    def real(self, connection: sa.Connection, now: int) -> Any:
        return breaker.reset(connection, self.tenant, self.service, now, "ann", "it was the cable")

    def meant(self, model: Model, now: int) -> Any:
        model.resets[self.tenant, self.service] = now


Piece = Take | Release | Begin | Settle | Reset
