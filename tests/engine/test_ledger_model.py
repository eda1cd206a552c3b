"""The ledger, the leases and the breaker next to a model, on both databases: whatever two processes do, they agree.

They ask, lease, act, settle, are refused, die before they commit, and do so at the same moment; time goes on, and the
past is pruned. Never does: read a clock; the time is the story's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from quell.engine import breaker
from quell.engine.ledger import Ask, Rate
from quell.engine.tables import intents, leases, permits, resets
from quell.errors import Refused
from quell.store import sweeps
from quell.store.database import Database
from quell.store.migrate import migrate
from quell.store.prune import Cut
from tests.engine.model import Begin, Known, Lease, Model, No, Piece, Release, Reset, S, Settle, Spent, Take

RUNS = {"run:a.1": ("t", "eu"), "run:b.1": ("t", "us"), "run:c.1": ("u", "us")}
"""Each with its tenant and its region."""
NODES = {"fix": ("restart", "shop", "medium"), "tell": ("restart", "shop", "none"), "grow": ("scale", "mail", "high"),
         "fix.undo": ("restart", "shop", "medium")}  # fmt: skip
"""Each with its action, the service it acts on, and its risk."""
RATES = {"restart": (Rate(2, 30), Rate(3, 120, "runbook_rate")), "scale": (Rate(1, 10),)}
LONGEST_S = 120
"""What is older no limit counts."""
REPLICAS = ("r1", "r2")
KEYS = [f"{run}/{node}/1/{one}" for run in RUNS for node in NODES for one in REPLICAS]


class Died(Exception):
    """A process that ends before it commits."""


def asked(key: str, executor: str, regions: int | None, tenants: int | None) -> Ask:
    run, node, _, replica = key.split("/")
    (tenant, region), (action, service, risk) = RUNS[run], NODES[node]
    undo = node.endswith(".undo")  # what is taken back waits for no rate, and takes part in each
    return Ask(
        key=key, tenant=tenant, action=action, targets=(replica,), idempotent=False, request={"risk": risk},
        executor=executor, rates=() if undo else RATES[action], shared=(f"service/{service}",),
        batch=key.removesuffix(replica), region=region, most_regions=None if undo else regions,
        most_tenants=None if undo else tenants,
    )  # fmt: skip


EXECUTORS = st.sampled_from(["one", "two"])
KEY = st.sampled_from(KEYS)
MOST = st.sampled_from([None, 1, 1, 2])
ASKS = st.builds(asked, KEY, EXECUTORS, MOST, MOST)
LASTS = st.sampled_from([0, 5, 5, 40])
TENANT = st.sampled_from(["t", "u"])
SERVICE = st.sampled_from(["service/shop", "service/mail"])
PIECES: st.SearchStrategy[Piece] = st.one_of(
    st.builds(Begin, ASKS, LASTS),
    st.builds(Begin, ASKS, LASTS),
    st.builds(Settle, KEY, st.sampled_from(["done", "failed", "unknown"])),
    st.builds(Take, TENANT, st.sets(st.sampled_from([*REPLICAS, "service/shop"]), min_size=1).map(lambda s: tuple(sorted(s))),
              KEY, st.sampled_from([5, 40])),
    st.builds(Release, TENANT, KEY),
)  # fmt: skip


class Ledger(RuleBasedStateMachine):
    """Two processes over one database. ``first``: the outcome of each execution when it first had one."""

    databases: dict[str, Database]

    def __init__(self) -> None:
        super().__init__()
        self.model, self.now = Model(), 1_000 * S
        self.first: dict[str, tuple[str, Any]] = {}
        with self.databases["one"].engine.begin() as connection:
            for table in (intents, permits, leases, resets):
                connection.execute(sa.delete(table))

    def carry_out(self, process: str, piece: Piece, *, dies: bool = False) -> Any:
        """What came of it, in a transaction of its own."""

        def work(connection: sa.Connection) -> Any:
            result = piece.real(connection, self.now)
            if dies:
                raise Died
            return result

        try:
            return self.databases[process].write_now(work)
        except Refused as refused:
            said = refused.limit is None or str(refused.limit) in str(refused)
            return No(refused.rule, refused.value, refused.limit if said else f"not said: {refused}")
        except Died:
            return Died

    def meant(self, *pieces: Piece) -> tuple[Model, list[Any]]:
        """The model after these, one after the other, and what each is told. What was refused did nothing."""
        model, told = copy.deepcopy(self.model), []
        for piece in pieces:
            tried = copy.deepcopy(model)
            told.append(piece.meant(tried, self.now))
            model = model if isinstance(told[-1], No) else tried
        return model, told

    def is_stored(self, model: Model) -> bool:
        return all(getattr(model, name) == kept for name, kept in self.stored().items())

    def stored(self) -> dict[str, Any]:
        def look(c: sa.Connection) -> dict[str, Any]:
            rows = {
                table.name: c.execute(sa.select(table)).mappings().all() for table in (intents, permits, leases, resets)
            }
            return {
                "intents": {row["key"]: Known(row["state"], orjson.loads(row["outcome"] or "null"), row["action"], row["executor"], row["intended_at"])
                            for row in rows["quell_intents"]},
                "permits": sorted(Spent(*(row[name] for name in Spent._fields)) for row in rows["quell_permits"]),
                "leases": {(row["tenant"], row["target"]): Lease(row["holder"], row["owner"], row["until"])
                           for row in rows["quell_leases"]},
                "resets": {(row["tenant"], row["target"]): row["at"] for row in rows["quell_resets"]},
            }  # fmt: skip

        return self.databases["two"].read_now(look)

    # What happens.

    @rule(seconds=st.integers(1, 50))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * S

    @rule(process=EXECUTORS, piece=PIECES)
    def does(self, process: str, piece: Piece) -> None:
        model, told = self.meant(piece)
        assert [self.carry_out(process, piece)] == told
        self.model = model

    @rule(process=EXECUTORS, piece=PIECES)
    def dies_before_it_commits(self, process: str, piece: Piece) -> None:
        told = self.carry_out(process, piece, dies=True)
        assert told is Died or [told] == self.meant(piece)[1]

    @rule(process=EXECUTORS, number=st.integers(0, 11), state=st.sampled_from(["done", "failed", "unknown"]))
    def settles(self, process: str, number: int, state: str) -> None:
        """By number: who was first of two at once, and so what there is, no two runs of a story have alike."""
        if there := sorted(self.model.intents):
            self.does(process, Settle(there[number % len(there)], state))

    @rule(run=st.sampled_from(sorted(RUNS)), node=st.sampled_from(sorted(NODES)), seconds=st.sampled_from([0, 1, 8]))
    def goes_from_one_to_the_next(self, run: str, node: str, seconds: int) -> None:
        """A visit's own permit does not stand in its way; what takes longer than its lease is under way no more."""
        for replica in REPLICAS:
            self.does("one", Begin(asked(f"{run}/{node}/1/{replica}", "one", 1, None), 5))
            self.now += seconds * S

    @rule(tenant=TENANT, service=SERVICE, seconds=st.sampled_from([0, 1]))
    def is_reset(self, tenant: str, service: str, seconds: int) -> None:
        self.does("one", Reset(tenant, service))
        self.now += seconds * S

    @rule(run=st.sampled_from(sorted(RUNS)), state=st.sampled_from(["done", "failed"]))
    def is_repaired_and_reset(self, run: str, state: str) -> None:
        """What was repaired before the reset is counted no more."""
        key = f"{run}/fix/1/r1"
        for piece in (Begin(asked(key, "one", None, None), 0), Settle(key, state), Reset(RUNS[run][0], "service/shop")):
            self.does("two", piece)

    @rule(one=PIECES, other=PIECES)
    def do_at_once(self, one: Piece, other: Piece) -> None:
        """As if one had come after the other: nothing in between."""
        with ThreadPoolExecutor(2) as pool:
            told = list(pool.map(self.carry_out, ("one", "two"), (one, other)))
        forth, (first, second) = self.meant(one, other)
        back, (late, early) = self.meant(other, one)
        fits = [model for model, said in ((forth, [first, second]), (back, [early, late])) if said == told]
        stored = [model for model in fits if self.is_stored(_in_order(model))]
        assert stored, f"{told} is neither {[first, second]} nor {[early, late]}"
        self.model = stored[0]

    @rule(tenant=TENANT)
    def the_past_is_pruned(self, tenant: str) -> None:
        """Nothing that a limit may count goes, so nothing that was forbidden becomes allowed."""
        before = self.now - LONGEST_S * S
        cut = Cut(tenant, before, before, "ann")
        for sweep in sweeps.SWEEPS:
            if sweep.what in ("intents", "permits", "leases", "resets"):
                self.databases["one"].write_now(lambda c, sweep=sweep: sweeps.carry_out(c, cut, sweep, None))
        self.model.prune(tenant, before)
        self.first = {key: first for key, first in self.first.items() if key in self.model.intents}

    @invariant()
    def it_holds(self) -> None:
        stored, model = self.stored(), _in_order(self.model)
        for name, kept in stored.items():
            assert kept == getattr(model, name), name
        self.an_outcome_never_changes(stored["intents"])
        self.no_rate_is_exceeded_in_any_window(stored["permits"])
        self.the_breaker_counts_the_same()

    def an_outcome_never_changes(self, stored: Mapping[str, Known]) -> None:
        for key, known in stored.items():
            if known.state in ("done", "failed"):
                assert self.first.setdefault(key, (known.state, known.outcome)) == (known.state, known.outcome)

    def no_rate_is_exceeded_in_any_window(self, stored: Sequence[Spent]) -> None:
        """Each permit is among the first of the window that ends with it; what is taken back waits for no rate."""
        waited = [one for one in stored if ".undo/" not in one.key]
        for one in waited:
            like = [other.at for other in waited if other[1:4] == one[1:4] and other.at <= one.at]
            for rate in RATES[one.action]:
                assert sum(one.at - at < rate.per_s * S for at in like) <= rate.count, (rate, one)

    def the_breaker_counts_the_same(self) -> None:
        every, since = {"done", "failed", "undone"}, self.now - 60 * S
        cases = [(tenant, service, since, counts, but) for tenant in ("t", "u")
                 for service in ("service/shop", "service/mail")
                 for counts, but in ((every, ""), ({"failed"}, ""), ({"undone"}, ""), (every, "run:a.1"))]  # fmt: skip

        def counted(c: sa.Connection) -> list[int]:
            return [breaker.remedied(c, *case[:4], but=case[4]) for case in cases]

        assert self.databases["one"].read_now(counted) == [self.model.remedied(*case) for case in cases]


def _in_order(model: Model) -> Model:
    """With its permits as the table has them, whoever's came first."""
    model.permits.sort()
    return model


def told_by(url: str, how: Callable[[], settings]) -> None:
    databases = {name: Database(url) for name in ("one", "two")}
    migrate(databases["one"].engine)
    try:
        run_state_machine_as_test(type("Both", (Ledger,), {"databases": databases}), settings=how())
    finally:
        for database in databases.values():
            database.close()


@pytest.mark.timeout(600)  # a failure is made shorter, which takes its time
def test_the_tables_and_the_model_agree(url: str) -> None:
    """Few stories, the same at every run."""
    told_by(url, lambda: settings(
        max_examples=10, stateful_step_count=20, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    ))  # fmt: skip


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_tables_and_the_model_agree_in_many_stories(url: str) -> None:
    told_by(url, lambda: settings(
        max_examples=400, stateful_step_count=60, database=None, deadline=None, suppress_health_check=list(HealthCheck),
    ))  # fmt: skip
